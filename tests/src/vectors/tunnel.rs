//! A client's packet, in another packet to a backend.

use std::net::IpAddr;

use etherparse::{EtherType, IpNumber, Ipv4Header, Ipv6Header};
use ha_common::abi::Reason;
use ha_common::pipeline::{Action, rehash};
use ha_common::tables::HostTables;

use super::forward::request;
use super::frames::{Frame, link, tcp};
use super::world::*;
use super::{Changes, Vector};

const TO_SERVERS: Action = Action::Redirect(SERVER_LEG);
/// The client's port.
const PORT: u16 = 40_000;

/// The frame as `backend` gets it, within another.
pub fn wrapped(frame: &Frame, backend: u32) -> Vec<u8> {
    wrapped_bytes(&Frame { vlan: None, ..frame.clone() }.bytes(), backend)
}

/// The same for a frame of any kind, without a tag, of the client's port [`PORT`].
pub fn wrapped_bytes(bytes: &[u8], backend: u32) -> Vec<u8> {
    let inside = &bytes[14..];
    let (protocol, last) = if inside[0] >> 4 == 4 { (IpNumber(4), &inside[12..16]) } else { (IpNumber(41), &inside[20..24]) };
    let (kind, header) = match backend_addr(backend) {
        IpAddr::V4(destination) => {
            let IpAddr::V4(source) = SNIP else { panic!("a SNIP of that family") };
            let len = u16::try_from(inside.len()).expect("a small packet");
            let mut header = Ipv4Header::new(len, 64, protocol, source.octets(), destination.octets()).expect("a small packet");
            header.dont_fragment = true;
            header.header_checksum = header.calc_header_checksum();
            (EtherType::IPV4, header.to_bytes().to_vec())
        }
        IpAddr::V6(destination) => {
            let IpAddr::V6(source) = SNIP6 else { panic!("a SNIP of that family") };
            let last = u32::from_ne_bytes(last.try_into().expect("four bytes"));
            let label = rehash(last, u16::from_ne_bytes(PORT.to_be_bytes()).into()) & 0xf_ffff;
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: label.try_into().expect("twenty bits"),
                payload_length: u16::try_from(inside.len()).expect("a small packet"),
                next_header: protocol,
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
            };
            (EtherType::IPV6, header.to_bytes().to_vec())
        }
    };
    let vlan = (backend == TAGGED).then_some(SERVER_VLAN);
    [link(backend_mac(backend), SERVER_LEG_MAC, vlan, kind), header, inside.to_vec()].concat()
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let at = |vip: IpAddr, port: u16, flags| request(vip, tcp(PORT, port, flags));
    let client = |vip: IpAddr| if vip.is_ipv4() { CLIENT } else { CLIENT6 };
    let recorded = move |index: u32, vip: IpAddr, backend: u32| {
        move |tables: &mut HostTables| record(tables, flow_key(index, client(vip), PORT, 6), backend)
    };
    let hit = |name, index, vip: IpAddr, port, backend| {
        let frame = at(vip, port, "AP");
        sends(name, &frame).with(recorded(index, vip, backend)).leaves(TO_SERVERS, Reason::ForwardHit, wrapped(&frame, backend))
    };
    let syn = at(VIP, 88, "S");
    let last = Frame { ttl: 1, ..at(VIP, 88, "AP") };
    let tagged = Frame { vlan: Some(VLAN), ..at(VIP, 80, "AP") };
    let wrap_vlan = |tables: &mut HostTables| {
        tables.vservers[WEB_VLAN as usize].mode = ha_common::abi::mode::TUNNEL;
        record(tables, flow_key(WEB_VLAN, CLIENT, PORT, 6), 1);
    };
    vec![
        hit("tunnel: a recorded segment travels within IPv4 from the SNIP", WRAPPED, VIP, 88, 2),
        hit("tunnel v6: a recorded segment travels within IPv6 from the SNIP", WRAPPED6, VIP6, 88, FIRST6 + 1),
        hit("tunnel: IPv6 within IPv4", MIXED, VIP6, 89, 1),
        hit("tunnel: IPv4 within IPv6", MIXED6, VIP, 89, FIRST6),
        hit("tunnel: to a backend in a VLAN the outer frame is tagged", WRAPPED_TO_VLAN, VIP, 90, TAGGED),
        sends("tunnel: from a client in a VLAN the outer frame is not", &tagged).with(wrap_vlan).leaves(
            TO_SERVERS,
            Reason::ForwardHit,
            wrapped(&tagged, 1),
        ),
        sends("tunnel: a SYN goes where the ring says and leaves an embryo", &syn)
            .leaves(
                TO_SERVERS,
                Reason::ForwardSyn,
                wrapped(&syn, placed(&super::world::pair(Default::default()), WRAPPED, CLIENT, PORT)),
            )
            .changing(Changes { embryonic: 1, ..Changes::default() }),
        sends("tunnel: the packet inside keeps its last hop, which is the backend's to take", &last)
            .with(recorded(WRAPPED, VIP, 0))
            .leaves(TO_SERVERS, Reason::ForwardHit, wrapped(&last, 0)),
        sends("tunnel: a backend that does not see clients sees them through a tunnel", &at(VIP, 88, "AP"))
            .with(recorded(WRAPPED, VIP, HIDDEN))
            .leaves(TO_SERVERS, Reason::ForwardHit, wrapped(&at(VIP, 88, "AP"), HIDDEN)),
        sends("tunnel: without an address to begin at the packet is dropped", &at(VIP, 88, "AP"))
            .with(recorded(WRAPPED, VIP, 0))
            .with(|tables| tables.backends[0].snip_count = 0)
            .drops(Reason::NoSnip),
    ]
}
