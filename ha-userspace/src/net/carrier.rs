//! Carrier of the interfaces that matter, told as soon as it changes.
//!
//! A thread of its own, because asking the kernel takes its lock on all network configuration, which others may hold for long:
//! the HA driver must not wait for that. Besides listening it asks every few milliseconds: on physical interfaces the kernel
//! delays the news of a lost carrier by up to a second, the flag itself it shows at once.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use ha_common::time::Nanos;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use super::link::{LinkEvent, LinkWatch};
use crate::{clock, realtime};

/// How often carrier is asked for.
const PACE: Duration = Duration::from_millis(5);

/// The thread, from outside. Dropping it ends the thread.
#[derive(Debug)]
pub struct Carrier {
    names: Sender<Vec<String>>,
}

impl Carrier {
    /// Watches `names` in this thread's network namespace; `tell` is called with the carrier of all of them at first and whenever
    /// one changes. An interface that is not there has none.
    ///
    /// # Errors
    /// When the kernel refuses a netlink socket or a thread.
    pub fn spawn(names: Vec<String>, tell: impl Fn(BTreeMap<String, bool>) + Send + 'static) -> io::Result<Carrier> {
        let watch = LinkWatch::open(names.clone())?;
        let (sender, changed) = channel();
        realtime::spawn("carrier", realtime::HEARTBEAT_PRIORITY - 2, move || follow(watch, names, &changed, tell))?;
        Ok(Carrier { names: sender })
    }

    /// Watches `names` instead.
    pub fn follow(&self, names: Vec<String>) {
        // The thread ends only with this.
        let _ = self.names.send(names);
    }
}

fn follow(
    mut watch: LinkWatch,
    mut names: Vec<String>,
    changed: &Receiver<Vec<String>>,
    tell: impl Fn(BTreeMap<String, bool>),
) {
    let mut carrier = BTreeMap::new();
    let mut told = None;
    let mut asked = Nanos::NEVER;
    loop {
        match changed.try_recv() {
            Ok(wanted) => {
                names = wanted;
                carrier.retain(|name, _| names.contains(name));
                if let Err(error) = watch.follow(names.clone()) {
                    warn!(%error, "cannot follow the interfaces");
                }
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let now = clock::now();
        if now.since(asked) >= PACE {
            // What fails here fails at the next turn again, and the news of changes come all the same.
            let _ = watch.ask();
            asked = now;
        }
        let left = PACE.saturating_sub(now.since(asked)).max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        // Interrupted or not, there is something to look at.
        let _ = poll(&mut [PollFd::new(watch.fd(), PollFlags::POLLIN)], timeout);
        for event in watch.drain() {
            match event {
                LinkEvent::Is(link) => carrier.insert(link.name, link.carrier),
                LinkEvent::Gone { name, .. } => carrier.insert(name, false),
            };
        }
        let known: BTreeMap<String, bool> =
            names.iter().map(|name| (name.clone(), carrier.get(name).copied().unwrap_or(false))).collect();
        if told.as_ref() != Some(&known) && !carrier.is_empty() {
            tell(known.clone());
            told = Some(known);
        }
    }
}
