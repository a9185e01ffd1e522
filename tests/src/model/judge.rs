//! What must never be, judged at every step.

use ha_common::abi::Term;
use ha_common::ha::dispute::Ruling;
use ha_common::ha::event::{Cause, RoleName, Transition};
use ha_common::ha::merits;
use ha_common::wire::heartbeat::Extension;

use super::pair::Pair;
use super::{DEAD_TICKS, HUNG_TICKS};

/// Ticks that a serving peer must have been in reach before taking over from it is wrong: the dead interval, and the third
/// request's patience.
const REACH_TICKS: u8 = DEAD_TICKS as u8 + 1;

/// Ticks through which both may serve over a working link: one exchange to prove each other's lives, one in which they still say that
/// they hear nothing, one to prove that they hear, one to be judged. (The first waits for a hello; a dispute's own pace, which is no
/// part of the model, brings the others a millisecond apart.)
const BOTH_TICKS: u8 = 4;

/// Ticks through which both may serve while only one can hear the other: the deaf one takes a dead interval to say so, then as above.
const ONE_WAY_TICKS: u8 = DEAD_TICKS as u8 + BOTH_TICKS;

/// Ticks through which both may serve beside a witness while they hear nothing of each other: until each has found that out and asked.
const SPLIT_TICKS: u8 = DEAD_TICKS as u8 + 3;

/// Ticks after which a serving node is known as such to whoever can hear it: two that never heard of a Primary may take the role at
/// once, until the first frame of either arrives.
const KNOWN_TICKS: u8 = 2;

/// What the judge remembers. No node knows any of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Ticks for which a link has been open both ways between two kernels that know each other's key.
    pub open_ticks: u8,
    /// By node: ticks in each of which it got a request of a serving, connected peer.
    pub heard_ticks: [u8; 2],
    /// By node: whether it got one in this tick.
    pub heard_now: [bool; 2],
    /// By node: whether its armed term came into force in this tick.
    pub granted_now: [bool; 2],
    /// By node: ticks for which it has served.
    pub served_ticks: [u8; 2],
    /// Ticks for which both have served over an open, undisturbed link with somebody asking.
    pub both_ticks: u8,
    /// By node: ticks for which both have served, lives proved, although it heard the other, and the other, which was well, did not hear it.
    pub unheard_ticks: [u8; 2],
    /// Ticks for which both have served and run, all links being cut, beside a witness that answers.
    pub split_ticks: u8,
    /// Whether a frame was lost or came late in this tick.
    pub disturbed: bool,
    /// By node: ticks since its daemon last completed a turn.
    pub idle_ticks: [u8; 2],
    /// By node: ticks for which it has been off.
    pub off_ticks: [u8; 2],
    /// By node: its highest claim.
    pub claimed: [Term; 2],
    /// By node: the highest of its terms that a kernel's ruling stopped.
    pub fenced: [Term; 2],
    /// By node: whether its daemon was stopped between deciding and doing, and has not taken a turn since.
    pub broken_off: [bool; 2],
    /// By node: whether it stands still, and had for more than a dead interval when its peer took over from it.
    pub slept: [bool; 2],
    /// The terms that last served at once.
    pub dispute: [Term; 2],
    /// Which of them a ruling stopped.
    pub fell: [bool; 2],
}

impl Ghost {
    /// All terms in here, to be renamed.
    pub fn terms(&mut self) -> impl Iterator<Item = &mut Term> {
        self.claimed.iter_mut().chain(&mut self.fenced).chain(&mut self.dispute)
    }
}

impl Pair {
    pub(super) fn fail(&mut self, what: &'static str) {
        self.wrong.get_or_insert(what);
    }

