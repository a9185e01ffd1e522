//! What an operator should know as long as it holds.

use super::*;
use crate::ha::alarm::{Alarm, Alarms};

impl Machine {
    /// Everything that is wrong at `now`.
    #[must_use]
    pub fn alarms(&self, now: Nanos) -> Alarms {
        let mut alarms = Alarms::default();
        let serves = matches!(self.role, Role::Primary { .. } | Role::HandingOver { .. });
        let stays_primary = |merits: u64| merits & merits::STAYS_PRIMARY != 0;
        let own_prefers = self.settings.status == HaStatus::StayPrimary;
        let unfit = !(self.fitness.well && self.fitness.connected) && self.health.is_some();
        alarms.put(Alarm::Isolated, !self.fitness.connected && self.health.is_some() && serves);
        alarms.put(Alarm::StickyPrimary, self.is_sticky() && serves);
        alarms.put(Alarm::AnnounceFailed, serves && self.announce_again != Nanos::NEVER);
        if !self.settings.paired {
            return alarms;
        }
        let alive = self.peer_alive(now) == Some(true);
        let peer_serves = !self.view.term().is_none();
        // Also where nobody could be asked: no HA link works here.
        let mute = self.liveness.silence(now) > (self.settings.dead * 3).max(JOIN_MIN);
        alarms.put(Alarm::NoHeartbeats, self.peer_alive(now) == Some(false) || !alive && mute);
        alarms.put(Alarm::UnknownKey, self.peer_unknown(now) && !alive);
        alarms.put(Alarm::PeerHung, alive && self.peer_hung());
        let dead = self.settings.dead;
        alarms.put(Alarm::DeadIntervalShort, alive && self.liveness.interval(dead) > dead);
        alarms.put(Alarm::FailSafe, serves && unfit && self.settings.fail_safe);
        let peer_may = alive && self.view.says(flags::ELIGIBLE);
        let somebody_does = serves || alive && peer_serves || peer_may;
        alarms.put(Alarm::NobodyServes, !somebody_does && unfit);
        alarms.put(Alarm::BadSecondary, serves && alive && !self.peer_fit(now, false));
        alarms
            .put(Alarm::TwoStayPrimary, own_prefers && self.view.said.is_some_and(|said| stays_primary(said.standing.merits)));
        alarms.put(Alarm::WitnessSilent, self.settings.witness && self.consultation.silent);
        alarms
    }
}
