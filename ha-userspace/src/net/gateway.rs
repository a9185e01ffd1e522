//! Does a floating address reach the gateway of its leg?
//!
//! Asked as the address itself, so that the answer takes the way that clients' packets take: to the MAC address that was announced. Its
//! answer passes XDP to the host, where a packet socket sees it; the stack, which does not know the address, leaves it alone.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::frame;
use super::raw::{Hears, RawSocket};

/// Questions asked before a gateway counts as not reached.
const PROBES: u32 = 3;
/// How long each is waited for.
const PATIENCE: Duration = Duration::from_millis(330);
/// Looks at the socket at most while waiting for one answer.
const FRAMES_MAX: usize = 10_000;

/// The routers that default routes of this network namespace lead to, each with the index of the interface.
///
/// # Errors
/// When the kernel refuses.
pub async fn gateways(handle: &Handle) -> Result<Vec<(u32, IpAddr)>, rtnetlink::Error> {
    let mut found = Vec::new();
    for question in
        [RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(), RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()]
    {
        let mut routes = handle.route().get(question).execute();
        while let Some(route) = routes.try_next().await? {
            if route.header.destination_prefix_length == 0 {
                found.extend(routers(&route));
            }
        }
    }
    Ok(found)
}

fn routers(route: &RouteMessage) -> Vec<(u32, IpAddr)> {
    let of = |attributes: &[RouteAttribute], ifindex: Option<u32>| {
        let gateway = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(IpAddr::V4(*gateway)),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => Some(IpAddr::V6(*gateway)),
            _ => None,
        });
        ifindex.zip(gateway)
    };
    let own = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(ifindex) => Some(*ifindex),
        _ => None,
    });
    let paths = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::MultiPath(paths) => Some(paths),
        _ => None,
    });
    let many = paths.flatten().filter_map(|path| of(&path.attributes, Some(path.interface_index)));
    of(&route.attributes, own).into_iter().chain(many).collect()
}

/// Asks `gateway` on interface `ifindex` as `source`, which is at `mac`; whether it answered. Blocks for a second at most.
///
/// # Errors
/// When no packet socket can be had, or nothing can be sent.
pub fn reaches(ifindex: u32, mac: [u8; 6], source: IpAddr, gateway: IpAddr) -> io::Result<bool> {
    let question = frame::question(mac, None, Some(source), gateway);
    let socket = RawSocket::listen(ifindex, if source.is_ipv4() { Hears::Arp } else { Hears::Advertisements })?;
    for _ in 0..PROBES {
        socket.send(&question)?;
        if is_answered(&socket, source, gateway)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_answered(socket: &RawSocket, source: IpAddr, gateway: IpAddr) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    let mut heard = [0; 128];
    for _ in 0..FRAMES_MAX {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Interrupted or not, there is something to look at.
        let _ =
            poll(&mut [PollFd::new(socket.fd(), PollFlags::POLLIN)], PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        match socket.receive(&mut heard) {
            Ok(len) if frame::answers(&heard[..len], source, gateway) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
