//! Routes without which this node is not well.

use super::Config;
use super::change::{Change, Touched};
use crate::command::error::code;
use crate::command::schema::{self, Verb};
use crate::command::value::{Route, Value};
use crate::command::{Arg, Command, CommandError};

/// Route monitors that a node has at most: each is looked for in every dump of the routing table.
const ROUTE_MONITORS_MAX: usize = 64;

/// The command that binds `route`.
pub(super) fn bind_command(route: Route) -> Command {
    let entity = &schema::ha::ROUTE_MONITOR;
    let arg = |attribute| Arg { attribute, value: Some(Value::Route(route)) };
    Command { verb: Verb::Bind, entity, args: entity.attribute("routeMonitor").map(arg).into_iter().collect() }
}

impl Config {
    pub(super) fn apply_route_monitor(&mut self, command: &Command) -> Result<Change, CommandError> {
        let route: Route = command.read("routeMonitor");
        if let id @ 1.. = command.read::<Option<u8>>("id").unwrap_or(0) {
            return Err(CommandError::refused(format!(
                "node {id} is not this node (0); its route monitors are changed on that node itself"
            )));
        }
        if self.peer.is_none() {
            let why =
                "Operation not permitted on stand-alone node: a route monitor is a reason to fail over; add ha node first";
            return Err(CommandError::new(code::STANDALONE, why));
        }
        match (command.verb, self.route_monitors.contains(&route)) {
            (Verb::Bind, true) => return Err(CommandError::exists("routeMonitor", route, "show ha node lists them")),
            (Verb::Bind, false) if self.route_monitors.len() >= ROUTE_MONITORS_MAX => {
                return Err(CommandError::refused(format!("a node has at most {ROUTE_MONITORS_MAX} route monitors")));
            }
            (Verb::Bind, false) => drop(self.route_monitors.insert(route)),
            (_, true) => drop(self.route_monitors.remove(&route)),
            (_, false) => return Err(CommandError::missing("routeMonitor", route, "show ha node lists the route monitors")),
        }
        Ok(Change::of(Touched::Ha))
    }
}
