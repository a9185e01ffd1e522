//! What happens to switches.

use std::time::Duration;

use super::{Event, Host, Lab, Result, at_once, ensure, rt, sequel};
use crate::harness::topology::{Leg, VIP_V4};

/// Identifier of the virtual MAC, and how the client sees it.
const VRID: &str = "60";
const VMAC: &str = "00:00:5e:00:01:3c";
/// How long a node carries over what comes to the virtual MAC after a role has changed, and more.
const CARRIES: Duration = Duration::from_millis(1200);
/// Frames that must reach the Secondary for the flood to be one.
const FLOODED: u64 = 1000;

/// The clients' switch forgets where the virtual MAC is and sends every frame everywhere: the Secondary gets all that the Primary gets.
pub fn flooding_switch(lab: &mut Lab, primary: Host) -> Result<Event> {
    for host in Host::BOTH {
        // There already, if this is not the first time.
        let _ = lab.node(host).command(&["add", "vrid", VRID]);
        lab.node(host).command(&["bind", "vrid", VRID, "-ifnum", Leg::Client.interface()])?;
    }
    rt::sleep_until(rt::now() + CARRIES);
    let neighbours = lab.topology.client.ip_shows(&["neigh", "show", &VIP_V4.to_string()])?;
    ensure!(neighbours.contains(VMAC), "the client does not know the virtual MAC: {neighbours}");
    let before = SecondarySaw::read(lab, primary.peer())?;
    let event = at_once(|| lab.topology.switch.ip(&format!("link set {} type bridge ageing_time 0\n", Leg::Client.bridge())))?;
    let end = sequel(move |lab| {
        let after = SecondarySaw::read(lab, primary.peer())?;
        let (dropped, carried) = (after.dropped - before.dropped, after.carried - before.carried);
        ensure!(dropped >= FLOODED, "only {dropped} frames reached the Secondary: the switch does not flood");
        ensure!(carried == 0, "the Secondary carried {carried} of {dropped} flooded frames over an HA link");
        Ok(())
    });
    Ok(Event { end, ..event })
}

/// Frames for the pair that came to the node that does not serve.
struct SecondarySaw {
    dropped: u64,
    carried: u64,
}

impl SecondarySaw {
    fn read(lab: &Lab, secondary: Host) -> Result<Self> {
        let counters = lab.node(secondary).counters()?;
        let of = |reason: &str| counters.iter().filter(|(name, _)| *name == reason).map(|(_, packets)| packets).sum();
        Ok(Self { dropped: of("not_serving"), carried: of("stray_sent") + of("stray_limited") })
    }
}
