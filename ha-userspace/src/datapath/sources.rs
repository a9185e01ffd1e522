//! Keeps the numbers of open connections by source true.
//!
//! The kernel counts a connection when it is recorded and when its segments say that it is over. Nobody tells it of those that age, and a count may
//! be missed where two CPUs are at it. So each pass over `FLOWS` counts them as well: what is open now was met by the pass, or was opened since it
//! began. What `SOURCES` says above that is wrong, and is put right.

use std::collections::HashMap;
use std::io;

use ha_common::abi::{FlowKey, Source, SourceKey, SourceLimits};

use super::maps::Maps;
use super::table::Cursor;

/// Entries looked at in one turn.
const SLICE: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Notes what sources have opened so far, in slices.
    #[default]
    Noting,
    /// Waits for a pass over `FLOWS` to begin.
    Waiting,
    /// Such a pass goes on.
    Counting,
    /// Compares, in slices, and notes again.
    Judging,
}

/// What is known of sources.
#[derive(Debug, Default)]
pub struct Sources {
    phase: Phase,
    cursor: Cursor,
    /// What each had opened before the pass began.
    noted: HashMap<SourceKey, u32>,
    /// What each has opened by now.
    noting: HashMap<SourceKey, u32>,
    /// Open connections that the pass has met.
    tally: HashMap<SourceKey, u32>,
    /// Limits of the vservers that the pass has met.
    limits: HashMap<u32, Option<SourceLimits>>,
}

impl Sources {
    /// The pass over `FLOWS` has met these open connections; `more`: it goes on.
    pub fn met<'f>(
        &mut self,
        limits: impl Fn(u32) -> Option<SourceLimits>,
        open: impl Iterator<Item = &'f FlowKey>,
        more: bool,
    ) {
        if self.phase == Phase::Counting {
            for key in open {
                if let Some(limits) = self.limits.entry(key.index()).or_insert_with(|| limits(key.index())) {
                    *self.tally.entry(SourceKey::new(key.index(), limits, &key.addr)).or_default() += 1;
                }
            }
        }
        match self.phase {
            Phase::Waiting if !more => {
                self.tally.clear();
                self.limits.clear();
                self.phase = Phase::Counting;
            }
            Phase::Counting if !more => self.phase = Phase::Judging,
            _ => {}
        }
    }

    /// Looks at some more sources.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn turn(&mut self, maps: &Maps) -> io::Result<()> {
        if matches!(self.phase, Phase::Waiting | Phase::Counting) {
            return Ok(());
        }
        let mut found = Vec::new();
        let more = maps.sources.walk(&mut self.cursor, SLICE, &mut found)?;
        maps.census.sources.met(found.len(), more);
        let wrong: Vec<(SourceKey, Source)> =
            found.into_iter().filter_map(|(key, source)| self.judge(key, &source).map(|right| (key, right))).collect();
        maps.sources.put(&wrong)?;
        if !more {
            self.noted = std::mem::take(&mut self.noting);
            self.phase = Phase::Waiting;
        }
        Ok(())
    }

    /// What is to be put in place of `source`, if it says more than can be.
    fn judge(&mut self, key: SourceKey, source: &Source) -> Option<Source> {
        let opened = source.opened();
        self.noting.insert(key, opened);
        if self.phase != Phase::Judging {
            return None;
        }
        // One that was forgotten meanwhile has begun to count anew.
        let since = self.noted.get(&key).and_then(|before| opened.checked_sub(*before)).unwrap_or(opened);
        let most = self.tally.get(&key).copied().unwrap_or(0).saturating_add(since);
        (source.open() > most).then(|| Source { pace: source.pace.clone(), ..Source::with_counts(opened, most) })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ha_common::abi::Ip;

    use super::*;

    fn key(last: u8) -> SourceKey {
        SourceKey { vserver: 1, addr: Ipv4Addr::new(10, 1, 0, last).into() }
    }

    fn flow(last: u8) -> FlowKey {
        FlowKey { vserver: 1, addr: key(last).addr, ..FlowKey::default() }
    }

    fn limits(_: u32) -> Option<SourceLimits> {
        Some(SourceLimits { mask: Ip([u32::MAX; 4]), open_max: 9, cost: 0 })
    }

    /// Through a note of `before` and a pass that meets `open`.
    fn after(before: &[(SourceKey, Source)], open: &[FlowKey]) -> Sources {
        let mut sources = Sources::default();
        assert!(before.iter().all(|(key, source)| sources.judge(*key, source).is_none()), "nothing is counted yet");
        (sources.noted, sources.phase) = (std::mem::take(&mut sources.noting), Phase::Waiting);
        sources.met(limits, [flow(9)].iter(), false);
        sources.met(limits, open[..1].iter(), true);
        sources.met(limits, open[1..].iter(), false);
        assert_eq!(sources.phase, Phase::Judging);
        sources
    }

    #[test]
    fn what_has_aged_is_open_no_more() {
        let mut sources = after(&[(key(1), Source::with_counts(7, 5))], &[flow(1), flow(1), flow(2)]);
        let right = sources.judge(key(1), &Source::with_counts(7, 5)).unwrap();
        assert_eq!((right.opened(), right.open()), (7, 2));
    }

    #[test]
    fn what_was_opened_while_the_pass_went_on_is_open() {
        let mut sources = after(&[(key(1), Source::with_counts(7, 5))], &[flow(1), flow(1)]);
        assert!(sources.judge(key(1), &Source::with_counts(10, 5)).is_none());
        let right = sources.judge(key(1), &Source::with_counts(9, 5)).unwrap();
        assert_eq!(right.open(), 4);
    }

    #[test]
    fn a_source_that_came_or_was_forgotten_meanwhile_is_believed() {
        let mut sources = after(&[(key(1), Source::with_counts(700, 5))], &[flow(1), flow(2)]);
        assert!(sources.judge(key(1), &Source::with_counts(3, 3)).is_none());
        assert!(sources.judge(key(5), &Source::with_counts(3, 3)).is_none());
    }
}
