//! Which packets: from words to the kernel's filter.

use std::net::IpAddr;

use anyhow::{Context, bail};
use ha_common::abi::{ServiceKey, TraceFilter};
use ha_common::wire::Be16;

use crate::explain::{End, Names};

/// What is wanted; all that is given has to hold.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// tcp, udp or icmp; else any frame
    #[arg(value_name = "PROTOCOL", value_parser = ["tcp", "udp", "icmp"])]
    protocol: Option<String>,
    /// From or to this address
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// From or to this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// From or to this virtual server: its name, or where it is (10.1.0.100:80)
    #[arg(long, value_name = "NAME")]
    vserver: Option<String>,
}

impl Wanted {
    /// The kernel's filter. `names` are asked for if something is named.
    ///
    /// # Errors
    /// When there is no such virtual server, or two parts contradict each other.
    pub fn filter(&self, names: impl FnOnce() -> Names) -> anyhow::Result<TraceFilter> {
        let protocol = match self.protocol.as_deref() {
            Some("tcp") => 6,
            Some("udp") => 17,
            Some("icmp") => 1,
            _ => 0,
        };
        let mut filter = TraceFilter {
            protocol,
            port: Be16::new(self.port.unwrap_or(0)),
            host: self.host.map_or_else(Default::default, Into::into),
            vserver: ServiceKey::default(),
        };
        if let Some(name) = &self.vserver {
            let (addr, port, protocol) = self.place(name, names)?;
            if protocol == 0 {
                // Of any protocol: an address, and a port if it has one.
                if self.host.is_some() || self.port.is_some() {
                    bail!("{name} serves every protocol: give -host and -port of the client, or -vserver, not both");
                }
                (filter.host, filter.port) = (addr.into(), Be16::new(port));
            } else {
                filter.vserver = ServiceKey { addr: addr.into(), domain: 0, port: Be16::new(port), protocol: protocol.into() };
            }
        }
        Ok(filter)
    }

    fn place(&self, name: &str, names: impl FnOnce() -> Names) -> anyhow::Result<(IpAddr, u16, u8)> {
        if let Ok(End { addr, port: Some(port) }) = name.parse() {
            let protocol = if self.protocol.as_deref() == Some("udp") { 17 } else { 6 };
            return Ok((addr, port, protocol));
        }
        let names = names();
        if let Some(why) = names.missing() {
            bail!("nobody knows what {name} is: {why}; or say where it is: -vserver 10.1.0.100:80");
        }
        let place = names.place_of_vserver(name);
        place.with_context(|| format!("there is no virtual server {name}: show lb vserver lists them"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Names {
        panic!("no name is asked for")
    }

    #[test]
    fn what_is_not_said_is_any() {
        assert_eq!(Wanted::default().filter(nobody).unwrap(), TraceFilter::default());
    }

    #[test]
    fn a_virtual_server_is_named_or_placed() {
        let placed = |protocol: Option<&str>| Wanted {
            protocol: protocol.map(str::to_owned),
            vserver: Some("[2001:db8::1]:53".into()),
            ..Wanted::default()
        };
        for (protocol, number) in [(None, 6), (Some("tcp"), 6), (Some("udp"), 17)] {
            let key = placed(protocol).filter(nobody).unwrap().vserver;
            assert_eq!((IpAddr::from(key.addr).to_string(), key.port.get(), key.protocol), ("2001:db8::1".into(), 53, number));
        }
        let named = Wanted { vserver: Some("web".into()), ..Wanted::default() };
        let why = named.filter(Names::default).unwrap_err().to_string();
        assert!(why.contains("web") && why.contains("show lb vserver"), "{why}");
    }
}
