//! Two nodes' kernels, byte for byte.

use core::time::Duration;

use super::*;
use crate::abi::interface_flags;
use crate::packet::HostPacket;
use crate::tables::HostTables;

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

fn key(n: u64) -> Key {
    Key { k0: n, k1: !n, id: n }
}

/// The tables of node `id` of the pair: keys 1 (sent by node 1) and 2 (sent by node 2).
fn tables(id: u8, nonce: u64) -> HostTables {
    let other = 3 - id;
    let nsip = |id: u8| u32::from_ne_bytes([10, 9, 0, id]);
    let node = Node {
        nsip: nsip(id),
        peer_nsip: nsip(other),
        node_id: id.into(),
        peer_id: other.into(),
        boot_nonce: nonce,
        controller_dead: 3_000_000_000,
        tx_key: key(id.into()),
        rx_keys: [key(other.into()), Key::default()],
        ..Node::default()
    };
    let tables = HostTables { node, ..HostTables::default() };
    tables.now.set(Nanos(1_000_000_000 * u64::from(id)));
    tables
}

fn interface(id: u8) -> Interface {
    Interface {
        flags: interface_flags::HEARTBEAT,
        ifindex: 7,
        mac: MACS[usize::from(id) - 1],
        mtu: 1560,
        ..Interface::default()
    }
}

fn request(tables: &mut HostTables) -> HostPacket {
    tables.node.sent_seq += 1;
    let now = tables.now.get();
    let mut frame = Extension { kind: kind::REQUEST, seq: tables.node.sent_seq, stamp: now.0, ..Extension::default() };
    hearing::compose(&tables.node, &tables.fence, &mut frame, now);
    let mut packet = HostPacket::new(&[0; FRAME_LEN]);
    write_headers(&mut packet, &tables.node, MACS[tables.node.node_id as usize - 1], [0xff; 6]).unwrap();
    write_payload(&mut packet, &tables.node, &frame).unwrap();
    tables.now.set(now + Duration::from_micros(10));
    packet
}

fn take(tables: &HostTables, packet: &mut HostPacket) -> Reason {
    tables.now.set(tables.now.get() + Duration::from_micros(10));
    answer(packet, tables, &interface(tables.node.node_id as u8))
}

fn echoes(tables: &HostTables) -> u64 {
    tables.links[0].borrow().echoes
}

/// `asker` asks, the other answers, `asker` takes the echo.
fn exchange(asker: &mut HostTables, other: &HostTables) -> HostPacket {
    let mut packet = request(asker);
    assert_eq!(take(other, &mut packet), Reason::HeartbeatEchoed);
    let echo = packet.clone();
    assert_eq!(take(asker, &mut packet), Reason::HeartbeatTaken);
    echo
}

#[test]
fn request_comes_back_as_an_echo_that_counts() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    exchange(&mut a, &b);
    assert_eq!(echoes(&a), 1);
    assert_eq!(a.links[0].borrow().said.sender, 2);
    assert_eq!(a.links[0].borrow().peer_mac, 0x0200_0000_0002);
}

#[test]
fn recorded_echo_after_a_reboot_of_this_side_does_not_count() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let recorded = exchange(&mut a, &b);
    let mut reborn = tables(1, 12);
    request(&mut reborn);
    assert_eq!(take(&reborn, &mut recorded.clone()), Reason::HeartbeatStale);
    assert_eq!(echoes(&reborn), 0);
}

#[test]
fn recorded_frames_after_a_reboot_of_the_other_side_do_not_count() {
    let (mut a, mut b) = (tables(1, 11), tables(2, 22));
    let recorded_echo = exchange(&mut a, &b);
    exchange(&mut b, &a);
    let mut recorded_request = request(&mut b);
    let mut reborn = tables(2, 23);
    exchange(&mut a, &reborn);
    exchange(&mut reborn, &a);
    let before = *a.links[0].borrow();
    assert_eq!(take(&a, &mut recorded_echo.clone()), Reason::HeartbeatStale);
    assert_eq!(take(&a, &mut recorded_request), Reason::HeartbeatEchoed, "harmless: the echo names the dead life");
    let after = *a.links[0].borrow();
    assert_eq!((before.echoes, before.requests, before.said), (after.echoes, after.requests, after.said));
}

