//! `send arp`: announces addresses when an operator asks for it.

use std::future::ready;
use std::io;
use std::net::IpAddr;

use super::live::{Live, refused};
use crate::command::runtime::Outcome;
use crate::command::{CommandError, code};
use crate::config::Config;
use crate::net::announce;
use crate::net::link;

impl Live {
    /// Announces `address`, or everything that this node may.
    pub(super) fn announce(&self, config: &Config, address: Option<IpAddr>) -> Outcome {
        let own = config.nsip().map(IpAddr::V4);
        // A node that ceases to serve before its frames leave sends none; after that the kernel's egress guard has the final word.
        let needs_role = address.is_some() && address != own;
        let frames = match address {
            None => {
                self.helpers.announce();
                // A node whose NSIP is on no interface here has nothing of its own to announce.
                own.map_or_else(|| Ok(Vec::new()), |own| Ok(self.own_frames(own).unwrap_or_default()))
            }
            Some(address) if Some(address) == own => self.own_frames(address),
            Some(address) => self.floating_frames(config, address),
        };
        let helpers = self.helpers.clone();
        match frames {
            Err(error) => Box::pin(ready(Err(error))),
            Ok(frames) => Box::pin(async move {
                // Closing such a socket takes the kernel tens of milliseconds.
                let sent = tokio::task::spawn_blocking(move || {
                    if needs_role && !helpers.serves() {
                        return Err(io::Error::other("this node has just ceased to serve"));
                    }
                    announce::send(&frames)
                })
                .await;
                let sent = sent.map_err(|error| refused(format!("interrupted: {error}")))?;
                sent.map_err(|error| refused(format!("cannot send: {error}; is the interface up?")))
            }),
        }
    }

    fn own_frames(&self, address: IpAddr) -> Result<Vec<(u32, Vec<u8>)>, CommandError> {
        let present = link::links().map_err(|error| refused(format!("cannot list the interfaces: {error}")))?;
        let on = self.own.iter().filter(|local| local.address == address);
        let links = on.filter_map(|local| present.iter().find(|link| link.ifindex == local.ifindex));
        let frames: Vec<_> =
            links.map(|link| (link.ifindex, announce::frame(&[link.mac; 2], address, announce::ArpForm::Request))).collect();
        if frames.is_empty() {
            let why = format!("{address} is on no interface of this host; ip address add puts it there");
            return Err(CommandError::missing("IPAddress", address, why));
        }
        Ok(frames)
    }

    fn floating_frames(&self, config: &Config, address: IpAddr) -> Result<Vec<(u32, Vec<u8>)>, CommandError> {
        let Some(known) = config.address(address) else {
            return Err(CommandError::missing("IPAddress", address, "show ns ip lists the addresses"));
        };
        let Some((_, roll)) = self.helpers.announced() else {
            let why = format!(
                "Operation not permitted on a secondary node [IPAddress, {address}]: the Primary announces it; run it there"
            );
            return Err(CommandError::new(code::NOT_SERVED_HERE, why));
        };
        if !known.enabled || !known.arp {
            return Err(refused(format!(
                "{address} is disabled, or requests for it are not answered; set ns ip or enable ns ip first"
            )));
        }
        let frames = roll.frames(address);
        if frames.is_empty() {
            let why = format!(
                "{address} is on no leg, or is moved by a virtual MAC alone (set L2Param -garpOnVridIntf ENABLED announces it, too)"
            );
            return Err(refused(why));
        }
        Ok(frames)
    }
}
