//! What is known of next hops, and what has to be asked: pure, so that it can be tested without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How to reach an address: interface and MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Interface index.
    pub ifindex: u32,
    /// MAC address of the neighbour.
    pub mac: [u8; 6],
}

/// Next hop by address, for those that are known.
pub type NextHops = BTreeMap<IpAddr, NextHop>;

/// The neighbour that a route leads to: the address itself or a gateway, on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Via {
    /// Interface index.
    pub ifindex: u32,
    /// The neighbour's address.
    pub address: IpAddr,
}

/// What the kernel says of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Confirmed lately, or by an administrator.
    Known([u8; 6]),
    /// Being confirmed.
    Verifying([u8; 6]),
    /// Once confirmed; nobody has asked since.
    Stale([u8; 6]),
    /// Being asked, without an answer so far.
    Asking,
    /// Did not answer, or forgotten.
    Failed,
}

/// Wanted addresses, their routes and the neighbours on them.
#[derive(Debug, Default)]
pub struct Table {
    routes: BTreeMap<IpAddr, Option<Via>>,
    neighbours: BTreeMap<Via, Neighbour>,
    /// MAC that a neighbour had last: kept while it does not answer. Whether a backend is dead is for its monitor to say.
    last_mac: BTreeMap<Via, [u8; 6]>,
    /// Neighbours that the kernel was asked for and has said nothing about yet.
    asked: BTreeSet<Via>,
}

impl Table {
    /// Forgets every address that is not in `wanted`.
    pub fn keep_only(&mut self, wanted: &BTreeSet<IpAddr>) {
        self.routes.retain(|address, _| wanted.contains(address));
        let used: BTreeSet<Via> = self.routes.values().flatten().copied().collect();
        // What the kernel knows stays: it does not tell again when the address is wanted later.
        let known = &self.neighbours;
        self.last_mac.retain(|via, _| used.contains(via) || known.contains_key(via));
        self.asked.retain(|via| used.contains(via));
    }

    /// The route to a wanted address leads here now, or nowhere.
    pub fn route(&mut self, address: IpAddr, via: Option<Via>) {
        self.routes.insert(address, via);
    }

    /// The kernel says this of a neighbour.
    pub fn learn(&mut self, via: Via, neighbour: Neighbour) {
        self.asked.remove(&via);
        match neighbour {
            Neighbour::Failed => {
                self.neighbours.remove(&via);
                // Asked again after the retry time only: one that has failed just now would fail at once again.
                self.asked.insert(via);
            }
            other => {
                self.neighbours.insert(via, other);
            }
        }
        if let Neighbour::Known(mac) | Neighbour::Verifying(mac) | Neighbour::Stale(mac) = neighbour {
            self.last_mac.insert(via, mac);
        }
    }

    /// The neighbours that the kernel shall resolve or verify now. Each is named once until the kernel has answered.
    pub fn asks(&mut self) -> Vec<Via> {
        let used: BTreeSet<Via> = self.routes.values().flatten().copied().collect();
        let ask = |via: &Via| matches!(self.neighbours.get(via), None | Some(Neighbour::Stale(_)));
        let ask: Vec<Via> = used.into_iter().filter(|via| ask(via) && !self.asked.contains(via)).collect();
        self.asked.extend(&ask);
        ask
    }

