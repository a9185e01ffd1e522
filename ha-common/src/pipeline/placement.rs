//! Where does a new client go? The ring's answer, or a second choice when that backend is down.

use crate::abi::{Backend, REHASHES, RING_WALK, Ring, Vserver, backend_flags, vserver_flags};
use crate::tables::Tables;

use super::hash::rehash;

/// A backend that takes a client.
pub struct Placement<'t> {
    /// Index into `BACKENDS`.
    pub index: u32,
    /// Its record.
    pub backend: &'t Backend,
    /// Generation of the ring that placed it.
    pub generation: u32,
    /// Not where the present ring says.
    pub exception: bool,
}

/// The backend at `index`, if it is up.
#[inline(always)]
pub fn up<T: Tables>(tables: &T, index: u32) -> Option<&Backend> {
    tables.backend(index).filter(|backend| backend.flags & backend_flags::UP != 0)
}

/// Places a client with this `hash`. `opens`: this packet begins the conversation, so an older ring has no say in it.
#[inline(always)]
pub fn place<'t, T: Tables>(tables: &'t T, vserver: &Vserver, hash: u32, opens: bool) -> Option<Placement<'t>> {
    let first = tables.ring(vserver.ring.slot(hash));
    if vserver.flags & vserver_flags::PREVIOUS != 0 && !opens {
        let before = tables.ring(vserver.previous.slot(hash));
        if before != first
            && let Some(backend) = up(tables, before)
        {
            return Some(Placement { index: before, backend, generation: vserver.previous_generation, exception: true });
        }
    }
    let generation = vserver.generation;
    if let Some(backend) = up(tables, first) {
        // While the slot has a history, what goes to its new backend has to be remembered as well.
        let exception = opens && changed(tables, vserver, hash, first);
        return Some(Placement { index: first, backend, generation, exception });
    }
    let index = second(tables, vserver.ring, hash)?;
    Some(Placement { index, backend: up(tables, index)?, generation, exception: true })
}

/// Whether `index` is what the present ring says for `hash`, with no older ring saying otherwise.
#[inline(always)]
pub fn confirms<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, index: u32) -> bool {
    tables.ring(vserver.ring.slot(hash)) == index && !changed(tables, vserver, hash, index)
}

#[inline(always)]
fn changed<T: Tables>(tables: &T, vserver: &Vserver, hash: u32, first: u32) -> bool {
    vserver.flags & vserver_flags::PREVIOUS != 0 && tables.ring(vserver.previous.slot(hash)) != first
}

/// The second choice of a client whose backend is down: the same on both nodes.
#[inline(never)]
fn second<T: Tables>(tables: &T, ring: Ring, hash: u32) -> Option<u32> {
    for n in 1..=REHASHES {
        let index = tables.ring(ring.slot(rehash(hash, n)));
        if up(tables, index).is_some() {
            return Some(index);
        }
    }
    for step in 1..=RING_WALK {
        let index = tables.ring(ring.slot(hash.wrapping_add(step)));
        if up(tables, index).is_some() {
            return Some(index);
        }
    }
    None
}
