//! Whom the node asks when its peer is silent, as configured.

use ha_common::witness::{Identity, PairName};

use crate::command::CommandError;
use crate::config::{Config, Pair};
use crate::keys::witness_keys;
use crate::witness::{Client, Settings};

/// What settings were made of: the slow derivation of keys is done when one of them changes.
type Material = (Pair, std::net::SocketAddr, String);

/// Keeps the client's settings equal to the configuration.
pub struct Witness {
    client: Client,
    material: Option<Material>,
}

impl Witness {
    /// Nothing is configured yet.
    pub fn new(client: Client) -> Witness {
        Witness { client, material: None }
    }

    /// Takes over what `config` says. Without a peer, an address or a password nobody can be asked.
    pub fn follow(&mut self, config: &Config) -> Result<(), CommandError> {
        let ha = config.ha();
        let password = ha.witness_password.as_ref().map(|secret| secret.reveal().to_owned());
        let material = config.pair().zip(ha.witness).zip(password).map(|((pair, server), password)| (pair, server, password));
        if material == self.material {
            return Ok(());
        }
        let settings =
            material.as_ref().map(settings).transpose().map_err(|error| CommandError::refused(format!("{error:#}")))?;
        self.client.set(settings);
        self.material = material;
        Ok(())
    }
}

fn settings((pair, server, password): &Material) -> anyhow::Result<Settings> {
    let keys = witness_keys(password)?;
    let (low, high) = (pair.own.min(pair.peer), pair.own.max(pair.peer));
    let name = PairName { low, high };
    Ok(Settings { server: *server, keys, identity: Identity { pair: name, node: pair.own_id } })
}
