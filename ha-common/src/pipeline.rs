//! What happens to this packet, and why?
//!
//! ```text
//!            parse ──▶ classify ──▶ gate ──▶ select ──▶ rewrite ──▶ Verdict
//! what is it?    whose is it?   do we serve?  which     how must    what becomes of it,
//!                                             backend?  it look?    and for which Reason
//! ```
//!
//! [`process`] is called for every received frame, by XDP and by host tests alike; [`egress`] for every frame that the host's own
//! stack sends. Neither allocates, loops without a bound or reads a clock except through [`Tables`](crate::tables::Tables). Whoever calls them counts the
//! packet, once, under the verdict's [`Reason`].
//!
//! What a packet of an established flow runs through is one function after inlining. What is rare (answers in place, newcomers,
//! strays, heartbeats) is not inlined: each has the kernel's small stack to itself, takes at most five arguments and returns at
//! most eight bytes, because that is all that the kernel's functions can do. The longest of them are [`Steps`].

mod any_port;
mod classify;
mod counted;
mod echo;
mod egress;
mod flow;
mod fragment;
mod gate;
mod guard;
mod hash;
pub mod heartbeat;
mod l2;
mod life;
mod limit;
mod nat;
mod neighbour;
mod newcomer;
mod nodes;
mod outer;
mod parse;
mod placement;
mod quote;
mod refuse;
mod relay;
mod reset;
mod returning;
mod rewrite;
mod router;
mod select;
mod session;
pub mod steps;
mod stray;
mod traced;
mod tunnel;
mod verdict;
mod virtual_mac;

pub use egress::{EGRESS_HEADERS, Egress, egress};
pub use hash::{client_hash, flow_hash, rehash};
pub use l2::place as l2_place;
pub use parse::Story;
pub use placement::Placement;
pub use rewrite::{Plan, Step};
pub use steps::Steps;
pub use traced::wants;
pub use verdict::{Action, Verdict};

use crate::abi::Reason;
use crate::packet::PacketMut;
use crate::wire::eth::ether_type;

use classify::Concern;
use parse::Fault;
use rewrite::Way;

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// Interface index.
    pub ifindex: u32,
}

/// Where a packet came in, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Interface whose packet it is: a leg.
    ifindex: u32,
    /// HA link that it was carried over, as a stray of the peer; 0 when it came by itself.
    carried_over: u32,
}

impl Arrival {
    #[inline(always)]
    fn is_carried(&self) -> bool {
        self.carried_over != 0
    }
}

/// Decides about a received frame, and makes it look as it must to leave.
#[inline(always)]
pub fn process<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, ingress: Ingress) -> Verdict {
    let mut arrival = nodes::by_itself(ingress);
    if nodes::may_speak(packet)
        && let Some(verdict) = nodes::listen(packet, tables, ingress, &mut arrival)
    {
        return verdict;
    }
    let verdict = tell(packet, tables, arrival);
    if arrival.is_carried() {
        return stray::deliver(packet, tables, &arrival, verdict);
    }
    match verdict.action() {
        Action::Drop if verdict.reason() == Reason::NotServing => stray::carry(packet, tables, &arrival),
        Action::Pass => {
            if virtual_mac::is_addressed(packet) {
                virtual_mac::take(packet, tables, &arrival);
            }
            verdict
        }
        Action::Drop | Action::Transmit | Action::Redirect(_) => verdict,
    }
}

/// A packet's whole story.
#[inline(always)]
fn tell<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, arrival: Arrival) -> Verdict {
    let frame = match parse::frame(packet) {
        Ok(frame) => frame,
        Err(verdict) => return verdict,
    };
    match frame.ether_type {
        ether_type::IPV4 | ether_type::IPV6 => {}
        ether_type::ARP => return neighbour::arp(packet, tables, &arrival, &frame),
        _ => return Verdict::pass(Reason::NotIp),
    }
    let mut story = Story::new(arrival, frame, packet.len());
    let Some(mut room) = tables.plan_room() else {
        return Verdict::pass(Reason::NotConfigured);
    };
    let plan = &mut *room;
    *plan = Plan::default();
    // Where nothing else is returned from here the plan is made: pointers do not survive being returned together with verdicts.
    let planned = 'planned: {
        match parse::packet(packet, &mut story) {
            Ok(()) => {}
            Err(Fault::Part) if tables.piece(packet, &mut story, plan) => {}
            Err(Fault::Part) => break 'planned Ok(()),
            Err(fault) => return classify::faulty(tables, &story, fault),
        }
        match classify::concern(packet, tables, &mut story, plan) {
            Concern::Vserver(index) => select::forward(tables, &story, index, plan),
            Concern::Owner(owner, port) => match returning::answer(tables, &story, &owner, port, plan) {
                Ok(None) => Ok(()),
                Ok(Some(address)) => return echo::address(packet, tables, &story, address),
                Err(verdict) => Err(verdict),
            },
            Concern::Planned => Ok(()),
            Concern::Address(address) => return echo::address(packet, tables, &story, address),
            Concern::Solicitation => return neighbour::solicitation(packet, tables, &story),
            Concern::Advertisement => return neighbour::advertisement(packet, tables, &story),
            Concern::Router => return router::overhear(packet, tables, &story),
            Concern::Nobody => return Verdict::pass(Reason::NotOurs),
        }
    };
    match planned {
        Ok(()) => carry_out(packet, tables, &story, plan),
        Err(_) if plan.step == Step::Reset => tables.reset(packet, &story, plan),
        Err(verdict) => return verdict,
    }
    plan.verdict
}

/// Does what is planned.
#[inline(always)]
fn carry_out<P: PacketMut, T: Steps>(packet: &mut P, tables: &T, story: &Story, plan: &mut Plan) {
    match plan.way {
        Way::Packet => {}
        Way::First => tables.note(packet, story, plan),
        Way::Later | Way::Quote if !plan.step.translates() => {}
        Way::Later | Way::Quote => return tables.translate_rest(packet, story, plan),
        Way::Refused => return tables.refuse(packet, story, plan),
        Way::Ended => return,
    }
    tables.carry_out(packet, story, plan);
}
