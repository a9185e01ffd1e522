//! The node's side: a thread that asks, so that the HA driver need not wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use ha_common::ha::event::Testimony;
use ha_common::time::Nanos;
use ha_common::witness::{Asker, FRAME_LEN, Frame, Identity, Keys, Outcome, Wish};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tracing::{info, warn};

use crate::{clock, realtime};

/// Datagrams that are read in one turn: a flood of them must not keep the thread from its clock.
const DATAGRAMS_MAX: usize = 64;

/// Whom to ask, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The witness.
    pub server: SocketAddr,
    /// Of the password that it shares with this node.
    pub keys: Keys,
    /// This node.
    pub identity: Identity,
}

#[derive(Debug)]
enum Order {
    Settings(Box<Option<Settings>>),
    Wish(Wish),
}

/// The thread, from outside. Clones are the same thread; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    /// None only while it is dropped.
    orders: Option<Sender<Order>>,
    wake: Arc<EventFd>,
}

impl Client {
    /// Starts the thread, which asks nobody until [`Self::set`]. `tell` gets the answer to every [`Self::ask`] that no other one
    /// followed, at the latest after [`ha_common::witness::PATIENCE`].
    ///
    /// # Errors
    /// When the kernel gives no thread or event descriptor.
    pub fn spawn(tell: impl Fn(Testimony) + Send + 'static) -> io::Result<Client> {
        let (orders, received) = channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let worker = Worker { wake: Arc::clone(&wake), tell, way: None, said: None };
        realtime::spawn("witness", realtime::ANNOUNCE_PRIORITY, move || worker.run(&received))?;
        Ok(Client { orders: Some(orders), wake })
    }

    /// Changes whom to ask; what is under way is given up.
    pub fn set(&self, settings: Option<Settings>) {
        self.order(Order::Settings(Box::new(settings)));
    }

    /// Asks for the right to serve alone.
    pub fn ask(&self) {
        self.order(Order::Wish(Wish::Ask));
    }

    /// Says, until it is noted, that this node hears its peer.
    pub fn release(&self) {
        self.order(Order::Wish(Wish::Release));
    }

    fn order(&self, order: Order) {
        if self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok()) {
            // Fails only when the counter is full: then the thread is awake already.
            let _ = self.wake.write(1);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.orders.take());
        // The thread looks whether this was the last one.
        let _ = self.wake.write(1);
    }
}

/// The way to a witness.
struct Way {
    settings: Settings,
    socket: UdpSocket,
    asker: Asker,
}

struct Worker<T> {
    wake: Arc<EventFd>,
    tell: T,
    way: Option<Way>,
    /// What was told last.
    said: Option<Testimony>,
}

impl<T: Fn(Testimony)> Worker<T> {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(order) => {
                    self.take(order);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            self.speak(clock::now());
            self.wait();
            self.listen();
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Settings(settings) => {
                if self.way.as_ref().map(|way| way.settings) != *settings {
                    self.way = settings.and_then(open);
                }
            }
            Order::Wish(wish) => match (&mut self.way, getrandom::u64()) {
                (Some(way), Ok(nonce)) => way.asker.begin(clock::now(), wish, nonce),
                _ => self.report(Outcome::Silent),
            },
        }
    }

    /// Sends what is due, and gives up what is over.
    fn speak(&mut self, now: Nanos) {
        let Some(way) = &mut self.way else { return };
        if let Some(outcome) = way.asker.handle_timeout(now) {
            self.report(outcome);
            return;
        }
        if let Some(frame) = way.asker.poll_frame(now) {
            // No route or no room: the next one is due soon.
            let _ = way.socket.send_to(&frame.sealed(&way.settings.keys.question), way.settings.server);
        }
    }

    fn wait(&self) {
        let due = self.way.as_ref().and_then(|way| way.asker.poll_timeout());
        let timeout = due.map(|due| TimeSpec::from_duration(due.since(clock::now())));
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.way.as_ref().map(|way| PollFd::new(way.socket.as_fd(), PollFlags::POLLIN)));
        // An interrupted wait is a turn that comes early.
        let _ = ppoll(&mut fds, timeout, None);
        let _ = self.wake.read();
    }

    fn listen(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            let Some(way) = &mut self.way else { return };
            let mut bytes = [0; FRAME_LEN + 1];
            let len = match way.socket.recv(&mut bytes) {
                Ok(len) => len,
                // Nothing more, or nobody listens there: the clock decides.
                Err(_) => return,
            };
            let keys = way.settings.keys;
            let Ok(frame) = Frame::open(&bytes[..len], |id| (id == keys.answer.id).then_some(keys.answer)) else { continue };
            if let Some(outcome) = way.asker.hear(clock::now(), &frame) {
                self.report(outcome);
            }
        }
    }

    fn report(&mut self, outcome: Outcome) {
        let testimony = match outcome {
            Outcome::Granted => Testimony::Granted,
            Outcome::Refused => Testimony::Refused,
            Outcome::Silent => Testimony::Silent,
            Outcome::Released => Testimony::Noted,
        };
        (self.tell)(testimony);
        // A witness that is away is asked again and again: what is known needs no line each time.
        if self.said.replace(testimony) != Some(testimony) {
            let witness = self.way.as_ref().map(|way| way.settings.server.to_string()).unwrap_or_default();
            info!(witness, ?testimony, "witness");
        }
    }
}

