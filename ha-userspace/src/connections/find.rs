//! The walk over the kernel's flow tables.
//!
//! Takes about half a second for a million flows, so it runs where it stops nobody. Of what it reads it holds one batch, and as many
//! rows as were asked for; what comes or goes meanwhile may be in it or not.

use std::io;
use std::time::Duration;

use ha_common::abi::{Embryo, Exception, Flow, FlowKey, Nat, NextHop, tcp_seen};
use ha_common::time::{Ticks, Ticks32};
use ha_common::wire::eth;

use super::{Back, Connection, Filter, Found, Front, Fronts, State, Traffic, socket};
use crate::clock;
use crate::datapath::{Clocks, Maps};

/// Entries read at once.
const BATCH: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which connections are meant.
    pub filter: Filter,
    /// Most rows of the answer.
    pub rows: usize,
}

/// Finds the connections that `query` means.
///
/// # Errors
/// When the kernel refuses.
pub fn find(maps: &Maps, clocks: &Clocks, fronts: &Fronts, query: &Query) -> io::Result<Found> {
    let now = clocks.read()?.0;
    let mut collector = Collector { query, fronts, now, tick: clock::tick(), found: Found::default() };
    maps.flows.each(BATCH, |key, flow| {
        collector.take(collector.flow(maps, &key, &flow));
        Ok(())
    })?;
    maps.embryonic.each(BATCH, |key, embryo| {
        let half_open = collector.embryo(maps, &key, &embryo).filter(|connection| query.filter.fits(connection));
        // What it has become is in the other table.
        if half_open.is_some() && maps.flows.get(&key)?.is_none() {
            collector.take(half_open);
        }
        Ok(())
    })?;
    maps.exceptions.each(BATCH, |key, exception| {
        collector.take(collector.exception(&key, &exception));
        Ok(())
    })?;
    Ok(collector.found)
}

/// Makes rows of entries, and keeps those that are meant.
struct Collector<'q> {
    query: &'q Query,
    fronts: &'q Fronts,
    now: Ticks,
    tick: Duration,
    found: Found,
}

impl Collector<'_> {
    /// Counts a connection that is meant, and keeps it if there is room.
    fn take(&mut self, connection: Option<Connection>) {
        let Some(connection) = connection.filter(|connection| self.query.filter.fits(connection)) else { return };
        self.found.total += 1;
        if self.found.shown.len() < self.query.rows {
            self.found.shown.push(connection);
        }
    }

    /// What every kind of entry has; none if its virtual server is gone: it is about to be forgotten.
    fn connection(&self, key: &FlowKey, backend: u32, hop: &NextHop) -> Option<Connection> {
        let front = Front::at(self.fronts.vservers.get(&key.index())?, key.service_port.get());
        Some(Connection {
            source: socket(key.addr, key.port.get()),
            back: self.fronts.services.get(&backend).map(|back| Back::at(back, front.address.port())),
            front,
            seen_as: None,
            state: State::Na,
            idle: None,
            age: None,
            received: Traffic::default(),
            sent: Traffic::default(),
            mac: eth::destination(hop.macs),
            ifindex: hop.ifindex,
            vlan: hop.vlan,
            exception: false,
        })
    }

    fn flow(&self, maps: &Maps, key: &FlowKey, flow: &Flow) -> Option<Connection> {
        let connection = self.connection(key, flow.placed_at(), &flow.client_hop)?;
        Some(Connection {
            seen_as: seen_as(maps, flow.nat),
            state: state(key, flow),
            idle: Some(self.since(flow.seen)),
            age: Some(self.tick.mul_f64(self.now.0.saturating_sub(flow.opened.0) as f64)),
            received: Traffic { packets: flow.client_packets, bytes: flow.client_bytes },
            sent: Traffic { packets: flow.server_packets, bytes: flow.server_bytes },
            exception: flow.flags & ha_common::abi::flow_flags::EXCEPTION != 0,
            ..connection
        })
    }

    fn embryo(&self, maps: &Maps, key: &FlowKey, embryo: &Embryo) -> Option<Connection> {
        let connection = self.connection(key, embryo.backend, &embryo.client_hop)?;
        let idle = Some(self.since(embryo.seen));
        Some(Connection { seen_as: seen_as(maps, embryo.nat), state: State::SynReceived, idle, age: idle, ..connection })
    }

    fn exception(&self, key: &FlowKey, exception: &Exception) -> Option<Connection> {
        let connection = self.connection(key, exception.backend, &NextHop::default())?;
        Some(Connection { idle: Some(self.since(exception.seen.low())), exception: true, ..connection })
    }

    fn since(&self, seen: Ticks32) -> Duration {
        self.tick.mul_f64(seen.until(self.now).into())
    }
}