    /// Judges what came of a step; the kernels served under `before`.
    pub(super) fn judge(&mut self, before: [Term; 2], noted: &mut Vec<(usize, Transition)>) {
        for id in 0..2 {
            self.judge_transitions(id, noted);
        }
        let after = self.serving();
        for id in 0..2 {
            self.judge_serving(id, before, after);
        }
        for id in 0..2 {
            if before[1 - id].is_none() && !after[1 - id].is_none() {
                self.ghost.slept[id] = !after[id].is_none() && self.ghost.idle_ticks[id] > DEAD_TICKS as u8;
            }
            self.ghost.broken_off[id] &= self.stalled[id] || self.woken[id];
        }
        if after.iter().all(|term| !term.is_none()) && self.ghost.dispute != after {
            (self.ghost.dispute, self.ghost.fell) = (after, [false; 2]);
        }
        // Over when neither of its terms is served any more, or when the winner has taken a new one.
        if (0..2).all(|id| after[id] != self.ghost.dispute[id]) {
            (self.ghost.dispute, self.ghost.fell) = ([Term::NONE; 2], [false; 2]);
        }
    }

    fn judge_transitions(&mut self, id: usize, noted: &mut Vec<(usize, Transition)>) {
        let changes = std::mem::take(&mut self.node_mut(id).transitions);
        for change in changes {
            noted.push((id, change.clone()));
            let highest = self.ghost.claimed[id];
            let known = match (change.from, change.to) {
                (RoleName::Claiming, RoleName::Primary) => change.term == highest,
                (_, RoleName::Primary) if change.cause == Cause::Adopted => change.term <= highest,
                (_, RoleName::Claiming | RoleName::Primary) => false,
                (_, RoleName::Secondary | RoleName::HandingOver) => true,
            };
            if known {
                continue;
            }
            if change.term <= highest || usize::from(change.term.node_id()) != id + 1 {
                self.fail("a term is claimed twice");
            }
            self.ghost.claimed[id] = change.term;
            let isolated = |id: usize| self.nodes[id].powered && !self.nodes[id].health.connected;
            // Not what a Primary hands over, nor what failSafe gives to one of two that are no better.
            let by_itself =
                change.from == RoleName::Secondary && !matches!(change.cause, Cause::FailSafe | Cause::PeerHandsOver);
            if by_itself && isolated(id) && !self.ghost.broken_off[id] {
                self.fail("an isolated node claimed");
            }
        }
    }

    fn judge_serving(&mut self, id: usize, before: [Term; 2], after: [Term; 2]) {
        let (peer, term) = (1 - id, after[id]);
        if term.is_none() {
            return;
        }
        let group = &self.nodes[id].kernel.groups[0];
        if group.role_term != term && group.armed_term != term {
            self.fail("serves under a term that it has no role for");
        }
        if term <= self.ghost.fenced[id] {
            self.fail("serves under a term that was stopped");
        }
        // A decision that was right when the daemon was stopped may take effect when it goes on. Rules 3 to 5 bound what comes of it.
        let late = self.ghost.broken_off[id];
        let known = self.ghost.served_ticks[peer] >= KNOWN_TICKS && self.nodes[peer].health.connected;
        let beside = known && !late && before[id].is_none() && !before[peer].is_none() && !after[peer].is_none();
        if beside && self.ghost.open_ticks >= REACH_TICKS {
            self.fail("took over from a Primary in reach");
        }
        if beside && self.ghost.heard_ticks[id] >= DEAD_TICKS as u8 {
            self.fail("took over from a Primary that it hears");
        }
    }

    /// Notes what the kernel of `id` decided on `frame`; its verdict before was `verdict`.
    pub(super) fn judge_ruling(&mut self, id: usize, ruling: Ruling, frame: &Extension, consented: Term, verdict: Term) {
        let stopped = match ruling {
            Ruling::Yielded(term) | Ruling::Lost(term) | Ruling::Unheard(term) | Ruling::Overslept(term) => term,
            Ruling::Won(_) | Ruling::Granted(_) | Ruling::Stands => Term::NONE,
        };
        if !stopped.is_none() {
            self.ghost.fenced[id] = self.ghost.fenced[id].max(stopped);
            let by_order = !matches!(ruling, Ruling::Yielded(_));
            if by_order && self.ghost.dispute[id] == stopped {
                self.ghost.fell[id] = true;
                if self.ghost.fell == [true; 2] {
                    self.fail("a dispute stopped both");
                }
            }
        }
        if matches!(ruling, Ruling::Yielded(term) if consented != term) && self.ghost.idle_ticks[id] < HUNG_TICKS as u8 {
            self.fail("a claim over a running controller was obeyed");
        }
        if matches!(ruling, Ruling::Granted(_)) {
            self.ghost.granted_now[id] = true;
            if self.ghost.granted_now == [true; 2] && !self.serving()[1 - id].is_none() {
                self.fail("each took the role on the other's proof");
            }
        }
        let own = &self.nodes[id].kernel.standing;
        let worse = match ruling {
            Ruling::Lost(term) if id == 0 && verdict != term => {
                better(own.merits, frame.standing.merits) && frame.standing.granted_over != term
            }
            Ruling::Won(term) => better(frame.standing.merits, own.merits) && own.granted_over != term,
            _ => false,
        };
        if matches!(ruling, Ruling::Won(_)) && self.ghost.slept[id] {
            self.fail("a node that had stood still won a dispute");
        }
        if worse {
            self.fail("the worse node won a dispute");
        }
    }