fn open(settings: Settings) -> Option<Way> {
    let any = match settings.server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    match socket {
        Ok(socket) => Some(Way { settings, socket, asker: Asker::new(settings.identity) }),
        Err(error) => {
            warn!(witness = %settings.server, %error, "no socket to ask the witness by: it counts as silent");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::mpsc::Receiver;
    use std::time::{Duration, Instant};

    use ha_common::witness::{PATIENCE, PairName};

    use super::super::server::{Options, Server};
    use super::*;
    use crate::keys::witness_keys;

    const SOON: Duration = Duration::from_secs(5);

    /// A witness in a thread of its own, which ends with this process.
    fn witness(name: &str, password: &str) -> (SocketAddr, PathBuf) {
        let dir = std::env::temp_dir().join(format!("understudy-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let key_file = dir.join("keys");
        std::fs::write(&key_file, password).unwrap();
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let options = Options { listen: "127.0.0.1:0".parse().unwrap(), state: dir.clone(), key_file };
        let mut server = Server::open(&options).unwrap();
        let address = server.address().unwrap();
        std::thread::spawn(move || while server.turn().is_ok() {});
        (address, dir)
    }

    fn node(id: u8, server: SocketAddr, password: &str) -> (Client, Receiver<Testimony>) {
        let (told, answers) = channel();
        let client = Client::spawn(move |testimony| told.send(testimony).unwrap_or_default()).unwrap();
        let keys = witness_keys(password).unwrap();
        let pair = PairName { low: Ipv4Addr::new(10, 9, 0, 1), high: Ipv4Addr::new(10, 9, 0, 2) };
        client.set(Some(Settings { server, keys, identity: Identity { pair, node: id } }));
        (client, answers)
    }

    fn ask((client, answers): &(Client, Receiver<Testimony>)) -> Testimony {
        client.ask();
        answers.recv_timeout(SOON).expect("an answer, or that there is none")
    }

    #[test]
    fn one_of_two_nodes_is_granted_until_both_have_released() {
        let (server, dir) = witness("grant", "one");
        let (a, b) = (node(1, server, "one"), node(2, server, "one"));
        assert_eq!(ask(&b), Testimony::Granted);
        assert_eq!(ask(&a), Testimony::Refused);
        a.0.release();
        b.0.release();
        for (_, answers) in [&a, &b] {
            assert_eq!(answers.recv_timeout(SOON), Ok(Testimony::Noted));
        }
        assert_eq!(std::fs::read_to_string(dir.join("witness.json")).unwrap(), "[]", "the grant is on disk no more");
        assert_eq!(ask(&a), Testimony::Granted);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn while_the_password_is_changed_the_pair_has_one_decision() {
        let (server, dir) = witness("rotation", "one\ntwo\n");
        let (former, present) = (node(1, server, "one"), node(2, server, "two"));
        assert_eq!(ask(&former), Testimony::Granted);
        assert_eq!(ask(&present), Testimony::Refused, "it is the same pair under another password");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_witness_that_does_not_know_the_password_is_silent_in_time() {
        let (server, dir) = witness("password", "one");
        let began = Instant::now();
        assert_eq!(ask(&node(1, server, "two")), Testimony::Silent);
        assert!(began.elapsed() >= PATIENCE);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn without_a_witness_the_answer_is_silence_at_once() {
        let node = node(1, "127.0.0.1:9".parse().unwrap(), "one");
        node.0.set(None);
        let began = Instant::now();
        assert_eq!(ask(&node), Testimony::Silent);
        assert!(began.elapsed() < PATIENCE);
    }
}
