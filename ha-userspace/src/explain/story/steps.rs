//! What was asked, one line each, in the order in which it was.

mod placing;
mod words;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ha_common::abi::{
    AMBIGUOUS, Address, Backend, CloseReason, Event, FULL_BACKENDS, FilterKind, Flow, FlowKey, Interface, Ip, NO_BACKEND,
    NO_VSERVER, Nat, NextHop, Owner, ServiceKey, Snip, Vserver, address_flags, event_kind, interface_flags, mode,
    prefix_action, vserver_flags,
};
use ha_common::pipeline::Step;
use ha_common::pipeline::steps::Fate;
use ha_common::tables::Route;
use ha_common::wire::eth;

use super::{Line, Scene};
use crate::explain::Look;
use crate::glance::{Glance, mac};
use words::{in_vlan, protocol, serving, socket, table};

/// What was told.
pub struct Told {
    pub lines: Vec<Line>,
    pub vserver: Option<String>,
    pub service: Option<String>,
}

/// Tells it.
pub struct Steps<'a> {
    scene: &'a Scene<'a>,
    packet: &'a Glance,
    looks: &'a [Look],
    backends: HashMap<u32, Backend>,
    snips: HashMap<u32, Snip>,
    interfaces: HashMap<u32, Interface>,
    /// Flows that backends have.
    loads: HashMap<u32, u64>,
    /// Virtual servers that were told of.
    vservers: HashMap<u32, Vserver>,
    /// The one that was looked at last.
    vserver: Option<u32>,
    /// The service that was looked at last.
    service: Option<u32>,
    /// Slots that were looked at and not told of yet.
    slots: Vec<(u32, u32)>,
    told: HashSet<(&'static str, String)>,
    lines: Vec<Line>,
}

impl<'a> Steps<'a> {
    pub fn new(scene: &'a Scene<'a>, packet: &'a Glance, looks: &'a [Look]) -> Self {
        let mut steps = Steps {
            scene,
            packet,
            looks,
            backends: HashMap::new(),
            snips: HashMap::new(),
            interfaces: HashMap::new(),
            loads: HashMap::new(),
            vservers: HashMap::new(),
            vserver: None,
            service: None,
            slots: Vec::new(),
            told: HashSet::new(),
            lines: Vec::new(),
        };
        for look in looks {
            match *look {
                Look::Backend(index, Some(backend)) => drop(steps.backends.insert(index, backend)),
                Look::Snip(index, Some(snip)) => drop(steps.snips.insert(index, snip)),
                Look::Load(index, Some(open)) => drop(steps.loads.insert(index, open)),
                Look::Interface(index, Some(interface)) => drop(steps.interfaces.insert(index, interface)),
                _ => {}
            }
        }
        steps
    }

    pub fn tell(mut self, ifindex: u32) -> Told {
        self.arrival(ifindex);
        for (at, look) in self.looks.iter().enumerate() {
            if !matches!(look, Look::Ring(..) | Look::Backend(..) | Look::Load(..)) {
                self.ring();
            }
            self.look(at, look);
        }
        self.ring();
        if let Some(index) = self.service.filter(|_| !self.has("to")) {
            self.destination(index);
        }
        Told {
            vserver: self.vserver.map(|index| self.vserver_name(index)),
            service: self.service.map(|index| self.service_name(index)),
            lines: self.lines,
        }
    }

