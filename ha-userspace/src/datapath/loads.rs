//! How many flows has each backend? Kept true: what is forgotten is counted off, and every walk over `FLOWS` counts anew.

use std::collections::HashMap;
use std::mem::offset_of;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ha_common::abi::{Flow, FlowKey, Load, flow_flags};

use super::array::Array;

/// The flows of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Open now.
    pub open: u64,
    /// The most that were open at once.
    pub peak: u64,
}

/// What is known of backend `index`; nothing if there is none.
pub fn flows_of(loads: &Array<Load>, index: u32) -> Flows {
    if index as usize >= loads.len() {
        return Flows::default();
    }
    let [opened, closed] = sums(loads, index);
    let peak = loads.word64(index as usize, offset_of!(Load, peak)).load(Relaxed);
    Flows { open: Load::difference(opened, closed), peak }
}

fn sums(loads: &Array<Load>, index: u32) -> [u64; 2] {
    [offset_of!(Load, opened), offset_of!(Load, closed)].map(|offset| loads.word64(index as usize, offset).load(Relaxed))
}

fn closed(loads: &Array<Load>, index: u32) -> &AtomicU64 {
    loads.word64(index as usize, offset_of!(Load, closed))
}

/// Whether a recorded flow is among those that are counted: not one that is over, or was cut off.
fn counts(flow: &Flow) -> bool {
    flow.flags & flow_flags::CLOSE_TOLD == 0 && !flow.is_cut_off()
}

/// Counts off the flows that were forgotten.
pub fn forgotten(loads: &Array<Load>, flows: &[(FlowKey, Flow)]) {
    for (_, flow) in flows.iter().filter(|(_, flow)| counts(flow) && (flow.backend as usize) < loads.len()) {
        closed(loads, flow.backend).fetch_add(1, Relaxed);
    }
}

/// Between two counts, at least.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts during walks over `FLOWS`, which take a while: flows come and go meanwhile.
#[derive(Debug, Default)]
pub struct Recount {
    /// The count that is under way.
    count: Option<Count>,
    /// Whether a walk is.
    walks: bool,
    /// No count begins before that.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Count {
    /// Flows that were met, by backend.
    met: HashMap<u32, u64>,
    /// The sums when it began.
    begin: Vec<[u64; 2]>,
}

impl Recount {
    /// These are there.
    pub fn meet(&mut self, now: Instant, loads: &Array<Load>, flows: &[(FlowKey, Flow)]) {
        let begins = !std::mem::replace(&mut self.walks, true);
        if begins && self.next.is_none_or(|next| now >= next) {
            let begin = (0..loads.len() as u32).map(|index| sums(loads, index)).collect();
            (self.count, self.next) = (Some(Count { met: HashMap::new(), begin }), Some(now + PAUSE));
        }
        let Some(count) = &mut self.count else { return };
        for (_, flow) in flows.iter().filter(|(_, flow)| counts(flow)) {
            *count.met.entry(flow.backend).or_default() += 1;
        }
    }

    /// The walk has ended. What was met may have changed by no more than what began and what ended meanwhile; a sum that says otherwise is wrong
    /// (two CPUs that saw one end, a daemon that died between forgetting and counting) and is moved to where it may be.
    pub fn end(&mut self, loads: &Array<Load>) {
        self.walks = false;
        let Some(Count { met, begin }) = self.count.take() else { return };
        for (index, [opened, ended]) in (0u32..).zip(begin) {
            let [opened_now, ended_now] = sums(loads, index);
            let met = met.get(&index).copied().unwrap_or(0);
            let most = met + opened_now.wrapping_sub(opened);
            let least = met.saturating_sub(ended_now.wrapping_sub(ended));
            let open = opened_now.wrapping_sub(ended_now).cast_signed();
            let wrong = if open > most.cast_signed() {
                open - most.cast_signed()
            } else if open < least.cast_signed() {
                open - least.cast_signed()
            } else {
                continue;
            };
            closed(loads, index).fetch_add(wrong.cast_unsigned(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use ha_common::abi::CUT_OFF;

    use super::super::array::tests::array;
    use super::*;

    fn flow(backend: u32, flags: u16) -> (FlowKey, Flow) {
        (FlowKey::default(), Flow { backend, flags, ..Flow::default() })
    }

    /// Loads of three backends: how many flows began and ended.
    fn loads(sums: [[u64; 2]; 3]) -> Array<Load> {
        let loads = array(3);
        for (index, [opened, closed]) in sums.into_iter().enumerate() {
            loads.set(index, &Load { opened: opened.into(), closed: closed.into(), ..Load::default() });
        }
        loads
    }

    fn open(loads: &Array<Load>) -> [u64; 3] {
        [0, 1, 2].map(|index| flows_of(loads, index).open)
    }

    #[test]
    fn forgotten_flows_are_counted_off_unless_their_end_was_seen() {
        let loads = loads([[5, 1], [5, 0], [0, 0]]);
        forgotten(&loads, &[flow(0, 0), flow(0, flow_flags::CLOSE_TOLD), flow(1, flow_flags::EXCEPTION), flow(9, 0)]);
        assert_eq!(open(&loads), [3, 4, 0]);
        assert_eq!(flows_of(&loads, 9), Flows::default());
    }

    #[test]
    fn a_count_that_is_wrong_is_put_right_by_a_quiet_walk() {
        let loads = loads([[5, 1], [5, 5], [5, 7]]);
        let now = Instant::now();
        let mut recount = Recount::default();
        recount.meet(now, &loads, &[flow(0, 0), flow(1, 0), flow(1, flow_flags::CLOSE_TOLD)]);
        recount.meet(now, &loads, &[flow(1, 0), flow(2 | CUT_OFF, 0)]);
        recount.end(&loads);
        assert_eq!(open(&loads), [1, 2, 0]);
        recount.meet(now + PAUSE / 2, &loads, &[]);
        recount.end(&loads);
        assert_eq!(open(&loads), [1, 2, 0], "that was no count");
        recount.meet(now + PAUSE, &loads, &[]);
        recount.end(&loads);
        assert_eq!(open(&loads), [0, 0, 0], "the next count begins from nothing");
    }

    #[test]
    fn a_count_begins_with_a_walk_and_not_within_one() {
        let loads = loads([[5, 0], [0, 0], [0, 0]]);
        let now = Instant::now();
        let mut recount = Recount { next: Some(now), walks: true, ..Recount::default() };
        recount.meet(now, &loads, &[]);
        recount.end(&loads);
        assert_eq!(open(&loads), [5, 0, 0]);
    }

    #[test]
    fn what_began_or_ended_during_a_walk_is_no_mistake() {
        let loads = loads([[5, 1], [5, 1], [5, 1]]);
        let mut recount = Recount::default();
        let met: Vec<_> = (0..12).map(|n| flow(n % 3, 0)).collect();
        recount.meet(Instant::now(), &loads, &met);
        // Behind the walk three begin, and two of those that it met end.
        loads.word64(0, offset_of!(Load, opened)).fetch_add(3, Relaxed);
        closed(&loads, 1).fetch_add(2, Relaxed);
        recount.end(&loads);
        assert_eq!(open(&loads), [7, 2, 4]);
    }
}