#[test]
fn the_same_echo_counts_once() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let echo = exchange(&mut a, &b);
    assert_eq!(take(&a, &mut echo.clone()), Reason::HeartbeatStale);
    assert_eq!(echoes(&a), 1);
}

#[test]
fn own_frame_looped_back_is_no_life() {
    let mut a = tables(1, 11);
    let mut looped = request(&mut a);
    assert_eq!(take(&a, &mut looped), Reason::HeartbeatOwn);
    assert_eq!(a.links[0].borrow().looped, 1);
}

#[test]
fn frame_of_another_machine_from_the_own_address_is_named_whatever_its_key() {
    let (a, mut other) = (tables(1, 11), tables(1, 12));
    other.node.tx_key = key(9);
    let mut frame = request(&mut other);
    frame.store(ETH_SOURCE, [2u8, 0, 0, 0, 0, 7]).unwrap();
    let before = *a.links[0].borrow();
    assert_eq!(take(&a, &mut frame), Reason::HeartbeatDuplicate);
    let link = a.links[0].borrow();
    assert_eq!((link.duplicates, link.duplicate_mac, link.looped), (1, 0x0200_0000_0007, 0));
    assert_eq!((link.unknown_keys, link.said), (0, before.said), "it says nothing of the peer");
}

#[test]
fn peer_with_this_interfaces_mac_is_noted_and_still_heard() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let mut frame = request(&mut a);
    frame.store(ETH_SOURCE, MACS[1]).unwrap();
    assert_eq!(take(&b, &mut frame), Reason::HeartbeatEchoed);
    assert_eq!(b.links[0].borrow().twins, 1);
    let mut frame = request(&mut a);
    assert_eq!(take(&b, &mut frame), Reason::HeartbeatEchoed);
    assert_eq!(b.links[0].borrow().twins, 1);
}

#[test]
fn echo_is_never_echoed() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let mut packet = request(&mut a);
    take(&b, &mut packet);
    let echo = packet.clone();
    assert_eq!(take(&a, &mut packet), Reason::HeartbeatTaken);
    // Sent back to its maker, and to the asker once more.
    assert_eq!(take(&b, &mut echo.clone()), Reason::HeartbeatOwn);
    assert_eq!(take(&a, &mut echo.clone()), Reason::HeartbeatStale);
}

#[test]
fn one_wrong_bit_anywhere_in_the_payload_is_believed_in_nothing() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let good = request(&mut a);
    for bit in 0..PAYLOAD_LEN * 8 {
        let mut bytes = good.frame().to_vec();
        bytes[PAYLOAD_OFFSET + bit / 8] ^= 1 << (bit % 8);
        let reason = take(&b, &mut HostPacket::new(&bytes));
        assert!(
            matches!(
                reason,
                Reason::HeartbeatBadTag
                    | Reason::HeartbeatUnknownKey
                    | Reason::HeartbeatMalformed
                    | Reason::HeartbeatVersion
                    | Reason::HeartbeatOwn
            ),
            "bit {bit}: {reason:?}"
        );
    }
    let link = b.links[0].borrow();
    assert_eq!((link.echoes, link.requests, link.stale), (0, 0, 0));
}

#[test]
fn truncated_anywhere_is_malformed() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let good = request(&mut a);
    for len in 42..FRAME_LEN {
        assert_eq!(take(&b, &mut HostPacket::new(&good.frame()[..len])), Reason::HeartbeatMalformed, "{len}");
    }
}

#[test]
fn wrong_key_is_noted_with_whether_its_sender_serves() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    a.node.tx_key = key(9);
    a.node.groups[0].role_term = Term::new(3, 1);
    assert_eq!(take(&b, &mut request(&mut a)), Reason::HeartbeatUnknownKey);
    let link = b.links[0].borrow();
    assert_eq!((link.unknown_keys, link.unknown_key_serves), (1, 1));
    assert_ne!(link.unknown_key_at, Nanos::NEVER);
}

