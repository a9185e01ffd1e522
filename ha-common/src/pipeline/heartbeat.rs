//! Is this heartbeat genuine, what does it change, and what goes back?
//!
//! Called for IPv4 UDP to port [`heartbeat::PORT`] at the node's own NSIP on an interface that carries heartbeats. Verifies, records and
//! judges in the kernel ([`crate::ha::hearing`]); a request leaves again as its own echo, everything else ends here. No heartbeat ever
//! reaches the host's stack.

use crate::abi::{Event, Interface, Key, Link, Node, Reason, Term, event_kind, mac_word};
use crate::ha::dispute::Ruling;
use crate::ha::hearing::{self, Heard};
use crate::packet::PacketMut;
use crate::tables::Tables;
use crate::time::Nanos;
use crate::wire::Be16;
use crate::wire::heartbeat::{
    self, Extension, FRAME_LEN, MAGIC, PAYLOAD_LEN, PAYLOAD_OFFSET, PUBLIC_LEN, SIGNED_LEN, VERSION, kind,
};
use crate::wire::siphash::{SipHash, Tag};

const ETH_SOURCE: usize = 6;
const IP_LENGTH: usize = 16;
const IP_FRAGMENT: usize = 20;
const IP_SOURCE: usize = 26;
const IP_DESTINATION: usize = 30;
const UDP_LENGTH: usize = 38;
const UDP_CHECKSUM: usize = 40;
const EXTENSION: usize = PAYLOAD_OFFSET + PUBLIC_LEN;
const PUBLIC_SEQUENCE: usize = PAYLOAD_OFFSET + 12;
const RELEASE: usize = PAYLOAD_OFFSET + heartbeat::PUBLIC_RELEASE;
const FLAGS: usize = PAYLOAD_OFFSET + heartbeat::PUBLIC_FLAGS;
const TAG: usize = PAYLOAD_OFFSET + SIGNED_LEN;

/// Judges the heartbeat in `packet`, which came in on `interface`, and turns it into an echo if that is what it asks for:
/// then the reason is [`Reason::HeartbeatEchoed`] or [`Reason::HeartbeatClaim`] and the frame is to be transmitted; for every
/// other reason it is to be dropped.
#[inline(always)]
pub fn answer<P: PacketMut, T: Tables>(packet: &mut P, tables: &T, interface: &Interface) -> Reason {
    let (Some(node), Some(fence), Some(mut link)) = (tables.node(), tables.fence(), tables.link_mut(interface.link)) else {
        return Reason::NotConfigured;
    };
    let Some(source) = source_of_whole(packet) else { return Reason::HeartbeatMalformed };
    if source != node.peer_nsip && source != node.nsip {
        return Reason::HeartbeatNotForUs;
    }
    let Some(mut room) = tables.frame_room() else { return Reason::NotConfigured };
    let frame: &mut Extension = &mut room;
    let Some(extension) = packet.load::<Extension>(EXTENSION) else { return Reason::HeartbeatMalformed };
    *frame = extension;
    if frame.magic != MAGIC {
        return Reason::HeartbeatMalformed;
    }
    // What follows the version is of a layout that this release does not know: nothing of it is believed.
    if frame.version != VERSION {
        return Reason::HeartbeatVersion;
    }
    if !(kind::REQUEST..=kind::CLAIM).contains(&frame.kind) {
        return Reason::HeartbeatMalformed;
    }
    let now = tables.now();
    let Some(mac) = packet.load::<[u8; 6]>(ETH_SOURCE) else { return Reason::HeartbeatMalformed };
    if source == node.nsip && frame.sender_nonce != node.boot_nonce {
        link.duplicates += 1;
        link.duplicate_at = now;
        link.duplicate_mac = mac_word(mac);
        return Reason::HeartbeatDuplicate;
    }
    if source == node.nsip || u32::from(frame.sender) == node.node_id {
        link.looped += 1;
        return Reason::HeartbeatOwn;
    }
    if mac == interface.mac {
        link.twins += 1;
        link.twin_at = now;
    }
    if let Err(reason) = verify(packet, node, &mut link, frame, now) {
        return reason;
    }
    let heard = hearing::hear(node, fence, &mut link, frame, now);
    match heard {
        Heard::Own => return Reason::HeartbeatOwn,
        Heard::NotOurs => return Reason::HeartbeatNotForUs,
        Heard::Stale if frame.kind == kind::ECHO => return Reason::HeartbeatStale,
        Heard::Stale => {}
        Heard::Fresh { ruling, news } => {
            link.peer_mac = mac_word(mac);
            learn_public(packet, &mut link);
            if news {
                tell(tables, interface, ruling, now);
            }
        }
    }
    if frame.kind == kind::ECHO {
        return Reason::HeartbeatTaken;
    }
    let reason = if frame.kind == kind::CLAIM { Reason::HeartbeatClaim } else { Reason::HeartbeatEchoed };
    hearing::echo(node, fence, frame, now);
    match write_echo(packet, node, interface, frame) {
        Some(()) => reason,
        None => Reason::HeartbeatMalformed,
    }
}

