//! What is this node's own health?
//!
//! [`Rules`] is what the operator has put under watch, [`Port`] what the kernel says of one interface, [`Findings`] what follows. Called by
//! the daemon whenever one of them changes; it never asks the kernel and never decides who serves.
//!
//! | rule | |
//! |---|---|
//! | a *critical* interface fails without carrier, or below its throughput threshold | enabled, monitored, in no set |
//! | a failover interface set fails when all of its members do | members count like critical interfaces |
//! | `disable interface` takes an interface out of health, as a member too | that is how an unused port stops counting |
//! | an interface that the host has switched off (`ip link set down`) fails | nobody told this node not to need it |
//! | an interface that carries nothing but heartbeats is no health | its carrier is the peer's: a dead peer must not make the survivor unwell |
//! | everything fails, or something, or nothing | public COMPLETEFAIL, PARTIALFAIL, UP |

use std::collections::BTreeMap;

use super::event::{Health, Interfaces};

/// An interface, as the kernel has it now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port {
    /// Switched on, and somebody is at the other end.
    pub carrier: bool,
    /// Speed of the link in Mbit/s, where it is known.
    pub speed: Option<u32>,
}

/// An interface, as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// In use (`enable interface`).
    pub enabled: bool,
    /// `-haMonitor ON`.
    pub monitored: bool,
    /// `-haHeartbeat ON`.
    pub heartbeats: bool,
    /// Whether floating addresses or backends live behind it.
    pub carries: bool,
    /// Speed in Mbit/s below which it fails; zero for any.
    pub throughput: u32,
}

/// A failover interface set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Names of its interfaces.
    pub members: Vec<String>,
}

/// What is under watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Every interface that the configuration names.
    pub interfaces: Vec<Watch>,
    /// Failover interface sets; an interface is in one at most.
    pub sets: Vec<Set>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// For the HA machine.
    pub health: Health,
    /// Interfaces that cause a failure: critical ones, and every member of a set that fails.
    pub failed: Vec<String>,
    /// Interfaces whose failure alone makes the node unwell.
    pub critical: Vec<String>,
    /// By set: whether it fails.
    pub sets: BTreeMap<String, bool>,
}

impl Default for Findings {
    /// Before anything was seen, nothing is known to be wrong.
    fn default() -> Self {
        Findings { health: Health::WELL, failed: Vec::new(), critical: Vec::new(), sets: BTreeMap::new() }
    }
}

impl Watch {
    /// Whether its carrier says something of this node.
    fn is_health(&self) -> bool {
        self.enabled && self.monitored && (self.carries || !self.heartbeats)
    }

    fn is_link(&self) -> bool {
        self.enabled && self.heartbeats
    }

    fn fails(&self, port: Port) -> bool {
        // A speed that the driver does not tell is no reason to give the role away.
        let slow = port.speed.is_some_and(|speed| speed < self.throughput);
        !port.carrier || slow
    }
}

impl Rules {
    /// Names of the interfaces whose state matters.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.relevant().map(|watch| watch.name.clone()).collect()
    }

    /// Names of the interfaces whose speed matters.
    #[must_use]
    pub fn timed(&self) -> Vec<String> {
        self.relevant().filter(|watch| watch.throughput != 0).map(|watch| watch.name.clone()).collect()
    }

    /// Interfaces whose failure alone makes the node unwell.
    pub fn critical(&self) -> impl Iterator<Item = &str> {
        let in_set = |name: &str| self.sets.iter().any(|set| set.members.iter().any(|member| member == name));
        self.legs().map(|watch| watch.name.as_str()).filter(move |name| !in_set(name))
    }

    /// Judges `ports`, once all that matter are in it. `routes`: whether every monitored route is there.
    #[must_use]
    pub fn judge(&self, ports: &BTreeMap<String, Port>, routes: bool) -> Option<Findings> {
        if !self.relevant().all(|watch| ports.contains_key(&watch.name)) {
            return None;
        }
        let port = |watch: &Watch| ports.get(&watch.name).copied().unwrap_or_default();
        let fails = |name: &str| self.leg(name).is_some_and(|watch| watch.fails(port(watch)));
        let mut findings = Findings::default();
        let (mut units, mut failures) = (0, 0);
        for name in self.critical() {
            units += 1;
            findings.critical.push(name.to_owned());
            if fails(name) {
                failures += 1;
                findings.failed.push(name.to_owned());
            }
        }
        for set in &self.sets {
            let mut members = set.members.iter().filter(|name| self.leg(name).is_some()).peekable();
            // A set none of whose members is in use cannot fail.
            let down = members.peek().is_some() && members.clone().all(|name| fails(name));
            units += usize::from(members.peek().is_some());
            if down {
                failures += 1;
                findings.failed.extend(members.cloned());
            }
            findings.sets.insert(set.name.clone(), down);
        }
        let mut legs = self.legs().peekable();
        findings.health = Health {
            interfaces: match failures {
                0 => Interfaces::Work,
                _ if failures == units => Interfaces::AllFail,
                _ => Interfaces::SomeFail,
            },
            connected: legs.peek().is_none() || legs.any(|watch| port(watch).carrier),
            linked: self.interfaces.iter().filter(|watch| watch.is_link()).any(|watch| port(watch).carrier),
            routes,
        };
        Some(findings)
    }

    fn relevant(&self) -> impl Iterator<Item = &Watch> {
        self.interfaces.iter().filter(|watch| watch.is_health() || watch.is_link())
    }

    fn legs(&self) -> impl Iterator<Item = &Watch> {
        self.interfaces.iter().filter(|watch| watch.is_health())
    }

    fn leg(&self, name: &str) -> Option<&Watch> {
        self.legs().find(|watch| watch.name == name)
    }
}

#[cfg(test)]
mod tests;
