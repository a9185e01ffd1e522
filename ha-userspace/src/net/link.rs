//! Interfaces and their carriers, without an async runtime.
//!
//! A [`LinkWatch`] is one non-blocking netlink socket that [`crate::ha::monitor`] polls. The kernel tells of
//! a lost carrier at once, but on a physical interface at most once per second (`net/core/link_watch.c`): a caller that
//! must know sooner calls [`LinkWatch::ask`] at its own pace, which reads the flag itself.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoPortKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, VlanProtocol, XdpAttached,
};
use tracing::warn;

/// What interface `ifindex` is called in this network namespace; a number, if there is none.
#[must_use]
pub fn name(ifindex: u32) -> String {
    let name = nix::net::if_::if_indextoname(ifindex).ok().and_then(|name| name.into_string().ok());
    // Of an interface that is not there, the crate returns no error but nothing.
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("interface {ifindex}"))
}

/// Multicast group of link changes, as a bit of `nl_groups` (`RTMGRP_LINK`).
const LINK_GROUP: u32 = 1;

/// The kernel fills a dump's datagrams up to this size.
const BUFFER_LEN: usize = 32 * 1024;

/// Room for events that come while the thread is busy, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Length of a message's header (`struct nlmsghdr`).
const HEADER_LEN: usize = 16;

/// Types of messages that end a dump.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Datagrams read in one [`LinkWatch::drain`]: bounds the work of one turn of a real-time loop.
const DRAIN_MAX: usize = 64;

/// An interface as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// MAC address; zero for an interface without.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u32,
    /// Switched on (`ip link set up`).
    pub up: bool,
    /// Switched on and somebody is at the other end.
    pub carrier: bool,
    /// The XDP program that runs there.
    pub xdp: Option<XdpProgram>,
    /// Interface index of the bond that it is a member of.
    pub bond: Option<u32>,
    /// The VLAN of another interface that it stands for.
    pub vlan: Option<Vlan>,
}

/// An 802.1Q VLAN of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Interface index of that interface.
    pub on: u32,
    /// The VLAN.
    pub id: u16,
}

impl Link {
    /// Where its frames are seen before the kernel takes their tag off: the interface's index, and the VLAN, 0 for none.
    #[must_use]
    pub fn place(&self) -> (u32, u16) {
        self.vlan.map_or((self.ifindex, 0), |vlan| (vlan.on, vlan.id))
    }
}

/// The interface of the kernel through which the host itself speaks in `vlan` (0: untagged) on interface `on`.
#[must_use]
pub fn at(links: &[Link], on: u32, vlan: u16) -> Option<&Link> {
    links.iter().find(|link| link.place() == (on, vlan))
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// The kernel's number of the program.
    pub id: u32,
    /// Whether the driver runs it; otherwise the kernel does, later and slower.
    pub native: bool,
}

/// A change, or an answer to [`LinkWatch::ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The interface is like this now.
    Is(Link),
    /// The interface is no more.
    Gone {
        /// Its last index.
        ifindex: u32,
        /// Its last name.
        name: String,
    },
}

/// Follows the interfaces of given names.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    names: BTreeSet<String>,
    buffer: Vec<u8>,
    /// Messages that could not be read.
    skipped: u64,
}

impl LinkWatch {
    /// Follows `names` in this thread's network namespace. Their present state comes with the first events.
    ///
    /// # Errors
    /// When the kernel refuses a netlink socket.
    pub fn open(names: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let watch = LinkWatch {
            socket: netlink_socket(SockFlag::SOCK_NONBLOCK, LINK_GROUP)?,
            names: names.into_iter().collect(),
            buffer: vec![0; BUFFER_LEN],
            skipped: 0,
        };
        watch.ask()?;
        Ok(watch)
    }

    /// Follows `names` instead and asks for their present state.
    ///
    /// # Errors
    /// See [`Self::ask`].
    pub fn follow(&mut self, names: impl IntoIterator<Item = String>) -> io::Result<()> {
        self.names = names.into_iter().collect();
        self.ask()
    }

