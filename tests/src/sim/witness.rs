//! The witness of the pair, and the way to it.

use std::net::Ipv4Addr;
use std::time::Duration;

use ha_common::abi::Key;
use ha_common::ha::event::Testimony;
use ha_common::time::Nanos;
use ha_common::witness::{Arbiter, Asker, Frame, Identity, Outcome, PairName, Wish};

use super::rng::Rng;

const PAIR: PairName = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };

/// A frame's way takes up to this long.
const DELAY_MAX: Duration = Duration::from_micros(400);

/// A third host with the shipped arbiter, and each node's shipped asker. All instants are the world's.
#[derive(Debug)]
pub struct SimWitness {
    arbiter: Arbiter,
    askers: [Asker; 2],
    /// When a frame arrives; from (`true`: to the witness) which node; the frame.
    flights: Vec<(Nanos, bool, usize, Frame)>,
    /// Which nodes do not reach it.
    cut: [bool; 2],
}

impl SimWitness {
    pub fn new(rng: &mut Rng) -> SimWitness {
        let asker = |node| Asker::new(Identity { pair: PAIR, node });
        let secret = Key { k0: rng.draw(), k1: rng.draw(), id: 0 };
        SimWitness { arbiter: Arbiter::new(secret, []), askers: [asker(1), asker(2)], flights: Vec::new(), cut: [false; 2] }
    }

    /// Whether `node` reaches the witness from now on.
    pub fn set_cut(&mut self, node: usize, cut: bool) {
        self.cut[node] = cut;
    }

    /// `node` wants something.
    pub fn wish(&mut self, now: Nanos, node: usize, wish: Wish, rng: &mut Rng) {
        self.askers[node].begin(now, wish, rng.draw());
    }

    /// The daemon of `node` is gone, with whatever it wanted.
    pub fn forget(&mut self, node: usize) {
        self.askers[node] = Asker::new(Identity { pair: PAIR, node: node as u8 + 1 });
    }

    /// When [`Self::step`] has something to do.
    pub fn due(&self) -> Nanos {
        let flights = self.flights.iter().map(|(at, ..)| *at);
        let askers = self.askers.iter().filter_map(Asker::poll_timeout);
        flights.chain(askers).min().unwrap_or(Nanos(u64::MAX))
    }

    /// Does what is due; what nodes are told.
    pub fn step(&mut self, now: Nanos, rng: &mut Rng) -> Vec<(usize, Testimony)> {
        let mut told = Vec::new();
        while let Some(index) = self.flights.iter().position(|(at, ..)| *at <= now) {
            let (_, inwards, node, frame) = self.flights.swap_remove(index);
            if inwards {
                if let Some(answer) = self.arbiter.hear(&frame) {
                    self.arbiter.saved();
                    self.send(now, false, node, answer, rng);
                }
            } else {
                told.extend(self.askers[node].hear(now, &frame).map(testimony).map(|testimony| (node, testimony)));
            }
        }
        for node in 0..2 {
            told.extend(self.askers[node].handle_timeout(now).map(testimony).map(|testimony| (node, testimony)));
            if let Some(frame) = self.askers[node].poll_frame(now) {
                self.send(now, true, node, frame, rng);
            }
        }
        told
    }

    fn send(&mut self, now: Nanos, inwards: bool, node: usize, frame: Frame, rng: &mut Rng) {
        if !self.cut[node] {
            let delay = Duration::from_nanos(10_000 + rng.below(DELAY_MAX.as_nanos() as u64));
            self.flights.push((now + delay, inwards, node, frame));
        }
    }
}

fn testimony(outcome: Outcome) -> Testimony {
    match outcome {
        Outcome::Granted => Testimony::Granted,
        Outcome::Refused => Testimony::Refused,
        Outcome::Silent => Testimony::Silent,
        Outcome::Released => Testimony::Noted,
    }
}
