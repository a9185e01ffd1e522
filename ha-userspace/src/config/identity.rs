//! One number by which two nodes see whether their configurations are the same.

use super::Config;
use super::address::Address;
use super::record::Record;
use super::route_monitor::bind_command;
use super::vserver::Vserver;
use crate::command::schema::{Scope, Verb};
use crate::command::words::AddressType;
use crate::command::{Command, Secrets};

impl Config {
    /// Returns the commands that both nodes of a pair have in common: no NSIP, name, interface, peer, role or secret, and no
    /// route monitors, VLANs and SNIPs where the nodes are in different subnets, each with routes and networks of its own.
    pub fn pair_commands(&self) -> Vec<Command> {
        let of_pair = |command: &Command| command.entity.scope == Scope::Pair;
        let vrids = self.vrids.values().filter_map(|vrid| vrid.command_of(Verb::Add, Scope::Pair));
        let vrids = vrids.chain(self.l2_param.command_of(Verb::Set, Scope::Pair));
        let vrids = vrids.chain(self.rate_control.command_of(Verb::Set, Scope::Pair));
        let vrids = vrids.chain(self.limits.command_of(Verb::Set, Scope::Pair));
        let vrids = vrids.chain(self.tcp_param.command_of(Verb::Set, Scope::Pair));
        let vrids = vrids.chain(self.surge.command_of(Verb::Set, Scope::Pair));
        let vlans = self.vlans.values().flat_map(|vlan| vlan.command(Verb::Add).into_iter().chain(vlan.subnet_commands()));
        let ha = self.ha.command_of(Verb::Set, Scope::Pair);
        let apart = self.peer.as_ref().is_some_and(|peer| peer.inc);
        let monitors = self.route_monitors.iter().filter(|_| !apart).map(|route| bind_command(*route));
        let addresses = self
            .addresses
            .values()
            .filter(|address: &&Address| !(address.implicit || apart && address.kind == AddressType::Snip))
            .filter_map(|address| address.command_of(Verb::Add, Scope::Pair));
        let vservers = self.vservers.values().filter_map(|vserver| vserver.command_of(Verb::Add, Scope::Pair));
        let services = self.services.values().filter_map(|service| service.command_of(Verb::Add, Scope::Pair));
        let bindings = self.vservers.values().flat_map(Vserver::binding_commands);
        vrids
            .chain(vlans.filter(|_| !apart))
            .chain(ha)
            .chain(monitors)
            .chain(addresses)
            .chain(vservers)
            .chain(services)
            .chain(bindings)
            .filter(of_pair)
            .collect()
    }

    /// Returns a 64-bit hash of [`Config::pair_commands`]: equal on both nodes when nothing is left to synchronise.
    ///
    /// FNV-1a: the peer is authenticated, so the hash guards against difference, not against design.
    pub fn identity(&self) -> u64 {
        let lines = self.pair_commands().into_iter().map(|command| command.text(Secrets::Hidden) + "\n");
        lines.fold(FNV_OFFSET, |hash, line| fnv1a(hash, line.as_bytes()))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_agrees_with_its_published_vectors() {
        assert_eq!(fnv1a(FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
    }
}
