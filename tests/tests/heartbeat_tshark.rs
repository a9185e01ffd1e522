//! The first 136 bytes of a heartbeat, read by an independent implementation: Wireshark's dissector of the public layout.

use std::io::Write;
use std::process::{Command, Stdio};

use ha_common::abi::{Key, Node};
use ha_common::ha::event::Said;
use ha_common::ha::{Standing, merits};
use ha_common::packet::HostPacket;
use ha_common::pipeline::heartbeat::{write_headers, write_payload};
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, kind};
use understudy::ha::public;

/// A capture file (libpcap, Ethernet) with one frame.
fn pcap(frame: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1, 0, 0, frame.len() as u32, frame.len() as u32] {
        file.extend(word.to_ne_bytes());
    }
    file.extend(frame);
    file
}

fn dissect(frame: &[u8]) -> Option<String> {
    let mut tshark = Command::new("tshark")
        .args(["-r", "-", "-d", "udp.port==3003,nstrace.ha", "-V"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    tshark.stdin.take()?.write_all(&pcap(frame)).ok()?;
    let output = tshark.wait_with_output().ok()?;
    String::from_utf8(output.stdout).ok()
}

#[test]
fn stock_tshark_reads_the_public_part() {
    let said = Said {
        node_state: 3,
        master_state: 2,
        standing: Standing { merits: merits::STAYS_PRIMARY, ..Standing::default() },
        ..Said::default()
    };
    let node = Node {
        nsip: u32::from_ne_bytes([10, 9, 0, 1]),
        peer_nsip: u32::from_ne_bytes([10, 9, 0, 2]),
        tx_key: Key { k0: 1, k1: 2, id: 3 },
        public: public::words(&said, public::Sender { start: 1_700_000_000, incarnation: 77, inc: true, mismatch: true }),
        ..Node::default()
    };
    let frame = Extension { kind: kind::REQUEST, seq: 4_711, ..Extension::default() };
    let mut packet = HostPacket::new(&[0; FRAME_LEN]);
    write_headers(&mut packet, &node, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).expect("there is room");
    write_payload(&mut packet, &node, &frame).expect("there is room");
    let Some(text) = dissect(packet.frame()) else { panic!("tshark does not run: cargo xtask setup installs it") };
    for line in [
        "Version: 10",
        "App: BASE (0)",
        "Type: MSG (0)",
        "State: UP (3)",
        "Start Time: 1700000000",
        "Master State: ACTIVE (2)",
        "Stay Primary: Yes",
        "\n    Incarnation Number: 77",
        "Sync State: ENABLED (0)",
        "DR Incarnation Number: 77",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("Malformed"), "{text}");
}
