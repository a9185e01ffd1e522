//! What is there room for, and how much of it is taken?

use std::net::IpAddr;

use ha_common::abi::lost;

use super::census::Tally;
use super::maps::Maps;
use super::plan::Planner;

/// A table of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The name of its map.
    pub name: &'static str,
    /// Entries in it.
    pub used: u64,
    /// The most that were seen in it.
    pub high: u64,
    /// Room for entries.
    pub max: u64,
    /// Whether it makes room by forgetting what was used longest ago: full is how it usually is.
    pub evicts: bool,
}

/// The source ports of one address towards one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The address; none if no port is given out.
    pub source: Option<IpAddr>,
    /// Index of the backend.
    pub backend: u32,
    /// IP protocol number.
    pub protocol: u16,
    /// Ports given out.
    pub used: u64,
    /// The most that were given out of any pool.
    pub high: u64,
    /// Ports that this node may give out; zero if no address is there to give them out on.
    pub max: u64,
}

/// A ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The name of its map.
    pub name: &'static str,
    /// Room, in bytes.
    pub bytes: u64,
    /// Events that found no room.
    pub lost: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tables.
    pub tables: Vec<Table>,
    /// The fullest pool of source ports.
    pub pool: Option<Pool>,
    /// Ring buffers.
    pub rings: Vec<Ring>,
}

impl Limits {
    pub(super) fn of(maps: &Maps, planner: Option<&Planner>) -> Self {
        let census = &maps.census;
        let tallied =
            |name, tally: &Tally, evicts| Table { name, used: tally.used(), high: tally.high(), max: maps.size(name), evicts };
        let mut tables = vec![
            tallied("FLOWS", &census.flows, false),
            tallied("EMBRYONIC", &census.embryonic, true),
            tallied("EXCEPTIONS", &census.exceptions, false),
            tallied("REVERSE", &census.reverse, false),
            tallied("REVERSE_EMBRYONIC", &census.reverse_embryonic, true),
            tallied("PERSIST", &census.sessions, false),
            tallied("SOURCES", &census.sources, true),
        ];
        if let Some(planner) = planner {
            let present = planner.present();
            // Numbers are not given twice: what counts is the highest.
            let numbers = |last: Option<&u32>| last.map_or(0, |last| u64::from(*last) + 1);
            for (name, used) in [
                ("ADDRESSES", present.addresses.len() as u64),
                ("VSERVER_INDEX", present.vserver_keys.len() as u64),
                ("VSERVERS", numbers(present.vservers.keys().next_back())),
                ("BACKENDS", numbers(present.backends.keys().next_back())),
                ("BACKEND_INDEX", present.owners.len() as u64),
                ("RINGS", planner.ring_usage().0.into()),
                ("PREFIXES", present.prefixes.len() as u64),
                ("SNIPS", numbers(present.snips.keys().next_back())),
            ] {
                tables.push(Table { name, used, high: used, max: maps.size(name), evicts: false });
            }
        }
        let ring = |name, number| Ring { name, bytes: maps.size(name), lost: maps.lost(number).unwrap_or(0) };
        Limits { tables, pool: Some(pool(maps)), rings: vec![ring("EVENTS", lost::EVENTS), ring("RULINGS", lost::RULINGS)] }
    }
}

fn pool(maps: &Maps) -> Pool {
    let fullest = maps.census.fullest_pool();
    let pool = fullest.pool.unwrap_or_default();
    let known = fullest.pool.is_some();
    Pool {
        source: known.then(|| pool.source.into()),
        backend: pool.backend,
        protocol: pool.protocol,
        used: fullest.used,
        high: fullest.high,
        max: maps.ports_of(known.then_some(pool.source)),
    }
}