    /// Readable when [`Self::drain`] has something.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks the kernel for the present state of all interfaces; the answers come as events.
    ///
    /// # Errors
    /// When the kernel does not take the request (out of memory); a dump that is still running is none.
    pub fn ask(&self) -> io::Result<()> {
        match socket::send(self.socket.as_raw_fd(), &dump_request(), MsgFlags::empty()) {
            // EBUSY: the answers to the last request are still being read.
            Ok(_) | Err(Errno::EBUSY | Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whatever has happened since the last call. Never blocks. Events that the kernel had to throw away are made up for by
    /// asking again.
    pub fn drain(&mut self) -> impl Iterator<Item = LinkEvent> + use<> {
        let mut events = Vec::new();
        for _ in 0..DRAIN_MAX {
            match socket::recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(len) => {
                    let skipped = parse(&self.buffer[..len], &mut events).skipped;
                    if skipped > 0 && self.skipped == 0 {
                        warn!("a netlink message about interfaces cannot be read and is skipped; later ones are only counted");
                    }
                    self.skipped += skipped;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    let _ = self.ask();
                }
                Err(_) => break,
            }
        }
        events.retain(|event| self.names.contains(event.name()));
        events.into_iter()
    }
}

impl LinkEvent {
    fn name(&self) -> &str {
        match self {
            LinkEvent::Is(link) => &link.name,
            LinkEvent::Gone { name, .. } => name,
        }
    }
}

/// The interface called `name` in this thread's network namespace.
///
/// # Errors
/// When netlink does; `NotFound` when there is none of that name.
pub fn link(name: &str) -> io::Result<Link> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {name}"));
    links()?.into_iter().find(|link| link.name == name).ok_or_else(missing)
}

/// All interfaces of this thread's network namespace.
///
/// # Errors
/// When netlink does.
pub fn links() -> io::Result<Vec<Link>> {
    let socket = netlink_socket(SockFlag::empty(), 0)?;
    socket::send(socket.as_raw_fd(), &dump_request(), MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut events = Vec::new();
    loop {
        let len = socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let parsed = parse(&buffer[..len], &mut events);
        if parsed.skipped > 0 {
            warn!(messages = parsed.skipped, "netlink messages about interfaces cannot be read and are skipped");
        }
        if parsed.is_end {
            break;
        }
    }
    Ok(events
        .into_iter()
        .filter_map(|event| match event {
            LinkEvent::Is(link) => Some(link),
            LinkEvent::Gone { .. } => None,
        })
        .collect())
}

/// Counts of the kernel, asked for one interface at a time.
#[derive(Debug)]
pub struct Statistics {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// What an interface is, and what it has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Its flags (`IFF_…`).
    pub flags: u32,
    /// Frames, bytes, errors and drops, received.
    pub rx: [u64; 4],
    /// The same, sent.
    pub tx: [u64; 4],
}

impl Statistics {
    /// Asks in this thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses a netlink socket.
    pub fn open() -> io::Result<Statistics> {
        Ok(Statistics { socket: netlink_socket(SockFlag::empty(), 0)?, buffer: vec![0; BUFFER_LEN] })
    }

    /// Frames that came in on `ifindex` so far.
    ///
    /// # Errors
    /// See [`Self::traffic`].
    pub fn received(&mut self, ifindex: u32) -> io::Result<u64> {
        self.traffic(ifindex).map(|traffic| traffic.rx[0])
    }

    /// What `ifindex` has carried so far.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn traffic(&mut self, ifindex: u32) -> io::Result<Traffic> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(message));
        request.header.flags = NLM_F_REQUEST;
        socket::send(self.socket.as_raw_fd(), &serialized(request), MsgFlags::empty())?;
        let len = socket::recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        let absent = || io::Error::new(io::ErrorKind::NotFound, format!("no counts of interface {ifindex}"));
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.buffer[..len]).map_err(|_| absent())?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer.payload else { return Err(absent()) };
        let counts = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(counts) => Some(Traffic {
                flags: link.header.flags.bits(),
                rx: [counts.rx_packets, counts.rx_bytes, counts.rx_errors, counts.rx_dropped],
                tx: [counts.tx_packets, counts.tx_bytes, counts.tx_errors, counts.tx_dropped],
            }),
            _ => None,
        });
        counts.ok_or_else(absent)
    }
}

