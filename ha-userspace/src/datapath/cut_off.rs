//! Notes which connections were cut off because their service, or their virtual server, went down.
//!
//! While it is down the kernel cuts them off by itself, each when it speaks next. What the daemon adds is memory: a record that is marked
//! stays cut off when the service comes back, and is forgotten soon instead of after its idle time. The walk takes half a second for a million
//! flows, on a thread of its own.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ha_common::abi::{CUT_OFF, Flow, FlowKey, backend_flags, vserver_flags};
use ha_common::time::Ticks;
use tracing::{info, warn};

use super::ageing::reverse_key;
use super::clocks::Clocks;
use super::desired::Desired;
use super::loads;
use super::maps::Maps;

/// Entries looked at in one step.
const BATCH: usize = 4096;

/// What takes packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Up {
    services: HashSet<u32>,
    vservers: HashSet<u32>,
}

impl Up {
    fn of(desired: &Desired) -> Self {
        let services: HashSet<u32> = desired.backends.keys().copied().filter(|&index| desired.is_up(index)).collect();
        let vservers = desired.vservers.iter().filter(|(_, vserver)| {
            let served = vserver.members.iter().any(|member| member.weight > 0 && services.contains(&member.backend));
            served && vserver.flags & vserver_flags::DOWN == 0
        });
        Up { vservers: vservers.map(|(&index, _)| index).collect(), services }
    }

    /// What is here and not in `now`.
    fn lost(&self, now: &Up) -> Up {
        Up {
            services: self.services.difference(&now.services).copied().collect(),
            vservers: self.vservers.difference(&now.vservers).copied().collect(),
        }
    }
}

/// What went down, and when.
#[derive(Debug)]
struct Fallen {
    what: Up,
    /// Connections that were recorded later are none of those that it had.
    at: Ticks,
}

/// Sees what goes down.
#[derive(Debug)]
pub(super) struct Watch {
    up: Up,
    orders: Sender<Fallen>,
    received: Option<Receiver<Fallen>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let (orders, received) = channel();
        Watch { up: Up::default(), orders, received: Some(received) }
    }

    /// The maps hold `desired` now.
    pub(super) fn follow(&mut self, desired: &Desired, clocks: &Clocks) {
        let now = Up::of(desired);
        let what = self.up.lost(&now);
        self.up = now;
        if what == Up::default() {
            return;
        }
        match clocks.read() {
            // Nobody takes them in tests without the thread.
            Ok((at, _)) => drop(self.orders.send(Fallen { what, at })),
            Err(error) => warn!(%error, "connections of what went down are cut off only while it is down"),
        }
    }

    pub(super) fn cutter(&mut self, maps: Arc<Maps>, clocks: Clocks) -> Option<Cutter> {
        self.received.take().map(|fallen| Cutter { maps, clocks, fallen })
    }
}

/// Marks connections of what went down, for ever.
#[derive(Debug)]
pub struct Cutter {
    maps: Arc<Maps>,
    clocks: Clocks,
    fallen: Receiver<Fallen>,
}

impl Cutter {
    /// Runs until the data plane is dropped.
    pub fn run(self) {
        for fallen in &self.fallen {
            match self.cut(&fallen) {
                Ok(count) => {
                    info!(count, services = ?fallen.what.services, vservers = ?fallen.what.vservers, "connections cut off")
                }
                Err(error) => warn!(%error, "connections of what went down are cut off only while it is down"),
            }
        }
    }

    /// Marks what `fallen` has left; how many connections that were.
    fn cut(&self, fallen: &Fallen) -> io::Result<usize> {
        let mut count = 0;
        self.maps.flows.batches(BATCH, |flows| {
            flows.retain(|(key, flow)| self.is_cut(fallen, key, flow));
            count += flows.len();
            let now = self.clocks.read()?.0.low();
            loads::forgotten(&self.maps.loads, flows);
            let (tcp, rest): (Vec<_>, Vec<_>) =
                flows.drain(..).partition(|(key, _)| i32::from(key.transport()) == libc::IPPROTO_TCP);
            let marked = |(key, flow): (FlowKey, Flow)| (key, Flow { backend: flow.backend | CUT_OFF, seen: now, ..flow });
            self.maps.flows.replace(&tcp.into_iter().map(marked).collect::<Vec<_>>())?;
            // Nobody can be told: what comes next begins anew.
            let reverse: Vec<_> = rest.iter().map(|(key, flow)| reverse_key(&self.maps, key, flow.backend, flow.nat)).collect();
            self.maps.flows.delete(&rest.into_iter().map(|(key, _)| key).collect::<Vec<_>>())?;
            self.maps.reverse.delete(&reverse)
        })?;
        Ok(count)
    }

