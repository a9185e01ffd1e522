//! Which backend had this client before? Asked for newcomers only; flows that are recorded stay where they are anyhow.

use crate::abi::{Ip, Reason, Session, SessionKey, Vserver, vserver_flags};
use crate::tables::Tables;

use super::parse::Story;
use super::rewrite::Plan;

/// Whether `vserver` has sessions.
#[inline(always)]
pub const fn has(vserver: &Vserver) -> bool {
    vserver.flags & (vserver_flags::PERSIST_SOURCE | vserver_flags::PERSIST_DESTINATION) != 0
}

/// What the client of `story` is known by.
#[inline(always)]
fn key(vserver: &Vserver, story: &Story) -> SessionKey {
    let part = |flag: u32, addr: &Ip| {
        // All ones if the flag is set.
        let counts = 0u32.wrapping_sub((vserver.flags & flag) / flag);
        let (Ip(addr), Ip(mask)) = (addr, &vserver.session_mask);
        Ip([addr[0] & mask[0] & counts, addr[1] & mask[1] & counts, addr[2] & mask[2] & counts, addr[3] & mask[3] & counts])
    };
    SessionKey {
        vserver: vserver.sessions,
        source: part(vserver_flags::PERSIST_SOURCE, &story.here.addr),
        destination: part(vserver_flags::PERSIST_DESTINATION, &story.there.addr),
    }
}

/// The backend that the client had, or [`crate::abi::NO_BACKEND`].
#[inline(never)]
pub fn find<T: Tables>(tables: &T, vserver: &Vserver, story: &Story) -> u32 {
    let key = key(vserver, story);
    let known = tables.session_mut(&key).map(|session| session.backend);
    match known {
        Some(backend) => backend,
        None => tables.session_embryo(&key),
    }
}

/// Remembers where a flow of `plan` went that was just placed: for certain if it was recorded, else, if it is a SYN, until it is confirmed or others
/// need the room. A flood of SYNs cannot fill `PERSIST`. The plan's reason says so if there was no room.
#[inline(always)]
pub fn keep<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) {
    let key = key(vserver, story);
    let session = Session { backend: plan.placement.backend, reserved: 0, seen: tables.ticks() };
    match plan.reason {
        Reason::ForwardSyn => tables.session_embryo_insert(&key, &session),
        Reason::ForwardNew if !kept(tables, &key, &session) => plan.reason = Reason::ForwardNoSession,
        _ => {}
    }
}

#[inline(always)]
fn kept<T: Tables>(tables: &T, key: &SessionKey, session: &Session) -> bool {
    if let Some(mut known) = tables.session_mut(key) {
        *known = *session;
        return true;
    }
    let inserted = tables.session_insert(key, session).is_ok();
    if inserted {
        tables.session_embryo_remove(key);
    }
    inserted
}
