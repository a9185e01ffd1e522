//! Persistent sessions, listed and forgotten.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use ha_common::abi::{Ip, SessionKey};

use super::Live;
use crate::command::runtime::SessionStatus;
use crate::config::{Config, Vserver};

impl Live {
    /// The sessions of these virtual servers, oldest first.
    pub(super) fn list_sessions(&self, config: &Config, vservers: &[&Vserver]) -> io::Result<Vec<SessionStatus>> {
        let by_index: HashMap<u32, &Vserver> = vservers.iter().map(|vserver| (vserver.index, *vserver)).collect();
        let (now, tick) = self.datapath.clocks().tick()?;
        let part = |ip: Ip| (ip != Ip::default()).then(|| IpAddr::from(ip));
        let status = |(key, session): (SessionKey, ha_common::abi::Session)| {
            let vserver = by_index.get(&key.vserver)?;
            let idle = tick.mul_f64(f64::from(session.seen.low().until(now)));
            Some(SessionStatus {
                vserver: vserver.name.clone(),
                source: part(key.source),
                destination: part(key.destination),
                service: config.services().find(|service| service.index == session.backend).map(|service| service.name.clone()),
                left: vserver.session_timeout().saturating_sub(idle),
            })
        };
        let mut list: Vec<SessionStatus> = self.datapath.maps().sessions.entries()?.into_iter().filter_map(status).collect();
        list.sort_by_key(|session| (session.vserver.clone(), session.left, session.source, session.destination));
        Ok(list)
    }

    /// Forgets the sessions of these virtual servers.
    pub(super) fn forget_sessions(&self, vservers: &[&Vserver]) -> io::Result<()> {
        let indices: HashSet<u32> = vservers.iter().map(|vserver| vserver.index).collect();
        let maps = self.datapath.maps();
        for table in [&maps.sessions, &maps.session_embryos] {
            let keys: Vec<SessionKey> = table.entries()?.into_iter().map(|(key, _)| key).collect();
            let gone: Vec<SessionKey> = keys.into_iter().filter(|key| indices.contains(&key.vserver)).collect();
            table.delete(&gone)?;
        }
        Ok(())
    }
}
