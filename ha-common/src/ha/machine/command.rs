//! The operator's commands: what is refused, and what becomes of the rest.

use super::*;

impl Machine {
    pub(super) fn force(&mut self, now: Nanos, force: bool) {
        let until = now + self.change_span();
        self.expire_pending(now);
        match self.refusal(now, force) {
            Some(refusal) => self.actions.push_back(Action::Answer(Err(refusal))),
            None => self.pending = Some(Pending::Force { force, until }),
        }
    }

    pub(super) fn refusal(&self, now: Nanos, force: bool) -> Option<Refusal> {
        if !self.settings.paired {
            return Some(Refusal::Standalone);
        }
        let (is_primary, busy) = match self.role {
            Role::Primary { .. } => (true, false),
            Role::Secondary => (false, false),
            Role::Claiming { .. } | Role::HandingOver { .. } => (false, true),
        };
        if busy || self.pending.is_some() {
            return Some(Refusal::Busy);
        }
        let own_prefers = self.settings.status == HaStatus::StayPrimary;
        let peer_prefers = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
        if own_prefers || peer_prefers {
            return Some(Refusal::StayPrimary);
        }
        let could_take = self.may_take() || force && self.willing();
        if !is_primary && !could_take {
            return Some(if self.engine_on() { Refusal::OwnState } else { Refusal::StaySecondary });
        }
        if self.peer_unknown(now) && self.peer_alive(now) != Some(true) {
            return (is_primary || !force).then_some(Refusal::PeerUnknown);
        }
        if self.peer_alive(now) != Some(true) {
            let waits_for_witness = !is_primary && !self.may_serve_alone();
            return Some(if waits_for_witness { Refusal::Witness } else { Refusal::PeerDown });
        }
        if is_primary {
            if self.view.says(flags::STAYS_SECONDARY) || self.view.says(flags::ENGINE_OFF) {
                return Some(Refusal::StaySecondary);
            }
            if !force && !self.peer_well() {
                return Some(Refusal::PeerNotUp);
            }
        }
        None
    }

    pub(super) fn stop(&mut self, now: Nanos, force: bool) {
        match self.role {
            Role::Secondary => {
                self.stopped = true;
                self.actions.push_back(Action::Answer(Ok(())));
            }
            Role::Claiming { .. } => self.actions.push_back(Action::Answer(Err(Refusal::Busy))),
            Role::Primary { term } | Role::HandingOver { term, .. } => {
                if self.peer_fit(now, force) {
                    self.pending = Some(Pending::Stop { force, until: now + self.change_span() * 2 });
                } else if force {
                    self.stopped = true;
                    self.leave(now, term, Cause::Stopped);
                    self.actions.push_back(Action::Answer(Ok(())));
                } else {
                    let refusal = if self.settings.paired { Refusal::PeerDown } else { Refusal::Standalone };
                    self.actions.push_back(Action::Answer(Err(refusal)));
                }
            }
        }
    }

    pub(super) fn expire_pending(&mut self, now: Nanos) {
        let Some(Pending::Force { until, .. } | Pending::Stop { until, .. }) = self.pending else { return };
        if now >= until {
            self.pending = None;
            self.actions.push_back(Action::Answer(Err(Refusal::TimedOut)));
        }
    }
}
