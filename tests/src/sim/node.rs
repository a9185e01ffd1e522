//! One simulated node: a kernel (records and rules) and a daemon (machine and its driver). Shared by the random simulation and
//! the model check.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ha_common::abi::{Fence, Link, Node, Term};
use ha_common::ha::dispute::Ruling;
use ha_common::ha::event::{Action, Event, Health, Refusal, Testimony, Transition};
use ha_common::ha::hearing::{self, Heard};
use ha_common::ha::machine::{Machine, TERM_BLOCK};
use ha_common::ha::settings::Settings;
use ha_common::ha::view::PeerView;
use ha_common::time::Nanos;
use ha_common::wire::heartbeat::{Extension, kind};
use ha_common::witness::Wish;

/// Heartbeat links of the pair.
pub const LINKS: usize = 2;

/// What survives a loss of power.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    pub reserved: u64,
    pub last_term: Term,
}

/// What a kernel made of a frame.
#[derive(Debug)]
pub struct Received {
    /// What it decided.
    pub ruling: Ruling,
    /// Whether the daemon was told to look.
    pub news: bool,
    /// What goes back on the same link.
    pub echo: Option<Extension>,
}

/// See the module. All instants that go in and out are this node's own clock.
#[derive(Clone)]
pub struct SimNode {
    pub settings: Settings,
    peer_id: u8,
    /// Links that requests leave on.
    pub wired: usize,
    pub disk: Disk,
    pub kernel: Node,
    pub fence: Fence,
    pub links: [Link; LINKS],
    /// When the hello thread asked, if the driver does not know it yet.
    pub asked: Option<Nanos>,
    /// The daemon, while it exists.
    pub machine: Option<Machine>,
    pub health: Health,
    /// Since when nobody is heard on the legs.
    pub silent_since: Option<Nanos>,
    /// What the daemon wants of the witness, and what that has said since the last turn.
    pub wishes: Vec<Wish>,
    pub testimonies: Vec<Testimony>,
    /// Whether the daemon will notice that it was stopped between a decision and its execution.
    pub too_late: bool,
    /// What the kernel has decided since the daemon's last turn.
    pub rulings: Vec<Ruling>,
    /// Whether the kernel runs.
    pub powered: bool,
    /// The daemon does not run until then.
    pub stalled_until: Nanos,
    pub next_hello: Nanos,
    pub due: Nanos,
    pub transitions: Vec<Transition>,
    pub answers: Vec<Result<(), Refusal>>,
}

