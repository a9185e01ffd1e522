//! `PERSIST`, `PERSIST_EMBRYONIC`: which backend had a client before?

use super::Ip;
use crate::time::Ticks;

/// Key of `PERSIST` and of `PERSIST_EMBRYONIC`: the clients that stay together, by what their vserver looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SessionKey {
    /// [`super::Vserver::sessions`]: the vserver, or the one whose sessions it shares.
    pub vserver: u32,
    /// The client's address under the vserver's mask; zero if it does not count.
    pub source: Ip,
    /// The address that it speaks to under the mask; zero if it does not count.
    pub destination: Ip,
}

/// Value of both. `PERSIST` is a hash, preallocated, and never evicts; `PERSIST_EMBRYONIC`, for clients of which only a SYN was seen, is an LRU
/// hash. Writers: XDP; daemon (ageing, `clear`). Readers: both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Session {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// Zero.
    pub reserved: u32,
    /// When a flow of these clients last began.
    pub seen: Ticks,
}

const _: () = assert!(size_of::<SessionKey>() == 36);
const _: () = assert!(size_of::<Session>() == 16);