fn seen_as(maps: &Maps, nat: Nat) -> Option<std::net::SocketAddr> {
    (!nat.is_none()).then(|| socket(maps.snip(nat.snip).addr, nat.port.get()))
}

fn state(key: &FlowKey, flow: &Flow) -> State {
    let has_sent = |side: u8, what: u8| side & what != 0;
    let (client, server) = (flow.client_tcp, flow.server_tcp);
    match (has_sent(client, tcp_seen::FIN), has_sent(server, tcp_seen::FIN)) {
        _ if i32::from(key.transport()) != libc::IPPROTO_TCP => State::Na,
        _ if flow.is_cut_off() => State::Closed,
        _ if has_sent(client | server, tcp_seen::RST) => State::Closed,
        (true, true) => State::TimeWait,
        (true, false) => State::CloseWait,
        (false, true) => State::FinWait,
        (false, false) => State::Established,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ha_common::wire::Be16;

    use super::*;

    const TCP: u16 = 6;

    fn fronts() -> Fronts {
        let front = Front { name: "web".into(), address: "10.1.0.100:80".parse().unwrap(), kind: "TCP", failover: "DISABLED" };
        let back = Back { name: "s1".into(), address: "10.2.0.11:8080".parse().unwrap() };
        Fronts { vservers: [(1, Arc::new(front))].into(), services: [(7, Arc::new(back))].into() }
    }

    fn key(vserver: u16, port: u16) -> FlowKey {
        let addr = std::net::Ipv4Addr::new(10, 1, 0, 1).into();
        FlowKey { vserver, addr, port: Be16::new(port), protocol: TCP, ..FlowKey::default() }
    }

    fn exceptions(rows: usize, filter: &str, keys: &[FlowKey]) -> Found {
        let filter = if filter.is_empty() { Filter::default() } else { Filter::read(filter).unwrap() };
        let (query, fronts) = (Query { filter, rows }, fronts());
        let tick = Duration::from_millis(4);
        let mut collector = Collector { query: &query, fronts: &fronts, now: Ticks(5_000), tick, found: Found::default() };
        for key in keys {
            let exception = Exception { backend: 7, generation: 1, seen: Ticks(4_000) };
            collector.take(collector.exception(key, &exception));
        }
        collector.found
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted_and_not_kept() {
        let keys: Vec<FlowKey> = (0..10).map(|port| key(1, port)).collect();
        let found = exceptions(3, "", &keys);
        assert_eq!((found.shown.len(), found.total), (3, 10));
        let found = exceptions(3, "SRCPORT.GE(8)", &keys);
        assert_eq!((found.shown.len(), found.total), (2, 2));
    }

    #[test]
    fn indices_are_told_as_names_and_ticks_as_time_and_what_is_gone_is_left_out() {
        let found = exceptions(9, "", &[key(1, 5), key(2, 5)]);
        let [row] = &found.shown[..] else { panic!("{found:?}") };
        assert_eq!((row.front.name.as_str(), row.back.as_ref().unwrap().name.as_str()), ("web", "s1"));
        assert_eq!((row.source.to_string().as_str(), row.idle), ("10.1.0.1:5", Some(Duration::from_secs(4))));
    }

    #[test]
    fn the_state_is_what_both_sides_have_sent() {
        use tcp_seen::{FIN, RST};
        let of = |client_tcp, server_tcp| state(&key(1, 1), &Flow { client_tcp, server_tcp, ..Flow::default() });
        assert_eq!([of(0, 0), of(FIN, 0), of(0, FIN)], [State::Established, State::CloseWait, State::FinWait]);
        assert_eq!([of(FIN, FIN), of(FIN, RST), of(RST, 0)], [State::TimeWait, State::Closed, State::Closed]);
        let udp = FlowKey { protocol: 17, ..key(1, 1) };
        assert_eq!(state(&udp, &Flow::default()), State::Na);
    }
}
