//! A vector over a wire: its frame is sent to a card of the node, and what must leave is awaited at the other end of the wire.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_common::pipeline::Action;

use super::port;
use super::rig::Rig;
use crate::kernel::Kernel;
use crate::vectors::{self, Place, Vector, loaded};

/// How long a frame may take.
const FRAME_WITHIN: Duration = Duration::from_secs(1);
/// More of them are not looked at.
const FAILED_MAX: usize = 20;

/// Runs every vector that comes in by a wire; how many held.
///
/// One that does not hold is run once more: bonds speak LACP, a host announces itself, and each frame is counted.
pub fn run_all(rig: &Rig, kernel: &mut Kernel) -> Result<String> {
    let (mut held, mut again, mut failed) = (0, 0, Vec::new());
    for vector in vectors::all() {
        let Place::Ingress(ifindex) = vector.place() else { continue };
        let mut result = run(rig, kernel, &vector, ifindex)?;
        if result.is_err() {
            again += 1;
            result = run(rig, kernel, &vector, ifindex)?;
        }
        match result {
            Ok(()) => held += 1,
            Err(error) => failed.push(error),
        }
        if failed.len() == FAILED_MAX {
            failed.push("and so on".to_owned());
            break;
        }
    }
    ensure!(failed.is_empty(), "{held} vectors hold over the wire, these do not:\n{}", failed.join("\n"));
    Ok(format!("{held} vectors hold over the wire ({again} at the second try)"))
}

fn run(rig: &Rig, kernel: &mut Kernel, vector: &Vector, ifindex: u32) -> Result<Result<(), String>> {
    let on_host = vector.run_on_host(&vector.tables(kernel.clocks()?.1));
    let before = vector.tables(kernel.clocks()?.1);
    let mut tables = vector.tables(kernel.clocks()?.1);
    rig.tell_members(&mut tables);
    rig.drain()?;
    kernel.events()?;
    kernel.fill(&tables)?;

    rig.send(ifindex, vector.frame()).context(vector.name)?;
    let came = match on_host.action {
        Action::Transmit => port::wait_for(&rig.leg(ifindex)?.opposite, &on_host.frame, FRAME_WITHIN)?,
        Action::Redirect(to) => port::wait_for(&rig.leg(to)?.opposite, &on_host.frame, FRAME_WITHIN)?,
        Action::Pass if !is_shown(&on_host.frame) => Ok(()),
        Action::Pass => port::wait_for(&rig.leg(ifindex)?.host, &on_host.frame, FRAME_WITHIN)?,
        Action::Drop => Ok(()),
    };
    if let Err(others) = came {
        return Ok(Err(format!(
            "{}: the frame does not come:\n  {}\n  instead of it:\n  {}\n  counted: {:?}",
            vector.name,
            vectors::hex(&on_host.frame),
            others.iter().map(|other| vectors::hex(other)).collect::<Vec<_>>().join("\n  "),
            kernel.counters()?,
        )));
    }
    let deadline = Instant::now() + FRAME_WITHIN;
    while kernel.counters()?.is_empty() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let in_kernel = loaded::outcome(kernel, on_host.action, on_host.frame.clone())?;
    Ok(vector.check(&before, &in_kernel).and_then(|()| loaded::same(vector, &in_kernel, &on_host)))
}

/// Whether the host's sockets see it: a frame that ends within a VLAN tag is thrown away before.
fn is_shown(frame: &[u8]) -> bool {
    const TAGGED_MIN: usize = 18;
    let is_tagged = frame.get(12..14).is_some_and(|kind| kind == [0x81, 0] || kind == [0x88, 0xa8]);
    !is_tagged || frame.len() >= TAGGED_MIN
}
