//! The packet that is asked about: from words to a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};
use ha_common::abi::{Interface, NextHop, ServiceKey};
use ha_common::tables::Route;
use ha_common::wire::{Be16, eth};

use super::{Options, Source};

/// Its time to live.
const TTL: u8 = 64;
/// Who has sent it, if that is not known: a MAC address of nobody's.
const SOMEBODY: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// About a packet with these ends.
    Tuple(Tuple),
    /// About those in this file.
    File(PathBuf),
}

impl Question {
    /// Reads the words.
    pub fn of(options: &Options) -> anyhow::Result<Self> {
        let protocol = options.asked[0].to_ascii_lowercase().parse();
        match (&options.asked[..], protocol) {
            ([_, from, to], Ok(protocol)) => Tuple::new(protocol, from.parse()?, to.parse()?, options).map(Question::Tuple),
            ([file], Err(_)) => Ok(Question::File(file.into())),
            ([_] | [_, _], Ok(_)) => bail!("a packet has two ends: explain tcp 10.1.0.1:40000 10.1.0.100:80"),
            (_, Err(error)) => Err(error),
            _ => unreachable!("one to three words"),
        }
    }
}

/// What it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// An echo request, ICMP or ICMPv6.
    Icmp,
}

impl FromStr for Protocol {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> anyhow::Result<Self> {
        match word {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "icmp" | "icmpv6" | "icmp6" => Ok(Protocol::Icmp),
            _ => bail!("{word} is neither tcp, udp nor icmp"),
        }
    }
}

/// One end: `10.1.0.1:40000`, `[2001:db8::1]:40000`, or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its address.
    pub addr: IpAddr,
    /// Its port.
    pub port: Option<u16>,
}

impl FromStr for End {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> anyhow::Result<Self> {
        if let Ok(socket) = word.parse::<SocketAddr>() {
            return Ok(End { addr: socket.ip(), port: Some(socket.port()) });
        }
        let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
        let addr = bare.parse().ok();
        let addr = addr.with_context(|| format!("{word} is no address with a port (10.1.0.1:40000, [2001:db8::1]:40000)"))?;
        Ok(End { addr, port: None })
    }
}

/// TCP flags: `SYN|ACK`, `syn,ack`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

const FLAGS: [(&str, u8); 6] = [("FIN", 1), ("SYN", 2), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32)];

impl FromStr for Flags {
    type Err = anyhow::Error;

    fn from_str(words: &str) -> anyhow::Result<Self> {
        let mut flags = 0;
        for word in words.split(['|', ',', '+']).filter(|word| !word.is_empty()) {
            let known = FLAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            flags |= known.with_context(|| format!("{word} is no TCP flag: SYN, FIN, RST, PSH, ACK, URG"))?.1;
        }
        Ok(Flags(flags))
    }
}

impl Flags {
    fn header(self, source: u16, destination: u16) -> TcpHeader {
        let has = |name| FLAGS.iter().any(|(known, bit)| *known == name && self.0 & bit != 0);
        let mut header = TcpHeader::new(source, destination, 1, u16::MAX);
        (header.fin, header.syn, header.rst) = (has("FIN"), has("SYN"), has("RST"));
        (header.psh, header.ack, header.urg) = (has("PSH"), has("ACK"), has("URG"));
        header
    }
}

/// A packet by its ends.
#[derive(Clone, Copy, Debug)]
pub struct Tuple {
    protocol: Protocol,
    /// Who sends it.
    pub from: End,
    to: End,
    flags: Flags,
    vlan: Option<VlanId>,
    len: Option<u16>,
}

impl Tuple {
    fn new(protocol: Protocol, from: End, to: End, options: &Options) -> anyhow::Result<Self> {
        ensure!(from.addr.is_ipv4() == to.addr.is_ipv4(), "{} and {} are of two families", from.addr, to.addr);
        let ports = from.port.is_some() && to.port.is_some();
        ensure!(protocol == Protocol::Icmp || ports, "both ends need a port: {}:40000 {}:80", from.addr, to.addr);
        let vlan = options.vlan.map(VlanId::try_new).transpose()?;
        Ok(Tuple { protocol, from, to, flags: options.flags, vlan, len: options.len })
    }

    /// The interface by which its sender is reached, if it is a backend.
    pub fn sender<S: Source>(&self, source: &S) -> Option<u32> {
        self.backend_hop(source).map(|hop| hop.ifindex)
    }

    fn backend_hop<S: Source>(&self, source: &S) -> Option<NextHop> {
        let protocol = if self.protocol == Protocol::Udp { 17 } else { 6 };
        let domain = self.vlan.map_or(0, |id| id.value().into());
        let key = ServiceKey { addr: self.from.addr.into(), domain, port: Be16::new(self.from.port?), protocol };
        source.backend(source.owner(&key)?.backend).map(|backend| backend.next_hop).filter(|hop| !hop.is_unknown())
    }

