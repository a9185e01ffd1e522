//! Which newcomers are let in?
//!
//! A newcomer is a packet without a record: those of recorded flows come past here unasked, so that nobody who is in is put out by a limit.
//! (Whom a list keeps out from now on the daemon puts out, by removing the record.)

use crate::abi::{
    Flow, FlowKey, PrefixKey, Reason, SOURCE_WINDOW, Source, SourceKey, Vserver, flow_flags, prefix_action, vserver_flags,
};
use crate::tables::Tables;

use super::parse::{Story, Transport};
use super::rewrite::Plan;

/// Lets a newcomer in, or not: then the plan's reason says why.
#[inline(always)]
pub fn admit<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) -> bool {
    if vserver.flags & vserver_flags::LISTED != 0 && !is_allowed(tables, vserver.flags, &plan.key) {
        plan.reason = Reason::Denied;
        return false;
    }
    if vserver.flags & vserver_flags::LIMITED == 0 {
        return true;
    }
    match within_limits(tables, vserver, story, plan) {
        Ok(()) => true,
        Err(reason) => {
            plan.reason = reason;
            false
        }
    }
}

/// Whether the lists of a vserver with these `flags` let the client of the flow `key` in: the longest prefix that it is in says so. Whoever is
/// in none is kept out as soon as somebody is let in by name.
#[inline(never)]
pub fn is_allowed<T: Tables>(tables: &T, flags: u32, key: &FlowKey) -> bool {
    match tables.prefix(&PrefixKey::host(key.index(), key.addr)) {
        prefix_action::ALLOW => true,
        prefix_action::NONE => flags & vserver_flags::ALLOW_LISTED == 0,
        _ => false,
    }
}

/// Whether the client's source may open one more connection.
#[inline(always)]
fn within_limits<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &Plan) -> Result<(), Reason> {
    let begins = story.opens() || story.transport == Transport::Udp && !plan.recorded;
    // A segment without SYN that nobody remembers belongs to a connection from before a takeover: it is counted, not judged.
    if !begins && (plan.recorded || tables.embryo(&plan.key.here()).is_none()) {
        return Ok(());
    }
    let limits = &vserver.limits;
    let key = SourceKey::new(plan.key.index(), limits, &plan.key.addr);
    let Some(source) = tables.source(&key) else {
        let source = Source::default();
        if limits.cost != 0 {
            source.pace.draw(tables.now(), limits.cost.into(), SOURCE_WINDOW);
        }
        tables.source_insert(&key, &source);
        return Ok(());
    };
    if limits.open_max != 0 && source.open() >= limits.open_max {
        return Err(Reason::SourceConnections);
    }
    if begins && limits.cost != 0 && !source.pace.draw(tables.now(), limits.cost.into(), SOURCE_WINDOW) {
        return Err(Reason::SourceRate);
    }
    Ok(())
}

/// A flow of a limited vserver was recorded, or begins anew: its record says [`flow_flags::COUNTED`].
#[inline(never)]
pub fn opened<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey) {
    let key = SourceKey::new(key.index(), &vserver.limits, &key.addr);
    match tables.source(&key) {
        Some(source) => source.open_one(),
        None => tables.source_insert(&key, &Source::with_counts(1, 1)),
    }
}

/// A flow that was counted is over.
#[inline(never)]
pub fn closed<T: Tables>(tables: &T, vserver: &Vserver, key: &FlowKey, flow: &mut Flow) {
    flow.flags &= !flow_flags::COUNTED;
    let key = SourceKey::new(key.index(), &vserver.limits, &key.addr);
    if let Some(source) = tables.source(&key) {
        source.close_one();
    }
}

/// Lets the SYN of the flow `key` through to backend `index`, which has many connections; or not yet. One that was let through before, and
/// is repeated, costs nothing.
#[inline(never)]
pub fn throttle<T: Tables>(tables: &T, index: u32, key: &FlowKey) -> bool {
    if tables.embryo(key).is_some_and(|embryo| embryo.backend == index) {
        return true;
    }
    match tables.throttle(index) {
        Some(throttle) => throttle.pace.draw(tables.now(), throttle.cost, throttle.cost),
        None => true,
    }
}
