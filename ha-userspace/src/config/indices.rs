//! The one place where virtual servers and services get their index in the data plane.
//!
//! Flows are keyed by index, so an index given twice would hand a flow to another virtual server: while the process lives, none is
//! used again. Flows also outlive the process in pinned maps: the allotment is therefore kept beside them ([`Indices`] is
//! serialisable), and a restart gives each virtual server and service the index it had, known by name, protocol, address and port.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an index is for; each kind counts on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A virtual server.
    Vserver,
    /// A service (a backend of the data plane).
    Service,
}

/// The state of allotment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indices {
    vservers: Space,
    services: Space,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Space {
    next: u32,
    /// The index of each identity that is alive.
    alive: BTreeMap<String, u32>,
    /// Identities of an earlier life that this one has not met yet; each is honoured once.
    #[serde(skip)]
    inherited: BTreeMap<String, u32>,
}

impl Indices {
    /// Begins a new life with what an earlier one left.
    pub fn inherit(mut self) -> Self {
        for space in [&mut self.vservers, &mut self.services] {
            space.inherited = std::mem::take(&mut space.alive);
        }
        self
    }

    fn space(&mut self, kind: Kind) -> &mut Space {
        match kind {
            Kind::Vserver => &mut self.vservers,
            Kind::Service => &mut self.services,
        }
    }

    /// Forgets a virtual server or service that was removed; its index stays used.
    pub(super) fn release(&mut self, kind: Kind, identity: &str) {
        self.space(kind).alive.remove(identity);
    }

    /// Returns the index of a new virtual server or service.
    pub(super) fn allot(&mut self, kind: Kind, identity: &str) -> u32 {
        let space = self.space(kind);
        let index = space.inherited.remove(identity).unwrap_or(space.next);
        space.next = space.next.max(index + 1);
        space.alive.insert(identity.to_owned(), index);
        index
    }

    /// Keeps as used what a refused change had allotted.
    pub(super) fn burn(&mut self, refused: Indices) {
        self.vservers.next = self.vservers.next.max(refused.vservers.next);
        self.services.next = self.services.next.max(refused.services.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_not_given_twice_in_one_life() {
        let mut indices = Indices::default();
        assert_eq!(["a", "b", "a"].map(|identity| indices.allot(Kind::Vserver, identity)), [0, 1, 2]);
        assert_eq!(indices.allot(Kind::Service, "a"), 0);
    }

    #[test]
    fn a_new_life_gives_back_the_index_once_and_never_a_removed_one() {
        let mut indices = Indices::default();
        assert_eq!(["a", "b", "c"].map(|identity| indices.allot(Kind::Vserver, identity)), [0, 1, 2]);
        indices.release(Kind::Vserver, "b");
        let kept = serde_json::to_string(&indices).unwrap();
        let mut indices = serde_json::from_str::<Indices>(&kept).unwrap().inherit();
        assert_eq!(["c", "a", "b", "c"].map(|identity| indices.allot(Kind::Vserver, identity)), [2, 0, 3, 4]);
    }

    #[test]
    fn what_a_refused_change_allotted_stays_used() {
        let mut indices = Indices::default();
        let mut refused = indices.clone();
        refused.allot(Kind::Service, "a");
        indices.burn(refused);
        assert_eq!(indices.allot(Kind::Service, "b"), 1);
    }
}
