//! From the driver's snapshot to what `show ha node` prints.

use std::time::Duration;

use ha_common::abi::Link;
use ha_common::ha::event::RoleName;
use ha_common::ha::merits;
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, flags, public_flags};

use crate::alarm::{Kind, Standing};
use crate::command::runtime::{
    AlarmStatus, LinkCounts, LinkStatus, MasterState, NodeState, NodeStatus, OwnStatus, PairStatus, SyncState, Transition,
};
use crate::config::Config;
use crate::ha::loss::Loss;
use crate::ha::public::{Peer, release_text};
use crate::ha::{Past, Snapshot};

/// What the sender knows of a link.
pub struct Sent {
    /// Link number.
    pub number: usize,
    /// Interface name.
    pub interface: String,
    /// Requests that left.
    pub sent: u64,
    /// Of the last of them.
    pub loss: Loss,
}

/// The whole of it.
pub fn pair(config: &Config, snapshot: &Snapshot, sent: &[Sent]) -> PairStatus {
    let mut local = NodeStatus::local(config);
    let findings = &snapshot.facts.findings;
    local.state = node_state(snapshot.said.node_state);
    local.master = master_state(snapshot.role, snapshot.said.master_state);
    local.failed_interfaces = snapshot.judged.then(|| findings.failed.clone());
    local.in_master_state_for = Some(snapshot.at.since(snapshot.since));
    let dead = config.ha().dead_interval;
    let links: Vec<LinkStatus> = sent.iter().filter_map(|sent| link(sent, snapshot, dead)).collect();
    if config.peer().is_some() {
        let heard = |name: &str| links.iter().any(|link| link.heard && link.interface == name);
        let silent = config.ha_links().filter(|link| !heard(&link.name));
        local.silent_interfaces = Some(silent.map(|link| link.name.clone()).collect());
    }
    let peer = NodeStatus::unheard_peer(config).map(|unheard| peer(unheard, snapshot));
    let sum = |count: fn(&Link) -> u64| snapshot.links.iter().map(count).sum::<u64>();
    let own = OwnStatus {
        critical_interfaces: findings.critical.clone(),
        failed_sets: findings.sets.iter().filter(|(_, fails)| **fails).map(|(name, _)| name.clone()).collect(),
        unjudged: !snapshot.judged,
        routes: config.route_monitors().iter().map(|route| (*route, snapshot.facts.routes.get(route).copied())).collect(),
        routes_judged: snapshot.routes_judged,
        flips: snapshot.flips.0,
        flip_time: snapshot.flips.1.map(|since| snapshot.at.since(since)),
        preference_left: snapshot.preference_left,
        witness: snapshot.witness,
        silence: snapshot.silence,
        received: sum(|link| link.requests + link.echoes),
        // Every request of the peer that counts is answered.
        sent: sent.iter().map(|sent| sent.sent).sum::<u64>() + sum(|link| link.requests),
        rates: [0.0; 2],
    };
    PairStatus { local, peer, links, transitions: snapshot.past.iter().map(transition).collect(), own }
}

/// An alarm, as people read it.
pub fn alarm((kind, subject, standing): (Kind, String, Standing)) -> AlarmStatus {
    let kind = match kind {
        Kind::Pair(alarm) => format!("{alarm:?}"),
        other => format!("{other:?}"),
    };
    AlarmStatus { kind, subject, since: standing.since, text: standing.text }
}

fn peer(unheard: NodeStatus, snapshot: &Snapshot) -> NodeStatus {
    if snapshot.peer_unknown && snapshot.peer_alive != Some(true) {
        return unheard;
    }
    match (snapshot.peer_alive, &snapshot.view.said) {
        (Some(true), Some(said)) => {
            let public = Peer::of(&snapshot.links);
            NodeStatus {
                state: peer_state(said),
                master: peer_master(said),
                sync: SyncState::Enabled,
                inc: public.map(|public| public.flags & public_flags::INC != 0),
                release: public.map(|public| release_text(public.release)),
                ..unheard
            }
        }
        (Some(false), _) => NodeStatus { state: NodeState::Down, ..unheard },
        (Some(true) | None, _) => unheard,
    }
}

