//! Privileged: golden vectors through the loaded programs. The kernel must do what the vector says, and leave every table as the host
//! build of the same pipeline leaves it.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::{Result, bail, ensure};
use ha_common::abi::{Embryo, Exception, Flow, FlowKey, ReverseKey};
use ha_common::packet::{HostPacket, PacketMut};
use ha_common::pipeline::{Action, heartbeat};
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, PAYLOAD_OFFSET, PUBLIC_LEN, SIGNED_LEN, kind};
use ha_common::wire::siphash::Tag;
use ha_tests::kernel::{Kernel, Output, Sizes, map};
use ha_tests::vectors::heartbeat::request;
use ha_tests::vectors::world;
use ha_tests::vectors::{self, Outcome, Place, Vector};

/// What a return code of an XDP program means. Where a redirected frame goes is not told: its MAC addresses are.
fn action_of_xdp(code: u32, expected: Action) -> Result<Action> {
    Ok(match code {
        1 => Action::Drop,
        2 => Action::Pass,
        3 => Action::Transmit,
        4 if matches!(expected, Action::Redirect(_)) => expected,
        4 => Action::Redirect(0),
        other => bail!("return code {other}"),
    })
}

/// What a return code of the guard means: go on with the chain, or an end of it.
fn action_of_guard(code: u32) -> Result<Action> {
    Ok(match code.cast_signed() {
        -1 => Action::Pass,
        2 => Action::Drop,
        other => bail!("return code {other}"),
    })
}

fn table<K: Default + Clone + Eq + Hash, V: Default>(kernel: &Kernel, name: &str) -> Result<HashMap<K, V>> {
    Ok(map::entries(kernel.map(name)?)?.into_iter().collect())
}

fn run_in_kernel(kernel: &mut Kernel, vector: &Vector, frame: &[u8], on_host: &Outcome) -> Result<Outcome> {
    let tables = vector.tables(kernel.clocks()?.1);
    kernel.fill(&tables)?;
    kernel.events()?;
    let (Output { frame, .. }, action) = match vector.place() {
        Place::Ingress(ifindex) => {
            let output = kernel.ingress(frame, ifindex)?;
            let action = action_of_xdp(output.code, on_host.action)?;
            (output, action)
        }
        Place::Egress => {
            let output = kernel.egress(frame)?;
            let action = action_of_guard(output.code)?;
            (output, action)
        }
    };
    let outcome = Outcome {
        action,
        frame,
        counters: kernel.counters()?,
        flows: table::<FlowKey, Flow>(kernel, "FLOWS")?,
        embryonic: table::<FlowKey, Embryo>(kernel, "EMBRYONIC")?,
        exceptions: table::<FlowKey, Exception>(kernel, "EXCEPTIONS")?,
        reverse: table::<ReverseKey, FlowKey>(kernel, "REVERSE")?,
        reverse_embryonic: table::<ReverseKey, FlowKey>(kernel, "REVERSE_EMBRYONIC")?,
        stray_legs: kernel.stray_legs()?,
        events: kernel.events()?,
    };
    Ok(outcome.without_times())
}

/// Whether the kernel left what the host left.
fn same(vector: &Vector, in_kernel: &Outcome, on_host: &Outcome) -> Result<(), String> {
    vector.same("flows in the kernel, not as on the host", &in_kernel.flows, &on_host.flows)?;
    vector.same("embryos in the kernel, not as on the host", &in_kernel.embryonic, &on_host.embryonic)?;
    vector.same("exceptions in the kernel, not as on the host", &in_kernel.exceptions, &on_host.exceptions)?;
    vector.same("reverse in the kernel, not as on the host", &in_kernel.reverse, &on_host.reverse)?;
    vector.same(
        "reverse embryos in the kernel, not as on the host",
        &in_kernel.reverse_embryonic,
        &on_host.reverse_embryonic,
    )?;
    vector.same("strays by leg in the kernel, not as on the host", &in_kernel.stray_legs, &on_host.stray_legs)?;
    vector.same("events of the kernel, not as on the host", &in_kernel.events, &on_host.events)?;
    vector.same("counters of the kernel, not as on the host", &in_kernel.counters, &on_host.counters)?;
    vector.same("action in the kernel, not as on the host", &in_kernel.action, &on_host.action)?;
    vector.same("frame in the kernel, not as on the host", &in_kernel.frame, &on_host.frame)
}