/// Who sent the frame, if it is as long as it says, which has to be as long as a heartbeat is, and in one piece.
#[inline(always)]
fn source_of_whole<P: PacketMut>(packet: &P) -> Option<u32> {
    // One `?` per value: an `Option` that is compared as a whole reads its payload even where there is none, which the kernel's
    // verifier refuses.
    let ip = packet.load::<Be16>(IP_LENGTH)?;
    let udp = packet.load::<Be16>(UDP_LENGTH)?;
    let fragment = packet.load::<Be16>(IP_FRAGMENT)?.get() & 0x3fff;
    let whole = packet.len() >= FRAME_LEN
        && ip == Be16::new((FRAME_LEN - 14) as u16)
        && udp == Be16::new((PAYLOAD_LEN + 8) as u16)
        && fragment == 0;
    if whole { packet.load(IP_SOURCE) } else { None }
}

/// Checks the tag with the key that the frame names.
#[inline(always)]
fn verify<P: PacketMut>(packet: &P, node: &Node, link: &mut Link, frame: &Extension, now: Nanos) -> Result<(), Reason> {
    let [present, former] = &node.rx_keys;
    let key = if frame.key_id == present.id { present } else { former };
    if frame.key_id == 0 || key.id != frame.key_id {
        link.unknown_keys += 1;
        link.unknown_key_at = now;
        link.unknown_key_serves = frame.groups.iter().any(|group| !group.term.is_none()).into();
        return Err(Reason::HeartbeatUnknownKey);
    }
    let (Some(said), Some(signed)) = (packet.load::<Tag>(TAG), sign(packet, key)) else {
        return Err(Reason::HeartbeatMalformed);
    };
    if said.0 != signed.0 || said.1 != signed.1 {
        link.bad_tags += 1;
        return Err(Reason::HeartbeatBadTag);
    }
    Ok(())
}

/// The tag that belongs to the payload in `packet` under `key`.
#[inline(always)]
pub fn sign<P: PacketMut>(packet: &P, key: &Key) -> Option<Tag> {
    let mut hash = SipHash::new(key);
    for word in 0..SIGNED_LEN / 8 {
        hash.word(u64::from_le(packet.load::<u64>(PAYLOAD_OFFSET + word * 8)?));
    }
    Some(hash.finish())
}

/// Of the public part, what the extension does not repeat.
#[inline(always)]
fn learn_public<P: PacketMut>(packet: &P, link: &mut Link) {
    if let (Some(release), Some(flags)) = (packet.load::<u32>(RELEASE), packet.load::<u32>(FLAGS)) {
        link.peer_release = u32::from_le(release);
        link.peer_flags = u32::from_le(flags);
    }
}

/// Wakes the daemon: it should look now.
#[inline(always)]
fn tell<T: Tables>(tables: &T, interface: &Interface, ruling: Ruling, now: Nanos) {
    let (kind, detail, term) = match ruling {
        Ruling::Stands => (event_kind::PEER_CHANGED, interface.link, Term::NONE),
        Ruling::Granted(term) => (event_kind::RULING, ruling_code::GRANTED, term),
        Ruling::Yielded(term) => (event_kind::RULING, ruling_code::YIELDED, term),
        Ruling::Lost(term) => (event_kind::RULING, ruling_code::LOST, term),
        Ruling::Won(term) => (event_kind::RULING, ruling_code::WON, term),
        Ruling::Unheard(term) => (event_kind::RULING, ruling_code::UNHEARD, term),
        Ruling::Overslept(term) => (event_kind::RULING, ruling_code::OVERSLEPT, term),
    };
    tables.emit(&Event { kind, detail, at: now, words: [term.0, 0, 0, 0], ..Event::default() });
}

