//! Which clients of a virtual server are let in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Config;
use super::change::{Change, Touched};
use super::vserver::{Vserver, no_such_vserver};
use crate::command::schema::{self, Verb};
use crate::command::value::{Route, Value};
use crate::command::{Arg, Command, CommandError};

/// Clients by the beginning of their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its address, host bits zero.
    pub address: IpAddr,
    /// Bits that count.
    pub length: u8,
}

impl Network {
    /// The clients of `route` that a virtual server at `vip` can have; none if they are of the other family.
    fn of(route: Route, vip: IpAddr) -> Option<Self> {
        match (route, vip) {
            (Route::Default, IpAddr::V4(_)) => Some(Network { address: Ipv4Addr::UNSPECIFIED.into(), length: 0 }),
            (Route::Default, IpAddr::V6(_)) => Some(Network { address: Ipv6Addr::UNSPECIFIED.into(), length: 0 }),
            (Route::To(address, length), _) => (address.is_ipv4() == vip.is_ipv4()).then_some(Network { address, length }),
        }
    }

    fn route(self) -> Route {
        if self.length == 0 { Route::Default } else { Route::To(self.address, self.length) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The networks of a list, and whether their clients are let in; the longest one that has a client decides about it.
pub type Clients = BTreeMap<Network, bool>;

impl Vserver {
    /// Returns which clients are let in (true) or kept out; whoever is in none is let in unless any network is.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    pub(super) fn client_commands(&self) -> impl Iterator<Item = Command> {
        let entity = &schema::lb::BINDING;
        self.clients.iter().map(move |(network, allowed)| {
            let flag = if *allowed { "allow" } else { "deny" };
            let values = [("name", Value::Text(self.name.clone())), (flag, Value::Route(network.route()))];
            let arg = |(name, value)| Some(Arg { attribute: entity.attribute(name)?, value: Some(value) });
            Command { verb: Verb::Bind, entity, args: values.into_iter().filter_map(arg).collect() }
        })
    }
}

impl Config {
    /// Binds or unbinds a network of clients.
    pub(super) fn apply_clients(&mut self, command: &Command, flag: &'static str) -> Result<Change, CommandError> {
        let (name, route): (String, Route) = (command.read("name"), command.read(flag));
        let allowed = flag == "allow";
        if let Some(other) = command.args.iter().find(|arg| ![flag, "name"].contains(&arg.attribute.name)) {
            return Err(CommandError::refused(format!(
                "-{flag} stands alone: give -{} in a command of its own",
                other.attribute.name
            )));
        }
        let Some(vserver) = self.vservers.get_mut(&name) else { return Err(no_such_vserver("name", &name)) };
        let Some(network) = Network::of(route, vserver.ip) else {
            return Err(CommandError::refused(format!(
                "virtual server {name} is {}: it has no clients in {route}; give a prefix of its own family",
                vserver.ip
            )));
        };
        match (command.verb, vserver.clients.get(&network).copied()) {
            (Verb::Bind, None) => drop(vserver.clients.insert(network, allowed)),
            (Verb::Bind, Some(known)) => {
                let word = if known { "allow" } else { "deny" };
                let why = format!("it is bound to {name} as -{word}; unbind lb vserver {name} -{word} {route} first");
                return Err(CommandError::exists(flag, network, why));
            }
            (_, Some(known)) if known == allowed => drop(vserver.clients.remove(&network)),
            (_, _) => {
                let why = format!("it is not bound to {name} as -{flag}; show lb vserver {name} lists what is");
                return Err(CommandError::missing(flag, network, why));
            }
        }
        Ok(Change::of(Touched::Vserver(name)))
    }
}
