//! From what was asked to what a person reads: step by step, then the verdict and its reason.

mod steps;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use ha_common::abi::{Fence, Node};
use ha_common::pipeline::{Action, Verdict};
use serde::Serialize;

use super::{Look, Names, Source};
use crate::glance::Glance;
use crate::net::link;
use steps::Steps;

/// What is known of the node beside its tables.
pub struct Scene<'n> {
    names: &'n Names,
    node: Node,
    fence: Fence,
    interfaces: RefCell<HashMap<u32, String>>,
}

impl<'n> Scene<'n> {
    /// Of the node whose tables `source` has.
    pub fn new<S: Source>(source: &S, names: &'n Names) -> Self {
        Scene { names, node: source.node(), fence: source.fence(), interfaces: RefCell::default() }
    }

    /// What interface `ifindex` is called in this network namespace.
    pub fn interface(&self, ifindex: u32) -> String {
        self.interfaces.borrow_mut().entry(ifindex).or_insert_with(|| link::name(ifindex)).clone()
    }
}

/// One step on the packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it is about.
    pub about: &'static str,
    /// What was found.
    pub says: String,
}

/// Which way the packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The host's stack takes it.
    Pass,
    /// Nobody gets it.
    Drop,
    /// By the interface that it came in on.
    Transmit,
    /// By another interface.
    Redirect,
}

/// What would become of a packet, and why. `Display` is the detailed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its number in the capture that it is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    /// The packet.
    pub packet: Glance,
    /// Its length in bytes.
    pub len: usize,
    /// The interface that it comes in on.
    pub interface: String,
    /// The virtual server that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vserver: Option<String>,
    /// The service that it goes to, or comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The way there.
    pub steps: Vec<Line>,
    /// Which way it leaves.
    pub action: Way,
    /// The interface that it leaves by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves_by: Option<String>,
    /// The packet as it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<Glance>,
    /// The name of the reason, as counters have it.
    pub reason: &'static str,
    /// The reason.
    pub sentence: &'static str,
}

/// Puts an explanation together.
pub(super) fn tell(
    scene: &Scene<'_>,
    frame: &[u8],
    ifindex: u32,
    verdict: Verdict,
    left: &[u8],
    looks: &[Look],
) -> Explanation {
    let packet = Glance::at(frame);
    let told = Steps::new(scene, &packet, looks).tell(ifindex);
    let (action, leaves_by) = match verdict.action() {
        Action::Pass => (Way::Pass, None),
        Action::Drop => (Way::Drop, None),
        Action::Transmit => (Way::Transmit, Some(ifindex)),
        Action::Redirect(other) => (Way::Redirect, Some(other)),
    };
    Explanation {
        number: None,
        packet,
        len: frame.len(),
        interface: scene.interface(ifindex),
        vserver: told.vserver,
        service: told.service,
        steps: told.lines,
        action,
        leaves_by: leaves_by.map(|ifindex| scene.interface(ifindex)),
        leaves: leaves_by.map(|_| Glance::at(left)),
        reason: verdict.reason().name(),
        sentence: verdict.reason().sentence(),
    }
}

impl Explanation {
    /// All of it in one line.
    pub fn line(&self) -> String {
        let number = self.number.map_or_else(String::new, |number| format!("{number:>5}  "));
        let Explanation { packet, interface, reason, .. } = self;
        format!("{number}{interface}: {packet} -> {}  {reason}", self.outcome())
    }

    fn outcome(&self) -> String {
        let by = self.leaves_by.as_deref().unwrap_or_default();
        let as_what = self.leaves.as_ref().map_or_else(String::new, Glance::to_string);
        match self.action {
            Way::Pass => "the host takes it".into(),
            Way::Drop => "dropped".into(),
            Way::Transmit | Way::Redirect => format!("{by}: {as_what}"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.number {
            write!(f, "{number}: ")?;
        }
        writeln!(f, "{}, {} bytes", self.packet, self.len)?;
        for Line { about, says } in &self.steps {
            writeln!(f, "  {about:<16} {says}")?;
        }
        writeln!(f, "  {:<16} {}", "verdict", self.outcome())?;
        if let Some(leaves) = &self.leaves {
            writeln!(f, "  {:<16} from {} to {}", "", leaves.source_mac, leaves.destination_mac)?;
        }
        writeln!(f, "  {:<16} {}: {}", "reason", self.reason, self.sentence)
    }
}
