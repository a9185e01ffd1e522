//! The running configuration: what is desired, complete and consistent at every moment.
//!
//! [`Config`] holds one typed record per entity. It changes only by commands, all or nothing; every value in it has passed the table's
//! kinds and the rules between entities, so that whoever projects it (maps, monitors, the HA machine) need not check again.

mod address;
mod binding;
mod change;
mod clients;
mod file;
mod fis;
mod ha_node;
mod hook;
mod identity;
pub mod indices;
mod interface;
mod ipset;
mod l2_param;
mod limits;
mod node;
mod rate_control;
mod record;
mod route_monitor;
mod rpc_node;
mod service;
mod service_type;
mod surge;
mod tcp_param;
mod vlan;
mod vrid;
mod vserver;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

pub use address::Address;
pub(crate) use address::mask;
pub use binding::Binding;
pub use change::{Change, Touched};
pub use clients::{Clients, Network};
pub use file::{LoadError, SavedForm, Store, load, load_text};
pub use fis::Fis;
pub use ha_node::{HaNode, Pair, Peer};
pub use hook::Hook;
pub use indices::Indices;
pub use interface::Interface;
pub use ipset::IpSet;
pub use l2_param::L2Param;
pub use limits::Limits;
pub use node::NodeConfig;
pub use rate_control::RateControl;
pub use record::Record;
pub use rpc_node::RpcNode;
pub use service::{Drain, Service};
pub use service_type::{ANY_PORT, Layer4};
pub use surge::SurgeProtection;
pub use tcp_param::TcpParam;
pub use vlan::Vlan;
pub use vrid::{Vrid, VridKey};
pub use vserver::Vserver;

use crate::command::schema::{self, Verb};
use crate::command::value::Route;
use crate::command::{Command, CommandError, Secrets};

/// The whole desired state of one node.
#[derive(Clone, Debug)]
pub struct Config {
    node: NodeConfig,
    ha: HaNode,
    peer: Option<Peer>,
    hook: Hook,
    interfaces: BTreeMap<String, Interface>,
    vrids: BTreeMap<VridKey, Vrid>,
    vlans: BTreeMap<u16, Vlan>,
    l2_param: L2Param,
    rate_control: RateControl,
    limits: Limits,
    tcp_param: TcpParam,
    surge: SurgeProtection,
    rpc_nodes: BTreeMap<IpAddr, RpcNode>,
    addresses: BTreeMap<IpAddr, Address>,
    vservers: BTreeMap<String, Vserver>,
    services: BTreeMap<String, Service>,
    sets: BTreeMap<String, Fis>,
    ipsets: BTreeMap<String, IpSet>,
    route_monitors: BTreeSet<Route>,
    indices: Indices,
    generation: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self::with_indices(Indices::default())
    }
}

impl Config {
    /// Returns the configuration of a fresh node that allots from `indices`.
    pub fn with_indices(indices: Indices) -> Self {
        Self {
            node: NodeConfig::of_defaults(),
            ha: HaNode::of_defaults(),
            peer: None,
            hook: Hook::of_defaults(),
            interfaces: BTreeMap::new(),
            vrids: BTreeMap::new(),
            vlans: BTreeMap::new(),
            l2_param: L2Param::of_defaults(),
            rate_control: RateControl::of_defaults(),
            limits: Limits::of_defaults(),
            tcp_param: TcpParam::of_defaults(),
            surge: SurgeProtection::of_defaults(),
            rpc_nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            vservers: BTreeMap::new(),
            services: BTreeMap::new(),
            sets: BTreeMap::new(),
            ipsets: BTreeMap::new(),
            route_monitors: BTreeSet::new(),
            indices,
            generation: 0,
        }
    }

    /// Executes one command; refused, it changes nothing.
    pub fn apply(&mut self, command: &Command) -> Result<Change, CommandError> {
        self.attempt(|candidate| candidate.apply_in_place(command))
    }

    /// Executes many commands as one: all, or none and the number of the line at fault with its error.
    pub fn transaction(&mut self, commands: Vec<(usize, Command)>) -> Result<Change, (usize, CommandError)> {
        self.attempt(|candidate| {
            let mut change = Change::default();
            for (line, command) in &commands {
                change.merge(candidate.apply_in_place(command).map_err(|error| (*line, error))?);
            }
            Ok(change)
        })
    }

