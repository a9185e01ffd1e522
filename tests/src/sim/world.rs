//! Two nodes, two links, one clock over all of them.

use std::collections::BinaryHeap;
use std::time::Duration;

use ha_common::ha::event::{Cause, Health, Interfaces, RoleName};
use ha_common::ha::settings::Settings;
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::Extension;

use super::faults::Fault;
use super::node::{LINKS, SimNode};
use super::rng::Rng;
use super::witness::SimWitness;

/// One-way delay of a frame is drawn up to this.
const DELAY_MAX: Duration = Duration::from_micros(200);

/// A frame on its way.
#[derive(PartialEq, Eq)]
struct Flight {
    at: Nanos,
    order: u64,
    to: usize,
    link: usize,
    frame: Extension,
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Steps taken (frames delivered, turns, hellos).
    pub events: u64,
    /// Changes of role.
    pub transitions: usize,
    /// Names the schedule: equal histories have equal fingerprints.
    pub fingerprint: u64,
    /// The first thing that must not be.
    pub violation: Option<String>,
}

/// See the module.
pub struct World {
    now: Nanos,
    rng: Rng,
    settings: [Settings; 2],
    /// Both nodes.
    pub nodes: [SimNode; 2],
    /// Each node's clock minus the world's.
    skew: [u64; 2],
    /// Nothing of the node runs until then.
    paused_until: [Nanos; 2],
    /// By link and sender: loss in percent, and since when it has been what it is.
    loss: [[(u64, Nanos); 2]; LINKS],
    flights: BinaryHeap<Flight>,
    witness: SimWitness,
    order: u64,
    both_since: Option<Nanos>,
    /// When both last served at once, and when something last went wrong from outside.
    both_at: Nanos,
    fault_at: Nanos,
    /// Since when a node's daemon has been running without a break.
    running_since: [Option<Nanos>; 2],
    /// Since when a node has been on and not paused.
    awake_since: [Option<Nanos>; 2],
    judged: [usize; 2],
    /// Prints every fault and every frame that is delivered.
    pub trace: bool,
    outcome: Outcome,
}

