//! Echo, and what else comes to a floating address without a vserver.

use etherparse::IpNumber;
use ha_common::abi::{Reason, address_flags};
use ha_common::pipeline::Action;
use ha_common::time::Nanos;

use super::Vector;
use super::forward::request;
use super::frames::{Body, Frame, echo, tcp};
use super::returning;
use super::world::*;

/// The reply to an echo request that came in on the client leg.
pub fn reply(request: &Frame) -> Frame {
    Frame {
        from: CLIENT_LEG_MAC,
        to: CLIENT_MAC,
        source: request.destination,
        destination: request.source,
        ttl: 64,
        body: echo(request.source, true),
        ..request.clone()
    }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let ping = request(VIP, echo(VIP, false));
    let far = Frame { ttl: 3, ..ping.clone() };
    let ping6 = Frame { ttl: 200, ..request(VIP6, echo(VIP6, false)) };
    let icmp = |kind, code| Body::Icmp { kind, code, rest: [0; 4], data: vec![0; 28] };
    let to_snip = returning::answer(0, SNIP, echo(SNIP, false));
    let from_snip = Frame {
        from: SERVER_LEG_MAC,
        to: backend_mac(0),
        source: SNIP,
        destination: to_snip.source,
        body: echo(SNIP, true),
        ..to_snip.clone()
    };
    let to_all = Frame { to: [0xff; 6], ..ping.clone() };
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    vec![
        sends("echo: a VIP replies", &ping).leaves(Action::Transmit, Reason::IcmpEcho, reply(&ping).bytes()),
        sends("echo: a reply has a life of its own", &far).leaves(Action::Transmit, Reason::IcmpEcho, reply(&far).bytes()),
        sends("echo v6: a VIP replies", &ping6).leaves(Action::Transmit, Reason::IcmpEcho, reply(&ping6).bytes()),
        Vector::new("echo: a SNIP replies").received(SERVER_LEG, to_snip.bytes()).leaves(
            Action::Transmit,
            Reason::IcmpEcho,
            from_snip.bytes(),
        ),
        sends("echo: a VIP that is not to be heard is silent", &request(MUTE_VIP, echo(VIP, false))).drops(Reason::IcmpIgnored),
        sends("echo v6: a VIP that is not to be heard is silent", &request(MUTE_VIP6, echo(VIP6, false)))
            .drops(Reason::IcmpIgnored),
        sends("echo: a VIP that answers neighbours only is silent", &ping)
            .with(|tables| answers(tables, VIP, address_flags::ARP))
            .drops(Reason::IcmpIgnored),
        sends("echo: a VIP that does not answer neighbours replies", &ping)
            .with(|tables| answers(tables, VIP, address_flags::ICMP))
            .leaves(Action::Transmit, Reason::IcmpEcho, reply(&ping).bytes()),
        sends("echo: the last one that the rate allows is answered", &ping)
            .with(|tables| ration(tables, 100_000, 100_000))
            .leaves(Action::Transmit, Reason::IcmpEcho, reply(&ping).bytes()),
        sends("echo: the next one is not", &ping).with(|tables| ration(tables, 100_000, 99_999)).drops(Reason::IcmpLimited),
        sends("echo v6: one above the rate is not answered either", &ping6)
            .with(|tables| ration(tables, 100_000, 99_999))
            .drops(Reason::IcmpLimited),
        sends("echo: an empty budget has filled by itself after a while", &ping)
            .with(|tables| {
                ration(tables, 10_000_000, 0);
                tables.icmp_budget.get_mut().refilled_at = tables.now.get() - std::time::Duration::from_millis(10);
            })
            .leaves(Action::Transmit, Reason::IcmpEcho, reply(&ping).bytes()),
        sends("echo: one that costs more than any budget holds is never answered", &ping)
            .with(|tables| {
                ration(tables, 10_000_001, 0);
                tables.icmp_budget.get_mut().refilled_at = Nanos::NEVER;
            })
            .drops(Reason::IcmpLimited),
        sends("echo: what is not answered anyhow is not counted as too much", &request(MUTE_VIP, echo(VIP, false)))
            .with(|tables| ration(tables, 100_000, 0))
            .drops(Reason::IcmpIgnored),
        sends("echo: without a limit no budget is needed", &ping).with(|tables| ration(tables, 0, 0)).leaves(
            Action::Transmit,
            Reason::IcmpEcho,
            reply(&ping).bytes(),
        ),
        sends("echo: a request with a code is none", &request(VIP, icmp(8, 1))).drops(Reason::IcmpIgnored),
        sends("echo: an unreachable for a VIP is nobody's", &request(VIP, icmp(3, 4))).drops(Reason::IcmpIgnored),
        sends("echo: an unreachable for a local address is the host's", &request(LOCAL_VIP, icmp(3, 4))).passes(Reason::Local),
        sends("echo: a local address replies from here", &request(LOCAL_VIP, echo(VIP, false))).leaves(
            Action::Transmit,
            Reason::IcmpEcho,
            reply(&request(LOCAL_VIP, echo(VIP, false))).bytes(),
        ),
        sends("echo: what a local daemon listens to is the host's", &request(LOCAL_VIP, tcp(4000, 22, "S")))
            .passes(Reason::Local),
        sends("echo: a reply from nobody who was asked", &request(VIP, echo(VIP, true))).drops(Reason::IcmpIgnored),
        sends("echo: a ping to all stations is not answered", &to_all).drops(Reason::DropNotUnicast),
        sends("echo: a ping from a floating address is a loop", &Frame { source: LOCAL_VIP, ..ping.clone() })
            .drops(Reason::Loop),
        sends("echo: a ping from nowhere", &Frame { source: "0.0.0.0".parse().expect("an address"), ..ping.clone() })
            .drops(Reason::BadSource),
        sends(
            "echo: ICMPv6 over IPv4 is a protocol that is not served",
            &request(VIP, Body::Other(IpNumber::IPV6_ICMP, vec![128, 0, 0, 0, 0, 0, 0, 0])),
        )
        .drops(Reason::ProtocolNotServed),
        sends("echo: a protocol that is not served", &request(VIP, Body::Other(IpNumber::GRE, vec![0; 20])))
            .drops(Reason::ProtocolNotServed),
        sends(
            "echo: a protocol that is not served here is the host's for a local address",
            &request(LOCAL_VIP, Body::Other(IpNumber::GRE, vec![0; 20])),
        )
        .passes(Reason::Local),
    ]
}
