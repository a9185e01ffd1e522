//! Next hops: through which interface and to which MAC address do backends and gateways answer?
//!
//! One task follows the kernel's routes and neighbour entries. Nothing is polled: what is resolved is kept fresh by asking
//! the kernel to use an entry whenever it goes stale (forwarded packets never pass the kernel's stack, so it would never
//! probe by itself); only what does not answer is asked again each second.

mod table;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::warn;

use table::{Neighbour, Table, Via};
pub use table::{NextHop, NextHops};

/// How often a neighbour that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Route changes within this span lead to one look-up of all routes.
const ROUTE_SETTLE: Duration = Duration::from_millis(2);

/// Addresses that wait to be resolved because a packet found no way to them.
const POKES: usize = 256;

/// Room for events that come in a burst, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

const GROUPS: [MulticastGroup; 3] = [MulticastGroup::Neigh, MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];

/// Starts the task. It resolves whatever `wanted` holds, in the network namespace of this thread, and ends when either
/// channel is dropped.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn spawn(wanted: watch::Receiver<BTreeSet<IpAddr>>) -> io::Result<Neighbours> {
    let (mut connection, handle, events) = rtnetlink::new_multicast_connection(&GROUPS)?;
    connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER as u32)?;
    let (found, next_hops) = watch::channel(NextHops::new());
    tokio::spawn(connection);
    let (pokes, poked) = mpsc::channel(POKES);
    let resolver = Resolver { handle, events, wanted, poked, found, table: Table::default() };
    tokio::spawn(resolver.run());
    Ok(Neighbours { next_hops, pokes })
}

/// The task's end in the hands of others.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// What is known of the addresses that are wanted.
    pub next_hops: watch::Receiver<NextHops>,
    pokes: mpsc::Sender<IpAddr>,
}

impl Neighbours {
    /// Has the kernel resolve the way to `address` once: a packet found none. Forgotten when too many are waiting; the next
    /// packet will ask again.
    pub fn poke(&self, address: IpAddr) {
        let _ = self.pokes.try_send(address);
    }
}

type Events = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

struct Resolver {
    handle: Handle,
    events: Events,
    wanted: watch::Receiver<BTreeSet<IpAddr>>,
    poked: mpsc::Receiver<IpAddr>,
    found: watch::Sender<NextHops>,
    table: Table,
}

/// What has to be asked anew.
enum Turn {
    Nothing,
    Routes,
    Everything,
    End,
}

impl Resolver {
    async fn run(mut self) {
        self.resync().await;
        let mut routes_due: Option<Instant> = None;
        let mut retry_due: Option<Instant> = None;
        loop {
            self.poke().await;
            self.publish();
            if self.table.unresolved() == 0 {
                retry_due = None;
            } else if retry_due.is_none() {
                retry_due = Some(Instant::now() + RETRY);
            }
            let turn = tokio::select! {
                changed = self.wanted.changed() => if changed.is_ok() { Turn::Routes } else { Turn::End },
                () = self.found.closed() => Turn::End,
                Some(address) = self.poked.recv() => {
                    if let Some(via) = route_to(&self.handle, address).await {
                        self.ask(via).await;
                    }
                    Turn::Nothing
                }
                event = self.events.next() => match event {
                    Some((message, _)) => self.take(message),
                    None => Turn::End,
                },
                () = sleep_until(routes_due) => {
                    routes_due = None;
                    self.look_up_routes().await;
                    Turn::Nothing
                }
                () = sleep_until(retry_due) => {
                    retry_due = None;
                    self.look_up_routes().await;
                    self.table.forget_asked();
                    Turn::Nothing
                }
            };
            match turn {
                Turn::Nothing => {}
                Turn::Routes => routes_due = routes_due.or(Some(Instant::now() + ROUTE_SETTLE)),
                Turn::Everything => self.resync().await,
                Turn::End => return,
            }
        }
    }

    fn take(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Turn {
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
                self.learn(message);
                Turn::Nothing
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
                self.learn(without_mac(message));
                Turn::Nothing
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_)) => Turn::Routes,
            // The kernel had to throw events away.
            NetlinkPayload::Overrun(_) => Turn::Everything,
            _ => Turn::Nothing,
        }
    }

    fn learn(&mut self, message: NeighbourMessage) {
        if let Some((via, neighbour)) = neighbour_of(&message) {
            self.table.learn(via, neighbour);
        }
    }

    /// Reads everything again.
    async fn resync(&mut self) {
        self.look_up_routes().await;
        let mut dump = self.handle.neighbours().get().execute();
        loop {
            match dump.try_next().await {
                Ok(Some(message)) => self.learn(message),
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "cannot read the kernel's neighbour table");
                    return;
                }
            }
        }
    }

    async fn look_up_routes(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.table.keep_only(&wanted);
        for address in wanted {
            let via = route_to(&self.handle, address).await;
            self.table.route(address, via);
        }
    }

    /// Asks the kernel to resolve, or to verify, what it has to.
    async fn poke(&mut self) {
        for via in self.table.asks() {
            self.ask(via).await;
        }
    }

    async fn ask(&self, via: Via) {
        let request = self.handle.neighbours().add(via.ifindex, via.address);
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        if let Err(error) = request.execute().await {
            warn!(address = %via.address, ifindex = via.ifindex, %error, "cannot ask for a neighbour");
        }
    }

    fn publish(&self) {
        let next_hops = self.table.next_hops();
        self.found.send_if_modified(|present| {
            let changed = *present != next_hops;
            *present = next_hops;
            changed
        });
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Where the kernel would send a packet for `address`; nowhere if it has no route or would keep it for itself.
async fn route_to(handle: &Handle, address: IpAddr) -> Option<Via> {
    let message = match address {
        IpAddr::V4(address) => RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(address, 32).build(),
        IpAddr::V6(address) => RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(address, 128).build(),
    };
    let route = handle.route().get(message).execute().try_next().await.ok()??;
    via_of(&route, address)
}

fn via_of(route: &RouteMessage, address: IpAddr) -> Option<Via> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut ifindex = None;
    let mut next = address;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => next = (*gateway).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => next = (*gateway).into(),
            _ => {}
        }
    }
    Some(Via { ifindex: ifindex?, address: next })
}

fn without_mac(mut message: NeighbourMessage) -> NeighbourMessage {
    message.header.state = NeighbourState::Failed;
    message.attributes.retain(|attribute| !matches!(attribute, NeighbourAttribute::LinkLayerAddress(_)));
    message
}

fn neighbour_of(message: &NeighbourMessage) -> Option<(Via, Neighbour)> {
    let mut address: Option<IpAddr> = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(value)) => address = Some((*value).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(value)) => address = Some((*value).into()),
            NeighbourAttribute::LinkLayerAddress(value) => mac = <[u8; 6]>::try_from(value.as_slice()).ok(),
            _ => {}
        }
    }
    let neighbour = match (message.header.state, mac) {
        (NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => Neighbour::Known(mac),
        (NeighbourState::Delay | NeighbourState::Probe, Some(mac)) => Neighbour::Verifying(mac),
        (NeighbourState::Stale, Some(mac)) => Neighbour::Stale(mac),
        (NeighbourState::Incomplete, _) => Neighbour::Asking,
        _ => Neighbour::Failed,
    };
    Some((Via { ifindex: message.header.ifindex, address: address? }, neighbour))
}
