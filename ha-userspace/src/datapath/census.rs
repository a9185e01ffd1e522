//! How full are the tables that grow with traffic?
//!
//! Nobody can ask the kernel how many entries a hash has. [`super::Ageing`] walks over all of them anyhow, and says here what it has met: one
//! addition for each slice. So a number is as old as a pass over its table takes: as many tenths of a second as the table has slices.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ha_common::abi::{FlowKey, Ip, ReverseKey};

/// Entries of one table, as passes over it meet them.
#[derive(Debug, Default)]
pub struct Tally {
    running: AtomicU64,
    last: AtomicU64,
    high: AtomicU64,
}

impl Tally {
    /// This pass has met `entries` more; `more`: it goes on.
    pub fn met(&self, entries: usize, more: bool) {
        let met = self.running.fetch_add(entries as u64, Relaxed) + entries as u64;
        self.high.fetch_max(met, Relaxed);
        if !more {
            self.last.store(met, Relaxed);
            self.running.store(0, Relaxed);
        }
    }

    /// Entries in the last whole pass, or in this one if they are more already.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.last.load(Relaxed).max(self.running.load(Relaxed))
    }

    /// The most that any pass has met.
    #[must_use]
    pub fn high(&self) -> u64 {
        self.high.load(Relaxed)
    }
}

/// The ports of one source address towards one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Index into `BACKENDS`.
    pub backend: u32,
    /// The source address: a SNIP.
    pub source: Ip,
    /// IP protocol number.
    pub protocol: u16,
}

/// The fullest pool of source ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fullest {
    /// Which one it is; none if no port is given out.
    pub pool: Option<Pool>,
    /// Ports of it that are given out.
    pub used: u64,
    /// The most that were given out of any pool.
    pub high: u64,
}

#[derive(Debug, Default)]
struct Pools {
    running: HashMap<Pool, u64>,
    fullest: Fullest,
}

/// What passes over the tables have met.
#[derive(Debug, Default)]
pub struct Census {
    /// Of `FLOWS`.
    pub flows: Tally,
    /// Of `EMBRYONIC`.
    pub embryonic: Tally,
    /// Of `EXCEPTIONS`.
    pub exceptions: Tally,
    /// Of `REVERSE`.
    pub reverse: Tally,
    /// Of `REVERSE_EMBRYONIC`.
    pub reverse_embryonic: Tally,
    /// Of `PERSIST`.
    pub sessions: Tally,
    /// Of `SOURCES`.
    pub sources: Tally,
    pools: Mutex<Pools>,
}

impl Census {
    /// A pass over `REVERSE` has met these; `is_source` tells the pair's own addresses from clients'.
    pub fn met_sources(&self, found: &[(ReverseKey, FlowKey)], more: bool, is_source: impl Fn(Ip) -> bool) {
        self.reverse.met(found.len(), more);
        let mut pools = self.pools();
        for (key, _) in found {
            *pools.running.entry(Pool { backend: key.backend, source: key.addr, protocol: key.protocol }).or_default() += 1;
        }
        if more {
            return;
        }
        let met = std::mem::take(&mut pools.running);
        let fullest = met.into_iter().filter(|(pool, _)| is_source(pool.source)).max_by_key(|&(_, used)| used);
        let (pool, used) = fullest.map_or((None, 0), |(pool, used)| (Some(pool), used));
        pools.fullest = Fullest { pool, used, high: pools.fullest.high.max(used) };
    }

    /// The fullest pool of source ports.
    #[must_use]
    pub fn fullest_pool(&self) -> Fullest {
        self.pools().fullest
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ha_common::wire::Be16;

    use super::*;

    #[test]
    fn a_table_holds_what_the_last_whole_pass_met_or_this_one_if_that_is_more() {
        let tally = Tally::default();
        tally.met(100, true);
        assert_eq!((tally.used(), tally.high()), (100, 100), "it has at least these");
        tally.met(20, false);
        assert_eq!(tally.used(), 120);
        tally.met(30, true);
        assert_eq!(tally.used(), 120, "half a pass says nothing of less");
        tally.met(5, false);
        assert_eq!((tally.used(), tally.high()), (35, 120));
    }

    #[test]
    fn the_fullest_pool_is_of_one_source_backend_and_protocol_and_clients_have_none() {
        let ip = |last| Ip::from(Ipv4Addr::new(10, 2, 0, last));
        let entry = |backend, last, port, protocol| {
            (ReverseKey { backend, addr: ip(last), port: Be16::new(port), protocol }, FlowKey::default())
        };
        let census = Census::default();
        let first: Vec<_> = (0..3).map(|port| entry(1, 1, port, 6)).chain([entry(2, 1, 0, 6), entry(1, 1, 0, 17)]).collect();
        let second: Vec<_> = (0..9).map(|port| entry(1, 77, port, 6)).collect();
        let is_source = |addr| addr == ip(1);
        census.met_sources(&first, true, is_source);
        assert_eq!(census.fullest_pool(), Fullest::default(), "the pass goes on");
        census.met_sources(&second, false, is_source);
        let pool = Some(Pool { backend: 1, source: ip(1), protocol: 6 });
        assert_eq!(census.fullest_pool(), Fullest { pool, used: 3, high: 3 });
        census.met_sources(&[], false, is_source);
        assert_eq!(census.fullest_pool(), Fullest { pool: None, used: 0, high: 3 });
        assert_eq!((census.reverse.used(), census.reverse.high()), (0, 14));
    }
}
