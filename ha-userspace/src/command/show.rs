//! Every `show`: the public layout for people, the table's keys for programs.

mod alarms;
mod connections;
mod fis;
mod ha_node;
mod ha_stat;
mod hook;
mod interface;
mod ipset;
mod lb;
mod limits;
mod network;
mod node;
mod session;
mod text;
mod vlan;

pub(super) use connections::connections;
#[cfg(test)]
pub(super) use connections::sample;
pub(super) use session::wanted as sessions_of;
pub use text::moment;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::executor::Reply;
use super::runtime::Runtime;
use super::schema::{
    Verb, fis as fis_table, ha, ipset as ipset_table, lb as lb_table, network as network_table, ns, vlan as vlan_table,
};
use super::{Command, CommandError};
use crate::config::Config;

/// Text and JSON of one `show`.
type Shown = Result<(String, Value), CommandError>;

/// Answers a `show`; `is_saved` says whether the running configuration is the one on disk.
pub(super) fn show(command: &Command, config: &Config, runtime: &impl Runtime, is_saved: bool) -> Result<Reply, CommandError> {
    let entity = command.entity;
    let (text, json) = match entity {
        _ if entity == &ha::HOOK => hook::show(config, runtime),
        _ if command.verb == Verb::Stat => ha_stat::show(command, config, &runtime.ha_status(config)),
        _ if entity == &ha::NODE => ha_node::show(command, config, &runtime.ha_status(config)),
        _ if entity == &fis_table::FIS => fis::sets(command, config, &runtime.ha_status(config).own),
        _ if entity == &fis_table::CRITICAL => fis::critical(&runtime.ha_status(config).own),
        _ if entity == &ns::ALARMS => alarms::show(&runtime.alarms()),
        _ if entity == &ns::RPC_NODE => node::rpc_nodes(command, config),
        _ if entity == &ns::IP || entity == &ns::IP6 => node::addresses(command, config),
        _ if entity == &ns::CONFIG => node::node_config(config, is_saved),
        _ if entity == &ns::HOST_NAME => node::host_name(config),
        _ if entity == &ns::VERSION => node::version(),
        _ if entity == &ns::RATE_CONTROL => node::rate_control(config),
        _ if entity == &ns::SP_PARAMS => node::surge_protection(config),
        _ if entity == &ns::LIMITS => limits::show(config, &runtime.limits()),
        _ if entity == &ns::TCP_PARAM => node::tcp_param(config),
        _ if entity == &ns::INTERFACE => interface::show(command, config, runtime),
        _ if entity == &network_table::VRID || entity == &network_table::VRID6 => network::vrids(command, config, runtime),
        _ if entity == &network_table::L2_PARAM => network::l2_param(config),
        _ if entity == &lb_table::VSERVER => lb::vservers(command, config, runtime),
        _ if entity == &lb_table::SESSIONS => session::show(command, config, runtime),
        _ if entity == &ipset_table::IPSET => ipset::show(command, config),
        _ if entity == &lb_table::SERVICE => lb::services(command, config, runtime),
        _ if entity == &vlan_table::VLAN => vlan::vlans(command, config),
        _ => Err(CommandError::refused(format!("{} cannot be shown", entity.path()))),
    }?;
    Ok(Reply::shown(entity.rest, text, json))
}
