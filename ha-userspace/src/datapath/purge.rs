//! Ends recorded connections of clients that are not let in any more: the kernel asks newcomers only.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ha_common::abi::{FlowKey, Ip, PrefixKey, ReverseKey};
use tokio::sync::watch;
use tracing::{info, warn};

use super::ageing::reverse_key;
use super::maps::Maps;
use super::table::Cursor;
use crate::config::{Config, Vserver};

/// Entries looked at before others may do something.
const SLICE: usize = 4096;

/// Passes after a change, and the time between two: a packet that was asked before may have recorded its flow after the first.
const PASSES: u32 = 2;
const BETWEEN: Duration = Duration::from_millis(200);

/// Who is let in by a vserver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// By the length of [`PrefixKey`]: whether the clients of a network are let in.
    networks: BTreeMap<u32, HashMap<Ip, bool>>,
    /// Whether all others are.
    others: bool,
}

impl List {
    fn of(vserver: &Vserver, index: u32) -> Self {
        let mut list = List { others: !vserver.clients().values().any(|allowed| *allowed), ..List::default() };
        for (network, allowed) in vserver.clients() {
            let key = PrefixKey::network(index, network.address.into(), network.length);
            list.networks.entry(key.len).or_default().insert(key.addr, *allowed);
        }
        list
    }

    fn allows(&self, vserver: u32, addr: Ip) -> bool {
        let found = |(len, networks): (&u32, &HashMap<Ip, bool>)| {
            networks.get(&PrefixKey::shortened(vserver, addr, *len).addr).copied()
        };
        self.networks.iter().rev().find_map(found).unwrap_or(self.others)
    }
}

/// The lists by vserver, for those that have one.
pub type Lists = HashMap<u32, List>;

/// The lists of `config`.
#[must_use]
pub fn lists(config: &Config) -> Lists {
    let listed = config.vservers().filter(|vserver| !vserver.clients().is_empty());
    let each = listed.flat_map(|vserver| vserver.addresses().map(move |(_, index)| (index, List::of(vserver, index))));
    each.collect()
}

/// Looks through `FLOWS` whenever lists have changed.
#[derive(Debug)]
pub struct Purge {
    maps: Arc<Maps>,
}

impl Purge {
    pub(super) fn new(maps: Arc<Maps>) -> Self {
        Purge { maps }
    }

    /// Runs until the channel is dropped. What it holds at first counts as a change: the daemon before may have known other lists.
    pub async fn run(self, mut lists: watch::Receiver<Lists>) {
        loop {
            let present = lists.borrow_and_update().clone();
            for _ in 0..if present.is_empty() { 0 } else { PASSES } {
                match self.pass(&present).await {
                    Ok(0) => {}
                    Ok(ended) => info!(connections = ended, "ended: their clients are not let in any more"),
                    Err(error) => warn!(%error, "cannot end connections of clients that are not let in any more"),
                }
                tokio::time::sleep(BETWEEN).await;
            }
            if lists.changed().await.is_err() {
                return;
            }
        }
    }

    async fn pass(&self, lists: &Lists) -> io::Result<usize> {
        let (mut cursor, mut ended) = (Cursor::default(), 0);
        loop {
            let mut flows = Vec::new();
            let more = self.maps.flows.walk(&mut cursor, SLICE, &mut flows)?;
            flows.retain(|(key, _)| lists.get(&key.index()).is_some_and(|list| !list.allows(key.index(), key.addr)));
            let keys: Vec<FlowKey> = flows.iter().map(|(key, _)| *key).collect();
            let reverse: Vec<ReverseKey> =
                flows.iter().map(|(key, flow)| reverse_key(&self.maps, key, flow.backend, flow.nat)).collect();
            self.maps.flows.delete(&keys)?;
            self.maps.reverse.delete(&reverse)?;
            ended += keys.len();
            if !more {
                return Ok(ended);
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::*;
    use crate::config::{Indices, load_text};

    #[test]
    fn the_longest_prefix_decides_as_in_the_kernel() {
        const NODE: &str = "
            add lb vserver web TCP 10.1.0.100 80
            bind lb vserver web -allow 10.0.0.0/8
            bind lb vserver web -deny 10.7.0.0/16
            bind lb vserver web -allow 10.7.7.7
            add lb vserver six TCP 2001:db8::1 80
            bind lb vserver six -deny 2001:db8:7::/48
            add lb vserver open TCP 10.1.0.100 81
            add ipset more
            add ns ip 10.1.0.101 255.255.255.255 -type VIP
            bind ipset more 10.1.0.101
            set lb vserver web -ipset more
        ";
        let config = load_text(Path::new("node.conf"), NODE, Indices::default()).unwrap();
        let lists = lists(&config);
        let index = |name| config.vserver(name).unwrap().index;
        let allows = |name, addr: &str| lists[&index(name)].allows(index(name), addr.parse::<IpAddr>().unwrap().into());
        assert!(allows("web", "10.1.1.1") && allows("web", "10.7.7.7"));
        assert!(!allows("web", "10.7.7.8") && !allows("web", "192.0.2.1"));
        assert!(allows("six", "2001:db8:8::1") && !allows("six", "2001:db8:7::1"));
        assert!(!lists.contains_key(&index("open")));
        let at_each: Vec<u32> = config.vserver("web").unwrap().addresses().map(|(_, index)| index).collect();
        let allows = |index: u32, addr: &str| lists[&index].allows(index, addr.parse::<IpAddr>().unwrap().into());
        assert_eq!(at_each.len(), 2);
        assert!(at_each.iter().all(|&index| allows(index, "10.1.1.1") && !allows(index, "10.7.7.8")));
    }
}