    /// Time goes on: what has lasted lasts one tick longer.
    pub(super) fn judge_tick(&mut self) {
        let powered = self.nodes.iter().all(|node| node.powered);
        let known = self.strange == [false; 2];
        let open = powered && known && (0..2).any(|link| self.is_open(link));
        let serves = self.serving().map(|term| !term.is_none());
        let both = serves == [true; 2];
        let runs = [self.runs(0), self.runs(1)];
        let asking = runs.contains(&true);
        let used = 0..usize::from(self.left.links);
        let unheard: [bool; 2] = std::array::from_fn(|id| {
            let reaches = |from: usize| used.clone().any(|link| !self.cut[link * 2 + from]);
            let fit = runs == [true; 2] && self.nodes[1 - id].health.connected;
            // What comes from a life that never was proved may be a recording: nobody stops for that.
            let proved = (0..2).all(|id| self.nodes[id].knows_life_of(&self.nodes[1 - id]));
            both && powered && known && fit && proved && reaches(1 - id) && !reaches(id)
        });
        let split = self.left.setup.witness && both && runs == [true; 2] && !used.clone().any(|link| self.carries(link));
        let ghost = &mut self.ghost;
        ghost.split_ticks = if split { ghost.split_ticks + 1 } else { 0 };
        ghost.open_ticks = if open { (ghost.open_ticks + 1).min(REACH_TICKS) } else { 0 };
        ghost.both_ticks = if both && open && asking && !ghost.disturbed { ghost.both_ticks + 1 } else { 0 };
        for (ticks, unheard) in ghost.unheard_ticks.iter_mut().zip(unheard) {
            *ticks = if unheard && !ghost.disturbed { *ticks + 1 } else { 0 };
        }
        let unheard = ghost.unheard_ticks.iter().any(|&ticks| ticks > ONE_WAY_TICKS);
        ghost.granted_now = [false; 2];
        ghost.disturbed = false;
        for (id, &served) in serves.iter().enumerate() {
            let heard = std::mem::take(&mut ghost.heard_now[id]);
            ghost.heard_ticks[id] = if heard { (ghost.heard_ticks[id] + 1).min(DEAD_TICKS as u8) } else { 0 };
            ghost.served_ticks[id] = if served { (ghost.served_ticks[id] + 1).min(KNOWN_TICKS) } else { 0 };
            let on = self.nodes[id].powered;
            ghost.off_ticks[id] = if on { 0 } else { (ghost.off_ticks[id] + 1).min(super::canon::PROOF_TICKS as u8) };
            ghost.idle_ticks[id] = if on { (ghost.idle_ticks[id] + 1).min(HUNG_TICKS as u8) } else { 0 };
        }
        let wrongs = [
            (ghost.both_ticks > BOTH_TICKS, "both serve over a working link"),
            (ghost.split_ticks > SPLIT_TICKS, "both serve beside a witness"),
            (unheard, "both serve although one hears the other"),
        ];
        for (_, what) in wrongs.into_iter().filter(|(is_so, _)| *is_so) {
            self.fail(what);
        }
    }
}

fn better(merits: u64, other: u64) -> bool {
    let well = merits::HEALTHY | merits::CONNECTED;
    merits & well > other & well
}
