//! A node's side of the conversation.

use core::time::Duration;

use super::frame::{Frame, PairName, kind};
use crate::time::Nanos;

/// Between two frames of a wish that waits for its answer.
const RETRY: Duration = Duration::from_millis(20);

/// Between two frames of a release that has not been noted after [`PATIENCE`]: the witness may be away for long.
const SLOW_RETRY: Duration = Duration::from_secs(5);

/// How long a question waits for its answer before the witness counts as silent.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// What a node wants of its witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The right to serve alone.
    Ask,
    /// To say that it hears its peer.
    Release,
}

/// What came of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This node came first.
    Granted,
    /// The peer came first.
    Refused,
    /// No answer came in time.
    Silent,
    /// The release is noted.
    Released,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The pair.
    pub pair: PairName,
    /// This node's id in it.
    pub node: u8,
}

/// Sends a wish until it is answered or given up. A new wish takes the place of the one before.
///
/// ```text
///   begin ─▶ frame each 20 ms ─▶ CHALLENGE: frame at once under it ─▶ answer: over
///                 └─ 300 ms: Silent; a question is over, a release goes on every 5 s
/// ```
#[derive(Clone, Debug)]
pub struct Asker {
    identity: Identity,
    under_way: Option<UnderWay>,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    wish: Wish,
    nonce: u64,
    challenge: u64,
    began: Nanos,
    due: Nanos,
    /// Whether its asker knows that no answer came in time.
    late: bool,
}

impl Asker {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(identity: Identity) -> Asker {
        Asker { identity, under_way: None }
    }

    /// Wants `wish` from now on; `nonce` is random.
    pub fn begin(&mut self, now: Nanos, wish: Wish, nonce: u64) {
        self.under_way = Some(UnderWay { wish, nonce, challenge: 0, began: now, due: now, late: false });
    }