impl SimNode {
    pub fn new(settings: Settings, peer_id: u8) -> SimNode {
        SimNode {
            settings,
            peer_id,
            wired: LINKS,
            disk: Disk::default(),
            kernel: Node::default(),
            fence: Fence::default(),
            links: [Link::default(); LINKS],
            asked: None,
            machine: None,
            health: Health::WELL,
            silent_since: None,
            too_late: false,
            powered: false,
            wishes: Vec::new(),
            testimonies: Vec::new(),
            rulings: Vec::new(),
            stalled_until: Nanos::NEVER,
            next_hello: Nanos(u64::MAX),
            due: Nanos(u64::MAX),
            transitions: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Power on: a fresh kernel, then the daemon.
    pub fn power_on(&mut self, now: Nanos, nonce: u64) {
        self.kernel = Node {
            node_id: self.settings.node_id.into(),
            peer_id: self.peer_id.into(),
            boot_nonce: nonce,
            controller_dead: self.settings.controller_dead.as_nanos() as u64,
            dead: self.settings.dead.as_nanos() as u64,
            controller_at: now,
            ..Node::default()
        };
        self.fence = Fence::default();
        self.links = [Link::default(); LINKS];
        self.powered = true;
        self.start_daemon(now);
    }

    /// Power off: nothing is left but the disk.
    pub fn power_off(&mut self) {
        self.powered = false;
        self.kernel = Node::default();
        self.fence = Fence::default();
        self.links = [Link::default(); LINKS];
        self.kill_daemon();
    }

    /// The daemon is gone, the kernel stays.
    pub fn kill_daemon(&mut self) {
        self.machine = None;
        self.rulings.clear();
        self.wishes.clear();
        self.testimonies.clear();
        self.too_late = false;
        self.asked = None;
        self.stalled_until = Nanos::NEVER;
        self.next_hello = Nanos(u64::MAX);
        self.due = Nanos(u64::MAX);
    }

    /// The daemon comes (back) up and finds the kernel as it is.
    pub fn start_daemon(&mut self, now: Nanos) {
        if !self.powered || self.machine.is_some() {
            return;
        }
        self.machine = Some({
            let used = self.disk.reserved;
            self.disk.reserved += TERM_BLOCK;
            Machine::new(now, self.settings.clone(), used, self.disk.reserved, self.disk.last_term)
        });
        self.stalled_until = Nanos::NEVER;
        self.next_hello = now;
        self.due = now;
    }

    /// Term under which the kernel serves.
    pub fn serving(&self) -> Term {
        if self.powered { self.fence.serving_term(&self.kernel, 0) } else { Term::NONE }
    }

    /// Whether it is about to serve.
    pub fn is_armed(&self) -> bool {
        self.powered && !self.kernel.groups[0].armed_term.is_none()
    }

    /// Whether the present life of `peer` was proved to this node.
    pub fn knows_life_of(&self, peer: &SimNode) -> bool {
        self.fence.peer_nonce.load(Relaxed) == peer.kernel.boot_nonce
    }

    pub fn is_running(&self, now: Nanos) -> bool {
        self.powered && self.machine.is_some() && now >= self.stalled_until
    }

    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    pub fn is_healthy(&self) -> bool {
        self.health == Health::WELL && self.silent_since.is_none()
    }

    /// What the kernel makes of a frame: at most an echo, for the same link.
    pub fn receive(&mut self, now: Nanos, link: usize, mut frame: Extension) -> Received {
        let mut received = Received { ruling: Ruling::Stands, news: false, echo: None };
        if !self.powered {
            return received;
        }
        match hearing::hear(&self.kernel, &self.fence, &mut self.links[link], &frame, now) {
            Heard::Own | Heard::NotOurs => return received,
            Heard::Stale => {}
            Heard::Fresh { ruling, news } => {
                (received.ruling, received.news) = (ruling, news);
                if news {
                    self.due = self.due.min(now);
                }
                if self.machine.is_some() && ruling != Ruling::Stands {
                    self.rulings.push(ruling);
                }
            }
        }
        if frame.kind != kind::ECHO {
            hearing::echo(&self.kernel, &self.fence, &mut frame, now);
            received.echo = Some(frame);
        }
        received
    }

    /// The hello thread: a request on every link.
    pub fn hello(&mut self, now: Nanos) -> Vec<(usize, Extension)> {
        self.next_hello = now + self.settings.hello;
        self.asked = Some(now);
        self.due = self.due.min(now);
        self.requests(now)
    }

    fn requests(&mut self, now: Nanos) -> Vec<(usize, Extension)> {
        (0..self.wired)
            .map(|link| {
                self.kernel.sent_seq += 1;
                let armed = !self.kernel.groups[0].armed_term.is_none();
                let mut frame = Extension {
                    kind: if armed { kind::CLAIM } else { kind::REQUEST },
                    link: link as u8,
                    seq: self.kernel.sent_seq,
                    stamp: now.0,
                    ..Extension::default()
                };
                hearing::compose(&self.kernel, &self.fence, &mut frame, now);
                (link, frame)
            })
            .collect()
    }

    /// One turn of the HA driver: read the kernel, feed the machine, carry out what it wants.
    pub fn turn(&mut self, mut now: Nanos) -> Vec<(usize, Extension)> {
        let Some(mut machine) = self.machine.take() else { return Vec::new() };
        // What a turn that was broken off had still to do.
        let mut frames = self.carry_out(&mut now, &mut machine);
        self.too_late = false;
        for event in self.news(now) {
            machine.handle_event(now, self.complete(event));
            frames.extend(self.carry_out(&mut now, &mut machine));
        }
        machine.handle_timeout(now);
        frames.extend(self.carry_out(&mut now, &mut machine));
        self.kernel.controller_at = now;
        self.due = machine.poll_timeout(now).max(now + Duration::from_micros(20));
        self.machine = Some(machine);
        frames
    }

    /// A turn that ends as soon as the machine has decided on another role, before anything of that is done: it waits for the
    /// next turn.
    pub fn break_off(&mut self, mut now: Nanos) -> Vec<(usize, Extension)> {
        let Some(mut machine) = self.machine.take() else { return Vec::new() };
        let mut frames = self.carry_out(&mut now, &mut machine);
        let role = machine.role();
        for event in self.news(now) {
            machine.handle_event(now, self.complete(event));
            if machine.role() != role {
                break;
            }
            frames.extend(self.carry_out(&mut now, &mut machine));
        }
        self.machine = Some(machine);
        frames
    }

    /// What the driver feeds its machine in one turn, in this order; the kernel's records are read last.
    fn news(&mut self, now: Nanos) -> Vec<Event> {
        let mut news: Vec<Event> = std::mem::take(&mut self.rulings).into_iter().map(Event::Ruled).collect();
        news.extend([Event::Health(self.health), Event::MirrorReady(true)]);
        news.extend(std::mem::take(&mut self.testimonies).into_iter().map(Event::Witness));
        news.push(Event::Reached(Some(self.silent_since.unwrap_or(now))));
        news.extend(self.asked.take().map(Event::Asked));
        news.push(Event::Heard { view: Box::default(), serving: Term::NONE });
        news
    }

    /// `event` with what the kernel's records say at this moment.
    fn complete(&self, event: Event) -> Event {
        match event {
            Event::Heard { .. } => {
                let view = PeerView::merge(&self.links, self.fence.peer_nonce.load(Relaxed));
                Event::Heard { view: Box::new(view), serving: self.serving() }
            }
            event => event,
        }
    }

    /// Each action a moment after the one before: what is said before a change and after it differs in when.
    fn carry_out(&mut self, clock: &mut Nanos, machine: &mut Machine) -> Vec<(usize, Extension)> {
        let mut frames = Vec::new();
        while let Some(action) = machine.poll_action() {
            clock.0 += 1;
            let now = *clock;
            let takes = matches!(action, Action::SetRole(term) | Action::Arm { term, .. } if !term.is_none());
            if takes && std::mem::take(&mut self.too_late) {
                machine.handle_event(now, Event::TooLate);
                continue;
            }
            match action {
                Action::Publish(said) => {
                    self.kernel.standing = said.standing;
                    self.kernel.said_flags = said.flags.into();
                    self.kernel.hears = said.hears.into();
                }
                Action::SetRole(term) => {
                    self.kernel.groups[0].role_term = term;
                    self.kernel.groups[0].since = now;
                    if !term.is_none() {
                        self.disk.last_term = term;
                    }
                }
                Action::Arm { term, over } => {
                    self.kernel.groups[0].armed_over = over;
                    self.kernel.groups[0].since = now;
                    self.kernel.groups[0].armed_term = term;
                }
                Action::Disarm => self.kernel.groups[0].armed_term = Term::NONE,
                Action::Consent(term) => self.kernel.groups[0].consent = term,
                Action::Send => {
                    frames.extend(self.requests(now));
                    machine.handle_event(now, Event::Asked(now));
                }
                Action::Drain => machine.handle_event(now, Event::Drained),
                Action::Reserve(upto) => {
                    self.disk.reserved = upto;
                    machine.handle_event(now, Event::Reserved(upto));
                }
                Action::Answer(answer) => self.answers.push(answer),
                Action::Record(transition) => self.transitions.push(transition),
                Action::AskWitness => self.wishes.push(Wish::Ask),
                Action::ReleaseWitness => self.wishes.push(Wish::Release),
                Action::Announce(_) | Action::Withdraw => {}
            }
        }
        frames
    }

    pub fn force(&mut self, now: Nanos) {
        if let Some(machine) = &mut self.machine {
            machine.handle_event(now, Event::Force { force: false });
            self.due = now;
        }
    }
}