    fn look(&mut self, at: usize, look: &Look) {
        match *look {
            Look::Gate => self.say("serving", serving(self.scene)),
            Look::Unknown(kind) => self.unknown(kind),
            Look::Address(key, found) => self.address(key.addr, key.domain, found),
            Look::VserverIndex(key, None) => self.say("virtual server", format!("none at {}", self.place(&key))),
            Look::Vserver(index, Some(vserver)) => self.vserver(index, vserver),
            Look::Vserver(index, None) => self.say("virtual server", format!("number {index} is not there")),
            Look::Owner(key, None) => self.say("backend", format!("none sends from {}", self.place(&key))),
            Look::Owner(_, Some(owner)) => self.owner(owner),
            Look::Flow(key, found) => self.flow(&key, found),
            Look::FlowInsert(_, true) => self.say("remembers", "the flow, in FLOWS"),
            Look::Embryo(_, None) => self.say("embryo", "its SYN has left nothing, or that was evicted"),
            Look::Embryo(_, Some(embryo)) => {
                self.say("embryo", format!("its SYN went to {}{}", self.service_name(embryo.backend), self.nat(embryo.nat)));
            }
            Look::EmbryoInsert(_, embryo) => {
                self.say("remembers", format!("the SYN, in EMBRYONIC{}", self.nat(embryo.nat)));
            }
            Look::Exception(_, None) => self.say("exception", "none was made for it"),
            Look::Exception(_, Some(exception)) => {
                self.say("exception", format!("made for it before: {}", self.service_name(exception.backend)));
            }
            Look::ExceptionInsert(_, true) => self.say("remembers", "that it is not where the ring says, in EXCEPTIONS"),
            Look::Ring(slot, backend) => self.slots.push((slot, backend)),
            Look::Prefix(action) => self.say(
                "list",
                match action {
                    prefix_action::ALLOW => "its client is let in",
                    prefix_action::DENY => "its client is kept out",
                    _ => "no list has its client",
                },
            ),
            Look::Client(open) => self.say("source limits", format!("its source has {} connections open", open.unwrap_or(0))),
            Look::Throttle(index, cost) if cost != 0 => {
                let name = self.service_name(index);
                self.say("surge", format!("{name} has many: one new connection every {} us", cost / 1_000));
            }
            Look::Throttle(..) => {}
            Look::Turn(number) => self.say("turn", format!("number {number} of this virtual server")),
            Look::Session(None) => {}
            Look::Session(Some(backend)) => {
                let (name, state) = (self.service_name(backend), self.state(backend));
                self.say("session", format!("its client was at {name}, {state}"));
            }
            Look::SessionInsert(true) => self.say("remembers", "where its client is, in PERSIST"),
            Look::Reverse(key, found) => self.reverse(at, &key, found),
            Look::Claim(key, claimed) => self.claim(&key, claimed),
            Look::GiveBack(key) => self.say("source", format!("{} is given back", socket(key.addr, key.port))),
            Look::Route(to, route) => self.route(to, route),
            Look::Event(event) => self.event(&event),
            Look::Full(room) => self.say("no room", format!("{} is full", table(room))),
            Look::Placed(placement) => self.placed(placement),
            Look::Outlived(Fate::Begins) => {}
            Look::Outlived(Fate::GoesOn) => {
                self.say("goes on", "its service is down, or going, and established flows are kept")
            }
            Look::Outlived(Fate::Ends) => self.say("ends", "its service or virtual server is down: the flow does not go on"),
            Look::CarriedOut(step, index) => self.carried_out(step, index),
            Look::Refused => self.say("to", "the sender: it is told that this cannot go on"),
            Look::Backend(..) | Look::Snip(..) | Look::Interface(..) | Look::VserverIndex(..) => {}
            Look::FlowInsert(_, false) | Look::ExceptionInsert(_, false) | Look::SessionInsert(false) | Look::Load(..) => {}
        }
    }

    /// Says it, unless it was said.
    fn say(&mut self, about: &'static str, says: impl Into<String>) {
        let says = says.into();
        if self.told.insert((about, says.clone())) {
            self.lines.push(Line { about, says });
        }
    }

    fn has(&self, about: &str) -> bool {
        self.lines.iter().any(|line| line.about == about)
    }

