//! `understudy witness`: one thread, one socket.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use ha_common::abi::Key;
use ha_common::witness::{Arbiter, FRAME_LEN, Frame, Keys, Refused, kind};
use nix::fcntl::{Flock, FlockArg};
use tracing::{debug, error, info, warn};

use super::store::{self, Store};

/// Between two warnings about frames that are not believed.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What `understudy witness` is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address and UDP port on which nodes ask
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:3006")]
    pub listen: SocketAddr,
    /// Directory of the decisions, which must survive a restart
    #[arg(long, value_name = "DIR", default_value = "/var/lib/understudy-witness")]
    pub state: PathBuf,
    /// Passwords, one per line, as in `set ha node -witnessPassword`; readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
}

/// Runs a witness until it is killed; that is harmless at any moment.
///
/// # Errors
/// When files or the socket do not allow it: each says what to do.
pub fn run(options: &Options) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let mut server = Server::open(options)?;
    info!(listen = %server.address()?, state = %options.state.display(), "witness is up");
    loop {
        server.turn()?;
    }
}

/// A witness with its socket open.
#[derive(Debug)]
pub struct Server {
    socket: UdpSocket,
    keys: HashMap<u64, Keys>,
    arbiter: Arbiter,
    store: Store,
    /// Frames that were not believed since the last warning.
    disbelieved: u64,
    warned: Option<Instant>,
    _alone: Flock<File>,
}

impl Server {
    /// Goes on from what is on disk.
    ///
    /// # Errors
    /// See [`run`].
    pub fn open(options: &Options) -> anyhow::Result<Server> {
        let store = Store::in_dir(&options.state)?;
        let alone = alone(&options.state.join("lock"))?;
        let random = || getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"));
        let secret = Key { k0: random()?, k1: random()?, id: 0 };
        let arbiter = Arbiter::new(secret, store.read()?);
        let keys = store::keys(&options.key_file)?;
        let socket = UdpSocket::bind(options.listen)
            .with_context(|| format!("cannot listen on {}; name another address with --listen", options.listen))?;
        Ok(Server { socket, keys, arbiter, store, disbelieved: 0, warned: None, _alone: alone })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Never, once it is open.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a datagram and answers it.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn turn(&mut self) -> anyhow::Result<()> {
        // One byte more: what is longer than a frame must not look like one.
        let mut bytes = [0; FRAME_LEN + 1];
        let (len, from) = match self.socket.recv_from(&mut bytes) {
            Ok(received) => received,
            // An answer that could not be delivered may be reported here.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot receive"),
        };
        // Who asks under a password is answered under it.
        let mut answer_key = Key::default();
        let key = |id| {
            let keys = self.keys.get(&id)?;
            answer_key = keys.answer;
            Some(keys.question)
        };
        match Frame::open(&bytes[..len], key) {
            Ok(frame) => self.answer(&frame, &answer_key, from),
            Err(refused) => self.disbelieve(refused, from),
        }
        Ok(())
    }

    fn answer(&mut self, frame: &Frame, key: &Key, from: SocketAddr) {
        let turned_away = self.arbiter.turned_away();
        let Some(answer) = self.arbiter.hear(frame) else {
            if self.arbiter.turned_away() > turned_away {
                self.disbelieved += 1;
                self.warn(format_args!(
                    "no room for one more pair, asked by {from}: a witness serves {}",
                    ha_common::witness::PAIRS_MAX
                ));
            }
            return;
        };
        let decided = self.arbiter.is_unsaved();
        if decided {
            if let Err(error) = self.store.write(self.arbiter.records()) {
                error!(%error, path = %self.store.path().display(), "a decision is not on disk: it is not given, nodes ask again");
                return;
            }
            self.arbiter.saved();
        }
        if answer.kind != kind::CHALLENGE {
            let said = match answer.kind {
                kind::GRANTED => "may serve alone",
                kind::REFUSED => "is refused: its peer came first",
                _ => "hears its peer",
            };
            let (node, low, high) = (frame.node, frame.pair.low, frame.pair.high);
            // Nodes that hear each other say so every few seconds.
            if decided {
                info!(node, %low, %high, %from, "node {said}");
            } else {
                debug!(node, %low, %high, %from, "node {said}");
            }
        }
        if let Err(error) = self.socket.send_to(&answer.sealed(key), from) {
            warn!(%error, to = %from, "cannot answer; the node asks again");
        }
    }

    fn disbelieve(&mut self, refused: Refused, from: SocketAddr) {
        self.disbelieved += 1;
        match refused {
            Refused::Malformed => self.warn(format_args!("what {from} sent is no question to a witness of this version")),
            Refused::UnknownKey | Refused::BadTag => self.warn(format_args!(
                "{from} asks under a password that is not in the key file: compare it with that node's `set ha node -witnessPassword`"
            )),
        }
    }

    /// Strangers may send as much as they like: the log gets a line a minute.
    fn warn(&mut self, text: std::fmt::Arguments<'_>) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            warn!(frames = self.disbelieved, "{text}");
            self.warned = Some(Instant::now());
            self.disbelieved = 0;
        }
    }
}

fn alone(path: &std::path::Path) -> anyhow::Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| anyhow!("another witness runs with this state directory: {} is locked ({error})", path.display()))
}