impl World {
    /// A pair with these settings (ids 1 and 2 are given here), powered off.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> World {
        let of = |id| Settings { node_id: id, paired: true, ..settings.clone() };
        World::of(seed, [of(1), of(2)])
    }

    /// A pair whose nodes have settings of their own, powered off.
    #[must_use]
    pub fn of(seed: u64, settings: [Settings; 2]) -> World {
        let mut rng = Rng::new(seed);
        let skew = [1_000_000_000 + rng.below(1 << 40), 1_000_000_000 + rng.below(1 << 40)];
        World {
            now: Nanos(1),
            nodes: [SimNode::new(settings[0].clone(), 2), SimNode::new(settings[1].clone(), 1)],
            settings,
            rng,
            skew,
            paused_until: [Nanos::NEVER; 2],
            loss: [[(0, Nanos(1)); 2]; LINKS],
            flights: BinaryHeap::new(),
            witness: SimWitness::new(&mut Rng::new(seed ^ 0x717)),
            order: 0,
            both_since: None,
            both_at: Nanos::NEVER,
            fault_at: Nanos(1),
            running_since: [None; 2],
            awake_since: [None; 2],
            judged: [0; 2],
            trace: false,
            outcome: Outcome::default(),
        }
    }

    /// A pair that has been running for half a second, the first node having come up first.
    #[must_use]
    pub fn running(seed: u64, settings: &Settings) -> World {
        World::new(seed, settings.clone()).started()
    }

    /// This pair after half a second, the first node having come up first.
    #[must_use]
    pub fn started(mut self) -> World {
        let world = &mut self;
        world.apply(Fault::PowerOn { node: 0 });
        world.run(Duration::from_millis(20));
        world.apply(Fault::PowerOn { node: 1 });
        world.run(Duration::from_millis(500));
        self
    }

    fn local(&self, node: usize) -> Nanos {
        Nanos(self.now.0 + self.skew[node])
    }

    fn global(&self, node: usize, at: Nanos) -> Nanos {
        if at.0 == u64::MAX { at } else { Nanos(at.0.saturating_sub(self.skew[node])) }
    }

    /// Time since the world began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.since(Nanos(1))
    }

    /// Applies `fault` now.
    pub fn apply(&mut self, fault: Fault) {
        if self.trace {
            println!("{:?} {fault:?}", self.elapsed());
        }
        self.fault_at = self.now;
        self.outcome.fingerprint = self.outcome.fingerprint.wrapping_mul(0x100_0000_01b3) ^ self.now.0 ^ fault_code(fault);
        match fault {
            Fault::PowerOff { node } => {
                self.nodes[node].power_off();
                self.witness.forget(node);
                self.running_since[node] = None;
                self.awake_since[node] = None;
            }
            Fault::PowerOn { node } if !self.nodes[node].powered => {
                let (at, nonce) = (self.local(node), self.rng.draw() | 1);
                self.nodes[node].power_on(at, nonce);
            }
            Fault::PowerOn { .. } => {}
            Fault::KillDaemon { node } => {
                self.nodes[node].kill_daemon();
                self.witness.forget(node);
                self.running_since[node] = None;
            }
            Fault::StartDaemon { node } => {
                let at = self.local(node);
                self.nodes[node].start_daemon(at);
            }
            Fault::Stall { node, span } => {
                let until = self.local(node) + span;
                self.nodes[node].stalled_until = self.nodes[node].stalled_until.max(until);
                self.running_since[node] = None;
            }
            Fault::Pause { node, span } => {
                self.paused_until[node] = self.paused_until[node].max(self.now + span);
                self.running_since[node] = None;
                self.awake_since[node] = None;
            }
            Fault::Freeze { node, span } => {
                let until = self.paused_until[node].max(self.now) + span;
                self.skew[node] -= span.as_nanos() as u64;
                self.apply(Fault::Pause { node, span: until.since(self.now) });
            }
            Fault::Loss { link, from, percent } => self.loss[link][from] = (percent, self.now),
            Fault::Legs { node, carrier } => {
                let interfaces = if carrier { Interfaces::Work } else { Interfaces::AllFail };
                self.change_health(node, |health| Health { interfaces, connected: carrier, ..health });
            }
            Fault::Monitor { node, works } => {
                let interfaces = if works { Interfaces::Work } else { Interfaces::SomeFail };
                self.change_health(node, |health| Health { interfaces, connected: true, ..health });
            }
            Fault::Route { node, present } => self.change_health(node, |health| Health { routes: present, ..health }),
            Fault::Silence { node, silent } => {
                let at = self.local(node);
                let since = &mut self.nodes[node].silent_since;
                *since = silent.then(|| since.unwrap_or(at));
            }
            Fault::Witness { node, reached } => self.witness.set_cut(node, !reached),
            Fault::Force { node } => {
                let at = self.local(node);
                self.nodes[node].force(at);
            }
        }
    }

    fn change_health(&mut self, node: usize, change: impl FnOnce(Health) -> Health) {
        let at = self.local(node);
        let sim = &mut self.nodes[node];
        sim.set_health(change(sim.health));
        sim.due = sim.due.min(at);
    }

    /// Undoes everything that is wrong.
    pub fn heal(&mut self) {
        for node in 0..2 {
            self.apply(Fault::PowerOn { node });
            self.apply(Fault::StartDaemon { node });
            self.apply(Fault::Legs { node, carrier: true });
            self.apply(Fault::Route { node, present: true });
            self.apply(Fault::Witness { node, reached: true });
            self.apply(Fault::Silence { node, silent: false });
            for link in 0..LINKS {
                self.apply(Fault::Loss { link, from: node, percent: 0 });
            }
        }
    }

    /// Runs the pair for `span`, or until something is wrong.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.outcome.violation.is_none() {
            let next = self.next_instant();
            if next > end {
                self.now = end;
                return;
            }
            // No two things happen at the same nanosecond: clocks that order frames do not stand still.
            self.now = next.max(Nanos(self.now.0 + 1));
            self.outcome.events += 1;
            self.step();
            self.check();
        }
    }

    /// The node that serves, if exactly one does.
    #[must_use]
    pub fn only_primary(&self) -> Option<usize> {
        match [self.serves(0), self.serves(1)] {
            [true, false] => Some(0),
            [false, true] => Some(1),
            _ => None,
        }
    }

    /// Whether `node`'s kernel serves.
    #[must_use]
    pub fn serves(&self, node: usize) -> bool {
        !self.nodes[node].serving().is_none()
    }

    /// What the run came to.
    #[must_use]
    pub fn outcome(mut self) -> Outcome {
        self.outcome.transitions = self.nodes.iter().map(|node| node.transitions.len()).sum();
        self.outcome
    }

    /// Notes something that must not be, with the pair's history.
    pub fn fail(&mut self, what: &str) {
        let mut text = format!("at {:?}: {what}", self.elapsed());
        for (id, node) in self.nodes.iter().enumerate() {
            for change in node.transitions.iter().rev().take(6).rev() {
                let at = self.global(id, change.at).since(Nanos(1));
                text += &format!("\n  node {}: {at:?} {} -> {} ({:?})", id + 1, change.from, change.to, change.cause);
            }
            text += &format!(
                "\n  node {}: serving {:?} healthy {} powered {}",
                id + 1,
                node.serving(),
                node.is_healthy(),
                node.powered
            );
        }
        self.outcome.violation.get_or_insert(text);
    }

    fn daemon_due(&self, node: usize) -> Nanos {
        let sim = &self.nodes[node];
        if sim.machine.is_none() || !sim.powered {
            return Nanos(u64::MAX);
        }
        let due = self.global(node, sim.due.min(sim.next_hello));
        due.max(self.global(node, sim.stalled_until)).max(self.paused_until[node])
    }

    fn next_instant(&self) -> Nanos {
        let arrival = self.flights.peek().map_or(Nanos(u64::MAX), |flight| flight.at.max(self.paused_until[flight.to]));
        arrival.min(self.daemon_due(0)).min(self.daemon_due(1)).min(self.witness.due())
    }

    fn step(&mut self) {
        if self.witness.due() <= self.now {
            for (node, testimony) in self.witness.step(self.now, &mut self.rng) {
                let at = self.local(node);
                let sim = &mut self.nodes[node];
                if sim.machine.is_some() {
                    sim.testimonies.push(testimony);
                    sim.due = sim.due.min(at);
                }
            }
            return;
        }
        if self.flights.peek().is_some_and(|flight| flight.at <= self.now) {
            let Some(flight) = self.flights.pop() else { return };
            self.deliver(flight);
            return;
        }
        for node in 0..2 {
            if self.daemon_due(node) <= self.now {
                let local = self.local(node);
                let sim = &mut self.nodes[node];
                let frames = if sim.next_hello <= local { sim.hello(local) } else { sim.turn(local) };
                for wish in std::mem::take(&mut self.nodes[node].wishes) {
                    self.witness.wish(self.now, node, wish, &mut self.rng);
                }
                for (link, frame) in frames {
                    self.send(node, link, frame);
                }
                return;
            }
        }
    }

    fn deliver(&mut self, flight: Flight) {
        // A paused machine finds its frames when it wakes.
        if self.paused_until[flight.to] > self.now {
            let at = self.paused_until[flight.to];
            self.flights.push(Flight { at, ..flight });
            return;
        }
        if self.trace {
            let Extension { kind, seq, sender_nonce, receiver_nonce, hears, flags, groups: [group], .. } = flight.frame;
            println!(
                "{:?} -> node {} link {} kind {kind} seq {seq} from {:x} to {:x} hears {hears:b} flags {flags:x} {group:?}; {:?}",
                self.elapsed(),
                flight.to + 1,
                flight.link,
                sender_nonce & 0xfff,
                receiver_nonce & 0xfff,
                [self.nodes[0].serving(), self.nodes[1].serving()]
            );
        }
        let local = self.local(flight.to);
        if let Some(echo) = self.nodes[flight.to].receive(local, flight.link, flight.frame).echo {
            self.send(flight.to, flight.link, echo);
        }
    }

    fn send(&mut self, from: usize, link: usize, frame: Extension) {
        if !self.nodes[from].powered || self.rng.chance(self.loss[link][from].0) {
            return;
        }
        let copies = if self.loss[link][from].0 > 0 && self.rng.chance(5) { 2 } else { 1 };
        for _ in 0..copies {
            self.order += 1;
            let at = self.now + Duration::from_nanos(5_000 + self.rng.below(DELAY_MAX.as_nanos() as u64 - 5_000));
            self.flights.push(Flight { at, order: self.order, to: 1 - from, link, frame });
        }
    }

    /// Since when some link has been without loss in both directions.
    fn clean_since(&self) -> Option<Nanos> {
        (0..LINKS)
            .filter(|&link| self.loss[link].iter().all(|(percent, _)| *percent == 0))
            .map(|link| self.loss[link][0].1.max(self.loss[link][1].1))
            .min()
    }

    fn note_running(&mut self) {
        for node in 0..2 {
            let paused = self.paused_until[node] > self.now;
            let running = self.nodes[node].is_running(self.local(node)) && !paused;
            self.running_since[node] = running.then(|| self.running_since[node].unwrap_or(self.now));
            let awake = self.nodes[node].powered && !paused;
            self.awake_since[node] = awake.then(|| self.awake_since[node].unwrap_or(self.now));
        }
    }

    fn check(&mut self) {
        self.note_running();
        self.check_both();
        self.check_false_takeover();
    }

    /// Two nodes serve at once only as long as it takes to hear of each other.
    fn check_both(&mut self) {
        if !(self.serves(0) && self.serves(1)) {
            self.both_since = None;
            // Of two that serve exactly one stops, wherever a link works both ways.
            let dispute_over = self.both_at != Nanos::NEVER && self.now.since(self.both_at) < self.settings[0].hello;
            let still = self.settings[0].dead * 2;
            let works = self.clean_since().is_some_and(|since| self.now.since(since) > still);
            let undisturbed = works && self.now.since(self.fault_at) > still;
            // A claim that is under way may follow at once.
            let claimed = self.nodes.iter().any(SimNode::is_armed);
            // One that is not well may have stopped on its own.
            let well = self.nodes.iter().all(SimNode::is_healthy);
            if dispute_over && undisturbed && well && !claimed && !self.serves(0) && !self.serves(1) {
                self.fail("both served, and then neither");
            }
            return;
        }
        self.both_at = self.now;
        let since = *self.both_since.get_or_insert(self.now);
        let asker = self.running_since.into_iter().flatten().min();
        let [Some(a), Some(b)] = self.awake_since else { return };
        let (Some(clean), Some(asker)) = (self.clean_since(), asker) else { return };
        let start = since.max(clean).max(asker).max(a).max(b);
        // One hello until somebody asks, a round trip to prove lives that were never proved, a second one to be judged and obeyed.
        let bound = self.settings[0].hello + DELAY_MAX * 4 + self.settings[0].hello;
        if self.now.since(start) > bound {
            self.fail(&format!("both have served for {:?} over a working link", self.now.since(start)));
        }
    }

    /// Nobody takes over from a peer that serves and can be reached.
    fn check_false_takeover(&mut self) {
        for node in 0..2 {
            for index in self.judged[node]..self.nodes[node].transitions.len() {
                let change = self.nodes[node].transitions[index].clone();
                let dead = self.settings[node].dead;
                let peer = 1 - node;
                let by_silence = matches!(change.cause, Cause::PeerDead { .. }) && change.to == RoleName::Primary;
                let reachable = self.clean_since().is_some_and(|since| self.now.since(since) > dead * 2)
                    && self.awake_since[peer].is_some_and(|since| self.now.since(since) > dead * 2);
                if by_silence && reachable && self.serves(peer) {
                    self.fail(&format!("node {} took over from a peer that it could reach", node + 1));
                }
                let hung = matches!(change.cause, Cause::PeerHung { .. });
                let runs = self.running_since[peer].is_some_and(|since| self.now.since(since) > Duration::from_millis(50));
                // A hand-over of the peer may meet a claim that was already on its way.
                let gave = self.nodes[peer].transitions.iter().rev().take(2).any(|last| last.from == RoleName::HandingOver);
                if hung && runs && !gave && change.to == RoleName::Primary && reachable {
                    self.fail(&format!("node {} took over from a running controller", node + 1));
                }
            }
            self.judged[node] = self.nodes[node].transitions.len();
        }
    }
}

fn fault_code(fault: Fault) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    format!("{fault:?}").hash(&mut hasher);
    hasher.finish()
}
