//! Every table as bytes, one row each: how it is filled, read and compared on both sides.
//!
//! A new map is a new row; a new field of a record is none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use ha_common::abi::{
    Address, AddressKey, Backend, Embryo, Exception, Fence, Flow, FlowKey, Fragment, FragmentKey, IcmpBudget, Interface, Link,
    Load, MAX_LEGS, MAX_LINKS, Node, Owner, PrefixKey, ReverseKey, ServiceKey, Session, SessionKey, Snip, Source, SourceKey,
    StrayBudget, Throttle, VRIDS, Vserver,
};
use ha_common::tables::HostTables;

use crate::kernel::map::{bytes_of, record};

/// What kind of map a table is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A hash.
    Hash,
    /// A longest-prefix-match trie, by [`PrefixKey`].
    Trie,
    /// An array: what is not set is zero.
    Array,
    /// An array with a value for every CPU: what is not set is zero.
    PerCpu,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A table.
pub struct Table {
    /// Name of its map.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Room for entries, in the kernel and, where the pipeline asks, on the host.
    pub room: u32,
    /// Length of a key.
    pub key_len: usize,
    /// Length of a value.
    pub value_len: usize,
    /// Whether the pipeline writes it.
    pub written: bool,
    /// Its entries on the host.
    pub entries: fn(&HostTables) -> Vec<Entry>,
    /// Puts one on the host.
    pub put: fn(&mut HostTables, &[u8], &[u8]),
}

/// Entries of tables, by the tables' names.
pub type Image = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

fn entry<K, V>(key: &K, value: &V) -> Entry {
    (bytes_of(key).to_vec(), bytes_of(value).to_vec())
}

/// Sets element `index` of `list`.
fn set<V: Default>(list: &mut Vec<V>, index: &[u8], value: V) {
    let index = record::<u32>(index) as usize;
    if list.len() <= index {
        list.resize_with(index + 1, V::default);
    }
    list[index] = value;
}

/// One row: how the table lies in [`HostTables`], then the rest.
macro_rules! row {
    (@of $name:literal, $kind:ident, $room:expr, $key:ty, $value:ty, $written:literal, $entries:expr, $put:expr) => {
        Table {
            name: $name,
            kind: Kind::$kind,
            room: $room as u32,
            key_len: size_of::<$key>(),
            value_len: size_of::<$value>(),
            written: $written,
            entries: $entries,
            put: $put,
        }
    };
    // What the daemon writes.
    (one $name:literal $field:ident: $value:ty) => {
        row!(@of $name, Array, 1, u32, $value, false,
            |tables| vec![entry(&0u32, &tables.$field)], |tables, _, value| tables.$field = record(value))
    };
    (hash $name:literal $field:ident: $key:ty => $value:ty, $room:expr) => {
        row!(@of $name, Hash, $room, $key, $value, false,
            |tables| tables.$field.iter().map(|(key, value)| entry(key, value)).collect(),
            |tables, key, value| { tables.$field.insert(record(key), record(value)); })
    };
    (trie $name:literal $field:ident: $key:ty => $value:ty, $room:expr) => {
        Table { kind: Kind::Trie, ..row!(hash $name $field: $key => $value, $room) }
    };
    (list $name:literal $field:ident: $value:ty, $room:expr) => {
        row!(@of $name, Array, $room, u32, $value, false,
            |tables| (0u32..).zip(&tables.$field).map(|(index, value)| entry(&index, value)).collect(),
            |tables, key, value| set(&mut tables.$field, key, record(value)))
    };
    (sparse $name:literal $field:ident: $key:ty => $value:ty, $room:expr) => {
        row!(@of $name, Array, $room, u32, $value, false,
            |tables| tables.$field.iter().map(|(key, value)| entry(&u32::from(*key), value)).collect(),
            |tables, key, value| { tables.$field.insert(record::<u32>(key) as $key, record(value)); })
    };
    // What the pipeline writes, too.
    (written_one $name:literal $field:ident: $value:ty) => {
        row!(@of $name, Array, 1, u32, $value, true,
            |tables| vec![entry(&0u32, &tables.$field)], |tables, _, value| tables.$field = record(value))
    };
    (throttles $name:literal $field:ident: $value:ty, $room:expr) => {
        row!(@of $name, Array, $room, u32, $value, true,
            |tables| (0u32..).zip(&tables.$field).map(|(index, value)| entry(&index, value)).collect(),
            |tables, key, value| set(&mut tables.$field, key, record(value)))
    };
    (written_hash $name:literal $field:ident: $key:ty => $value:ty, $room:expr) => {
        row!(@of $name, Hash, $room, $key, $value, true,
            |tables| tables.$field.borrow().iter().map(|(key, value)| entry(key, value)).collect(),
            |tables, key, value| { tables.$field.get_mut().insert(record(key), record(value)); })
    };
    (written_list $name:literal $field:ident: $value:ty, $room:expr, $kind:ident) => {
        row!(@of $name, $kind, $room, u32, $value, true,
            |tables| (0u32..).zip(&tables.$field).map(|(index, value)| entry(&index, &*value.borrow())).collect(),
            |tables, key, value| set(&mut tables.$field, key, RefCell::new(record(value))))
    };
    (written_words $name:literal $field:ident: $value:ty, $room:expr) => {
        row!(@of $name, Array, $room, u32, $value, true,
            |tables| (0u32..).zip(&tables.$field).map(|(index, value)| entry(&index, value)).collect(),
            |tables, key, value| set(&mut tables.$field, key, record(value)))
    };
    (written_cell $name:literal $field:ident: $value:ty, $kind:ident) => {
        row!(@of $name, $kind, 1, u32, $value, true,
            |tables| vec![entry(&0u32, &*tables.$field.borrow())],
            |tables, _, value| *tables.$field.get_mut() = record(value))
    };
}

