//! What the node says of itself.

use super::*;

impl Machine {
    pub(super) fn standing(&self) -> Standing {
        let mut bits = 0;
        for (holds, bit) in [
            (self.configured, merits::CONFIGURED),
            (self.well(), merits::HEALTHY),
            (self.connected(), merits::CONNECTED),
            (self.settings.status == HaStatus::StayPrimary, merits::STAYS_PRIMARY),
        ] {
            if holds {
                bits |= bit;
            }
        }
        Standing {
            granted_over: self.granted_over,
            merits: bits,
            commit_term: self.commit.0,
            commit_incarnation: self.commit.1,
            last_term: self.last_term,
            id: self.settings.node_id.into(),
        }
    }

    pub(super) fn prefers(&self, now: Nanos) -> bool {
        self.has_preference() && self.may_take() && self.mirror_ready && self.preference_rest(now).is_zero()
    }

    /// Whether haStatus makes this node the preferred Primary, and not its peer as well.
    pub(super) fn has_preference(&self) -> bool {
        let peer_alike = self.view.said.is_some_and(|said| said.standing.merits & merits::STAYS_PRIMARY != 0);
        self.settings.status == HaStatus::StayPrimary && !peer_alike
    }

    /// How long this node must still be well, and listen, before it may want the role back.
    pub(super) fn preference_rest(&self, now: Nanos) -> Duration {
        let [well, listened] = [self.well_since, self.listening_since].map(|since| now.since(since));
        self.preference.0.saturating_sub(well).max(PREFERENCE_HOLD.saturating_sub(listened))
    }

    pub(super) fn publish(&mut self, now: Nanos) {
        self.publish_as(
            now,
            match self.role {
                Role::Secondary if self.settings.status == HaStatus::StaySecondary => master_state::ALWAYS_SECONDARY,
                Role::Secondary => master_state::SECONDARY,
                Role::Claiming { .. } if matches!(self.pending, Some(Pending::Force { .. })) => master_state::FORCE_CHANGE,
                Role::Claiming { .. } => master_state::CLAIMING,
                Role::Primary { .. } | Role::HandingOver { .. } => master_state::PRIMARY,
            },
        );
    }

    pub(super) fn publish_as(&mut self, now: Nanos, master_state: u8) {
        let wanted = matches!(self.pending, Some(Pending::Force { .. }));
        let insisted = matches!(self.pending, Some(Pending::Force { force: true, .. } | Pending::Stop { force: true, .. }));
        let secondary = matches!(self.role, Role::Secondary);
        let mut bits = 0;
        for (holds, bit) in [
            (!self.connected(), flags::ISOLATED),
            (matches!(self.role, Role::HandingOver { .. }), flags::HANDS_OVER),
            (secondary && (wanted || self.prefers(now)), flags::WANTS_ROLE),
            (insisted, flags::FORCED),
            (self.back_at != Nanos::NEVER, flags::WAS_AWAY),
            (self.over_silence, flags::OVER_SILENCE),
            (self.fitness.quiet, flags::QUIET),
            (self.last_resort(), flags::LAST_RESORT),
            (self.willing(), flags::WILLING),
            (self.may_take(), flags::ELIGIBLE),
            (self.mirror_ready, flags::MIRROR_READY),
            (self.settings.status == HaStatus::Disabled, flags::ENGINE_OFF),
            (self.settings.status == HaStatus::StaySecondary, flags::STAYS_SECONDARY),
            (self.health.is_none(), flags::UNJUDGED),
        ] {
            if holds {
                bits |= bit;
            }
        }
        let mut hears = 0;
        for (link, &at) in self.view.heard_at.iter().enumerate() {
            hears |= u8::from(self.recent(at, now)) << link;
        }
        let said = Said { flags: bits, hears, standing: self.standing(), node_state: self.node_state(now), master_state };
        if said != self.published {
            self.published = said.clone();
            self.actions.push_back(Action::Publish(said));
        }
    }
}