/// Loads the programs, with tables of the vectors' sizes, into a namespace with the vectors' interfaces.
fn loaded() -> Result<Kernel> {
    vectors::namespace::enter()?;
    Kernel::load(Sizes { flows: world::FLOWS as u32, exceptions: world::EXCEPTIONS as u32, embryonic: 64 })
}

#[test]
fn every_vector_holds_in_the_kernel_and_leaves_the_tables_that_the_host_leaves() -> Result<()> {
    let mut kernel = loaded()?;
    let mut failed = Vec::new();
    for vector in vectors::all() {
        let now = kernel.clocks()?.1;
        let on_host = vector.run_on_host(&vector.tables(now));
        let in_kernel = run_in_kernel(&mut kernel, &vector, vector.frame(), &on_host)?;
        let agree = vector.check(&vector.tables(now), &in_kernel).and_then(|()| same(&vector, &in_kernel, &on_host));
        failed.extend(agree.err());
    }
    ensure!(failed.is_empty(), "{} vectors failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// Frames that a bit was turned in, or that were cut: as many as are tried.
const MUTILATIONS: u64 = 3_000;
/// The shortest frame that the kernel runs a program over: an Ethernet header.
const SHORTEST: usize = 14;

#[test]
fn mutilated_frames_end_alike_in_the_kernel_and_on_the_host() -> Result<()> {
    let mut kernel = loaded()?;
    let vectors: Vec<Vector> = vectors::all().into_iter().filter(|vector| vector.frame().len() > SHORTEST).collect();
    // Backends' frames would ask for routes that only the kernel has, and what the host sends is never cut.
    let tried = [Place::Ingress(world::CLIENT_LEG), Place::Ingress(world::HA_LINK)];
    let vectors: Vec<&Vector> = vectors.iter().filter(|vector| tried.contains(&vector.place())).collect();
    let mut failed = Vec::new();
    for number in 0..MUTILATIONS {
        let vector = vectors[number as usize % vectors.len()];
        let mut random = Random(number);
        let mut frame = vector.frame().to_vec();
        match random.below(3) {
            0 => frame.truncate(SHORTEST + random.below(frame.len() - SHORTEST)),
            1 => frame[random.below(64.min(vector.frame().len()))] ^= 1 << random.below(8),
            _ => {
                for _ in 0..8 {
                    frame[12 + random.below(vector.frame().len() - 12)] = random.below(256) as u8;
                }
            }
        }
        let mutilated = vector.mutilated(frame);
        let on_host = mutilated.run_on_host(&vector.tables(kernel.clocks()?.1));
        let in_kernel = run_in_kernel(&mut kernel, vector, &mutilated.frame, &on_host)?;
        let agree = same(vector, &in_kernel, &on_host);
        failed.extend(agree.err().map(|error| format!("mutilation {number}: {error}")));
    }
    ensure!(failed.is_empty(), "{} of {MUTILATIONS} differ:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }
}

#[test]
fn a_genuine_request_leaves_the_kernel_as_its_echo_and_any_wrong_bit_is_refused() -> Result<()> {
    let kernel = loaded()?;
    let tables = world::pair(kernel.clocks()?.1);
    kernel.fill(&tables)?;
    let output = kernel.ingress(&request(), world::HA_LINK)?;
    let echo = HostPacket::new(&output.frame);
    ensure!(output.code == 3, "the echo is transmitted, not {}", output.code);
    ensure!(output.frame[..6] == world::PEER_MAC && output.frame[6..12] == world::HA_LINK_MAC, "it goes back");
    let said: Extension = echo.load(PAYLOAD_OFFSET + PUBLIC_LEN).expect("a whole frame");
    ensure!(
        (said.kind, said.sender, said.seq, said.stamp) == (kind::ECHO, 1, 5, 9),
        "an echo repeats what was asked: {said:?}"
    );
    ensure!(echo.load::<Tag>(PAYLOAD_OFFSET + SIGNED_LEN) == heartbeat::sign(&echo, &tables.node.tx_key), "its tag is ours");
    for byte in PAYLOAD_OFFSET..FRAME_LEN {
        let mut frame = request();
        frame[byte] ^= 1 << (byte % 8);
        kernel.fill(&tables)?;
        let output = kernel.ingress(&frame, world::HA_LINK)?;
        ensure!(output.code == 1, "a wrong bit in byte {byte} is no reason to answer");
    }
    Ok(())
}
