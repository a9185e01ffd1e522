//! Who else uses what is this pair's: its addresses, its VRIDs, this node's identity, an interface's MAC address? And does a switch still
//! send here what the peer serves?
//!
//! [`Conflicts`] is told what the kernel sees, looks once a second, and puts alarms on the board. Time is an argument.
//!
//! Another station's word for a floating address is a conflict when this node serves, or when nobody does as far as this node knows. While
//! the peer is heard to serve, the address is the peer's. Right after a change of role the peer's last words may still be on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ha_common::abi::Link;
use ha_common::time::Nanos;

use crate::alarm::{Board, Kind};

/// How long a conflict stands after it was last seen: longer than it takes a node to refresh all its addresses (60 s), or the alarm
/// about one that does would come and go.
const FORGET: Duration = Duration::from_secs(75);

/// How long after a takeover the former Primary's word is not held against it, and how long a node that does not serve waits to hear
/// that its peer does.
const GRACE: Duration = Duration::from_secs(2);

/// How long strays may go on after a change of role, and how long none must have come for the alarm to be cleared.
const STRAYS: Duration = Duration::from_secs(10);

/// Stations and routers that are remembered at most; more of them at once are alarm enough.
const SEEN_MAX: usize = 1024;

/// Stations about which there are alarms at most, those that were heard first: somebody may make up MAC addresses.
const STATIONS_MAX: usize = 16;

/// Another station said that it has a floating address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// The address.
    pub address: IpAddr,
    /// Where it said so.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// Another router advertised a VRID of this pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    /// The VRID.
    pub vrid: u8,
    /// Its priority.
    pub priority: u8,
    /// Its address.
    pub address: IpAddr,
    /// Where it said so.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// How things stand when [`Conflicts::look`] looks.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether this node's kernel serves.
    pub serves: bool,
    /// Since when the role is what it is.
    pub since: Nanos,
    /// Whether the peer is heard.
    pub peer_heard: bool,
    /// Whether it says that it serves, or said so last.
    pub peer_serves: bool,
    /// This node's own address in the pair.
    pub nsip: Option<Ipv4Addr>,
    /// MAC addresses that are this node's, or the pair's.
    pub own: BTreeSet<[u8; 6]>,
    /// Names by interface index.
    pub names: BTreeMap<u32, String>,
    /// Heartbeat links: interface, the kernel's record.
    pub links: Vec<(String, Link)>,
    /// Legs: interface, strays that were sent to the peer so far.
    pub strays: Vec<(String, u64)>,
}

impl Facts {
    fn name(&self, ifindex: u32) -> String {
        self.names.get(&ifindex).cloned().unwrap_or_else(|| format!("interface {ifindex}"))
    }
}

/// See the module.
pub struct Conflicts {
    board: Board,
    claimants: BTreeMap<Claimant, Heard>,
    routers: BTreeMap<(u8, u32), (Router, Nanos)>,
    strays: BTreeMap<String, Stray>,
    /// The peer was heard to serve, and this node has not served for long since.
    peer_served: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    first: Nanos,
    last: Nanos,
}

/// Its MAC address, where it is, and what it claims since when.
type Station = ([u8; 6], u32, Vec<(Nanos, IpAddr)>);

#[derive(Clone, Copy, Debug)]
struct Stray {
    sent: u64,
    came: Nanos,
}

impl Conflicts {
    /// Nothing was seen yet.
    pub fn new(board: Board) -> Conflicts {
        Conflicts { board, claimants: BTreeMap::new(), routers: BTreeMap::new(), strays: BTreeMap::new(), peer_served: false }
    }

    /// A station spoke at `at`.
    pub fn claimed(&mut self, at: Nanos, claimant: Claimant) {
        if self.claimants.len() < SEEN_MAX || self.claimants.contains_key(&claimant) {
            self.claimants.entry(claimant).or_insert(Heard { first: at, last: at }).last = at;
        }
    }

    /// A router spoke at `at`.
    pub fn routed(&mut self, at: Nanos, router: Router) {
        let key = (router.vrid, router.ifindex);
        if self.routers.len() < SEEN_MAX || self.routers.contains_key(&key) {
            self.routers.insert(key, (router, at));
        }
    }

    /// Raises and clears alarms. The addresses whose refresh this node should hold: those that another station announces while the
    /// peer, which may be that station, is not heard.
    pub fn look(&mut self, now: Nanos, facts: &Facts) -> BTreeSet<IpAddr> {
        let held = self.look_at_claimants(now, facts);
        self.look_at_routers(now, facts);
        self.look_at_links(now, facts);
        self.look_at_strays(now, facts);
        self.peer_served &= !facts.serves || now.since(facts.since) < FORGET;
        held
    }

