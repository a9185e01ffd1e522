//! `PREFIXES`, `SOURCES`, `THROTTLES`: which newcomers are let in, and how many?
//!
//! Consulted for packets without a record only, and only where the flags of the vserver or of the backend say so.

use core::sync::atomic::AtomicU64;

use super::Ip;
use crate::time::Nanos;
use crate::word::{compare_exchange, load};

/// How often a word that other CPUs change at the same time is tried to be changed.
const TRIES: u32 = 4;

/// Key of `PREFIXES`: clients of a vserver. Longest-prefix-match trie. Writer: daemon. Reader: XDP. Its value is one of [`prefix_action`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PrefixKey {
    /// How many bits of what follows count, as the kernel wants it: 32 for the vserver, and those of the address.
    pub len: u32,
    /// Index into `VSERVERS`.
    pub vserver: u32,
    /// The clients' address, in which what does not count is zero.
    pub addr: Ip,
}

impl PrefixKey {
    /// Bits in front of the address.
    const VSERVER_BITS: u32 = 32;
    /// Bits in front of an IPv4 address in an [`Ip`].
    const V4_BITS: u32 = 96;

    /// The clients whose addresses have the first `len` bits of `addr`, counted as its family counts them.
    #[must_use]
    pub fn network(vserver: u32, addr: Ip, len: u8) -> Self {
        let family = if addr.is_v4() { Self::V4_BITS } else { 0 };
        Self::shortened(vserver, addr, Self::VSERVER_BITS + family + u32::from(len))
    }

    /// What the first `len` bits of an address of a family are, in an [`Ip`].
    #[must_use]
    pub fn mask(is_v4: bool, len: u8) -> Ip {
        Self::leading(u32::from(len) + if is_v4 { Self::V4_BITS } else { 0 })
    }

    /// The clients whose addresses have in common with `addr` what `len` of a key counts.
    #[must_use]
    pub fn shortened(vserver: u32, addr: Ip, len: u32) -> Self {
        let (Ip(a), Ip(mask)) = (addr, Self::leading(len.saturating_sub(Self::VSERVER_BITS)));
        PrefixKey { len, vserver, addr: Ip([a[0] & mask[0], a[1] & mask[1], a[2] & mask[2], a[3] & mask[3]]) }
    }

    fn leading(bits: u32) -> Ip {
        let word = |word: u32| u32::MAX.checked_shl(32 - bits.saturating_sub(32 * word).min(32)).unwrap_or(0).to_be();
        Ip([word(0), word(1), word(2), word(3)])
    }

    /// Exactly this address.
    #[inline(always)]
    #[must_use]
    pub const fn host(vserver: u32, addr: Ip) -> Self {
        PrefixKey { len: Self::VSERVER_BITS + 128, vserver, addr }
    }

    /// Whether `addr` of the same vserver is among them.
    #[must_use]
    pub fn has(&self, addr: &Ip) -> bool {
        let Ip(mask) = Self::leading(self.len.saturating_sub(Self::VSERVER_BITS));
        (0..4).all(|word| self.addr.0[word] & mask[word] == addr.0[word] & mask[word])
    }
}

/// Values of `PREFIXES`.
pub mod prefix_action {
    /// No prefix has it. In no entry.
    pub const NONE: u32 = 0;
    /// Let in.
    pub const ALLOW: u32 = 1;
    /// Kept out.
    pub const DENY: u32 = 2;
}

/// A vserver's limits for each source: part of [`super::Vserver`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SourceLimits {
    /// What of a client's address names the source.
    pub mask: Ip,
    /// Connections that a source may have open; zero for any number.
    pub open_max: u32,
    /// What a new connection costs of a second, in nanoseconds; zero for nothing.
    pub cost: u32,
}

/// Key of `SOURCES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SourceKey {
    /// Index into `VSERVERS`.
    pub vserver: u32,
    /// What [`SourceLimits::mask`] leaves of the client's address.
    pub addr: Ip,
}

impl SourceKey {
    /// The source that `addr` belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn new(vserver: u32, limits: &SourceLimits, addr: &Ip) -> Self {
        let (Ip(a), Ip(m)) = (addr, &limits.mask);
        SourceKey { vserver, addr: Ip([a[0] & m[0], a[1] & m[1], a[2] & m[2], a[3] & m[3]]) }
    }
}

/// Value of `SOURCES`: what one source does with one vserver. LRU hash. Writers: XDP, daemon (which knows what has aged). Reader: XDP.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Source {
    /// Connections that were opened so far, modulo 2^32, above those that are open, in 32 bits each.
    pub counts: AtomicU64,
    /// Its new connections.
    pub pace: Pace,
}

impl Source {
    /// With these counts.
    #[must_use]
    pub const fn with_counts(opened: u32, open: u32) -> Self {
        Source { counts: AtomicU64::new((opened as u64) << 32 | open as u64), pace: Pace::new() }
    }

    /// Connections that are open.
    #[inline(always)]
    #[must_use]
    pub fn open(&self) -> u32 {
        load(&self.counts) as u32
    }