/// Vservers and backends that a world has room for.
pub const VSERVERS: usize = 16;
/// See [`VSERVERS`].
pub const BACKENDS: usize = 12;
/// Sources that a world has.
pub const SNIPS: usize = 6;
/// Slots of all rings together.
pub const SLOTS: usize = 512;
/// Room in the tables that never evict: little, so that it runs out.
pub const FLOWS: usize = 48;
/// See [`FLOWS`].
pub const EXCEPTIONS: usize = 8;
/// See [`FLOWS`].
pub const REVERSE: usize = 8;
/// See [`FLOWS`].
pub const SESSIONS: usize = 6;
/// Room in those that do: more than a world's packets take, as the kernel's choice of what to evict is its own.
pub const EVICTING: usize = 2048;

/// All tables, but for counters and events.
pub const TABLES: &[Table] = &[
    row!(one "NODE" node: Node),
    row!(written_one "FENCE" fence: Fence),
    row!(written_list "LINKS" links: Link, MAX_LINKS, Array),
    row!(hash "INTERFACES" interfaces: u32 => Interface, 16),
    row!(sparse "LEG_IFINDEX" leg_ifindex: u32 => u32, MAX_LEGS),
    row!(sparse "LINK_IFINDEX" link_ifindex: u32 => u32, MAX_LINKS),
    row!(hash "ADDRESSES" addresses: AddressKey => Address, 128),
    row!(hash "VSERVER_INDEX" vserver_index: ServiceKey => u32, 64),
    row!(list "VSERVERS" vservers: Vserver, VSERVERS),
    row!(list "RINGS" rings: u32, SLOTS),
    row!(list "BACKENDS" backends: Backend, BACKENDS),
    row!(list "SNIPS" snips: Snip, SNIPS),
    row!(hash "BACKEND_INDEX" owners: ServiceKey => Owner, 64),
    row!(written_hash "FLOWS" flows: FlowKey => Flow, FLOWS),
    row!(written_hash "EMBRYONIC" embryonic: FlowKey => Embryo, EVICTING),
    row!(written_hash "EXCEPTIONS" exceptions: FlowKey => Exception, EXCEPTIONS),
    row!(written_hash "REVERSE" reverse: ReverseKey => FlowKey, REVERSE),
    row!(written_hash "REVERSE_EMBRYONIC" reverse_embryonic: ReverseKey => FlowKey, EVICTING),
    row!(written_words "LOADS" loads: Load, BACKENDS),
    row!(written_words "TURNS" turns: Cell<u64>, VSERVERS),
    row!(written_hash "PERSIST" sessions: SessionKey => Session, SESSIONS),
    row!(written_hash "PERSIST_EMBRYONIC" session_embryos: SessionKey => Session, EVICTING),
    row!(trie "PREFIXES" prefixes: PrefixKey => u32, 64),
    row!(written_hash "SOURCES" sources: SourceKey => Source, EVICTING),
    row!(throttles "THROTTLES" throttles: Throttle, BACKENDS),
    row!(written_hash "FRAGMENTS" fragments: FragmentKey => Fragment, EVICTING),
    row!(written_cell "ICMP" icmp_budget: IcmpBudget, Array),
    row!(written_cell "RESETS" reset_budget: IcmpBudget, Array),
    row!(written_cell "STRAYS" stray_budget: StrayBudget, PerCpu),
    row!(written_list "STRAY_LEGS" stray_legs: u64, MAX_LEGS, PerCpu),
    row!(sparse "VRIDS" vrids: u8 => u32, VRIDS),
];

/// Empty tables with the room that they have in the kernel.
pub fn empty() -> HostTables {
    let zeros = |len| vec![0; len];
    HostTables {
        vservers: vec![Vserver::default(); VSERVERS],
        rings: zeros(SLOTS),
        backends: vec![Backend::default(); BACKENDS],
        snips: vec![Snip::default(); SNIPS],
        throttles: vec![Throttle::default(); BACKENDS],
        flows_max: FLOWS,
        exceptions_max: EXCEPTIONS,
        reverse_max: REVERSE,
        sessions_max: SESSIONS,
        loads: vec![Load::default(); BACKENDS],
        turns: vec![Cell::new(0); VSERVERS],
        ..HostTables::default()
    }
}

/// What of `tables` the pipeline writes, or all of it.
pub fn image(tables: &HostTables, all: bool) -> Image {
    let rows = TABLES.iter().filter(|table| all || table.written);
    rows.map(|table| (table.name, (table.entries)(tables).into_iter().collect())).collect()
}
