//! What the main routing table says: are the monitored routes there, and who are the gateways?
//!
//! One task reads the table anew whenever something about routes, addresses or interfaces changes. The news themselves are not
//! counted: of IPv4 routes that go with their interface the kernel tells nothing. A long table is read less often.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::watch;
use tracing::warn;

use crate::command::value::Route;

/// Changes within this span lead to one reading of the table.
const SETTLE: Duration = Duration::from_millis(2);

/// How long to rest for each route that was read, some ten times as long as reading it takes. Counted, not timed: this task shares its
/// thread with others.
const REST_PER_ROUTE: Duration = Duration::from_micros(20);

/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(5);

/// How soon a reading that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Room for events that come in a burst, in bytes.
const RECEIVE_BUFFER: u32 = 1 << 20;

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What somebody wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether these are there.
    pub monitored: BTreeSet<Route>,
    /// By which way this address is reached from each interface.
    pub towards: Option<IpAddr>,
}

/// What the table says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Of each route that was asked for: whether it is there.
    pub monitored: BTreeMap<Route, bool>,
    /// Default gateways by interface index, IPv4 and IPv6: the one of the lowest metric.
    pub gateways: BTreeMap<u32, [Option<IpAddr>; 2]>,
    /// By interface index: to whom a packet for [`Wanted::towards`] would be given there.
    pub towards: BTreeMap<u32, IpAddr>,
}

/// Starts the task in the network namespace of this thread; `None` until the table has been read once.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn spawn(mut wanted: watch::Receiver<Wanted>) -> io::Result<watch::Receiver<Option<Routes>>> {
    let (mut connection, handle, mut events) = rtnetlink::new_multicast_connection(&GROUPS)?;
    connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER)?;
    tokio::spawn(connection);
    let (found, routes) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let wish = wanted.borrow_and_update().clone();
            let (mut rest, mut failed) = (SETTLE, false);
            match read(&handle, &wish).await {
                Ok((routes, count)) => {
                    rest = (REST_PER_ROUTE * count).clamp(SETTLE, REST_MAX);
                    found.send_if_modified(|present: &mut Option<Routes>| {
                        let changed = present.as_ref() != Some(&routes);
                        *present = Some(routes);
                        changed
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot read the routing table");
                    failed = true;
                }
            }
            tokio::select! {
                event = events.next() => if event.is_none() { return },
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if failed => {}
            }
            rest_beside(&mut events, rest).await;
        }
    });
    Ok(routes)
}

/// Rests for `span` and forgets what comes meanwhile: the reading that follows sees it. The channel has no bound, and a full table that
/// settles may bring more in one rest than the memory should hold.
async fn rest_beside(events: &mut (impl Stream + Unpin), span: Duration) {
    let over = tokio::time::sleep(span);
    tokio::pin!(over);
    loop {
        tokio::select! {
            biased;
            () = &mut over => break,
            event = events.next() => if event.is_none() { return },
        }
    }
    while let Some(Some(_)) = events.next().now_or_never() {}
}

/// What the table says, and how many routes that were.
async fn read(handle: &Handle, wanted: &Wanted) -> Result<(Routes, u32), rtnetlink::Error> {
    let mut reading = Reading::new(wanted);
    let mut count = 0;
    let requests = [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
    for request in requests {
        let mut dump = handle.route().get(request).execute();
        while let Some(message) = dump.try_next().await? {
            reading.take(&message);
            count += 1;
        }
    }
    Ok((reading.routes, count))
}

/// A way out of this host.
struct Way {
    ifindex: u32,
    gateway: Option<IpAddr>,
}

/// How good a route to an address is: the longer prefix first, then the lower metric.
type Rank = (u8, std::cmp::Reverse<u32>);

struct Reading<'a> {
    wanted: &'a Wanted,
    routes: Routes,
    gateways: BTreeMap<(u32, bool), u32>,
    towards: BTreeMap<u32, Rank>,
}

