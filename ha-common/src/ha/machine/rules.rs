//! The rules: who should serve, judged from what is known now.

use super::*;

impl Machine {
    /// Applies the rules until nothing changes any more. Every rule leaves the state it starts from, so a few rounds do.
    pub(super) fn decide(&mut self, now: Nanos) {
        if self.liveness.is_dead(now, self.settings.dead) {
            // Asked after the return, and not answered: a cut, and the one order decides when it heals.
            self.back_at = Nanos::NEVER;
        }
        self.assess(now);
        self.consult(now);
        self.announce_if_due(now);
        for _ in 0..4 {
            let before = self.role;
            match self.role {
                Role::Secondary => self.as_secondary(now),
                Role::Claiming { term, over, until } => self.as_claiming(now, term, over, until),
                Role::Primary { term } => self.as_primary(now, term),
                Role::HandingOver { term, until } => self.as_handing_over(now, term, until),
            }
            if self.role == before {
                break;
            }
            self.assess(now);
        }
        self.publish(now);
    }

    pub(super) fn as_secondary(&mut self, now: Nanos) {
        if !self.serving.is_none() {
            // The kernel kept serving while no daemon ran.
            let term = self.serving;
            self.seen = self.seen.max(term.counter());
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.become_primary(now, term, Cause::Adopted);
            return;
        }
        self.expire_pending(now);
        let Some(ground) = self.ground(now) else { return };
        let over = self.view.said.map_or(Term::NONE, |said| said.standing.last_term);
        let term = self.next_term();
        self.cause = ground.cause.clone();
        self.granted_over = if ground.granted { over } else { Term::NONE };
        if ground.alone {
            // Before the kernel says that it serves: the first frame that says so says why.
            self.over_silence = ground.cause != Cause::Standalone;
            self.publish_as(now, master_state::PRIMARY);
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Send);
            self.become_primary(now, term, ground.cause);
            return;
        }
        self.enter(now, Role::Claiming { term, over, until: now + self.change_span() }, term, ground.cause);
        self.publish(now);
        self.actions.push_back(Action::Arm { term, over });
        self.actions.push_back(Action::Send);
    }

    pub(super) fn as_claiming(&mut self, now: Nanos, term: Term, over: Term, until: Nanos) {
        if self.serving == term {
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.become_primary(now, term, self.cause.clone());
        } else if !self.may_take() && !self.must_take() && !self.last_resort() {
            self.disarm(now, term, Cause::Ineligible);
        } else if self.takes_from_dead(now) && !self.vetoed(now) && !self.peer_unknown(now) {
            self.over_silence = true;
            self.publish_as(now, master_state::PRIMARY);
            self.actions.push_back(Action::SetRole(term));
            self.actions.push_back(Action::Disarm);
            self.actions.push_back(Action::Send);
            self.become_primary(now, term, Cause::PeerDead { silence: self.liveness.silence(now) });
        } else if !self.view.term().is_none() && self.view.term() != over {
            self.disarm(now, term, Cause::Overtaken);
        } else if matches!(self.cause, Cause::PeerHung { .. }) && !self.peer_hung() && !self.view.says(flags::HANDS_OVER) {
            self.disarm(now, term, Cause::PeerRecovered);
        } else if now >= until {
            self.disarm(now, term, Cause::TimedOut);
        }
    }

    pub(super) fn as_primary(&mut self, now: Nanos, term: Term) {
        if self.serving.is_none() {
            let cause = self.fenced_by();
            let pending = self.pending.take();
            self.leave(now, term, cause);
            // What the operator wanted has come about, by another way.
            if let Some(pending) = pending {
                self.stopped = matches!(pending, Pending::Stop { .. });
                self.actions.push_back(Action::Answer(Ok(())));
            }
            return;
        }
        self.expire_pending(now);
        let after_dispute = self.settings.paired
            && self.peer_alive(now) == Some(true)
            && self.view.term().is_none()
            && self.view.said.is_some_and(|said| said.standing.last_term > term);
        if after_dispute {
            self.raise(now, Cause::DisputeWon);
            return;
        }
        if self.is_refused(now) {
            self.leave_alone(now, term, Cause::WitnessRefused);
            return;
        }
        let Some((cause, force)) = self.reason_to_leave() else { return };
        let fit = self.peer_fit(now, force) && !self.both_fall_silent(now, &cause);
        if fit && now >= self.retry_at {
            self.cause = cause.clone();
            self.enter(now, Role::HandingOver { term, until: now + self.change_span() }, term, cause);
            self.publish(now);
            self.actions.push_back(Action::Drain);
            self.actions.push_back(Action::Send);
        } else if !fit && self.must_not_serve() {
            self.leave_alone(now, term, Cause::NotUp);
        }
    }

    pub(super) fn as_handing_over(&mut self, now: Nanos, term: Term, until: Nanos) {
        if self.serving.is_none() {
            let pending = self.pending.take();
            self.leave(now, term, self.cause.clone());
            if let Some(pending) = pending {
                self.stopped = matches!(pending, Pending::Stop { .. });
                self.actions.push_back(Action::Answer(Ok(())));
            }
        } else if now >= until || self.peer_alive(now) != Some(true) {
            self.withdraw_consent();
            self.retry_at = now + self.change_span();
            self.raise(now, Cause::TimedOut);
            if self.pending.take().is_some() {
                self.actions.push_back(Action::Answer(Err(Refusal::TimedOut)));
            }
        }
    }

    /// Why this node, which does not serve, should.
    pub(super) fn ground(&self, now: Nanos) -> Option<Ground> {
        if !self.settings.paired {
            return (!self.stopped).then_some(Ground { cause: Cause::Standalone, alone: true, granted: false });
        }
        let last_resort = self.last_resort() && !self.may_take();
        if !(self.may_take() || self.must_take() || last_resort) || now < self.retry_at {
            return None;
        }
        let forced = matches!(self.pending, Some(Pending::Force { .. }));
        if self.peer_unknown(now) && self.peer_alive(now) != Some(true) {
            return self.ground_beside_unknown(now, forced);
        }
        if self.takes_from_dead(now) {
            let silence = self.liveness.silence(now);
            let never = self.view.echo_at == Nanos::NEVER;
            if never && !self.has_listened(now) {
                return None;
            }
            let cause = if never { Cause::PeerNeverHeard { silence } } else { Cause::PeerDead { silence } };
            return (!self.vetoed(now)).then_some(Ground { cause, alone: true, granted: false });
        }
        if self.liveness.is_dead(now, self.settings.dead) {
            return None;
        }
        let said = self.view.said?;
        let hung = self.peer_hung();
        if !self.view.term().is_none() {
            if !(self.may_take() || self.must_take()) {
                return None;
            }
            if said.flags & flags::HANDS_OVER != 0 {
                let cause = if forced { Cause::Forced } else { Cause::PeerHandsOver };
                return Some(Ground { cause, alone: false, granted: true });
            }
            return hung.then(|| Ground { cause: Cause::PeerHung { age: self.peer_age() }, alone: false, granted: true });
        }
        let peer_may = said.flags & flags::ELIGIBLE != 0 && !hung;
        let peer_takes = !said.groups[0].armed_term.is_none() && said.groups[0].armed_over == self.last_term;
        if peer_may && peer_takes {
            return None;
        }
        let first = self.standing().goes_before(Term::NONE, &said.standing, Term::NONE);
        if last_resort {
            // Any other than a well peer, which takes the role itself.
            let peer_offers = said.flags & flags::LAST_RESORT != 0 && !hung;
            let mine = !peer_may && (!peer_offers || first);
            return mine.then_some(Ground { cause: Cause::FailSafe, alone: false, granted: false });
        }
        (!peer_may || first).then_some(Ground { cause: Cause::Election, alone: false, granted: false })
    }

    /// The peer's frames come with an unknown key: somebody is alive there, so nothing is claimed, unless the operator insists or
    /// both have been waiting for each other.
    pub(super) fn ground_beside_unknown(&self, now: Nanos, forced: bool) -> Option<Ground> {
        let waited = now.since(self.unknown_since) >= self.settings.dead * 3;
        let both_wait = waited && !self.view.unknown_key_serves && self.settings.node_id == 1;
        let cause = if forced { Cause::Forced } else { Cause::Election };
        (forced || both_wait).then_some(Ground { cause, alone: true, granted: false })
    }

    /// Whether the peer is dead and this node may serve without it. An isolated node may not: it may be the one that was cut off.
    fn takes_from_dead(&self, now: Nanos) -> bool {
        self.liveness.is_dead(now, self.settings.dead) && self.connected() && self.may_serve_alone()
    }

    /// Whether this node is isolated by silence and its peer is, or is about to be, or was a moment ago: a fault that both have, and that no
    /// change of role mends. When it ends, one of them hears of that first.
    fn both_fall_silent(&self, now: Nanos, cause: &Cause) -> bool {
        let by_silence = *cause == Cause::Isolated && self.health.is_some_and(|health| health.connected);
        let since = self.peer_reaches_since;
        by_silence && (since == Nanos::NEVER || now.since(since) < self.settings.isolation_hold)
    }

    /// Whether something proves that the peer serves although no echo comes: its own requests still arrive.
    pub(super) fn vetoed(&self, now: Nanos) -> bool {
        let asks = self.recent(self.view.request_at, now) && !self.view.term().is_none() && !self.view.says(flags::ISOLATED);
        asks || self.recent(self.view.unproved_at, now)
    }

    pub(super) fn recent(&self, at: Nanos, now: Nanos) -> bool {
        at != Nanos::NEVER && now.since(at) < self.settings.dead
    }

    /// Why this node, which serves, should not; and whether an unwell peer will do.
    pub(super) fn reason_to_leave(&self) -> Option<(Cause, bool)> {
        match self.pending {
            Some(Pending::Force { force, .. }) => return Some((Cause::Forced, force)),
            Some(Pending::Stop { force, .. }) => return Some((Cause::Stopped, force)),
            None => {}
        }
        if !self.settings.paired {
            return None;
        }
        if !self.may_serve() {
            return Some((Cause::Status, false));
        }
        if self.view.says(flags::WANTS_ROLE) {
            let prefers = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
            let cause = if prefers { Cause::PeerPrefers } else { Cause::Forced };
            return Some((cause, self.view.says(flags::FORCED)));
        }
        self.unfit().map(|cause| (cause, false))
    }

    /// Whether the peer could take over now. `force`: even if it is not well.
    pub(super) fn peer_fit(&self, now: Nanos, force: bool) -> bool {
        let ready =
            self.view.says(flags::ELIGIBLE) && self.view.says(flags::MIRROR_READY) && self.peer_well() && !self.peer_hung();
        self.peer_alive(now) == Some(true) && self.view.says(flags::WILLING) && (ready || force)
    }

    pub(super) fn peer_well(&self) -> bool {
        let well = merits::HEALTHY | merits::CONNECTED;
        self.view.said.is_some_and(|said: Extension| said.standing.merits & well == well)
    }

    /// How long ago the peer's controller completed a loop, when the peer last said something.
    pub(super) fn peer_age(&self) -> Duration {
        Duration::from_millis(self.view.said.map_or(0, |said| said.controller_age_ms.into()))
    }

    pub(super) fn peer_hung(&self) -> bool {
        self.peer_age() >= self.settings.controller_dead
    }

    pub(super) fn engine_on(&self) -> bool {
        matches!(self.settings.status, HaStatus::Enabled | HaStatus::StayPrimary)
    }

    /// Whether haStatus lets this node serve beside a peer.
    pub(super) fn may_serve(&self) -> bool {
        !self.settings.paired || self.engine_on()
    }

    /// Whether settings and operator let this node take over.
    pub(super) fn willing(&self) -> bool {
        self.may_serve() && !self.stopped
    }

    /// Whether this node could take over now.
    pub(super) fn may_take(&self) -> bool {
        self.willing() && self.well() && self.connected()
    }

    /// Whether the Primary hands over to this node although it may not be well: the operator insists.
    pub(super) fn must_take(&self) -> bool {
        self.willing() && self.view.says(flags::HANDS_OVER) && self.view.says(flags::FORCED)
    }

    /// Whether a peer that was never heard would have been, had it been there.
    pub(super) fn has_listened(&self, now: Nanos) -> bool {
        let linked = self.linked_since <= now && now.since(self.linked_since) >= self.settings.dead;
        linked || now.since(self.listening_since) >= JOIN_MIN.max(self.settings.dead)
    }

    pub(super) fn fenced_by(&self) -> Cause {
        match self.ruled {
            Some(Ruling::Yielded(_)) => Cause::Yielded,
            Some(Ruling::Unheard(_)) => Cause::Unheard,
            Some(Ruling::Overslept(_)) => Cause::Overslept,
            Some(Ruling::Stands | Ruling::Granted(_) | Ruling::Lost(_) | Ruling::Won(_)) | None => Cause::DisputeLost,
        }
    }
}
