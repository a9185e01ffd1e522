//! Where does a new client go? The ring's answer, or a second choice when that backend is down.

use crate::abi::{Backend, FULL_BACKENDS, NO_BACKEND, REHASHES, RING_WALK, Ring, Vserver, backend_flags, vserver_flags};
use crate::tables::Tables;

use super::hash::rehash;

/// A backend that takes a client. Eight bytes: what a function in the kernel can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index into `BACKENDS`; [`NO_BACKEND`] or [`FULL_BACKENDS`] if none takes it.
    pub backend: u32,
    /// Not where the present ring says.
    pub exception: bool,
    /// By the ring before the present one.
    pub older: bool,
    /// Remembered already.
    pub kept: bool,
}

const _: () = assert!(size_of::<Placement>() == 8);

impl Placement {
    /// Nobody takes the client.
    pub const NONE: Placement = Placement { backend: NO_BACKEND, exception: false, older: false, kept: false };

    /// Generation of the ring that placed it.
    #[inline(always)]
    pub const fn generation(self, vserver: &Vserver) -> u32 {
        if self.older { vserver.previous_generation } else { vserver.generation }
    }
}

/// The backend at `index`, if it is up.
#[inline(always)]
pub fn up<T: Tables>(tables: &T, index: u32) -> Option<&Backend> {
    tables.backend(index).filter(|backend| backend.flags & backend_flags::UP != 0)
}

/// [`welcome`]: it takes newcomers.
pub const TAKES: u32 = 0;
/// [`welcome`]: it has as many flows as it may have.
const FULL: u32 = 1;
/// [`welcome`]: it is down, or leaves.
const AWAY: u32 = 2;

/// Whether the backend at `index` takes newcomers.
#[inline(never)]
pub fn welcome<T: Tables>(tables: &T, index: u32) -> u32 {
    let Some(backend) = tables.backend(index) else {
        return AWAY;
    };
    if backend.flags & (backend_flags::UP | backend_flags::LEAVING) != backend_flags::UP {
        return AWAY;
    }
    if backend.flows_max == 0 {
        return TAKES;
    }
    match tables.load(index) {
        Some(load) if load.open() >= backend.flows_max.into() => FULL,
        _ => TAKES,
    }
}

/// [`welcome`] for whoever `begins`; others go on wherever it is up.
#[inline(always)]
pub fn suits<T: Tables>(tables: &T, index: u32, begins: bool) -> u32 {
    if begins {
        return welcome(tables, index);
    }
    if up(tables, index).is_some() { TAKES } else { AWAY }
}

/// Places a client with this `hash`. `begins`: an older ring has no say in it.
#[inline(always)]
pub fn by_ring<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, begins: bool) -> Placement {
    let first = tables.ring(vserver.ring.slot(hash));
    let before = if vserver.flags & vserver_flags::PREVIOUS != 0 { tables.ring(vserver.previous.slot(hash)) } else { first };
    if before != first && !begins && up(tables, before).is_some() {
        return Placement { backend: before, exception: true, older: true, kept: false };
    }
    if suits(tables, first, begins) == TAKES {
        // While the slot has a history, what goes to its new backend has to be remembered as well.
        return Placement { backend: first, exception: before != first, ..Placement::NONE };
    }
    Placement { backend: second(tables, vserver.ring, hash, begins), exception: true, ..Placement::NONE }
}

/// Whether `index` is what the present ring says for `hash`, with no older ring saying otherwise.
#[inline(always)]
pub fn confirms<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, index: u32) -> bool {
    let present = tables.ring(vserver.ring.slot(hash)) == index;
    present && (vserver.flags & vserver_flags::PREVIOUS == 0 || tables.ring(vserver.previous.slot(hash)) == index)
}

/// The second choice of a client whose backend does not take it: the same on both nodes, unless one is full.
#[inline(never)]
fn second<T: Tables>(tables: &T, ring: Ring, hash: u32, begins: bool) -> u32 {
    let mut none = NO_BACKEND;
    for n in 1..=REHASHES {
        let index = tables.ring(ring.slot(rehash(hash, n)));
        match suits(tables, index, begins) {
            TAKES => return index,
            FULL => none = FULL_BACKENDS,
            _ => {}
        }
    }
    for step in 1..=RING_WALK {
        let index = tables.ring(ring.slot(hash.wrapping_add(step)));
        match suits(tables, index, begins) {
            TAKES => return index,
            FULL => none = FULL_BACKENDS,
            _ => {}
        }
    }
    none
}
