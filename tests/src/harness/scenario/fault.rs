//! The faults: each hurts the given Primary and says when.

use anyhow::Result;

use super::Event;
use crate::harness::lab::Lab;
use crate::harness::rt;
use crate::harness::topology::{HOST_VIP_V4, Host};
use crate::harness::transfer::Transfer;

/// Port of the node's own server.
const TRANSFER_PORT: u16 = 9000;

fn at_once(act: impl FnOnce() -> Result<()>) -> Result<Event> {
    let at = rt::now();
    act()?;
    Ok(Event { at, then: None, transfer: None })
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
    let node = &lab.topology.site(primary).netns;
    let transfer = Transfer::start(node, (HOST_VIP_V4, TRANSFER_PORT).into(), &lab.topology.client)?;
    let event = at_once(|| lab.node(primary).freeze())?;
    let thaw = move |lab: &mut Lab| {
        // Some time as it is: two nodes that both serve would both answer now.
        rt::sleep_until(rt::now() + super::AFTER / 4);
        lab.node(primary).thaw()
    };
    Ok(Event { then: Some(Box::new(thaw)), transfer: Some(transfer), ..event })
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