    /// The frame, as it would come in on `ifindex`.
    ///
    /// # Errors
    /// When it cannot have the length that is asked for.
    pub fn frame<S: Source>(&self, source: &S, ifindex: u32) -> anyhow::Result<Vec<u8>> {
        let interface = source.interface(ifindex).unwrap_or_default();
        let routed = || way(source, &[ifindex], self.from.addr);
        let hop = self.backend_hop(source).or_else(routed);
        let sender = hop.map_or(SOMEBODY, |hop| eth::destination(hop.macs));
        let link = PacketBuilder::ethernet2(sender, self.receiver(&interface));
        match (self.from.addr, self.to.addr, self.vlan) {
            (IpAddr::V4(from), IpAddr::V4(to), None) => self.fill(link.ipv4(from.octets(), to.octets(), TTL)),
            (IpAddr::V4(from), IpAddr::V4(to), Some(id)) => {
                self.fill(link.single_vlan(id).ipv4(from.octets(), to.octets(), TTL))
            }
            (IpAddr::V6(from), IpAddr::V6(to), None) => self.fill(link.ipv6(from.octets(), to.octets(), TTL)),
            (IpAddr::V6(from), IpAddr::V6(to), Some(id)) => {
                self.fill(link.single_vlan(id).ipv6(from.octets(), to.octets(), TTL))
            }
            _ => bail!("{} and {} are of two families", self.from.addr, self.to.addr),
        }
    }

    /// Floating addresses have a MAC address by family.
    fn receiver(&self, interface: &Interface) -> [u8; 6] {
        if self.to.addr.is_ipv4() { interface.v4_mac } else { interface.v6_mac }
    }

    fn fill(&self, ip: PacketBuilderStep<IpHeaders>) -> anyhow::Result<Vec<u8>> {
        let [source, destination] = [self.from.port, self.to.port].map(Option::unwrap_or_default);
        let mut frame = Vec::new();
        match self.protocol {
            Protocol::Tcp => {
                let step = ip.tcp_header(self.flags.header(source, destination));
                let payload = self.payload(step.size(0))?;
                step.write(&mut frame, &payload)
            }
            Protocol::Udp => {
                let step = ip.udp(source, destination);
                let payload = self.payload(step.size(0))?;
                step.write(&mut frame, &payload)
            }
            Protocol::Icmp if self.to.addr.is_ipv4() => {
                let step = ip.icmpv4_echo_request(1, 1);
                let payload = self.payload(step.size(0))?;
                step.write(&mut frame, &payload)
            }
            Protocol::Icmp => {
                let step = ip.icmpv6_echo_request(1, 1);
                let payload = self.payload(step.size(0))?;
                step.write(&mut frame, &payload)
            }
        }?;
        Ok(frame)
    }

    /// What follows `headers` bytes of headers.
    fn payload(&self, headers: usize) -> anyhow::Result<Vec<u8>> {
        let len = self.len.map_or(headers, usize::from);
        let payload =
            len.checked_sub(headers).with_context(|| format!("its headers alone take {headers} bytes, more than {len}"))?;
        Ok(vec![0; payload])
    }
}

/// The way to `addr`, as the kernel's routing table says for what comes in on one of `legs`.
pub fn way<S: Source>(source: &S, legs: &[u32], addr: IpAddr) -> Option<NextHop> {
    let anybody = if addr.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    legs.iter().find_map(|&leg| match source.route(leg, &anybody.into(), &addr.into()) {
        Route::Via(hop) => Some(hop),
        Route::Host | Route::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_an_address_and_maybe_a_port() {
        let end = |word: &str| word.parse::<End>().map(|end| (end.addr.to_string(), end.port));
        assert_eq!(end("10.1.0.1:40000").unwrap(), ("10.1.0.1".into(), Some(40_000)));
        assert_eq!(end("[2001:db8::1]:80").unwrap(), ("2001:db8::1".into(), Some(80)));
        assert_eq!(end("[2001:db8::1]").unwrap(), ("2001:db8::1".into(), None));
        assert_eq!(end("2001:db8::1").unwrap().1, None);
        let why = end("10.1.0.1:http").unwrap_err().to_string();
        assert!(why.contains("10.1.0.1:http") && why.contains("[2001:db8::1]:40000"), "{why}");
    }

    #[test]
    fn flags_are_words_in_any_case_between_bars_or_commas() {
        for words in ["SYN|ACK", "syn,ack", "ACK+SYN"] {
            assert_eq!(words.parse::<Flags>().unwrap(), Flags(2 | 16), "{words}");
        }
        assert!("SYNACK".parse::<Flags>().unwrap_err().to_string().contains("SYN, FIN, RST"));
    }
}