#[test]
fn former_key_is_accepted_beside_the_present_one() {
    let (mut a, mut b) = (tables(1, 11), tables(2, 22));
    b.node.rx_keys = [key(9), key(1)];
    exchange(&mut a, &b);
    a.node.tx_key = key(9);
    exchange(&mut a, &b);
    b.node.rx_keys = [key(9), Key::default()];
    a.node.tx_key = key(1);
    assert_eq!(take(&b, &mut request(&mut a)), Reason::HeartbeatUnknownKey);
}

#[test]
fn kernel_without_a_daemon_believes_a_new_life_that_names_what_it_just_said() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    exchange(&mut a, &b);
    // b's daemon never asks, so only a's second request, which names b's echo, proves a's life.
    assert_eq!(b.links[0].borrow().requests, 0);
    assert_eq!(take(&b, &mut request(&mut a)), Reason::HeartbeatEchoed);
    assert_eq!(b.links[0].borrow().requests, 1);
}

#[test]
fn release_and_public_flags_of_the_peer_are_kept_of_fresh_frames_alone() {
    let (mut a, mut b) = (tables(1, 11), tables(2, 22));
    b.node.public[heartbeat::PUBLIC_RELEASE / 4] = 0x0001_0002_u32.to_le();
    b.node.public[heartbeat::PUBLIC_FLAGS / 4] = heartbeat::public_flags::INC.to_le();
    let old = exchange(&mut a, &b);
    let known = |tables: &HostTables| (tables.links[0].borrow().peer_release, tables.links[0].borrow().peer_flags);
    assert_eq!(known(&a), (0x0001_0002, heartbeat::public_flags::INC));
    b.node.public[heartbeat::PUBLIC_RELEASE / 4] = 0x0001_0003_u32.to_le();
    exchange(&mut a, &b);
    assert_eq!(known(&a).0, 0x0001_0003);
    assert_eq!(take(&a, &mut old.clone()), Reason::HeartbeatStale);
    assert_eq!(known(&a).0, 0x0001_0003, "a recording tells nothing");
}

#[test]
fn extension_of_an_unknown_version_is_dropped_with_its_own_reason_and_believed_in_nothing() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    exchange(&mut a, &b);
    let before = *b.links[0].borrow();
    let mut packet = request(&mut a);
    let mut frame = packet.load::<Extension>(EXTENSION).unwrap();
    frame.version = VERSION + 1;
    write_payload(&mut packet, &a.node, &frame).unwrap();
    assert_eq!(take(&b, &mut packet), Reason::HeartbeatVersion, "although its tag is right");
    assert_eq!(*b.links[0].borrow(), before);
}

#[test]
fn a_heartbeat_that_routers_have_passed_on_is_echoed_the_way_it_came() {
    let (mut a, b) = (tables(1, 11), tables(2, 22));
    let router = [2, 0, 0, 0, 0, 0xfe];
    exchange(&mut a, &b);
    let mut packet = request(&mut a);
    // A router puts its own addresses into the frame, counts the TTL down, and puts the checksum right.
    packet.store(0, MACS[1]).unwrap();
    packet.store(ETH_SOURCE, router).unwrap();
    let mut header = packet.load::<[u8; 20]>(14).unwrap();
    header[8] -= 3;
    let sum = u16::from_be_bytes([header[10], header[11]]) + 3 * 0x100;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.store(14, header).unwrap();
    assert_eq!(take(&b, &mut packet), Reason::HeartbeatEchoed);
    assert_eq!(packet.load::<[u8; 6]>(0), Some(router));
    assert_eq!(b.links[0].borrow().peer_mac, 0xfe + 0x0200_0000_0000, "strays leave to the router, too");
    assert_eq!(take(&a, &mut packet), Reason::HeartbeatTaken);
    let header = packet.load::<[u8; 20]>(14).unwrap();
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum of the echo is right");
}
