//! What flows are named by: indices of the data plane, translated by the configuration of the moment.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::socket;
use crate::config::Config;

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Its name.
    pub name: String,
    /// Where clients find it.
    pub address: SocketAddr,
    /// Its type.
    pub kind: &'static str,
    /// Whether its connections outlive a failover.
    pub failover: &'static str,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

impl Front {
    /// The same for a connection to `port` of one that takes any; zero is its own.
    pub(super) fn at(front: &Arc<Front>, port: u16) -> Arc<Front> {
        if port == 0 || port == front.address.port() {
            return Arc::clone(front);
        }
        Arc::new(Front { address: SocketAddr::new(front.address.ip(), port), ..(**front).clone() })
    }
}

impl Back {
    /// The same for a connection to `port` of one that takes any.
    pub(super) fn at(back: &Arc<Back>, port: u16) -> Arc<Back> {
        if back.address.port() != 0 {
            return Arc::clone(back);
        }
        Arc::new(Back { address: SocketAddr::new(back.address.ip(), port), ..(**back).clone() })
    }
}

/// Virtual servers and services by their indices.
#[derive(Clone, Debug, Default)]
pub struct Fronts {
    /// Virtual servers.
    pub vservers: HashMap<u32, Arc<Front>>,
    /// Services.
    pub services: HashMap<u32, Arc<Back>>,
}

impl Fronts {
    /// Those of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let front = |vserver: &crate::config::Vserver, ip: IpAddr| Front {
            name: vserver.name.clone(),
            address: socket(ip, vserver.port),
            kind: vserver.protocol.word(),
            failover: vserver.conn_failover.word(),
        };
        let back =
            |service: &crate::config::Service| Back { name: service.name.clone(), address: socket(service.ip, service.port) };
        Fronts {
            vservers: config
                .vservers()
                .flat_map(|vserver| vserver.addresses().map(move |(ip, index)| (index, Arc::new(front(vserver, ip)))))
                .collect(),
            services: config.services().map(|service| (service.index, Arc::new(back(service)))).collect(),
        }
    }
}
