//! This node's own address and name.

use std::net::{IpAddr, Ipv4Addr};

use super::change::{Change, Touched};
use super::record::{Record, record};
use super::rpc_node::RpcNode;
use super::{Config, address};
use crate::command::error::code;
use crate::command::schema::{self, Verb};
use crate::command::value::Field;
use crate::command::{Arg, Command, CommandError};

/// The NSIP and the host name.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The NSIP, once it has been set.
    pub ip: Option<Ipv4Addr>,
    /// Its mask; set with it.
    pub netmask: Option<Ipv4Addr>,
    /// The host name.
    pub host_name: Option<String>,
}

record!(NodeConfig: schema::ns::CONFIG, { "IPAddress" => ip, "netmask" => netmask } own { host_name });

impl NodeConfig {
    pub(super) fn of_defaults() -> Self {
        Self { ip: None, netmask: None, host_name: None }
    }

    pub(super) fn commands(&self) -> Vec<Command> {
        let entity = &schema::ns::HOST_NAME;
        let name = self.host_name.to_value().zip(entity.attribute("hostName"));
        let name = name.map(|(value, attribute)| Command {
            verb: Verb::Set,
            entity,
            args: vec![Arg { attribute, value: Some(value) }],
        });
        self.command(Verb::Set).into_iter().chain(name).collect()
    }

    /// Returns whether `ip` lies in the NSIP's subnet.
    pub fn is_in_subnet(&self, ip: Ipv4Addr) -> bool {
        self.ip.zip(self.netmask).is_some_and(|(own, mask)| own & mask == ip & mask)
    }
}

impl Config {
    pub(super) fn apply_node(&mut self, command: &Command) -> Result<Change, CommandError> {
        if command.entity == &schema::ns::HOST_NAME {
            self.node.host_name = command.read("hostName");
            return Ok(Change::of(Touched::Node));
        }
        let node = self.node.updated(command);
        let (Some(ip), Some(_)) = (node.ip, node.netmask) else {
            let absent = if node.ip.is_none() { "IPAddress" } else { "netmask" };
            let why = format!(
                "Argument pre-requisite missing [{absent}]: the NSIP needs both: set ns config -IPAddress <ip> -netmask <mask>"
            );
            return Err(CommandError::new(code::PREREQUISITE, why));
        };
        address::check_host("IPAddress", IpAddr::V4(ip))?;
        if let Some(other) = self.addresses.get(&IpAddr::V4(ip)) {
            return Err(CommandError::exists("IPAddress", ip, format!("it is a {}; the NSIP does not float", other.kind)));
        }
        let mut change = Change::of(Touched::Node);
        if self.node.ip != Some(ip) {
            let own = self.node.ip.and_then(|old| self.rpc_nodes.remove(&IpAddr::V4(old)));
            let own = own.map_or_else(|| RpcNode::of(IpAddr::V4(ip)), |own| RpcNode { ip: IpAddr::V4(ip), ..own });
            self.rpc_nodes.insert(own.ip, own);
            change.add(Touched::RpcNode(IpAddr::V4(ip)));
        }
        self.node = node;
        self.check_peer()?;
        Ok(change)
    }
}
