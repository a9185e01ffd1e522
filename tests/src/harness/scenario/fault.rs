//! The faults: each hurts the given Primary and says when.

use anyhow::{Result, ensure};

use super::{Event, Sequel};
use crate::harness::freezer::{Freezer, group_name};
use crate::harness::lab::Lab;
use crate::harness::rt;
use crate::harness::topology::{HOST_VIP_V4, Host};
use crate::harness::transfer::Transfer;

mod links;
mod machine;
mod pair;
mod switch;

pub use links::*;
pub use machine::*;
pub use pair::*;
pub use switch::*;

/// Port of the node's own server.
const TRANSFER_PORT: u16 = 9000;

fn at_once(act: impl FnOnce() -> Result<()>) -> Result<Event> {
    let at = rt::now();
    act()?;
    Ok(Event { at, then: None, end: None })
}

/// What is done once the outcome is there, or when all is over.
fn sequel(act: impl FnOnce(&mut Lab) -> Result<()> + 'static) -> Option<Sequel> {
    Some(Box::new(act))
}

/// Everything the node says or hears is lost from one instant on, as by power loss seen from outside.
pub fn kill_node(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| {
        lab.topology.silence(primary, true);
        Ok(())
    })
}

/// The daemon dies; programs and maps stay and go on serving until the peer takes over.
pub fn kill_daemon(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| lab.node_mut(primary).kill())
}

/// The daemon stops running but is not dead, while the node itself sends from a floating address; once the peer serves the daemon goes on
/// with its old view of the world.
pub fn freeze_daemon(lab: &mut Lab, primary: Host) -> Result<Event> {
    let transfer = transfer(lab, primary)?;
    let event = at_once(|| lab.node(primary).freeze())?;
    let then = sequel(move |lab| {
        wait_as_it_is();
        lab.node(primary).thaw()
    });
    Ok(Event { then, end: keep(transfer), ..event })
}

/// As [`freeze_daemon`], by the control group: all threads stop wherever they are.
pub fn freeze_cgroup(lab: &mut Lab, primary: Host) -> Result<Event> {
    let transfer = transfer(lab, primary)?;
    let pid = lab.node(primary).pid()?;
    let freezer = Freezer::take(&group_name(lab.name(), primary.name()), pid)?;
    let event = at_once(|| freezer.freeze())?;
    let then = sequel(move |_| {
        wait_as_it_is();
        freezer.thaw()
    });
    Ok(Event { then, end: keep(transfer), ..event })
}

/// The switch port of the client leg goes down.
pub fn cut_client_link(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| lab.topology.set_client_carrier(primary, false))
}

/// The operator asks the Primary to hand over.
pub fn force_failover(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| lab.node(primary).command(&["force", "ha", "failover", "-force"]).map(drop))
}

/// The daemon ends on request and starts again, within the interval after which the peer would take over.
pub fn restart_daemon(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| {
        let node = lab.node_mut(primary);
        node.terminate()?;
        node.start()?;
        node.wait_ready()
    })
}

/// The operator stops the Primary: it hands over first.
pub fn stop_daemon(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| lab.node_mut(primary).stop())
}

/// The node's own server on a floating address, in mid-transfer.
fn transfer(lab: &Lab, node: Host) -> Result<Transfer> {
    Transfer::start(&lab.topology.site(node).netns, (HOST_VIP_V4, TRANSFER_PORT).into(), &lab.topology.client)
}

fn keep(transfer: Transfer) -> Option<Sequel> {
    sequel(move |_| {
        drop(transfer);
        Ok(())
    })
}

/// Some time as it is: two nodes that both serve would both answer now.
fn wait_as_it_is() {
    rt::sleep_until(rt::now() + super::AFTER / 4);
}
