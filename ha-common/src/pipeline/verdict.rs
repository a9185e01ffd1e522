//! What becomes of a packet, and why.

use crate::abi::Reason;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The host's stack takes it.
    Pass,
    /// Nobody does.
    Drop,
    /// It leaves on the interface that it came in on.
    Transmit,
    /// It leaves on this interface.
    Redirect(u32),
}

/// The end of a packet's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

impl Verdict {
    /// The host takes it, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn pass(reason: Reason) -> Self {
        Verdict { action: Action::Pass, reason }
    }

    /// Nobody takes it, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn drop(reason: Reason) -> Self {
        Verdict { action: Action::Drop, reason }
    }

    /// It goes back where it came from, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn transmit(reason: Reason) -> Self {
        Verdict { action: Action::Transmit, reason }
    }
}