    /// When [`Self::poll_frame`] or [`Self::handle_timeout`] has something; `None` when nothing is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let UnderWay { began, due, late, .. } = self.under_way?;
        Some(if late { due } else { due.min(began + PATIENCE) })
    }

    /// The frame to send at `now`, if one is due.
    pub fn poll_frame(&mut self, now: Nanos) -> Option<Frame> {
        let Identity { pair, node } = self.identity;
        let wish = self.under_way.as_mut().filter(|wish| wish.due <= now)?;
        wish.due = now + if now.since(wish.began) < PATIENCE { RETRY } else { SLOW_RETRY };
        let kind = if wish.wish == Wish::Ask { kind::ASK } else { kind::RELEASE };
        Some(Frame { kind, node, pair, nonce: wish.nonce, challenge: wish.challenge })
    }

    /// A question that was not answered in time is over; a release that was not noted goes on, but is told to be late, once.
    pub fn handle_timeout(&mut self, now: Nanos) -> Option<Outcome> {
        let wish = self.under_way.as_mut().filter(|wish| !wish.late && now.since(wish.began) >= PATIENCE)?;
        wish.late = true;
        if wish.wish == Wish::Ask {
            self.under_way = None;
        }
        Some(Outcome::Silent)
    }

    /// Takes in an authentic `frame` of the witness; what came of the wish, if it is that.
    pub fn hear(&mut self, now: Nanos, frame: &Frame) -> Option<Outcome> {
        let Identity { pair, node } = self.identity;
        let wish = self.under_way.as_mut().filter(|wish| (frame.pair, frame.node, frame.nonce) == (pair, node, wish.nonce))?;
        let outcome = match (frame.kind, wish.wish) {
            (kind::CHALLENGE, _) => {
                // One that is known already came twice: its answer is on the way.
                if frame.challenge != wish.challenge {
                    wish.challenge = frame.challenge;
                    wish.due = now;
                }
                return None;
            }
            (kind::GRANTED, Wish::Ask) => Outcome::Granted,
            (kind::REFUSED, Wish::Ask) => Outcome::Refused,
            (kind::RELEASED, Wish::Release) => Outcome::Released,
            _ => return None,
        };
        self.under_way = None;
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::super::Arbiter;
    use super::*;
    use crate::abi::Key;

    const START: Nanos = Nanos(5_000_000_000);
    const PAIR: PairName = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };

    fn asker(node: u8) -> Asker {
        Asker::new(Identity { pair: PAIR, node })
    }

    fn arbiter() -> Arbiter {
        Arbiter::new(Key { k0: 1, k1: 2, id: 0 }, [])
    }

    /// One wish against a witness that loses every `lost`th frame in either direction; with the time it took.
    fn converse(asker: &mut Asker, arbiter: &mut Arbiter, wish: Wish, lost: usize) -> (Outcome, Duration) {
        asker.begin(START, wish, 42);
        let mut frames = 0;
        let mut arrives = || {
            frames += 1;
            frames % lost != 0
        };
        for _ in 0..100 {
            let now = asker.poll_timeout().unwrap();
            if let Some(outcome) = asker.handle_timeout(now) {
                return (outcome, now.since(START));
            }
            let answer = asker.poll_frame(now).filter(|_| arrives()).and_then(|frame| arbiter.hear(&frame));
            if let Some(outcome) = answer.filter(|_| arrives()).and_then(|answer| asker.hear(now, &answer)) {
                return (outcome, now.since(START));
            }
        }
        panic!("no end");
    }

    #[test]
    fn two_round_trips_bring_the_answer() {
        let mut arbiter = arbiter();
        assert_eq!(converse(&mut asker(1), &mut arbiter, Wish::Ask, usize::MAX), (Outcome::Granted, Duration::ZERO));
        assert_eq!(converse(&mut asker(2), &mut arbiter, Wish::Ask, usize::MAX), (Outcome::Refused, Duration::ZERO));
        assert_eq!(converse(&mut asker(2), &mut arbiter, Wish::Release, usize::MAX), (Outcome::Released, Duration::ZERO));
    }

    #[test]
    fn lost_frames_delay_the_answer_and_do_not_change_it() {
        for lost in [3, 5, 7] {
            let mut arbiter = arbiter();
            let (first, after) = converse(&mut asker(1), &mut arbiter, Wish::Ask, lost);
            assert_eq!(first, Outcome::Granted, "every {lost}th frame lost");
            assert!(after < PATIENCE);
            assert_eq!(converse(&mut asker(2), &mut arbiter, Wish::Ask, lost).0, Outcome::Refused);
        }
    }

    #[test]
    fn a_question_to_nobody_is_over_in_time_and_a_release_goes_on_slowly() {
        let mut arbiter = arbiter();
        assert_eq!(converse(&mut asker(1), &mut arbiter, Wish::Ask, 1), (Outcome::Silent, PATIENCE));
        let mut asker = asker(1);
        asker.begin(START, Wish::Release, 42);
        let (mut sent, mut told) = (Vec::new(), Vec::new());
        while sent.last().is_none_or(|&at| at < Duration::from_secs(10)) {
            let now = asker.poll_timeout().unwrap();
            told.extend(asker.handle_timeout(now).map(|outcome| (outcome, now.since(START))));
            sent.extend(asker.poll_frame(now).map(|_| now.since(START)));
        }
        assert_eq!(sent.len(), 18, "{sent:?}");
        assert_eq!(told, [(Outcome::Silent, PATIENCE)], "told once, so that a dead witness is known before it is needed");
    }

    #[test]
    fn an_answer_to_another_wish_is_none() {
        let mut asker = asker(1);
        asker.begin(START, Wish::Ask, 42);
        let answer = Frame { kind: kind::GRANTED, node: 1, pair: PAIR, nonce: 42, challenge: 0 };
        let pair = PairName { low: Ipv4Addr::new(10, 8, 0, 1), ..PAIR };
        for other in [Frame { nonce: 41, ..answer }, Frame { node: 2, ..answer }, Frame { pair, ..answer }] {
            assert_eq!(asker.hear(START, &other), None);
        }
        assert_eq!(asker.hear(START, &Frame { kind: kind::RELEASED, ..answer }), None);
        assert_eq!(asker.hear(START, &answer), Some(Outcome::Granted));
        assert_eq!(asker.hear(START, &answer), None, "it is over");
    }
}