impl<'a> Reading<'a> {
    fn new(wanted: &'a Wanted) -> Reading<'a> {
        let monitored = wanted.monitored.iter().map(|route| (*route, false)).collect();
        let routes = Routes { monitored, ..Routes::default() };
        Reading { wanted, routes, gateways: BTreeMap::new(), towards: BTreeMap::new() }
    }

    fn take(&mut self, message: &RouteMessage) {
        if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.kind != RouteType::Unicast {
            return;
        }
        let Some((network, metric, ways)) = parts(message) else { return };
        // A route all of whose ways are dead or without carrier leads nowhere.
        if ways.is_empty() {
            return;
        }
        let length = message.header.destination_prefix_length;
        let names = [Some(Route::network(network, length)), (length == 0).then_some(Route::Default)];
        for name in names.into_iter().flatten() {
            if let Some(present) = self.routes.monitored.get_mut(&name) {
                *present = true;
            }
        }
        let towards = self.wanted.towards.filter(|to| Route::network(*to, length) == Route::network(network, length));
        for way in ways {
            if length == 0 {
                self.take_gateway(&way, metric);
            }
            if let Some(to) = towards.filter(|to| to.is_ipv4() == network.is_ipv4()) {
                self.take_way(&way, to, (length, std::cmp::Reverse(metric)));
            }
        }
    }

    fn take_gateway(&mut self, way: &Way, metric: u32) {
        let Some(gateway) = way.gateway else { return };
        let best = self.gateways.entry((way.ifindex, gateway.is_ipv4())).or_insert(u32::MAX);
        let known = &mut self.routes.gateways.entry(way.ifindex).or_default()[usize::from(gateway.is_ipv6())];
        if known.is_none() || metric < *best {
            (*best, *known) = (metric, Some(gateway));
        }
    }

    fn take_way(&mut self, way: &Way, to: IpAddr, rank: Rank) {
        if self.towards.get(&way.ifindex).is_none_or(|known| rank > *known) {
            self.towards.insert(way.ifindex, rank);
            self.routes.towards.insert(way.ifindex, way.gateway.unwrap_or(to));
        }
    }
}

/// Destination, metric and usable ways of a route.
fn parts(message: &RouteMessage) -> Option<(IpAddr, u32, Vec<Way>)> {
    use rtnetlink::packet_route::AddressFamily::{Inet, Inet6};
    let mut network = match message.header.address_family {
        Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut metric, mut ifindex, mut gateway, mut several) = (0, None, None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => network = ip(address)?,
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::MultiPath(hops) => several.extend(hops.iter().filter_map(way)),
            _ => {}
        }
    }
    let dead = message.header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    several.extend(ifindex.filter(|_| !dead).map(|ifindex| Way { ifindex, gateway }));
    Some((network, metric, several))
}