/// `Event::detail` of a ruling.
pub mod ruling_code {
    use crate::abi::Term;
    use crate::ha::dispute::Ruling;

    /// The armed term came into force.
    pub const GRANTED: u32 = 1;
    /// A claim was obeyed.
    pub const YIELDED: u32 = 2;
    /// A dispute was lost.
    pub const LOST: u32 = 3;
    /// A dispute was won.
    pub const WON: u32 = 4;
    /// The peer serves and hears nothing.
    pub const UNHEARD: u32 = 5;
    /// The peer took over while this machine stood still.
    pub const OVERSLEPT: u32 = 6;

    /// The ruling that an event carries.
    #[must_use]
    pub fn ruling(code: u32, term: Term) -> Ruling {
        match code {
            GRANTED => Ruling::Granted(term),
            YIELDED => Ruling::Yielded(term),
            LOST => Ruling::Lost(term),
            WON => Ruling::Won(term),
            UNHEARD => Ruling::Unheard(term),
            OVERSLEPT => Ruling::Overslept(term),
            _ => Ruling::Stands,
        }
    }
}

/// Writes `frame` over the request and sends it back where it came from.
#[inline(always)]
fn write_echo<P: PacketMut>(packet: &mut P, node: &Node, interface: &Interface, frame: &Extension) -> Option<()> {
    let asker = packet.load::<[u8; 6]>(ETH_SOURCE)?;
    packet.store(0, asker)?;
    packet.store(ETH_SOURCE, interface.mac)?;
    // Source and destination change places: the header's checksum stays right.
    let source = packet.load::<u32>(IP_SOURCE)?;
    let destination = packet.load::<u32>(IP_DESTINATION)?;
    packet.store(IP_SOURCE, destination)?;
    packet.store(IP_DESTINATION, source)?;
    packet.store(UDP_CHECKSUM, 0u16)?;
    write_payload(packet, node, frame)
}

/// Writes the whole payload, tag included: what a request and an echo have in common.
#[inline(always)]
pub fn write_payload<P: PacketMut>(packet: &mut P, node: &Node, frame: &Extension) -> Option<()> {
    for word in 0..PUBLIC_LEN / 4 {
        packet.store(PAYLOAD_OFFSET + word * 4, *node.public.get(word)?)?;
    }
    packet.store(PUBLIC_SEQUENCE, (frame.seq as u32).to_le())?;
    packet.store(EXTENSION, *frame)?;
    let tag = sign(packet, &node.tx_key)?;
    packet.store(TAG, tag)
}

/// Writes the headers of a request from `node` on `interface` to the MAC address `to`.
pub fn write_headers<P: PacketMut>(packet: &mut P, node: &Node, mac: [u8; 6], to: [u8; 6]) -> Option<()> {
    packet.store(0, to)?;
    packet.store(ETH_SOURCE, mac)?;
    packet.store(12, Be16::new(0x0800))?;
    let mut header = [0u8; 20];
    header[0] = 0x45;
    header[1] = 0xc0; // CS6, network control (RFC 4594)
    header[2..4].copy_from_slice(&((FRAME_LEN - 14) as u16).to_be_bytes());
    header[6] = 0x40; // don't fragment
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&node.nsip.to_ne_bytes());
    header[16..20].copy_from_slice(&node.peer_nsip.to_ne_bytes());
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.store(14, header)?;
    packet.store(34, Be16::new(heartbeat::PORT))?;
    packet.store(36, Be16::new(heartbeat::PORT))?;
    packet.store(UDP_LENGTH, Be16::new((PAYLOAD_LEN + 8) as u16))?;
    packet.store(UDP_CHECKSUM, 0u16)
}

#[cfg(test)]
mod tests;