    /// Connections that were opened so far.
    #[inline(always)]
    #[must_use]
    pub fn opened(&self) -> u32 {
        (load(&self.counts) >> 32) as u32
    }

    /// One more is open.
    #[inline(always)]
    pub fn open_one(&self) {
        self.change(|counts| counts.wrapping_add(1 << 32 | 1));
    }

    /// One less is open.
    #[inline(always)]
    pub fn close_one(&self) {
        self.change(|counts| if counts as u32 == 0 { counts } else { counts - 1 });
    }

    /// What is not counted because other CPUs were faster each time, the daemon finds out.
    #[inline(always)]
    fn change(&self, next: impl Fn(u64) -> u64) {
        let mut seen = load(&self.counts);
        for _ in 0..TRIES {
            match compare_exchange(&self.counts, seen, next(seen)) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}

impl Clone for Source {
    /// What it holds now, word by word.
    fn clone(&self) -> Self {
        Source { counts: AtomicU64::new(load(&self.counts)), pace: self.pace.clone() }
    }
}

/// How much may come in a second: the generic cell rate algorithm, in one word that all CPUs share.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Pace {
    /// When all that was let in would have been due.
    due: AtomicU64,
}

impl Pace {
    /// Nothing was let in yet.
    #[must_use]
    pub const fn new() -> Self {
        Pace { due: AtomicU64::new(0) }
    }

    /// As if all that was let in would have been due then.
    #[must_use]
    pub const fn due_at(due: Nanos) -> Self {
        Pace { due: AtomicU64::new(due.0) }
    }

    /// Lets one in that costs `cost` nanoseconds of `window`, if there is room for it; whether there was.
    #[inline(always)]
    pub fn draw(&self, now: Nanos, cost: u64, window: u64) -> bool {
        let mut seen = load(&self.due);
        for _ in 0..TRIES {
            let due = if seen > now.0 { seen } else { now.0 } + cost;
            if due > now.0 + window {
                return false;
            }
            match compare_exchange(&self.due, seen, due) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        // So many at once are too many.
        false
    }
}

impl Clone for Pace {
    /// What it holds now.
    fn clone(&self) -> Self {
        Pace { due: AtomicU64::new(load(&self.due)) }
    }
}

/// Value of `THROTTLES`, by backend index: at what distance new connections are let through to a service that has many. Array,
/// memory-mapped. Writers: daemon (cost), XDP. Reader: XDP.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Throttle {
    /// The distance, in nanoseconds; zero for none.
    pub cost: u64,
    /// Its new connections.
    pub pace: Pace,
}

/// The time for which new connections of a source are counted: it may open what it may open in a second at once.
pub const SOURCE_WINDOW: u64 = 1_000_000_000;

const _: () = assert!(size_of::<PrefixKey>() == 24);
const _: () = assert!(size_of::<SourceLimits>() == 24);
const _: () = assert!(size_of::<SourceKey>() == 20);
const _: () = assert!(size_of::<Source>() == 16);
const _: () = assert!(size_of::<Throttle>() == 16);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_prefix_has_the_addresses_that_begin_alike() {
        let cases = [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.1.2.128", 25, "10.1.2.200", true),
            ("10.1.2.128", 25, "10.1.2.100", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 33, "2001:db8:ffff::1", false),
            ("2001:db8::1", 128, "2001:db8::1", true),
            ("::", 0, "2001:db8::1", true),
        ];
        for (prefix, len, addr, has) in cases {
            assert_eq!(PrefixKey::network(0, ip(prefix), len).has(&ip(addr)), has, "{addr} in {prefix}/{len}");
        }
    }

    #[test]
    fn as_many_are_let_in_as_a_second_has_room_for_and_then_at_their_distance() {
        let pace = Pace::new();
        let (cost, start) = (SOURCE_WINDOW / 10, 5_000_000_000);
        let let_in = |at: u64, asked: u32| (0..asked).filter(|_| pace.draw(Nanos(at), cost, SOURCE_WINDOW)).count();
        assert_eq!(let_in(start, 100), 10);
        assert_eq!(let_in(start + cost - 1, 100), 0);
        assert_eq!(let_in(start + cost, 100), 1);
        assert_eq!(let_in(start + 100 * cost, 100), 10, "what was not used is not saved up");
    }

    #[test]
    fn what_closes_without_having_been_counted_is_none_less() {
        let source = Source::default();
        source.close_one();
        assert_eq!((source.open(), source.opened()), (0, 0));
        source.open_one();
        source.open_one();
        source.close_one();
        assert_eq!((source.open(), source.opened()), (1, 2));
    }

    #[test]
    fn a_source_is_what_the_mask_leaves() {
        for (is_v4, len, addr, source) in
            [(true, 24, "10.1.2.3", "10.1.2.0"), (true, 32, "10.1.2.3", "10.1.2.3"), (false, 64, "2001:db8::1:1", "2001:db8::")]
        {
            let limits = SourceLimits { mask: PrefixKey::mask(is_v4, len), ..SourceLimits::default() };
            assert_eq!(SourceKey::new(7, &limits, &ip(addr)), SourceKey { vserver: 7, addr: ip(source) });
        }
    }
}
