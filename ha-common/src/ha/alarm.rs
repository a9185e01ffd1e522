//! What is wrong with the pair, as the machine sees it: facts that last, not events.

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
