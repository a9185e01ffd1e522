//! The ring pool: where in `RINGS` does a ring lie, and who shares it?
//!
//! Equal rings are kept once: ten thousand vservers before the same backends share one. A ring that nobody uses any more
//! keeps its place for [`GRACE`], because a packet may be between reading where the ring is and reading its slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ha_common::abi::Ring;
use ha_common::time::Nanos;

/// How long the place of a ring that nobody uses stays as it is. A program run takes microseconds.
const GRACE: Duration = Duration::from_millis(100);

/// The pool has no gap that is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ring pool is full: a ring of {wanted} slots finds no room among {used} used ones of {len}; remove virtual servers that have \
     backends of their own, or bind the same backends to them"
)]
pub struct PoolFull {
    wanted: u32,
    used: u32,
    len: u32,
}

/// A ring in the pool, and whether its slots have yet to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it is.
    pub ring: Ring,
    /// Whether nobody has had it before: its slots must be written before anybody uses it.
    pub fresh: bool,
}

/// Places of rings. Holds no slots of the kernel's, but the content of each ring, to know it again.
#[derive(Clone, Debug, Default)]
pub struct RingPool {
    len: u32,
    /// By base.
    places: BTreeMap<u32, Place>,
    by_content: HashMap<Arc<[u32]>, u32>,
}

#[derive(Clone, Debug)]
struct Place {
    content: Arc<[u32]>,
    users: usize,
    free_since: Option<Nanos>,
}

impl RingPool {
    /// An empty pool of `len` slots.
    #[must_use]
    pub fn new(len: u32) -> Self {
        RingPool { len, ..RingPool::default() }
    }

    /// Counts one more user of a ring that the kernel's map holds already (adoption after a restart). Two rings that overlap
    /// mean that the map is not what this pool left there; the first one stands.
    pub fn adopt(&mut self, ring: Ring, content: Arc<[u32]>) -> bool {
        if let Some(place) = self.places.get_mut(&ring.base()) {
            place.users += 1;
            return place.content == content;
        }
        let end = u64::from(ring.base()) + u64::from(ring.len());
        let before = self.places.range(..ring.base()).next_back();
        let after = self.places.range(ring.base()..).next();
        let clear = end <= u64::from(self.len)
            && before.is_none_or(|(&base, place)| base + place.len() <= ring.base())
            && after.is_none_or(|(&base, _)| end <= u64::from(base));
        if clear {
            self.by_content.insert(Arc::clone(&content), ring.base());
            self.places.insert(ring.base(), Place { content, users: 1, free_since: None });
        }
        clear
    }

    /// A place for a ring of this content (a power of two of slots), with one more user.
    ///
    /// # Errors
    /// When there is no room.
    pub fn take(&mut self, now: Nanos, content: &Arc<[u32]>) -> Result<Placed, PoolFull> {
        let log2_len = content.len().ilog2();
        if let Some(&base) = self.by_content.get(content) {
            let place = self.places.get_mut(&base).expect("content is indexed by place");
            place.users += 1;
            place.free_since = None;
            return Ok(Placed { ring: Ring::new(base, log2_len), fresh: false });
        }
        self.forget_unused(now);
        let base = self.gap(content.len() as u32)?;
        self.by_content.insert(Arc::clone(content), base);
        self.places.insert(base, Place { content: Arc::clone(content), users: 1, free_since: None });
        Ok(Placed { ring: Ring::new(base, log2_len), fresh: true })
    }

    /// One user of `ring` less.
    pub fn release(&mut self, now: Nanos, ring: Ring) {
        if let Some(place) = self.places.get_mut(&ring.base()) {
            place.users = place.users.saturating_sub(1);
            if place.users == 0 {
                place.free_since = Some(now);
            }
        }
    }

    /// Slots that are taken, and all.
    #[must_use]
    pub fn usage(&self) -> (u32, u32) {
        (self.places.values().map(Place::len).sum(), self.len)
    }

