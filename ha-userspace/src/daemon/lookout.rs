//! What is looked at now and then, because nobody tells of it: loss on each link, the peer's release and configuration.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::alarm::{Board, Kind};
use crate::command::runtime::PairStatus;
use crate::config::Config;
use crate::ha::Snapshot;
use crate::ha::loss::{Loss, Losses};
use crate::ha::public::{Peer, RELEASE, release_text};
use crate::ha::rates::Rates;
use crate::net::heartbeat::Requests;

use super::alike::Alike;
use super::status::{self, Sent};

/// What was seen before.
#[derive(Default)]
pub struct Lookout {
    losses: BTreeMap<String, Losses>,
    rates: Rates,
    alike: Alike,
}

impl Lookout {
    /// Looks; what is wrong is on the `board`.
    pub fn look(&mut self, config: &Config, requests: &Requests, snapshot: &Snapshot, board: &Board) {
        let ports = requests.map_ports(|port| (port.number, port.name.clone(), port.counts().0));
        self.losses.retain(|known, _| ports.iter().any(|(_, name, _)| name == known));
        for (number, name, sent) in ports {
            let echoed = snapshot.links.get(number).map_or(0, |link| link.echoes);
            self.losses.entry(name).or_default().look(sent, echoed);
        }
        let own = self.pair(config, requests, snapshot).own;
        self.rates.look(Instant::now(), [own.received, own.sent]);
        watch_release(config, snapshot, board);
        self.alike.look(config, snapshot, board);
    }

    /// The state of both nodes and their links.
    pub fn pair(&self, config: &Config, requests: &Requests, snapshot: &Snapshot) -> PairStatus {
        let sent = requests.map_ports(|port| Sent {
            number: port.number,
            interface: port.name.clone(),
            sent: port.counts().0,
            loss: self.losses.get(&port.name).map_or(Loss::default(), Losses::recent),
        });
        let mut status = status::pair(config, snapshot, &sent);
        status.own.rates = self.rates.per_second(Instant::now(), [status.own.received, status.own.sent]);
        status
    }
}

fn watch_release(config: &Config, snapshot: &Snapshot, board: &Board) {
    let peer = Peer::of(&snapshot.links).filter(|_| config.peer().is_some());
    let other = peer.filter(|peer| peer.is_other_release());
    board.set(Kind::VersionMismatch, "", other.is_some(), || {
        format!(
            "the peer runs release {}, this node {}: failover works, configuration and connections are not synchronised; bring both to one release",
            other.map_or_else(String::new, |peer| release_text(peer.release)),
            release_text(RELEASE)
        )
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ha_common::abi::Link;
    use ha_common::time::Nanos;

    use super::*;
    use crate::config::{Indices, load_text};

    const NODE: &str = "
        set ns config -IPAddress 192.0.2.11 -netmask 255.255.255.0
        set interface ha0 -haMonitor OFF
        set interface ha1 -haMonitor OFF
        add ha node 1 192.0.2.12
    ";

    fn config() -> Config {
        load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap()
    }

    fn standing(board: &Board) -> Vec<(Kind, String)> {
        board.list().into_iter().map(|(kind, subject, _)| (kind, subject)).collect()
    }

    #[test]
    fn a_peer_of_another_release_is_an_alarm_as_long_as_it_is() {
        let (config, board) = (config(), Board::default());
        let heard = |peer_release| {
            let link = Link { echo_at: Nanos(1), peer_release, ..Link::default() };
            watch_release(&config, &Snapshot { links: vec![link], ..Snapshot::default() }, &board);
            standing(&board)
        };
        assert_eq!(heard(RELEASE + 1), [(Kind::VersionMismatch, String::new())]);
        assert_eq!(heard(RELEASE), []);
    }
}
