//! Where does a new client go? The ring's answer, or a second choice when that backend is down.

use crate::abi::{Backend, NO_BACKEND, REHASHES, RING_WALK, Ring, Vserver, backend_flags, vserver_flags};
use crate::tables::Tables;

use super::hash::rehash;

/// A backend that takes a client. Eight bytes: what a function in the kernel can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index into `BACKENDS`; [`NO_BACKEND`] if none takes it.
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

/// Places a client with this `hash`. `begins`: an older ring has no say in it.
#[inline(always)]
pub fn by_ring<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, begins: bool) -> Placement {
    let first = tables.ring(vserver.ring.slot(hash));
    let before = if vserver.flags & vserver_flags::PREVIOUS != 0 { tables.ring(vserver.previous.slot(hash)) } else { first };
    if before != first && !begins && up(tables, before).is_some() {
        return Placement { backend: before, exception: true, older: true, kept: false };
    }
    if up(tables, first).is_some() {
        // While the slot has a history, what goes to its new backend has to be remembered as well.
        return Placement { backend: first, exception: before != first, ..Placement::NONE };
    }
    Placement { backend: second(tables, vserver.ring, hash), exception: true, ..Placement::NONE }
}

/// Whether `index` is what the present ring says for `hash`, with no older ring saying otherwise.
#[inline(always)]
pub fn confirms<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, index: u32) -> bool {
    let present = tables.ring(vserver.ring.slot(hash)) == index;
    present && (vserver.flags & vserver_flags::PREVIOUS == 0 || tables.ring(vserver.previous.slot(hash)) == index)
}

/// The second choice of a client whose backend is down: the same on both nodes.
#[inline(never)]
fn second<T: Tables>(tables: &T, ring: Ring, hash: u32) -> u32 {
    for n in 1..=REHASHES {
        let index = tables.ring(ring.slot(rehash(hash, n)));
        if up(tables, index).is_some() {
            return index;
        }
    }
    for step in 1..=RING_WALK {
        let index = tables.ring(ring.slot(hash.wrapping_add(step)));
        if up(tables, index).is_some() {
            return index;
        }
    }
    NO_BACKEND
}