    fn attempt<E>(&mut self, work: impl FnOnce(&mut Self) -> Result<Change, E>) -> Result<Change, E> {
        let mut candidate = self.clone();
        let result = work(&mut candidate);
        match &result {
            Ok(_) => *self = Self { generation: self.generation + 1, ..candidate },
            Err(_) => self.indices.burn(candidate.indices),
        }
        result
    }

    /// Returns to `old`, whose successor the runtime refused; indices that the successor allotted stay used.
    pub(crate) fn revert(&mut self, old: Config) {
        let refused = std::mem::replace(self, old);
        self.indices.burn(refused.indices);
    }

    fn apply_in_place(&mut self, command: &Command) -> Result<Change, CommandError> {
        let entity = command.entity;
        match entity {
            _ if !command.verb.configures() => {}
            _ if entity == &schema::ns::CONFIG || entity == &schema::ns::HOST_NAME => return self.apply_node(command),
            _ if entity == &schema::ns::INTERFACE => return self.apply_interface(command),
            _ if entity == &schema::network::VRID || entity == &schema::network::VRID6 => return self.apply_vrid(command),
            _ if entity == &schema::network::BINDING || entity == &schema::network::BINDING6 => {
                return self.apply_vrid_binding(command);
            }
            _ if entity == &schema::network::REMOVAL || entity == &schema::network::REMOVAL6 => return self.rm_vrid(command),
            _ if entity == &schema::network::L2_PARAM => return self.apply_l2_param(command),
            _ if entity == &schema::ns::RATE_CONTROL => return self.apply_rate_control(command),
            _ if entity == &schema::ns::SP_PARAMS => return self.apply_surge(command),
            _ if entity == &schema::ns::LIMITS => return self.apply_limits(command),
            _ if entity == &schema::ns::TCP_PARAM => return self.apply_tcp_param(command),
            _ if entity == &schema::ns::RPC_NODE => return self.apply_rpc_node(command),
            _ if entity == &schema::ns::IP || entity == &schema::ns::IP6 => return self.apply_address(command),
            _ if entity == &schema::ha::NODE => return self.apply_ha_node(command),
            _ if entity == &schema::ha::PEER => return self.apply_peer(command),
            _ if entity == &schema::ha::HOOK => return self.apply_hook(command),
            _ if entity == &schema::lb::VSERVER => return self.apply_vserver(command),
            _ if entity == &schema::lb::SERVICE => return self.apply_service(command),
            _ if entity == &schema::lb::BINDING => return self.apply_binding(command),
            _ if entity == &schema::ipset::IPSET => return self.apply_ipset(command),
            _ if entity == &schema::ipset::BINDING => return self.apply_ipset_binding(command),
            _ if entity == &schema::fis::FIS => return self.apply_fis(command),
            _ if entity == &schema::fis::BINDING => return self.apply_fis_binding(command),
            _ if entity == &schema::vlan::VLAN => return self.apply_vlan(command),
            _ if entity == &schema::vlan::BINDING => return self.apply_vlan_binding(command),
            _ if entity == &schema::ha::ROUTE_MONITOR => return self.apply_route_monitor(command),
            _ => {}
        }
        Err(CommandError::refused(format!("{} {} changes no configuration", command.verb.word(), entity.path())))
    }

    /// Returns the commands that make this configuration from nothing, in canonical order.
    pub fn commands(&self) -> Vec<Command> {
        let mut list = Vec::new();
        list.extend(self.node.commands());
        list.extend(self.interfaces.values().flat_map(Interface::commands));
        list.extend(self.sets.values().flat_map(Fis::commands));
        list.extend(self.vrids.values().filter_map(|vrid| vrid.command(Verb::Add)));
        list.extend(self.vrids.values().filter_map(Vrid::binding_command));
        list.extend(self.vlans.values().filter_map(|vlan| vlan.command(Verb::Add)));
        list.extend(self.vlans.values().filter_map(Vlan::legs_command));
        list.extend(self.vlans.values().flat_map(Vlan::subnet_commands));
        list.extend(self.l2_param.command(Verb::Set));
        list.extend(self.rate_control.command(Verb::Set));
        list.extend(self.limits.command(Verb::Set));
        list.extend(self.tcp_param.command(Verb::Set));
        list.extend(self.surge.command(Verb::Set));
        list.extend(self.peer.iter().filter_map(|peer| peer.command(Verb::Add)));
        list.extend(self.ha.command(Verb::Set));
        list.extend(self.route_monitors.iter().map(|route| route_monitor::bind_command(*route)));
        list.extend(self.hook.command(Verb::Set));
        list.extend(self.rpc_nodes.values().filter_map(|node| node.command(Verb::Set)));
        list.extend(
            self.addresses.values().filter(|address| !address.implicit).filter_map(|address| address.command(Verb::Add)),
        );
        list.extend(self.ipsets.values().flat_map(IpSet::commands));
        list.extend(self.vservers.values().filter_map(Vserver::add_command));
        // Each may name one that comes later.
        list.extend(self.vservers.values().filter_map(Vserver::backup_command));
        list.extend(self.services.values().filter_map(|service| service.command(Verb::Add)));
        list.extend(self.vservers.values().flat_map(Vserver::binding_commands));
        list
    }

