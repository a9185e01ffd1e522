//! What is wrong with the pair, as the machine sees it: facts that last, not events.

use core::time::Duration;

use crate::time::Nanos;

/// How long something is wrong before an operator is told: a change of role passes through many states.
pub const STEADY_AFTER: Duration = Duration::from_millis(500);

/// Something that an operator should know as long as it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Alarm {
    /// No heartbeat of the peer on any link.
    NoHeartbeats,
    /// The peer's frames are signed with an unknown key.
    UnknownKey,
    /// Neither node serves, and this one may not.
    NobodyServes,
    /// This node serves although its monitors fail, because failovers are used up (the public "sticky primary").
    StickyPrimary,
    /// This node serves although it is not well, because its peer is not either.
    FailSafe,
    /// This node serves and reaches nobody on its legs.
    Isolated,
    /// Both nodes are STAYPRIMARY: the one order decides.
    TwoStayPrimary,
    /// The Secondary is not well, or may not take over: this node has nobody to fail over to.
    BadSecondary,
    /// The witness does not answer.
    WitnessSilent,
    /// An announcement of floating addresses failed.
    AnnounceFailed,
    /// The peer's controller is hung.
    PeerHung,
    /// The round trip to the peer is too long for the dead interval that was set; a longer one is in force.
    DeadIntervalShort,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Alarm; 12] = [
        Alarm::NoHeartbeats,
        Alarm::UnknownKey,
        Alarm::NobodyServes,
        Alarm::StickyPrimary,
        Alarm::FailSafe,
        Alarm::Isolated,
        Alarm::TwoStayPrimary,
        Alarm::BadSecondary,
        Alarm::WitnessSilent,
        Alarm::AnnounceFailed,
        Alarm::PeerHung,
        Alarm::DeadIntervalShort,
    ];
}

/// A set of alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Alarms(u16);

impl Alarms {
    /// Puts `alarm` in if `holds`.
    pub fn put(&mut self, alarm: Alarm, holds: bool) {
        if holds {
            self.0 |= 1 << alarm as u8;
        }
    }

    /// Whether `alarm` holds.
    #[must_use]
    pub fn holds(self, alarm: Alarm) -> bool {
        self.0 & (1 << alarm as u8) != 0
    }

    /// Those that hold.
    pub fn iter(self) -> impl Iterator<Item = Alarm> {
        Alarm::ALL.into_iter().filter(move |&alarm| self.holds(alarm))
    }
}

/// Which alarms have held for [`STEADY_AFTER`]. One that ends is over at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steady {
    /// By alarm: since when it holds.
    since: [Option<Nanos>; Alarm::ALL.len()],
}

impl Steady {
    /// Takes in what holds at `now`; what has held long enough.
    pub fn settle(&mut self, now: Nanos, alarms: Alarms) -> Alarms {
        let mut steady = Alarms::default();
        for (alarm, since) in Alarm::ALL.into_iter().zip(&mut self.since) {
            *since = alarms.holds(alarm).then(|| since.unwrap_or(now));
            steady.put(alarm, since.is_some_and(|since| now.since(since) >= STEADY_AFTER));
        }
        steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_counts_once_it_has_held_and_no_longer_than_it_holds() {
        let mut steady = Steady::default();
        let mut holds = Alarms::default();
        holds.put(Alarm::BadSecondary, true);
        let at = |ms| Nanos(1_000_000_000) + Duration::from_millis(ms);
        for (ms, present, expected) in
            [(0, holds, false), (400, Alarms::default(), false), (450, holds, false), (940, holds, false), (950, holds, true)]
        {
            assert_eq!(steady.settle(at(ms), present).holds(Alarm::BadSecondary), expected, "{ms} ms");
        }
        assert_eq!(steady.settle(at(951), Alarms::default()), Alarms::default());
    }

    #[test]
    fn every_alarm_has_a_place_of_its_own() {
        for (place, alarm) in Alarm::ALL.into_iter().enumerate() {
            assert_eq!(alarm as usize, place);
            let mut alarms = Alarms::default();
            alarms.put(alarm, true);
            assert_eq!(alarms.iter().collect::<Vec<_>>(), [alarm]);
        }
    }
}
