//! Somebody else's VRRP advertisements: is a virtual router id of this pair used by others?

use crate::abi::{Event, FlowKey, Reason, event_kind, interface_flags, mac_word, vrid_flags};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::wire::{eth, vrrp};

use super::Verdict;
use super::parse::Story;

/// Tells the daemon of an advertisement of a VRID that this pair uses. The packet is the host's all the same.
#[inline(never)]
pub fn overhear<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &Story) -> Verdict {
    tell(packet, tables, story);
    Verdict::pass(Reason::NotOurs)
}

#[inline(always)]
fn tell<P: PacketMut, T: Tables>(packet: &P, tables: &T, story: &Story) -> Option<()> {
    let [kind, vrid, priority, _] = packet.load::<vrrp::Head>(story.l4())?;
    let family = if story.is_v6() { vrid_flags::V6 } else { vrid_flags::V4 };
    let ours = kind & 0xf == vrrp::ADVERTISEMENT && story.ttl == vrrp::TTL && tables.vrid(vrid) & family != 0;
    let ifindex = story.arrival.ifindex;
    if !ours || tables.interface(ifindex)?.flags & interface_flags::LEG == 0 {
        return None;
    }
    tables.emit(&Event {
        kind: event_kind::FOREIGN_VRRP,
        detail: u32::from(vrid) | u32::from(priority) << 8,
        at: tables.now(),
        flow: FlowKey { addr: story.here.addr, ..FlowKey::default() },
        ifindex,
        words: [mac_word(eth::source(story.frame.macs)), 0, 0, 0],
        ..Event::default()
    });
    Some(())
}