    /// Lets [`Self::asks`] name again what was asked without an answer.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
    }

    /// How many wanted addresses have no route or no confirmed neighbour.
    pub fn unresolved(&self) -> usize {
        let resolved = |via: &Via| {
            matches!(self.neighbours.get(via), Some(Neighbour::Known(_) | Neighbour::Verifying(_) | Neighbour::Stale(_)))
        };
        self.routes.values().filter(|via| !via.as_ref().is_some_and(resolved)).count()
    }

    /// What can be told to the data plane.
    pub fn next_hops(&self) -> NextHops {
        let hop = |via: &Via| self.last_mac.get(via).map(|&mac| NextHop { ifindex: via.ifindex, mac });
        self.routes.iter().filter_map(|(&address, via)| Some((address, hop(via.as_ref()?)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn via(address: &str) -> Via {
        Via { ifindex: 4, address: ip(address) }
    }

    fn table(routes: &[(&str, &str)]) -> Table {
        let mut table = Table::default();
        for (address, neighbour) in routes {
            table.route(ip(address), Some(via(neighbour)));
        }
        table
    }

    #[test]
    fn unknown_neighbours_are_asked_once_until_the_kernel_answers() {
        let mut table = table(&[("10.2.0.11", "10.2.0.11"), ("10.9.0.1", "10.2.0.254"), ("10.9.0.2", "10.2.0.254")]);
        assert_eq!(table.asks(), [via("10.2.0.11"), via("10.2.0.254")]);
        assert_eq!(table.asks(), []);
        assert_eq!(table.unresolved(), 3);
        table.learn(via("10.2.0.254"), Neighbour::Known(MAC));
        assert_eq!(table.unresolved(), 1);
        let hop = NextHop { ifindex: 4, mac: MAC };
        assert_eq!(table.next_hops(), [(ip("10.9.0.1"), hop), (ip("10.9.0.2"), hop)].into());
    }

    #[test]
    fn stale_neighbours_are_verified_and_used_meanwhile() {
        let mut table = table(&[("10.2.0.11", "10.2.0.11")]);
        table.learn(via("10.2.0.11"), Neighbour::Stale(MAC));
        assert_eq!(table.asks(), [via("10.2.0.11")]);
        table.learn(via("10.2.0.11"), Neighbour::Verifying(MAC));
        assert_eq!((table.asks(), table.unresolved()), (vec![], 0));
        table.learn(via("10.2.0.11"), Neighbour::Known(OTHER));
        assert_eq!(table.next_hops()[&ip("10.2.0.11")].mac, OTHER, "a changed MAC is followed");
    }

    #[test]
    fn a_neighbour_that_fails_keeps_its_mac_and_is_asked_again_after_the_retry_time() {
        let mut table = table(&[("10.2.0.11", "10.2.0.11")]);
        table.learn(via("10.2.0.11"), Neighbour::Known(MAC));
        table.learn(via("10.2.0.11"), Neighbour::Failed);
        assert_eq!(table.next_hops()[&ip("10.2.0.11")].mac, MAC);
        assert_eq!((table.asks(), table.unresolved()), (vec![], 1));
        table.forget_asked();
        assert_eq!(table.asks(), [via("10.2.0.11")]);
    }

    #[test]
    fn an_address_without_a_route_has_no_next_hop_and_one_that_moves_has_another() {
        let mut table = table(&[("10.9.0.1", "10.2.0.253")]);
        table.learn(via("10.2.0.253"), Neighbour::Known(MAC));
        table.learn(via("10.2.0.254"), Neighbour::Known(OTHER));
        table.route(ip("10.9.0.1"), Some(via("10.2.0.254")));
        assert_eq!(table.next_hops()[&ip("10.9.0.1")].mac, OTHER);
        table.route(ip("10.9.0.1"), None);
        assert_eq!((table.next_hops(), table.unresolved()), (NextHops::new(), 1));
    }

    #[test]
    fn neighbour_that_was_known_before_its_address_was_wanted_is_used() {
        let mut table = Table::default();
        table.learn(via("10.2.0.11"), Neighbour::Known(MAC));
        table.keep_only(&BTreeSet::from([ip("10.2.0.11")]));
        table.route(ip("10.2.0.11"), Some(via("10.2.0.11")));
        assert_eq!((table.asks(), table.unresolved()), (vec![], 0));
        assert_eq!(table.next_hops()[&ip("10.2.0.11")].mac, MAC);
    }

    #[test]
    fn addresses_that_are_no_longer_wanted_are_forgotten() {
        let mut table = table(&[("10.2.0.11", "10.2.0.11")]);
        table.learn(via("10.2.0.11"), Neighbour::Known(MAC));
        table.keep_only(&BTreeSet::new());
        assert_eq!((table.next_hops(), table.unresolved(), table.asks()), (NextHops::new(), 0, vec![]));
    }
}
