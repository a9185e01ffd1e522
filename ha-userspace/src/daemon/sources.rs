//! What the pair speaks to backends from, where they do not see their clients: which ports, and is there an address at all?

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;

use tracing::warn;

use crate::alarm::{Board, Kind};
use crate::command::words::{AddressType, Mode};
use crate::config::{Config, Service, Vserver};
use crate::conflict::clear_others;
use crate::datapath::SourcePorts;

/// The range that the kernel keeps for the host itself, as it was when last asked for.
#[derive(Debug, Default)]
pub struct Sources {
    range: Option<RangeInclusive<u16>>,
}

impl Sources {
    /// Ports that this node may give out as sources, by what the kernel keeps for itself now.
    pub fn ports(&mut self, config: &Config) -> SourcePorts {
        self.range = known(SourcePorts::of_kernel());
        self.range
            .as_ref()
            .map_or(SourcePorts::default(), |range| SourcePorts::of_node(config.pair().map_or(0, |pair| pair.own_id), range))
    }

    /// Whether the kernel keeps another range by now.
    pub fn have_changed(&self) -> bool {
        SourcePorts::of_kernel().ok() != self.range
    }

    /// Puts on the `board` which services have no source, and whether there is a port for any.
    pub fn look(&self, config: &Config, ports: SourcePorts, board: &Board) {
        let users: Vec<(&Vserver, &Service)> = users(config).collect();
        let hidden = users.iter().any(|(vserver, _)| vserver.mode == Mode::Ip);
        board.set(Kind::NoSourcePorts, "", hidden && ports.count == 0, || {
            let range = self.range.as_ref().map_or("cannot be read".to_owned(), |range| format!("is {} {}", range.start(), range.end()));
            format!(
                "net.ipv4.ip_local_port_range {range}: it leaves the pair no ports to speak to services with -usip NO from, and their clients \
                 get no answer; leave some below or above it, as `sysctl net.ipv4.ip_local_port_range=\"32768 60999\"` does"
            )
        });
        let mut lacking = BTreeSet::new();
        for (vserver, service) in users.into_iter().filter(|(_, service)| !has_source(config, service)) {
            lacking.insert(service.name.clone());
            board.raise(Kind::NoSourceAddress, &service.name, lack(vserver, service));
        }
        clear_others(board, Kind::NoSourceAddress, |service| lacking.contains(service));
    }
}

fn known(range: io::Result<RangeInclusive<u16>>) -> Option<RangeInclusive<u16>> {
    range.inspect_err(|error| warn!(%error, "the kernel's own range of ports is not known: no source is translated")).ok()
}

/// Services that are spoken to from an address of the pair, and a virtual server that has them do.
fn users(config: &Config) -> impl Iterator<Item = (&Vserver, &Service)> {
    let bound = |vserver| config.bound(vserver).map(move |(service, _)| (vserver, service));
    config.vservers().flat_map(bound).filter(|(vserver, service)| match vserver.mode {
        Mode::Ip => !service.use_source_ip,
        Mode::IpTunnel => true,
        Mode::Mac => false,
    })
}

fn has_source(config: &Config, service: &Service) -> bool {
    let v4 = service.ip.is_ipv4();
    config.addresses().any(|address| address.kind == AddressType::Snip && address.enabled && address.ip.is_ipv4() == v4)
}

fn lack(vserver: &Vserver, service: &Service) -> String {
    let (s, v, ip) = (&service.name, &vserver.name, service.ip);
    let add = if ip.is_ipv4() { "add ns ip <ip> <netmask> -type SNIP" } else { "add ns ip6 <ip6>/<length> -type SNIP" };
    let needs = match vserver.mode {
        Mode::IpTunnel => format!("{v} reaches service {s} ({ip}) through a tunnel"),
        _ => format!("service {s} ({ip}) is -usip NO"),
    };
    let or = if vserver.mode == Mode::Ip {
        format!(", or set service {s} -usip YES and make the pair its gateway")
    } else {
        String::new()
    };
    format!(
        "{needs}, and no SNIP of its family is in use: packets for it are dropped; {add} gives the pair an address to speak to it from{or}"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    const NODE: &str = "
        add lb vserver web TCP 10.1.0.100 80
        add service s1 10.2.0.11 TCP 80
        bind lb vserver web s1
        add lb vserver web6 TCP 2001:db8::100 80
        add service s6 2001:db8:2::11 TCP 80
        bind lb vserver web6 s6
        add lb vserver far TCP 10.1.0.100 81 -m IPTUNNEL
        add service t1 2001:db8:2::12 TCP 81 -usip YES
        bind lb vserver far t1
        add service seen 10.2.0.12 TCP 80 -usip YES
        bind lb vserver web seen
        add service idle 10.2.0.13 TCP 80
    ";
    const SOME: SourcePorts = SourcePorts { first: 1024, count: 7 };

    fn alarms(board: &Board, more: &str, ports: SourcePorts) -> Vec<(Kind, String)> {
        let config = load_text(Path::new("node.conf"), &format!("{NODE}{more}"), Indices::default()).unwrap();
        Sources { range: Some(1024..=65_535) }.look(&config, ports, board);
        board.list().into_iter().map(|(kind, subject, _)| (kind, subject)).collect()
    }

    #[test]
    fn a_service_that_cannot_be_spoken_to_is_an_alarm_with_its_remedy_until_there_is_an_address() {
        let board = Board::default();
        let lack = |name: &str| (Kind::NoSourceAddress, name.to_owned());
        assert_eq!(alarms(&board, "", SOME), [lack("s1"), lack("s6"), lack("t1")]);
        let text = &board.list()[0].2.text;
        assert!(
            text.contains("service s1 (10.2.0.11) is -usip NO") && text.contains("add ns ip <ip> <netmask> -type SNIP"),
            "{text}"
        );
        let v4 = "add ns ip 10.2.0.1 255.255.255.0 -type SNIP\n";
        assert_eq!(alarms(&board, v4, SOME), [lack("s6"), lack("t1")]);
        assert_eq!(alarms(&board, &format!("{v4}disable ns ip 10.2.0.1\n"), SOME).len(), 3);
        assert_eq!(alarms(&board, &format!("{v4}add ns ip6 2001:db8:2::1/64 -type SNIP\n"), SOME), []);
    }

    #[test]
    fn a_kernel_that_keeps_every_port_is_an_alarm_as_long_as_somebody_needs_one() {
        let board = Board::default();
        let snips = "add ns ip 10.2.0.1 255.255.255.0 -type SNIP\nadd ns ip6 2001:db8:2::1/64 -type SNIP\n";
        let none = SourcePorts::default();
        assert_eq!(alarms(&board, snips, none), [(Kind::NoSourcePorts, String::new())]);
        let text = &board.list()[0].2.text;
        assert!(text.contains("is 1024 65535") && text.contains("sysctl net.ipv4.ip_local_port_range"), "{text}");
        assert_eq!(alarms(&board, snips, SOME), []);
        assert_eq!(alarms(&board, &format!("{snips}set service s1 -usip YES\nset service s6 -usip YES\n"), none), []);
    }
}
