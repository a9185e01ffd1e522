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

/// [`Action`] without its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pass,
    Drop,
    Transmit,
    Redirect,
}

/// The end of a packet's story: what becomes of it, and why. Eight bytes: what a function in the kernel can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    ifindex: u32,
    reason: Reason,
    kind: Kind,
}

const _: () = assert!(size_of::<Verdict>() == 8);

impl Verdict {
    /// The host takes it, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn pass(reason: Reason) -> Self {
        Verdict { ifindex: 0, reason, kind: Kind::Pass }
    }

    /// Nobody takes it, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn drop(reason: Reason) -> Self {
        Verdict { ifindex: 0, reason, kind: Kind::Drop }
    }

    /// It goes back where it came from, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn transmit(reason: Reason) -> Self {
        Verdict { ifindex: 0, reason, kind: Kind::Transmit }
    }

    /// It leaves on interface `ifindex`, for `reason`.
    #[inline(always)]
    #[must_use]
    pub const fn redirect(ifindex: u32, reason: Reason) -> Self {
        Verdict { ifindex, reason, kind: Kind::Redirect }
    }

    /// What becomes of it.
    #[inline(always)]
    #[must_use]
    pub const fn action(self) -> Action {
        match self.kind {
            Kind::Pass => Action::Pass,
            Kind::Drop => Action::Drop,
            Kind::Transmit => Action::Transmit,
            Kind::Redirect => Action::Redirect(self.ifindex),
        }
    }

    /// Why.
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> Reason {
        self.reason
    }
}

/// The verdict of a step that may end the story early.
#[inline(always)]
pub(super) fn end(step: Result<Verdict, Verdict>) -> Verdict {
    match step {
        Ok(verdict) | Err(verdict) => verdict,
    }
}
