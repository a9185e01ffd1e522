//! Privileged: golden vectors through the loaded programs. The kernel must do what the vector says, and leave every table as the host
//! build of the same pipeline leaves it.

use anyhow::{Result, ensure};
use ha_common::packet::{HostPacket, PacketMut};
use ha_common::pipeline::heartbeat;
use ha_common::wire::heartbeat::{Extension, FRAME_LEN, PAYLOAD_OFFSET, PUBLIC_LEN, SIGNED_LEN, kind};
use ha_common::wire::siphash::Tag;
use ha_tests::vectors::heartbeat::request;
use ha_tests::vectors::{self, Place, Vector, loaded, world};

#[test]
fn every_vector_holds_in_the_kernel_and_leaves_the_tables_that_the_host_leaves() -> Result<()> {
    let (_, failed) = loaded::run_all(&mut loaded::load()?)?;
    ensure!(failed.is_empty(), "{} vectors failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// Frames that a bit was turned in, or that were cut: as many as are tried.
const MUTILATIONS: u64 = 3_000;
/// Where addresses and ports of either family lie in a frame.
const ADDRESSES: std::ops::Range<usize> = 22..58;
/// The shortest frame that the kernel runs a program over: an Ethernet header.
const SHORTEST: usize = 14;

#[test]
fn mutilated_frames_end_alike_in_the_kernel_and_on_the_host() -> Result<()> {
    let mut kernel = loaded::load()?;
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
        let tables = vector.tables(kernel.clocks()?.1);
        // Where sources are taken, the last choice of another client depends on the clock, and no two clocks are alike.
        if !tables.reverse.borrow().is_empty() && frame.get(ADDRESSES) != vector.frame().get(ADDRESSES) {
            continue;
        }
        let mutilated = vector.mutilated(frame);
        let on_host = mutilated.run_on_host(&tables);
        let in_kernel = loaded::run(&mut kernel, vector, &mutilated.frame, &on_host)?;
        let agree = loaded::same(vector, &in_kernel, &on_host);
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
    let kernel = loaded::load()?;
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