fn peer_state(said: &Extension) -> NodeState {
    let well = merits::HEALTHY | merits::CONNECTED;
    if said.flags & flags::STAYS_SECONDARY != 0 {
        NodeState::StaySecondary
    } else if said.flags & flags::ENGINE_OFF != 0 {
        NodeState::Disabled
    } else if said.flags & flags::UNJUDGED != 0 {
        NodeState::Init
    } else if said.standing.merits & well != well {
        NodeState::NotUp
    } else {
        NodeState::Up
    }
}

fn peer_master(said: &Extension) -> MasterState {
    let group = &said.groups[0];
    if !group.term.is_none() {
        MasterState::Primary
    } else if !group.armed_term.is_none() {
        MasterState::Claiming
    } else {
        MasterState::Secondary
    }
}

fn node_state(number: u8) -> NodeState {
    match number {
        1 => NodeState::Init,
        3 => NodeState::Up,
        8 => NodeState::StaySecondary,
        9 => NodeState::Disabled,
        4 => NodeState::PartialFail,
        7 => NodeState::CompleteFail,
        11 => NodeState::RouteMonitorFail,
        _ => NodeState::Unknown,
    }
}

fn master_state(role: RoleName, number: u8) -> MasterState {
    match role {
        RoleName::Primary | RoleName::HandingOver => MasterState::Primary,
        RoleName::Secondary => MasterState::Secondary,
        RoleName::Claiming if number == 4 => MasterState::ForceChange,
        RoleName::Claiming => MasterState::Claiming,
    }
}

fn link(sent: &Sent, snapshot: &Snapshot, dead: Duration) -> Option<LinkStatus> {
    let link: &Link = snapshot.links.get(sent.number)?;
    let newest = link.echo_at.max(link.request_at);
    let since = (newest != Nanos::NEVER).then(|| snapshot.at.since(newest));
    Some(LinkStatus {
        interface: sent.interface.clone(),
        heard: since.is_some_and(|since| since < dead),
        last_heard: since,
        rtt: (link.rtt != 0).then(|| Duration::from_nanos(link.rtt)),
        peer_hears: since.and_then(|_| peer_hears(sent.number, snapshot)),
        sent: sent.loss.sent,
        lost: sent.loss.lost,
        counts: LinkCounts {
            requests_sent: sent.sent,
            requests: link.requests,
            answers: link.echoes,
            unknown_keys: link.unknown_keys,
            bad_tags: link.bad_tags,
            stale: link.stale,
            looped: link.looped,
            duplicates: link.duplicates,
            twins: link.twins,
        },
    })
}

/// Whether the peer says that it hears this node on a link; unknown before it has told its own number of it.
fn peer_hears(number: usize, snapshot: &Snapshot) -> Option<bool> {
    let theirs = (*snapshot.peer_links.get(number)?)?;
    let said = snapshot.view.said?;
    Some(said.hears.checked_shr(theirs.into()).unwrap_or(0) & 1 != 0)
}

fn transition(past: &Past) -> Transition {
    Transition {
        when: past.when,
        from: past.from.to_string(),
        to: past.to.to_string(),
        cause: past.cause.to_string(),
        evidence: past.evidence.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flags: u16, merits: u64) -> Extension {
        let mut said = Extension { flags, ..Extension::default() };
        said.standing.merits = merits;
        said
    }

    #[test]
    fn a_peer_that_has_just_started_is_init_and_not_up_only_once_it_has_been_judged() {
        let well = merits::HEALTHY | merits::CONNECTED;
        let table = [
            (said(flags::UNJUDGED, 0), NodeState::Init),
            (said(0, 0), NodeState::NotUp),
            (said(0, merits::HEALTHY), NodeState::NotUp),
            (said(0, well), NodeState::Up),
            (said(flags::UNJUDGED | flags::STAYS_SECONDARY, 0), NodeState::StaySecondary),
            (said(flags::UNJUDGED | flags::ENGINE_OFF, 0), NodeState::Disabled),
        ];
        for (said, state) in table {
            assert_eq!(peer_state(&said), state, "flags {:#x}", said.flags);
        }
    }
}
