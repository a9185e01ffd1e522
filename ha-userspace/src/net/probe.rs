//! Is anybody reached on the legs of clients? A thread asks one address per leg, by ARP or neighbour solicitation, and listens.
//!
//! Anything that the address says counts as an answer. Only where answers are missing the kernel's count of received frames is looked
//! at, too: somebody else who is heard shows that the leg leads somewhere. How much silence means what is
//! [`ha_common::ha::reach`]'s business; the HA driver reads it from [`Reach`], one word, without waiting.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use ha_common::ha::reach::Listening;
use ha_common::time::nanos_of;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tracing::warn;

use super::frame::{self, Answer};
use super::link::Statistics;
use super::raw::{Hears, RawSocket};
use crate::{clock, realtime};

/// Answers read from a leg in one turn: bounds the turn when somebody floods.
const ANSWERS_MAX: usize = 64;

/// How long nobody has been heard on any leg of clients.
#[derive(Debug)]
pub struct Reach(AtomicU64);

impl Reach {
    /// What it says while there is nobody to ask.
    const UNKNOWN: u64 = u64::MAX;

    /// As observed until now; `None` while nobody is asked, so that silence says nothing.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        let nanos = self.0.load(Relaxed);
        (nanos != Self::UNKNOWN).then(|| Duration::from_nanos(nanos))
    }

    fn set(&self, silence: Option<Duration>) {
        self.0.store(silence.map_or(Self::UNKNOWN, nanos_of), Relaxed);
    }
}

/// Whom to ask on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Index of the interface that it is asked on: the leg, or one that stands for a VLAN of it.
    pub ifindex: u32,
    /// The leg's index, where everything that comes is counted.
    pub leg: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its own address, if it has one of the family of the address that is asked.
    pub own: Option<IpAddr>,
    /// Who is asked.
    pub address: IpAddr,
}

/// The thread, from outside. Dropping it ends the thread.
#[derive(Debug)]
pub struct Probes {
    news: Sender<(Vec<Target>, Duration)>,
    reach: Arc<Reach>,
}

impl Probes {
    /// Starts the thread in this thread's network namespace, with nobody to ask; `tell` is called when silence has lasted for the
    /// hold, and when it ends then.
    ///
    /// # Errors
    /// When the kernel gives no thread or no netlink socket.
    pub fn spawn(tell: impl Fn() + Send + 'static) -> io::Result<Probes> {
        let reach = Arc::new(Reach(AtomicU64::new(Reach::UNKNOWN)));
        let (news, received) = channel();
        let prober = Prober { legs: Vec::new(), statistics: Statistics::open()?, reach: Arc::clone(&reach), tell };
        realtime::spawn("probe", realtime::HEARTBEAT_PRIORITY - 2, move || prober.run(&received))?;
        Ok(Probes { news, reach })
    }

    /// Asks these from now on; silence for `hold` means isolation.
    pub fn follow(&self, targets: Vec<Target>, hold: Duration) {
        if self.news.send((targets, hold)).is_err() {
            warn!("the thread that probes the legs of clients has ended");
        }
    }

    /// What is observed.
    #[must_use]
    pub fn reach(&self) -> Arc<Reach> {
        Arc::clone(&self.reach)
    }
}

struct Leg {
    target: Target,
    questions: RawSocket,
    answers: RawSocket,
    /// Where the address answered last; asked there alone, so that the segment is spared.
    found: Option<[u8; 6]>,
    answered: bool,
    /// Frames received, when last counted since the last answer.
    frames: Option<u64>,
}

impl Leg {
    fn open(target: Target) -> io::Result<Leg> {
        let hears = if target.address.is_ipv4() { Hears::Arp } else { Hears::Advertisements };
        let (questions, answers) = (RawSocket::open(target.ifindex)?, RawSocket::listen(target.ifindex, hears)?);
        Ok(Leg { target, questions, answers, found: None, answered: true, frames: None })
    }

    /// Whether the question left.
    fn ask(&mut self) -> bool {
        if !std::mem::take(&mut self.answered) {
            self.found = None;
        }
        let Target { mac, own, address, .. } = self.target;
        self.questions.send(&frame::question(mac, self.found, own, address)).is_ok()
    }