fn netlink_socket(flags: SockFlag, groups: u32) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    socket::setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
    socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

fn dump_request() -> Vec<u8> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    serialized(request)
}

fn serialized(mut request: NetlinkMessage<RouteNetlinkMessage>) -> Vec<u8> {
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Messages that could not be read.
    skipped: u64,
    /// The dump ends with it.
    is_end: bool,
}

/// Appends what the messages in `datagram` tell. One that does not parse (an attribute of a newer kernel, say) says nothing of the others.
fn parse(mut datagram: &[u8], events: &mut Vec<LinkEvent>) -> Parsed {
    let mut parsed = Parsed::default();
    while let Some((len, kind)) = header(datagram) {
        parsed.is_end |= kind == NLMSG_DONE || kind == NLMSG_ERROR;
        let message = datagram.get(..len).map(NetlinkMessage::<RouteNetlinkMessage>::deserialize);
        match message.map(|message| message.map(|message| message.payload)) {
            Some(Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)))) => {
                events.extend(link_of(link).map(LinkEvent::Is));
            }
            Some(Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)))) => {
                events.extend(link_of(link).map(|Link { ifindex, name, .. }| LinkEvent::Gone { ifindex, name }));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => parsed.skipped += 1,
        }
        // Messages are aligned to four bytes (NLMSG_ALIGN).
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    parsed
}

/// Length and type of the message that `bytes` begin with; none where there is no header, or one that leads nowhere.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (len >= HEADER_LEN).then_some((len, kind))
}

fn link_of(message: LinkMessage) -> Option<Link> {
    // Bridges tell of their ports under the same group, in their own family and without most attributes.
    if message.header.interface_family != rtnetlink::packet_route::AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let up = flags.contains(LinkFlags::Up);
    let mut name = None;
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up,
        carrier: up && flags.contains(LinkFlags::LowerUp),
        xdp: None,
        bond: None,
        vlan: None,
    };
    let (mut on, mut id) = (None, None);
    // A bridge's port has a controller, too.
    let bonded = is_bonded(&message.attributes);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Controller(ifindex) if bonded => link.bond = Some(ifindex),
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Address(value) => link.mac = value.try_into().unwrap_or_default(),
            LinkAttribute::Mtu(value) => link.mtu = value,
            LinkAttribute::Xdp(value) => link.xdp = xdp_of(&value),
            LinkAttribute::Link(ifindex) => on = Some(ifindex),
            LinkAttribute::LinkInfo(infos) => id = id.or_else(|| vlan_of(&infos)),
            _ => {}
        }
    }
    link.vlan = on.zip(id).map(|(on, id)| Vlan { on, id });
    Some(Link { name: name?, ..link })
}

/// The VLAN that an interface stands for, if it is one. Other protocols' tags (802.1ad) are not this node's.
fn vlan_of(infos: &[LinkInfo]) -> Option<u16> {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let other = |info: &InfoVlan| matches!(info, InfoVlan::Protocol(protocol) if *protocol != VlanProtocol::Ieee8021Q);
    let id = data.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    });
    id.filter(|_| !data.iter().any(other))
}

fn is_bonded(attributes: &[LinkAttribute]) -> bool {
    let infos = attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| *info == LinkInfo::PortKind(InfoPortKind::Bond))
}

