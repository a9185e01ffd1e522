//! What becomes of a conversation whose backend, or whose vserver, is down?
//!
//! ```text
//! -downStateFlush      of the vserver and of the backend     who speaks next            the record
//! ENABLED on either    cut off                               gets a TCP reset           marked by the daemon, forgotten later
//! DISABLED on both     goes on, as if nothing were down      is forwarded               stays
//! ```
//!
//! A connection is cut off by its own next segment: a reset in answer to it has the right sequence numbers without anybody having counted
//! them, nothing has to be sent to millions of clients at once, and who never speaks again needs none. Each side is told when it
//! speaks; whoever resets the connection by itself is passed on, so that the other side learns of it even where it answers past this node.
//! While backend or vserver is down its flags alone decide, so there is no moment at which a packet slips through. That it *was* down the
//! daemon notes in each record by [`CUT_OFF`], for when it is up again and its clients have not spoken yet. (It does not remove them: a
//! segment without a record is no sign of anything, it is placed by the ring.)
//!
//! Datagrams begin anew at another backend, if there is one: there is nobody to tell. So does a new connection from the same port.

use crate::abi::{CUT_OFF, Flow, FlowKey, Owner, Reason, Vserver, backend_flags, tcp_seen, vserver_flags};
use crate::tables::Tables;

use super::parse::{Story, Transport};
use super::rewrite::{self, Plan, Step};
use super::{Verdict, flow, gate, l2};

const _: () = assert!(vserver_flags::CUTS_OFF == backend_flags::CUTS_OFF && vserver_flags::KEEPS == backend_flags::KEEPS);

/// What becomes of a packet whose flow cannot simply go on. An integer: what a global function of the kernel can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fate {
    /// A flow begins with it.
    Begins = 0,
    /// It goes to the backend of [`Plan::index`].
    GoesOn = 1,
    /// It does not, for [`Plan::reason`]; its sender is told if [`Plan::step`] says so.
    Ends = 2,
}

impl Fate {
    /// The one of this number.
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Fate::Begins,
            1 => Fate::GoesOn,
            _ => Fate::Ends,
        }
    }
}

/// What becomes of a client's packet whose flow cannot simply go on, or whose vserver is down.
#[inline(always)]
pub fn outlive<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Fate {
    let key = plan.key.here();
    if vserver.flags & vserver_flags::L2_CONN != 0 && l2::is_anothers(tables, story, &key) {
        plan.reason = Reason::L2Conflict;
        return Fate::Ends;
    }
    // One that says neither is silent: its address is out of use.
    if vserver.flags & (vserver_flags::CUTS_OFF | vserver_flags::KEEPS) != 0 {
        let fate = recorded(tables, vserver, story, plan, &key);
        if fate != Fate::Begins {
            return fate;
        }
    }
    if vserver.flags & vserver_flags::DOWN == 0 {
        return Fate::Begins;
    }
    plan.reason = Reason::VserverDown;
    if vserver.flags & vserver_flags::RESETS != 0 && may_be_reset(story) {
        plan.reason = Reason::ResetDown;
        plan.step = Step::Reset;
    }
    Fate::Ends
}

/// What becomes of it by the flow's record; it begins one if there is none that counts.
#[inline(always)]
fn recorded<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan, key: &FlowKey) -> Fate {
    let Some(mut recorded) = tables.flow_mut(key) else {
        return Fate::Begins;
    };
    let index = recorded.placed_at();
    let backend = tables.backend(index).map_or(0, |backend| backend.flags);
    let gone = if backend & backend_flags::UP == 0 { backend | vserver.flags } else { 0 };
    let down = if vserver.flags & vserver_flags::DOWN != 0 { vserver.flags } else { 0 };
    // One word for both: the flags of either have the same bits.
    let cut = recorded.is_cut_off() || (gone | down) & vserver_flags::CUTS_OFF != 0;
    if cut {
        return cut_off(tables, vserver, story, plan, &mut recorded);
    }
    let all_up = gone | down == 0;
    let backend_kept = backend & (backend_flags::UP | backend_flags::KEEPS) != 0;
    let kept = vserver.flags & vserver_flags::KEEPS != 0 && backend_kept;
    if all_up || !kept || flow::gives_way(&recorded, story) {
        return Fate::Begins;
    }
    go_on(tables, vserver, story, plan, &mut recorded)
}

/// A packet of a flow that is cut off.
#[inline(always)]
fn cut_off<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan, recorded: &mut Flow) -> Fate {
    if story.transport != Transport::Tcp || story.opens() {
        return Fate::Begins;
    }
    if flow::tcp_marks(story) & tcp_seen::RST != 0 {
        return go_on(tables, vserver, story, plan, recorded);
    }
    recorded.server_tcp |= tcp_seen::RST;
    flow::tell_closed(tables, vserver, &plan.key, recorded);
    plan.step = Step::Reset;
    plan.reason = Reason::ResetCutOff;
    Fate::Ends
}

/// A packet that goes where its flow's record says, up or down.
#[inline(always)]
fn go_on<T: Tables>(tables: &T, vserver: &Vserver, story: &Story, plan: &mut Plan, recorded: &mut Flow) -> Fate {
    plan.index = recorded.placed_at();
    plan.nat = recorded.nat;
    plan.reason = Reason::ForwardHit;
    flow::from_client(tables, recorded, story);
    let marks = flow::tcp_marks(story);
    if marks != 0 {
        recorded.client_tcp |= marks;
        flow::tell_closed(tables, vserver, &plan.key, recorded);
    }
    Fate::GoesOn
}

/// Whether a segment may be answered with a reset: anything but a reset may (RFC 9293, 3.10.7.1).
#[inline(always)]
fn may_be_reset(story: &Story) -> bool {
    story.transport == Transport::Tcp && flow::tcp_marks(story) & tcp_seen::RST == 0
}

/// What becomes of an answer of `owner` if its flow was cut off: Transmit if it goes to the client, Drop if it does not, or its sender is told;
/// Pass if the flow was not.
#[inline(never)]
pub fn of_server<T: Tables>(tables: &T, story: &Story, owner: &Owner, plan: &mut Plan) -> Verdict {
    const NOT_CUT_OFF: Verdict = Verdict::pass(Reason::BackendOwn);
    let Some(mut recorded) = tables.flow_mut(&plan.key) else {
        return NOT_CUT_OFF;
    };
    if recorded.backend != owner.backend | CUT_OFF {
        return NOT_CUT_OFF;
    }
    let Some(vserver) = tables.vserver(plan.key.index()) else {
        return Verdict::drop(Reason::NotConfigured);
    };
    if let Err(verdict) = gate::enter(tables, story.arrival, vserver.group) {
        return verdict;
    }
    if may_be_reset(story) {
        recorded.client_tcp |= tcp_seen::RST;
        plan.step = Step::Reset;
        plan.reason = Reason::ResetCutOff;
        return Verdict::drop(Reason::ResetCutOff);
    }
    if let Err(verdict) = rewrite::lives_on(story) {
        return verdict;
    }
    flow::from_server(tables, &mut recorded, story.len);
    recorded.server_tcp |= flow::tcp_marks(story);
    plan.hop = recorded.client_hop;
    plan.reason = Reason::ReturnHit;
    plan.step = Step::Return;
    plan.index = plan.key.index();
    Verdict::transmit(Reason::ReturnHit)
}
