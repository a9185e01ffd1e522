//! The steps of a story that are taken out of line.
//!
//! In the kernel each of them is a function that the verifier walks once, by itself, whoever calls it and with what: what a story can have
//! come to so far does not multiply with all that may become of it. Such a function takes the context of its program, pointers to whole
//! records and integers, and returns no more than one integer; so what a step finds out it writes into the [`Plan`].

use crate::abi::Vserver;
use crate::packet::PacketMut;
use crate::tables::Tables;

use super::parse::Story;
use super::rewrite::Plan;

pub use super::any_port::find as find_any_port;
pub use super::fragment::{note, piece};
pub use super::guard::admit;
pub use super::life::{Fate, outlive};
pub use super::nat::allot;
pub use super::newcomer::{place, remember};
pub use super::outer::outer;
pub use super::quote::is_right;
pub use super::refuse::tell as refuse;
pub use super::relay::relay;
pub use super::reset::reset;
pub use super::rewrite::{carry_out, translate_rest};
pub use super::session::keep;

/// Tables, and how the long steps are called over them.
pub trait Steps: Tables + Sized {
    /// Whether a newcomer to a guarded vserver is let in. If not, [`Plan::reason`] says why.
    #[inline(always)]
    fn admit(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) -> bool {
        admit(self, vserver, story, plan)
    }

    /// Finds whose a packet is whose port nobody has: [`Plan::found`].
    #[inline(always)]
    fn find_any_port(&self, story: &Story, plan: &mut Plan) {
        find_any_port(self, story, plan);
    }

    /// Places a flow without a record: [`Plan::placement`].
    #[inline(always)]
    fn place(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        place(self, vserver, story, plan);
    }

    /// Gives the flow a source towards its backend, [`Plan::nat`]; whether it has one. If not, [`Plan::reason`] says why.
    #[inline(always)]
    fn allot(&self, story: &Story, plan: &mut Plan) -> bool {
        allot(self, story, plan)
    }

    /// Remembers what has to be of a flow that was just placed; why its packet leaves: [`Plan::reason`].
    #[inline(always)]
    fn remember(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        remember(self, vserver, story, plan);
    }

    /// Remembers which backend a client has, for its next flows.
    #[inline(always)]
    fn keep(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) {
        keep(self, vserver, story, plan);
    }

    /// Makes the packet look as the plan says: [`Plan::verdict`].
    #[inline(always)]
    fn carry_out<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        carry_out(packet, self, story, plan);
    }

    /// What becomes of a client's packet whose flow cannot simply go on, or whose vserver is down.
    #[inline(always)]
    fn outlive(&self, vserver: &Vserver, story: &Story, plan: &mut Plan) -> Fate {
        outlive(self, vserver, story, plan)
    }

    /// Turns the packet into a TCP reset of its connection: [`Plan::verdict`].
    #[inline(always)]
    fn reset<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        reset(packet, self, story, plan);
    }

    /// Turns the packet into an error about itself: [`Plan::verdict`].
    #[inline(always)]
    fn refuse<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        refuse(packet, self, story, plan);
    }

    /// Plans the way of an error to whom it concerns; whether it concerns anybody of the pair.
    #[inline(always)]
    fn relay<P: PacketMut>(&self, packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        relay(packet, self, story, plan)
    }

    /// Whether the checksum of an error is right.
    #[inline(always)]
    fn is_right<P: PacketMut>(&self, packet: &P, story: &Story) -> bool {
        is_right(packet, story)
    }

    /// Plans what a client is told because of an error about a tunnel; whether it is about one of the pair's.
    #[inline(always)]
    fn outer<P: PacketMut>(&self, packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        outer(packet, self, story, plan)
    }

    /// Makes what is no whole packet look as the plan says: [`Plan::verdict`].
    #[inline(always)]
    fn translate_rest<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &mut Plan) {
        translate_rest(packet, self, story, plan);
    }

    /// Reads a fragment; whether it goes on as a packet. If not, the plan says what becomes of it.
    #[inline(always)]
    fn piece<P: PacketMut>(&self, packet: &mut P, story: &mut Story, plan: &mut Plan) -> bool {
        piece(packet, self, story, plan)
    }

    /// Notes what is done with the first fragment of a datagram, for those that follow.
    #[inline(always)]
    fn note<P: PacketMut>(&self, packet: &mut P, story: &Story, plan: &Plan) {
        note(packet, self, story, plan);
    }
}