    /// Prints [`Config::commands`], one per line.
    pub fn text(&self, secrets: Secrets) -> String {
        self.commands().iter().map(|command| command.text(secrets) + "\n").collect()
    }

    /// Says what is allowed but unwise in this configuration, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let ha = self.ha.warnings(self.ha_links().count(), self.peer.is_some());
        ha.into_iter()
            .chain(self.vrids.values().filter_map(Vrid::warning))
            .chain(self.vlans.values().filter_map(Vlan::warning))
            .chain(self.vservers.values().filter_map(Vserver::warning))
            .collect()
    }

    /// Returns a number that grows with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns this node's own address and name.
    pub fn node(&self) -> &NodeConfig {
        &self.node
    }

    /// Returns this node's own address, if it has been set.
    pub fn nsip(&self) -> Option<Ipv4Addr> {
        self.node.ip
    }

    /// Returns this node's part in the pair.
    pub fn ha(&self) -> &HaNode {
        &self.ha
    }

    /// Returns the peer, if this node is in a pair.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Returns who is told of transitions and alarms.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// Returns both nodes' places in the pair; none on a standalone node.
    pub fn pair(&self) -> Option<Pair> {
        Some(Pair::of(self.node.ip?, self.peer.as_ref()?.ip))
    }

    /// Returns an RPC node's settings.
    pub fn rpc_node(&self, ip: IpAddr) -> Option<&RpcNode> {
        self.rpc_nodes.get(&ip)
    }

    /// Returns all RPC nodes.
    pub fn rpc_nodes(&self) -> impl Iterator<Item = &RpcNode> {
        self.rpc_nodes.values()
    }

    /// Returns all interfaces that the configuration names.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// Returns one interface.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.get(name)
    }

    /// Returns the enabled interfaces that carry heartbeats.
    pub fn ha_links(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().filter(|interface| interface.enabled && interface.heartbeat)
    }

    /// Returns the enabled interfaces whose carrier is this node's health.
    pub fn legs(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().filter(|interface| interface.enabled && interface.monitor)
    }

    /// Returns all failover interface sets.
    pub fn sets(&self) -> impl Iterator<Item = &Fis> {
        self.sets.values()
    }

    /// Returns the routes without which this node is not well.
    pub fn route_monitors(&self) -> &BTreeSet<Route> {
        &self.route_monitors
    }

    /// Returns the pair's addresses (VIPs and SNIPs, those of virtual servers included).
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values()
    }

    /// Returns one address of the pair.
    pub fn address(&self, ip: IpAddr) -> Option<&Address> {
        self.addresses.get(&ip)
    }

    /// Returns all virtual servers.
    pub fn vservers(&self) -> impl Iterator<Item = &Vserver> {
        self.vservers.values()
    }

    /// Returns one virtual server.
    pub fn vserver(&self, name: &str) -> Option<&Vserver> {
        self.vservers.get(name)
    }

    /// Returns all sets of addresses.
    pub fn ipsets(&self) -> impl Iterator<Item = &IpSet> {
        self.ipsets.values()
    }

    /// Returns all services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Returns one service.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// Returns the services bound to a virtual server, with their weights.
    pub fn bound<'a>(&'a self, vserver: &'a Vserver) -> impl Iterator<Item = (&'a Service, &'a Binding)> {
        vserver.bindings().filter_map(|binding| Some((self.services.get(&binding.service)?, binding)))
    }

    /// Returns the state of index allotment, to be kept beside pinned flows and given to [`Config::with_indices`] at the next start.
    pub fn indices(&self) -> &Indices {
        &self.indices
    }
}
