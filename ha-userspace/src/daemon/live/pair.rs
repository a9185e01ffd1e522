//! This node's part in the pair: its keys, and what of it may not change now.

use std::net::IpAddr;

use ha_common::abi::Key;
use ha_common::ha::event::RoleName;
use ha_common::wire::heartbeat::flags;

use super::{Live, refused};
use crate::command::{CommandError, words};
use crate::config::{Config, Pair};
use crate::keys::heartbeat_key;
use crate::net::heartbeat::network_order;

/// Passwords and addresses that the present keys were made of.
pub(super) type KeyMaterial = (Pair, String, String);

impl Live {
    /// A node must not leave the pair while the other would then serve beside it.
    pub(super) fn check_leaving(&self, config: &Config) -> Result<(), CommandError> {
        let Some((before, ..)) = &self.keyed else { return Ok(()) };
        let after = config.pair();
        if after == Some(*before) {
            return Ok(());
        }
        if after.is_some_and(|after| after.own != before.own) {
            return Err(refused("the NSIP of a node in a pair cannot change: rm ha node first"));
        }
        let snapshot = self.driver.snapshot();
        if snapshot.peer_alive != Some(true) {
            return Ok(());
        }
        let peer = before.peer;
        if !snapshot.view.term().is_none() {
            return Err(refused(format!(
                "the peer {peer} is alive and serves: without it this node would serve beside it; `understudy stop` this node, or stop the peer"
            )));
        }
        if snapshot.view.says(flags::WILLING) {
            return Err(refused(format!(
                "the peer {peer} is alive and would take over when it hears nothing more: on it, set ha node -haStatus STAYSECONDARY, or stop it"
            )));
        }
        Ok(())
    }

    /// A role to stay in is given to a node that has it.
    pub(super) fn check_status(&self, config: &Config) -> Result<(), CommandError> {
        let (wanted, is_new) = (config.ha().status, self.status.is_some_and(|present| present != config.ha().status));
        if !is_new || config.peer().is_none() {
            return Ok(());
        }
        let role = self.driver.snapshot().role;
        match (wanted, role) {
            (words::HaStatus::StayPrimary, RoleName::Secondary | RoleName::Claiming | RoleName::HandingOver) => {
                Err(refused(format!(
                    "this node is {role}, and only a stand-alone node or the Primary can stay Primary; force ha failover makes it Primary first"
                )))
            }
            (words::HaStatus::StaySecondary, RoleName::Primary | RoleName::Claiming | RoleName::HandingOver) => {
                Err(refused(format!(
                    "this node is {role}, and only a stand-alone node or the Secondary can stay Secondary; force ha failover makes it Secondary first"
                )))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_pair(&mut self, config: &Config) -> Result<(), CommandError> {
        let shared = self.datapath.shared();
        let Some(pair) = config.pair() else {
            let own = config.nsip().map_or(0, network_order);
            self.keyed = None;
            shared.set_pair(own, 0, 0, 0);
            return Ok(());
        };
        let password = |ip| config.rpc_node(IpAddr::V4(ip)).and_then(|node| node.password.as_ref());
        let text = |ip| password(ip).map_or_else(String::new, |secret| secret.reveal().to_owned());
        let material = (pair, text(pair.own), text(pair.peer));
        if self.keyed.as_ref() == Some(&material) {
            return Ok(());
        }
        let tx = heartbeat_key(&material.1, pair.own, pair.peer).map_err(refused)?;
        let rx = heartbeat_key(&material.2, pair.peer, pair.own).map_err(refused)?;
        // The former key opens until the peer has used the present one: a password is changed on one node first.
        let [present, former] = shared.node().rx_keys;
        let same_pair = self.keyed.as_ref().is_none_or(|(known, ..)| *known == pair);
        let former = match present.id == rx.id {
            true => former,
            false if same_pair => present,
            false => Key::default(),
        };
        shared.set_keys(&tx, &[rx, former]);
        shared.set_pair(network_order(pair.own), pair.own_id.into(), network_order(pair.peer), pair.peer_id.into());
        self.keyed = Some(material);
        Ok(())
    }
}