    fn arrival(&mut self, ifindex: u32) {
        let name = self.scene.interface(ifindex);
        let known = self.interfaces.get(&ifindex).map(|interface| interface.flags);
        let what = match known {
            Some(flags) if flags & interface_flags::LEG != 0 => ", a leg",
            Some(flags) if flags & interface_flags::HEARTBEAT != 0 => ", an HA link",
            _ => "",
        };
        let tag = match &self.packet.vlans[..] {
            [] => "untagged".to_owned(),
            vlans => format!("in VLAN {}", vlans.iter().map(u16::to_string).collect::<Vec<_>>().join(" within ")),
        };
        self.say("comes in on", format!("{name}{what}, {tag}"));
    }

    fn unknown(&mut self, kind: FilterKind) {
        let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "there".into());
        let (from, to) = (end(&self.packet.from), end(&self.packet.to));
        match kind {
            FilterKind::Vserver => self.say("virtual server", format!("none at {to}")),
            FilterKind::Owner => self.say("backend", format!("none sends from {from}")),
            FilterKind::Address if !self.has("address") => self.say("address", "it is for none of the pair's"),
            FilterKind::Address => {}
        }
    }

    fn address(&mut self, addr: Ip, domain: u32, found: Option<Address>) {
        let (addr, vlan) = (IpAddr::from(addr), in_vlan(domain));
        let Some(Address { flags, .. }) = found else {
            return self.say("address", format!("{addr}{vlan} is none of the pair's"));
        };
        let has = |flag| flags & flag != 0;
        let what = match () {
            () if has(address_flags::HOST) => "this machine's own",
            () if has(address_flags::VIP) => "a VIP",
            () => "a SNIP",
        };
        let mut says = format!("{addr}{vlan} is {what}");
        for (flag, what) in [(address_flags::ARP, "neighbours"), (address_flags::ICMP, "ping")] {
            if !has(address_flags::HOST) {
                says += &format!(", {} {what}", if has(flag) { "answers" } else { "does not answer" });
            }
        }
        if has(address_flags::LOCAL) {
            says += ", a daemon of this machine listens there";
        }
        self.say("address", says);
    }

    fn vserver(&mut self, index: u32, vserver: Vserver) {
        self.vserver = Some(index);
        if self.vservers.insert(index, vserver).is_some() {
            return;
        }
        let how = match vserver.mode {
            mode::NAT => "-m IP",
            mode::MAC => "-m MAC",
            mode::TUNNEL => "-m IPTUNNEL",
            _ => "an unknown mode",
        };
        let kept = if vserver.flags & vserver_flags::HASH_ONLY != 0 { ", keeps no flows" } else { "" };
        let (name, place) = (self.vserver_name(index), socket(vserver.vip, vserver.port));
        self.say("virtual server", format!("{name}: {} {place}, {how}{kept}", protocol(vserver.protocol)));
        let state = if vserver.flags & vserver_flags::DOWN != 0 { "DOWN: no service of it is up" } else { "UP" };
        self.say("state", state);
    }

    fn owner(&mut self, owner: Owner) {
        self.service = Some(owner.backend);
        let name = self.service_name(owner.backend);
        self.say(
            "backend",
            match owner.vserver {
                AMBIGUOUS => format!("{name} sends it; REVERSE knows to which flow it belongs"),
                vserver => format!("{name} sends it, for {}", self.vserver_name(vserver)),
            },
        );
    }

    fn flow(&mut self, key: &FlowKey, found: Option<Flow>) {
        if key.vserver == NO_VSERVER {
            // Of what nobody knows there is no record.
            return;
        }
        let whose = format!("{} at {}", socket(key.addr, key.port), self.vserver_name(key.index()));
        let Some(flow) = found else {
            return self.say("record", format!("none of {whose}"));
        };
        self.service = Some(flow.placed_at());
        let name = self.service_name(flow.placed_at());
        let over = match flow.close_reason() {
            _ if flow.is_cut_off() => "; cut off",
            None => "",
            Some(CloseReason::ClientReset) => "; over, the client sent RST",
            Some(CloseReason::ServerReset) => "; over, the service sent RST",
            Some(_) => "; over, both sent FIN",
        };
        let (sent, answered) = (flow.client_packets, flow.server_packets);
        let nat = self.nat(flow.nat);
        self.say("record", format!("{whose}: {name}{nat}; {sent} packets of the client, {answered} of the service{over}"));
    }

    fn route(&mut self, to: Ip, route: Route) {
        let to = IpAddr::from(to);
        self.say(
            "route",
            match route {
                Route::Host => format!("{to} is the host's own, or has no route, or forwarding is off"),
                Route::Via(hop) => format!("to {to}: {}", self.hop(&hop)),
                Route::Unknown => format!("to {to}: not known: its neighbour does not answer yet, or the route refuses"),
            },
        );
    }

    fn event(&mut self, event: &Event) {
        let says = match event.kind {
            event_kind::NEXT_HOP_WANTED => format!("is asked for the way to {}", IpAddr::from(event.flow.addr)),
            event_kind::FLOW_OPENED => "is told that a flow has begun".into(),
            event_kind::FLOW_CLOSED => "is told that the flow is over".into(),
            event_kind::ADDRESS_CLAIMED => "is told that another station claims a floating address".into(),
            event_kind::FOREIGN_VRRP => "is told of another router with a VRID of the pair".into(),
            _ => return,
        };
        self.say("daemon", says);
    }

    fn carried_out(&mut self, step: Step, index: u32) {
        let how = match step {
            Step::Translate => "addresses are translated",
            Step::Link => "only the MAC addresses change: the service has the VIP",
            Step::Tunnel => "in a tunnel, IP in IP",
            Step::Return => {
                let vserver = self.vservers.get(&index);
                let place = vserver.map_or_else(String::new, |vserver| format!(" from {}", socket(vserver.vip, vserver.port)));
                return self.say("to", format!("the client,{place} of {}", self.vserver_name(index)));
            }
            Step::Reset => return self.say("to", "the sender: a TCP reset, for its connection is no more"),
        };
        self.service = Some(index);
        self.destination(index);
        self.say("how", how);
    }

    fn destination(&mut self, index: u32) {
        let Some(backend) = self.backends.get(&index).copied() else {
            return;
        };
        let (name, place, state) = (self.service_name(index), socket(backend.addr, backend.port), self.state(index));
        self.say("to", format!("{name}: {place}, {state}"));
        let hop = match backend.next_hop.is_unknown() {
            true => "not known: the daemon has not found it yet, or the neighbour does not answer".to_owned(),
            false => format!("{}, MTU {}", self.hop(&backend.next_hop), backend.mtu),
        };
        self.say("next hop", hop);
    }

    fn hop(&self, hop: &NextHop) -> String {
        let name = self.scene.interface(hop.ifindex);
        format!("{} on {name}{}", mac(eth::destination(hop.macs)), in_vlan(hop.vlan))
    }

    fn nat(&self, nat: Nat) -> String {
        if nat.is_none() {
            return String::new();
        }
        match self.snips.get(&nat.snip.into()) {
            Some(snip) => format!(", with {} in the client's place", socket(snip.addr, nat.port)),
            None => format!(", with port {} in the client's place", nat.port.get()),
        }
    }

    fn place(&self, key: &ServiceKey) -> String {
        format!("{} {}{}", protocol(key.protocol as u8), socket(key.addr, key.port), in_vlan(key.domain))
    }

    fn vserver_name(&self, index: u32) -> String {
        self.scene.names.vserver(index, self.vservers.get(&index).or_else(|| self.seen_vserver(index)))
    }

    /// A virtual server that will be told of only later.
    fn seen_vserver(&self, index: u32) -> Option<&Vserver> {
        self.looks.iter().find_map(|look| match look {
            Look::Vserver(found, Some(vserver)) if *found == index => Some(vserver),
            _ => None,
        })
    }

    fn service_name(&self, index: u32) -> String {
        let protocol = if self.packet.what == "UDP" { 17 } else { 6 };
        match index {
            NO_BACKEND | FULL_BACKENDS => "no service".into(),
            _ => self.scene.names.service(index, self.backends.get(&index), protocol),
        }
    }
}
