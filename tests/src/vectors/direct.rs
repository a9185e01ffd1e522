//! Mode MAC: the backend owns the VIP and answers the client itself.

use ha_common::abi::Reason;
use ha_common::pipeline::Action;
use ha_common::time::Nanos;

use super::forward::request;
use super::frames::{Frame, tcp, udp};
use super::world::*;
use super::{Changes, Vector};

/// The same frame, with the backend's MAC address.
pub fn redirected(request: &Frame, backend: u32) -> Frame {
    Frame { from: SERVER_LEG_MAC, to: backend_mac(backend), ..request.clone() }
}

/// The vectors of this theme.
pub fn vectors() -> Vec<Vector> {
    let tables = super::world::pair(Nanos(1));
    let port = port_to(&tables, DIRECT, CLIENT, 0);
    let syn = request(VIP, tcp(port, 81, "S"));
    let segment = request(VIP, tcp(port, 81, "AP"));
    let last = Frame { ttl: 1, ..segment.clone() };
    let port6 = port_to(&tables, DIRECT6, CLIENT6, FIRST6 + 2);
    let segment6 = request(VIP6, tcp(port6, 81, "A"));
    let backend = placed(&tables, STICKY, CLIENT, 1);
    let to = Action::Redirect(SERVER_LEG);
    let sends = |name, frame: &Frame| Vector::new(name).received(CLIENT_LEG, frame.bytes());
    let flow = Changes { flows: 1, ..Changes::default() };
    let mut vectors = vec![
        sends("direct: a SYN changes nothing but its MAC addresses", &syn)
            .leaves(to, Reason::ForwardSyn, redirected(&syn, 0).bytes())
            .changing(Changes { embryonic: 1, ..Changes::default() }),
        sends("direct: a segment changes nothing but its MAC addresses", &segment)
            .leaves(to, Reason::ForwardNew, redirected(&segment, 0).bytes())
            .changing(flow),
        sends("direct: a packet at its last hop goes on: nobody routes it here", &last)
            .leaves(to, Reason::ForwardNew, redirected(&last, 0).bytes())
            .changing(flow),
        sends("direct v6: a segment changes nothing but its MAC addresses", &segment6)
            .leaves(to, Reason::ForwardNew, redirected(&segment6, FIRST6 + 2).bytes())
            .changing(flow),
    ];
    for (name, port) in [
        ("direct: by the client's address alone, from one port", 1000),
        ("direct: by the client's address alone, from another port", 2000),
    ] {
        let datagram = request(VIP, udp(port, 54));
        vectors.push(sends(name, &datagram).leaves(to, Reason::ForwardHash, redirected(&datagram, backend).bytes()));
    }
    vectors
}