fn way(hop: &RouteNextHop) -> Option<Way> {
    if hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown) {
        return None;
    }
    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        _ => None,
    });
    Some(Way { ifindex: hop.interface_index, gateway })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `network/length`, gateway, interface, metric.
    fn route(network: &str, via: Option<&str>, ifindex: u32, metric: u32) -> RouteMessage {
        let (address, length) = network.split_once('/').unwrap();
        let address: IpAddr = address.parse().unwrap();
        let of = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => RouteAddress::Inet(ip),
            IpAddr::V6(ip) => RouteAddress::Inet6(ip),
        };
        let mut message = match address {
            IpAddr::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            IpAddr::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        message.header.destination_prefix_length = length.parse().unwrap();
        message.attributes = vec![RouteAttribute::Oif(ifindex), RouteAttribute::Priority(metric)];
        if message.header.destination_prefix_length != 0 {
            message.attributes.push(RouteAttribute::Destination(of(address)));
        }
        message.attributes.extend(via.map(|via| RouteAttribute::Gateway(of(via.parse().unwrap()))));
        message
    }

    fn wanted(monitored: &[&str], towards: Option<&str>) -> Wanted {
        let monitored = monitored.iter().map(|text| Route::read(text).unwrap()).collect();
        Wanted { monitored, towards: towards.map(|text| text.parse().unwrap()) }
    }

    fn digest(wanted: &Wanted, messages: &[RouteMessage]) -> Routes {
        let mut reading = Reading::new(wanted);
        messages.iter().for_each(|message| reading.take(message));
        reading.routes
    }

    fn present(wanted: &Wanted, message: RouteMessage) -> Vec<bool> {
        digest(wanted, &[message]).monitored.into_values().collect()
    }

    #[tokio::test]
    async fn what_comes_during_a_rest_waits_for_nobody() {
        let (told, mut events) = futures::channel::mpsc::unbounded();
        let tell = tokio::spawn(async move {
            for _ in 0..100 {
                told.unbounded_send(()).unwrap();
                tokio::task::yield_now().await;
            }
            told
        });
        rest_beside(&mut events, Duration::from_millis(50)).await;
        let _told = tell.await.unwrap();
        assert!(events.next().now_or_never().is_none());
    }

    #[test]
    fn a_monitored_route_is_one_to_exactly_that_network() {
        let wanted = wanted(&["10.7.0.0/16"], None);
        assert_eq!(present(&wanted, route("10.7.0.0/16", Some("10.1.0.254"), 2, 0)), [true]);
        assert_eq!(present(&wanted, route("10.7.0.0/24", Some("10.1.0.254"), 2, 0)), [false]);
        assert_eq!(present(&wanted, route("10.0.0.0/8", Some("10.1.0.254"), 2, 0)), [false]);
        assert_eq!(present(&wanted, route("0.0.0.0/0", Some("10.1.0.254"), 2, 0)), [false]);
    }

    #[test]
    fn a_star_is_a_default_route_of_either_family() {
        let wanted = wanted(&["*"], None);
        assert_eq!(present(&wanted, route("0.0.0.0/0", Some("10.1.0.254"), 2, 0)), [true]);
        assert_eq!(present(&wanted, route("::/0", Some("fe80::1"), 2, 0)), [true]);
        assert_eq!(present(&wanted, route("10.0.0.0/8", Some("10.1.0.254"), 2, 0)), [false]);
    }

    #[test]
    fn a_route_that_leads_nowhere_is_not_there() {
        let wanted = wanted(&["10.7.0.0/16"], None);
        let changed = |change: fn(&mut RouteMessage)| {
            let mut message = route("10.7.0.0/16", Some("10.1.0.254"), 2, 0);
            change(&mut message);
            present(&wanted, message)
        };
        assert_eq!(changed(|message| message.header.flags = RouteFlags::Linkdown), [false]);
        assert_eq!(changed(|message| message.header.flags = RouteFlags::Dead), [false]);
        assert_eq!(changed(|message| message.header.kind = RouteType::BlackHole), [false]);
        assert_eq!(changed(|message| message.header.table = 100), [false]);
    }

    #[test]
    fn one_live_way_of_several_is_enough() {
        let wanted = wanted(&["10.7.0.0/16"], None);
        let hop = |ifindex, flags| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.flags) = (ifindex, flags);
            hop
        };
        let of = |hops| {
            let mut message = route("10.7.0.0/16", None, 2, 0);
            message.attributes.remove(0);
            message.attributes.push(RouteAttribute::MultiPath(hops));
            present(&wanted, message)
        };
        let (well, down) = (RouteNextHopFlags::empty(), RouteNextHopFlags::Linkdown);
        assert_eq!(of(vec![hop(2, down), hop(3, well)]), [true]);
        assert_eq!(of(vec![hop(2, down), hop(3, down)]), [false]);
    }

    #[test]
    fn each_leg_has_its_default_gateway_of_the_lowest_metric() {
        let routes = [
            route("0.0.0.0/0", Some("10.1.0.253"), 2, 200),
            route("0.0.0.0/0", Some("10.1.0.254"), 2, 100),
            route("0.0.0.0/0", Some("10.2.0.254"), 3, 50),
            route("::/0", Some("fe80::1"), 2, 1024),
            route("10.9.0.0/16", Some("10.2.0.7"), 3, 0),
        ];
        let gateways = digest(&Wanted::default(), &routes).gateways;
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(gateways, [(2, [ip("10.1.0.254"), ip("fe80::1")]), (3, [ip("10.2.0.254"), None])].into());
    }

    #[test]
    fn the_way_to_the_peer_is_known_for_every_interface_that_has_one() {
        let routes = [
            route("10.9.2.0/24", Some("10.9.1.254"), 2, 0),
            route("10.9.0.0/16", Some("10.9.1.1"), 2, 0),
            route("0.0.0.0/0", Some("10.8.1.254"), 3, 0),
            route("10.9.2.0/24", None, 4, 0),
            route("10.7.0.0/16", Some("10.7.0.1"), 5, 0),
            route("::/0", Some("fe80::1"), 6, 0),
        ];
        let towards = digest(&wanted(&[], Some("10.9.2.2")), &routes).towards;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(towards, [(2, ip("10.9.1.254")), (3, ip("10.8.1.254")), (4, ip("10.9.2.2"))].into());
    }
}