    fn look_at_claimants(&mut self, now: Nanos, facts: &Facts) -> BTreeSet<IpAddr> {
        let mut held = BTreeSet::new();
        let peers = !facts.serves && facts.peer_heard && facts.peer_serves;
        self.peer_served |= facts.peer_serves;
        let former = facts.serves && self.peer_served;
        self.claimants.retain(|claimant, Heard { last, .. }| {
            let own = facts.own.contains(&claimant.mac);
            let late = former && *last < facts.since + GRACE;
            !own && !late && !peers && now.since(*last) < FORGET
        });
        let split = facts.serves && !facts.peer_heard;
        let follows = match (facts.serves, split) {
            (true, true) => {
                "the peer is not heard: the pair may be split, both nodes serving; this node does not refresh the address"
            }
            (true, false) => "clients reach one or the other: find that station and take the address from it",
            (false, _) => "nobody of this pair is known to serve: if this is not the peer, take the address from that station",
        };
        let stations = self.stations();
        for (mac, ifindex, addresses) in &stations {
            let ripe: Vec<IpAddr> = addresses
                .iter()
                .filter(|(first, _)| facts.serves || now.since(*first) >= GRACE)
                .map(|(_, address)| *address)
                .collect();
            held.extend(ripe.iter().filter(|_| split));
            let Some(first) = ripe.first() else { continue };
            let more = if ripe.len() == 1 { String::new() } else { format!(" and {} more of this pair's", ripe.len() - 1) };
            let station = station(*mac, *ifindex, facts);
            let text = format!("{station} says that it has {first}{more}; {follows}");
            self.board.raise(Kind::IpConflict, &station, text);
        }
        let known: BTreeSet<String> = stations.iter().map(|(mac, ifindex, _)| station(*mac, *ifindex, facts)).collect();
        clear_others(&self.board, Kind::IpConflict, |subject| known.contains(subject));
        held
    }

    /// Who claims what, by MAC address and interface: everything in the order in which it was first heard.
    fn stations(&self) -> Vec<Station> {
        let mut stations = BTreeMap::<([u8; 6], u32), Vec<(Nanos, IpAddr)>>::new();
        for (claimant, heard) in &self.claimants {
            stations.entry((claimant.mac, claimant.ifindex)).or_default().push((heard.first, claimant.address));
        }
        stations.values_mut().for_each(|addresses| addresses.sort_unstable());
        let mut stations: Vec<Station> =
            stations.into_iter().map(|((mac, ifindex), addresses)| (mac, ifindex, addresses)).collect();
        stations.sort_by_key(|(.., addresses)| addresses.first().map(|(first, _)| *first));
        stations.truncate(STATIONS_MAX);
        stations
    }

    fn look_at_routers(&mut self, now: Nanos, facts: &Facts) {
        self.routers.retain(|_, (_, at)| now.since(*at) < FORGET);
        let subject = |router: &Router| format!("VRID {} on {}", router.vrid, facts.name(router.ifindex));
        for (router, _) in self.routers.values() {
            let Router { vrid, priority, address, mac, .. } = router;
            let text = format!(
                "{address} ({}) advertises VRID {vrid} with priority {priority}: its virtual MAC is ours, too; give one of both another VRID",
                text(*mac)
            );
            self.board.raise(Kind::ForeignVrrp, &subject(router), text);
        }
        let standing: BTreeSet<String> = self.routers.values().map(|(router, _)| subject(router)).collect();
        clear_others(&self.board, Kind::ForeignVrrp, |subject| standing.contains(subject));
    }

    fn look_at_links(&self, now: Nanos, facts: &Facts) {
        let lately = |at: Nanos| at != Nanos::NEVER && now.since(at) < FORGET;
        for (name, link) in &facts.links {
            self.board.set(Kind::DuplicateNode, name, lately(link.duplicate_at), || {
                let nsip = facts.nsip.map_or_else(|| "its NSIP".to_owned(), |nsip| nsip.to_string());
                let mac = text(ha_common::abi::mac_of(link.duplicate_mac));
                format!("another machine ({mac} on {name}) sends heartbeats as {nsip}, which is this node: give it an NSIP of its own")
            });
            self.board.set(Kind::DuplicateMac, name, lately(link.twin_at), || {
                format!("the peer's frames on {name} have this interface's own MAC address (copied machines?): give one of both another")
            });
        }
    }

    fn look_at_strays(&mut self, now: Nanos, facts: &Facts) {
        for (name, sent) in &facts.strays {
            let stray = self.strays.entry(name.clone()).or_insert(Stray { sent: *sent, came: Nanos::NEVER });
            if *sent != stray.sent {
                *stray = Stray { sent: *sent, came: now };
            }
            let coming = stray.came != Nanos::NEVER && now.since(stray.came) < STRAYS;
            if coming && now.since(facts.since) > STRAYS {
                self.board.raise(
                    Kind::Strays,
                    name,
                    format!("packets for floating addresses still come in on {name} and are carried to the peer: its switch still points here"),
                );
            } else if !coming {
                self.board.clear(Kind::Strays, name);
            }
        }
    }
}

pub(crate) fn clear_others(board: &Board, kind: Kind, stands: impl Fn(&str) -> bool) {
    for (_, subject, _) in board.list().into_iter().filter(|(standing, subject, _)| *standing == kind && !stands(subject)) {
        board.clear(kind, &subject);
    }
}

fn station(mac: [u8; 6], ifindex: u32, facts: &Facts) -> String {
    format!("{} on {}", text(mac), facts.name(ifindex))
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests;