    fn forget_unused(&mut self, now: Nanos) {
        let over = |place: &Place| place.free_since.is_some_and(|since| now.since(since) >= GRACE);
        self.by_content.retain(|_, base| self.places.get(base).is_some_and(|place| !over(place)));
        self.places.retain(|_, place| !over(place));
    }

    /// The lowest gap of `wanted` slots.
    fn gap(&self, wanted: u32) -> Result<u32, PoolFull> {
        let mut start = 0;
        for (&base, place) in &self.places {
            if base - start >= wanted {
                return Ok(start);
            }
            start = base + place.len();
        }
        if self.len - start >= wanted {
            return Ok(start);
        }
        let (used, len) = self.usage();
        Err(PoolFull { wanted, used, len })
    }
}

impl Place {
    fn len(&self) -> u32 {
        self.content.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(1_000_000_000);

    fn ring(fill: u32, len: usize) -> Arc<[u32]> {
        vec![fill; len].into()
    }

    #[test]
    fn equal_rings_share_a_place_until_the_last_user_leaves() {
        let mut pool = RingPool::new(1024);
        let first = pool.take(NOW, &ring(1, 256)).unwrap();
        let second = pool.take(NOW, &ring(1, 256)).unwrap();
        assert_eq!((first.ring, first.fresh, second.fresh), (second.ring, true, false));
        pool.release(NOW, first.ring);
        assert!(!pool.take(NOW + GRACE, &ring(1, 256)).unwrap().fresh);
        assert_eq!(pool.usage(), (256, 1024));
    }

    #[test]
    fn place_of_a_released_ring_is_not_overwritten_before_the_grace_is_over() {
        let mut pool = RingPool::new(512);
        let old = pool.take(NOW, &ring(1, 512)).unwrap().ring;
        pool.release(NOW, old);
        assert!(pool.take(NOW, &ring(2, 512)).is_err());
        let new = pool.take(NOW + GRACE, &ring(2, 512)).unwrap();
        assert_eq!(new, Placed { ring: old, fresh: true });
    }

    #[test]
    fn ring_that_comes_back_within_the_grace_is_still_there() {
        let mut pool = RingPool::new(512);
        let old = pool.take(NOW, &ring(1, 512)).unwrap().ring;
        pool.release(NOW, old);
        assert_eq!(pool.take(NOW, &ring(1, 512)).unwrap(), Placed { ring: old, fresh: false });
        assert!(pool.take(NOW + GRACE, &ring(2, 512)).is_err(), "it is in use again");
    }

    #[test]
    fn gaps_are_filled_and_a_full_pool_says_so() {
        let mut pool = RingPool::new(1024);
        let places: Vec<Ring> = (0..4).map(|n| pool.take(NOW, &ring(n, 256)).unwrap().ring).collect();
        pool.release(NOW, places[1]);
        pool.release(NOW, places[3]);
        let later = NOW + GRACE;
        let error = pool.take(later, &ring(9, 512)).unwrap_err();
        assert_eq!(error, PoolFull { wanted: 512, used: 512, len: 1024 });
        assert_eq!(pool.take(later, &ring(8, 256)).unwrap().ring, places[1]);
    }

    #[test]
    fn adopted_rings_keep_their_place_and_their_users() {
        let mut pool = RingPool::new(1024);
        let adopted = Ring::new(256, 8);
        assert!(pool.adopt(adopted, ring(1, 256)));
        assert!(pool.adopt(adopted, ring(1, 256)));
        assert!(!pool.adopt(Ring::new(300, 8), ring(2, 256)), "overlaps");
        assert!(!pool.adopt(Ring::new(1000, 8), ring(2, 256)), "ends outside");
        assert_eq!(pool.take(NOW, &ring(1, 256)).unwrap(), Placed { ring: adopted, fresh: false });
        assert_eq!(pool.take(NOW, &ring(3, 512)).unwrap().ring.base(), 512);
    }
}