    /// Whether the address was heard.
    fn listen(&mut self) -> bool {
        let mut buffer = [0; 128];
        let mut heard = false;
        for _ in 0..ANSWERS_MAX {
            let Ok(len) = self.answers.receive(&mut buffer) else { break };
            if let Some(Answer { address, mac }) = frame::answer(&buffer[..len])
                && address == self.target.address
            {
                (self.found, self.answered, self.frames, heard) = (Some(mac), true, None, true);
            }
        }
        heard
    }

    /// Whether anybody was heard since the last call; not before the second call.
    fn count(&mut self, statistics: &mut Statistics) -> bool {
        let before = self.frames;
        self.frames = statistics.received(self.target.leg).ok().or(before);
        before.is_some_and(|before| self.frames.is_some_and(|now| now > before))
    }
}

struct Prober<F> {
    legs: Vec<Leg>,
    statistics: Statistics,
    reach: Arc<Reach>,
    tell: F,
}

impl<F: Fn()> Prober<F> {
    fn run(mut self, news: &Receiver<(Vec<Target>, Duration)>) {
        let mut listening: Option<Listening> = None;
        loop {
            let came = if listening.is_some() {
                match news.try_recv() {
                    Ok(came) => Some(came),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                let Ok(came) = news.recv() else { return };
                Some(came)
            };
            if let Some((targets, hold)) = came {
                self.follow(targets);
                listening = (!self.legs.is_empty()).then(|| match listening.take() {
                    Some(known) => Listening::with_hold(known, hold),
                    None => Listening::new(clock::now(), hold),
                });
                self.reach.set(listening.as_ref().map(Listening::silence));
                if listening.is_none() {
                    (self.tell)();
                }
            }
            if let Some(listening) = &mut listening {
                self.turn(listening);
            }
        }
    }

    /// Keeps what it knows of legs that stay.
    fn follow(&mut self, targets: Vec<Target>) {
        let mut former = std::mem::take(&mut self.legs);
        for target in targets {
            let known = former.iter().position(|leg| leg.target == target).map(|at| former.swap_remove(at));
            match known.map_or_else(|| Leg::open(target), Ok) {
                Ok(leg) => self.legs.push(leg),
                Err(error) => warn!(address = %target.address, ifindex = target.ifindex, %error, "cannot probe"),
            }
        }
    }

    fn turn(&mut self, listening: &mut Listening) {
        let now = clock::now();
        if now >= listening.ask_due() {
            // One that is not answered at once is looked for in the counts when the next one is due.
            let silent: Vec<bool> = self.legs.iter().map(|leg| !leg.answered).collect();
            let counted = self.legs.iter_mut().zip(silent).filter(|(_, silent)| *silent);
            let mut others = false;
            for (leg, _) in counted {
                others |= leg.count(&mut self.statistics);
            }
            if others {
                self.look(listening, true);
            }
            let mut left = false;
            for leg in &mut self.legs {
                left |= leg.ask();
            }
            listening.asked(now);
            if !left {
                // Nobody was asked, so nobody is silent; that the legs are down is known otherwise.
                listening.idle(now);
            }
        }
        let heard = self.wait(listening);
        self.look(listening, heard);
    }

    /// Waits for an answer or for what is due next.
    fn wait(&mut self, listening: &Listening) -> bool {
        let left = listening.due().since(clock::now()).max(Duration::from_micros(20));
        let mut fds: Vec<PollFd<'_>> = self.legs.iter().map(|leg| PollFd::new(leg.answers.fd(), PollFlags::POLLIN)).collect();
        // An interrupted wait is a turn that comes early.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None);
        drop(fds);
        let mut heard = false;
        for leg in &mut self.legs {
            heard |= leg.listen();
        }
        heard
    }

    fn look(&self, listening: &mut Listening, heard: bool) {
        let turned = listening.look(clock::now(), heard);
        self.reach.set(Some(listening.silence()));
        if turned {
            (self.tell)();
        }
    }
}