    fn is_cut(&self, fallen: &Fallen, key: &FlowKey, flow: &Flow) -> bool {
        let (service, vserver) = (self.maps.backend_flags(flow.backend), self.maps.vserver_flags(key.index()));
        is_cut(fallen, key, flow, service, vserver)
    }
}

/// Whether a flow was cut off, given the flags of its service and its virtual server.
fn is_cut(fallen: &Fallen, key: &FlowKey, flow: &Flow, service: u32, vserver: u32) -> bool {
    if flow.is_cut_off() || flow.opened > fallen.at {
        return false;
    }
    let by_vserver = vserver & vserver_flags::CUTS_OFF != 0;
    let by_service = service & backend_flags::CUTS_OFF != 0 && vserver & (vserver_flags::CUTS_OFF | vserver_flags::KEEPS) != 0;
    fallen.what.services.contains(&flow.backend) && (by_vserver || by_service)
        || fallen.what.vservers.contains(&key.index()) && by_vserver
}

#[cfg(test)]
mod tests {
    use super::*;

    const VSERVER: u32 = 1;
    const SERVICE: u32 = 7;

    fn fallen(services: &[u32], vservers: &[u32]) -> Fallen {
        let what = Up { services: services.iter().copied().collect(), vservers: vservers.iter().copied().collect() };
        Fallen { what, at: Ticks(100) }
    }

    fn cut(fallen: &Fallen, service: u32, vserver: u32) -> bool {
        let key = FlowKey { vserver: VSERVER as u16, ..FlowKey::default() };
        is_cut(fallen, &key, &Flow { backend: SERVICE, opened: Ticks(100), ..Flow::default() }, service, vserver)
    }

    #[test]
    fn a_service_that_went_down_cuts_off_unless_both_say_that_it_does_not() {
        let down = fallen(&[SERVICE], &[]);
        let (cuts, keeps) = (vserver_flags::CUTS_OFF, vserver_flags::KEEPS);
        assert!(cut(&down, cuts, cuts) && cut(&down, keeps, cuts) && cut(&down, cuts, keeps));
        assert!(!cut(&down, keeps, keeps));
        assert!(!cut(&down, cuts, 0), "a silent virtual server cuts nothing off");
        assert!(!cut(&fallen(&[SERVICE + 1], &[]), cuts, cuts));
    }

    #[test]
    fn a_virtual_server_that_went_down_cuts_off_by_its_own_setting() {
        let down = fallen(&[], &[VSERVER]);
        assert!(cut(&down, 0, vserver_flags::CUTS_OFF));
        assert!(!cut(&down, backend_flags::CUTS_OFF, vserver_flags::KEEPS), "the service is up");
        assert!(!cut(&fallen(&[], &[VSERVER + 1]), 0, vserver_flags::CUTS_OFF));
    }

    #[test]
    fn connections_that_began_later_or_are_cut_off_already_are_left_alone() {
        let (key, down) = (FlowKey { vserver: VSERVER as u16, ..FlowKey::default() }, fallen(&[SERVICE], &[]));
        let cut = |flow: &Flow| is_cut(&down, &key, flow, 0, vserver_flags::CUTS_OFF);
        assert!(cut(&Flow { backend: SERVICE, opened: Ticks(99), ..Flow::default() }));
        assert!(!cut(&Flow { backend: SERVICE, opened: Ticks(101), ..Flow::default() }));
        assert!(!cut(&Flow { backend: SERVICE | CUT_OFF, opened: Ticks(99), ..Flow::default() }));
    }

    #[test]
    fn what_was_up_and_is_not_has_gone_down_and_nothing_else() {
        let up = |services: &[u32], vservers: &[u32]| fallen(services, vservers).what;
        assert_eq!(up(&[1, 2], &[1]).lost(&up(&[2, 3], &[])), up(&[1], &[1]));
        assert_eq!(Up::default().lost(&up(&[2, 3], &[1])), Up::default());
    }
}
