//! How the two nodes know each other: one record for this node, one for the peer, made with them.

use std::net::IpAddr;

use super::Config;
use super::change::{Change, Touched};
use super::record::{Record, record};
use crate::command::schema::{self, Verb};
use crate::command::value::{Field, Secret};
use crate::command::{Arg, Command, CommandError};

/// `set ns rpcNode`.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcNode {
    /// The node's NSIP.
    pub ip: IpAddr,
    /// Its password, once set.
    pub password: Option<Secret>,
    /// The address to connect from; the NSIP if none.
    pub source: Option<IpAddr>,
    /// Whether connections to it are encrypted.
    pub secure: bool,
}

record!(RpcNode: schema::ns::RPC_NODE, { "IPAddress" => ip, "password" => password, "srcIP" => source, "secure" => secure });

impl RpcNode {
    pub(super) fn of(ip: IpAddr) -> Self {
        let entity = &schema::ns::RPC_NODE;
        let args = entity.attribute("IPAddress").map(|attribute| Arg { attribute, value: ip.to_value() }).into_iter().collect();
        Self::from_command(&Command { verb: Verb::Set, entity, args })
    }
}

impl Config {
    pub(super) fn apply_rpc_node(&mut self, command: &Command) -> Result<Change, CommandError> {
        let ip: IpAddr = command.read("IPAddress");
        let Some(node) = self.rpc_nodes.get_mut(&ip) else {
            let own = self
                .node
                .ip
                .map_or("not set yet (set ns config -IPAddress <ip> -netmask <mask>)".to_owned(), |own| own.to_string());
            let peer =
                self.peer.as_ref().map_or("not known yet (add ha node <id> <ip>)".to_owned(), |peer| peer.ip.to_string());
            return Err(CommandError::missing(
                "IPAddress",
                ip,
                format!("RPC nodes are this node, {own}, and the peer, {peer}"),
            ));
        };
        *node = node.updated(command);
        Ok(Change::of(Touched::RpcNode(ip)))
    }
}