fn xdp_of(attributes: &[LinkXdp]) -> Option<XdpProgram> {
    let id = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    })?;
    let native = !attributes.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
    Some(XdpProgram { id, native })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::InfoKind;

    use super::*;

    fn message(flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.header.flags = flags;
        message.attributes = vec![
            LinkAttribute::IfName("leg0".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
        ];
        message
    }

    fn bytes(inner: RouteNetlinkMessage) -> Vec<u8> {
        let mut message = NetlinkMessage::from(inner);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn carrier_is_the_lower_layer_of_an_interface_that_is_up() {
        let cases = [
            (LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running, true, true),
            (LinkFlags::Up, true, false),
            (LinkFlags::LowerUp, false, false),
        ];
        for (flags, up, carrier) in cases {
            let link = link_of(message(flags)).unwrap();
            assert_eq!((link.up, link.carrier), (up, carrier), "{flags:?}");
        }
    }

    #[test]
    fn a_bond_is_told_from_a_bridge_by_what_its_port_says_of_itself() {
        let port = |kind: InfoPortKind| {
            let mut message = message(LinkFlags::Up);
            message.attributes.push(LinkAttribute::Controller(7));
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]));
            link_of(message).unwrap().bond
        };
        assert_eq!(port(InfoPortKind::Bond), Some(7));
        assert_eq!(port(InfoPortKind::Bridge), None);
    }

    #[test]
    fn a_vlan_is_known_by_its_number_and_the_interface_under_it() {
        let device = |protocol: VlanProtocol| {
            let mut message = message(LinkFlags::Up);
            let data = InfoData::Vlan(vec![InfoVlan::Id(10), InfoVlan::Protocol(protocol)]);
            message.attributes.push(LinkAttribute::Link(2));
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]));
            let message = bytes(RouteNetlinkMessage::NewLink(message));
            let mut events = Vec::new();
            parse(&message, &mut events);
            match events.remove(0) {
                LinkEvent::Is(link) => link,
                LinkEvent::Gone { .. } => panic!("it came"),
            }
        };
        let tagged = device(VlanProtocol::Ieee8021Q);
        assert_eq!(tagged.vlan, Some(Vlan { on: 2, id: 10 }));
        assert_eq!(tagged.place(), (2, 10));
        assert_eq!(device(VlanProtocol::Ieee8021Ad).place(), (3, 0), "another protocol's tag is not read here");
    }

    #[test]
    fn every_message_of_a_datagram_is_read() {
        let mut datagram = bytes(RouteNetlinkMessage::NewLink(message(LinkFlags::Up)));
        datagram.extend(bytes(RouteNetlinkMessage::DelLink(message(LinkFlags::empty()))));
        let mut events = Vec::new();
        parse(&datagram, &mut events);
        let is = Link {
            ifindex: 3,
            name: "leg0".into(),
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1500,
            up: true,
            carrier: false,
            xdp: None,
            bond: None,
            vlan: None,
        };
        assert_eq!(events, [LinkEvent::Is(is), LinkEvent::Gone { ifindex: 3, name: "leg0".into() }]);
    }

    #[test]
    fn a_message_that_cannot_be_read_hides_no_other() {
        let mut bad = bytes(RouteNetlinkMessage::NewLink(message(LinkFlags::Up)));
        // Its first attribute is longer than the message: header 16, link header 16, then the attribute's length.
        bad[32..34].copy_from_slice(&u16::MAX.to_ne_bytes());
        let good = bytes(RouteNetlinkMessage::NewLink(message(LinkFlags::Up)));
        let mut events = Vec::new();
        let parsed = parse(&[good.clone(), bad, good].concat(), &mut events);
        assert_eq!((events.len(), parsed), (2, Parsed { skipped: 1, is_end: false }));
    }

    #[test]
    fn a_dump_ends_where_the_kernel_says_so() {
        let done = [20_u32.to_ne_bytes(), u32::from(NLMSG_DONE).to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        assert!(parse(&done, &mut Vec::new()).is_end);
        assert!(!parse(&[], &mut Vec::new()).is_end);
    }

    #[test]
    fn truncated_messages_are_skipped_without_a_panic() {
        let datagram = bytes(RouteNetlinkMessage::NewLink(message(LinkFlags::Up)));
        for len in 0..datagram.len() {
            parse(&datagram[..len], &mut Vec::new());
        }
    }

    #[test]
    fn loopback_is_among_the_links_and_the_watch_tells_of_it() {
        assert!(links().unwrap().iter().any(|link| link.name == "lo" && link.mtu > 0));
        let mut watch = LinkWatch::open(["lo".to_owned()]).unwrap();
        let mut fds = [nix::poll::PollFd::new(watch.fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 1000u16), Ok(1));
        let events: Vec<_> = watch.drain().collect();
        assert!(matches!(&events[..], [LinkEvent::Is(link)] if link.name == "lo"), "{events:?}");
    }
}
