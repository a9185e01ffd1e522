//! What the HA driver must not wait for: announcements, floating addresses of the host, the disk.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use ha_common::ha::announce::Pace;
use tokio::sync::watch;
use tracing::{error, warn};

use super::floating::Floating;
use crate::ha::state::{State, StateFile};
use crate::ha::{Handle, Helper, Request};
use crate::net::address::LocalAddress;
use crate::net::announce::Announcements;

/// The helpers, from outside.
#[derive(Clone, Debug)]
pub struct Helpers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    announcements: Announcements,
    floating: Mutex<Floating>,
    serves: AtomicBool,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

impl Helpers {
    /// Starts the threads; what the driver wants comes by `orders`.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn spawn(orders: Receiver<Helper>, file: StateFile, driver: Handle) -> std::io::Result<Helpers> {
        let shared = Arc::new(Shared {
            announcements: Announcements::spawn(Pace::default())?,
            floating: Mutex::default(),
            serves: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        });
        let (to_disk, states) = channel();
        thread::Builder::new().name("terms".into()).spawn(move || write_states(&states, &file, &driver))?;
        let helpers = Helpers { shared };
        let follower = helpers.clone();
        thread::Builder::new().name("role".into()).spawn(move || follower.follow(&orders, &to_disk))?;
        Ok(helpers)
    }

    /// Sets what goes with the role. Announced anew only if it differs and this node serves.
    pub fn set(&self, floating: Floating) {
        {
            let mut present = self.floating();
            if *present == floating {
                return;
            }
            *present = floating;
        }
        if self.serves() {
            self.announce();
        }
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// Whether this node serves, as the driver last said.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.shared.serves.load(SeqCst)
    }

    /// Addresses that the host should own now, and those that it should not.
    #[must_use]
    pub fn local(&self) -> (BTreeSet<LocalAddress>, bool) {
        (self.floating().local.clone(), self.serves())
    }

    /// Changes whenever [`Self::local`] may say something else.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn floating(&self) -> std::sync::MutexGuard<'_, Floating> {
        self.shared.floating.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn announce(&self) {
        let roll = self.floating().roll.clone();
        self.shared.announcements.start(roll);
    }

    fn follow(&self, orders: &Receiver<Helper>, to_disk: &Sender<State>) {
        while let Ok(order) = orders.recv() {
            match order {
                Helper::Announce => {
                    self.shared.serves.store(true, SeqCst);
                    self.announce();
                    self.shared.changes.send_modify(|count| *count += 1);
                }
                Helper::Withdraw => {
                    self.shared.serves.store(false, SeqCst);
                    self.shared.announcements.stop();
                    self.shared.changes.send_modify(|count| *count += 1);
                }
                Helper::Persist { reserved, last_term } => {
                    if to_disk.send(State { reserved, last_term: last_term.0 }).is_err() {
                        error!("the thread that writes terms has ended");
                    }
                }
            }
        }
    }
}

/// Writes the newest state whenever there is a newer one. A disk that fails is reported, and tried again with the next.
fn write_states(states: &Receiver<State>, file: &StateFile, driver: &Handle) {
    while let Ok(mut state) = states.recv() {
        while let Ok(newer) = states.try_recv() {
            state = newer;
        }
        match file.write(&state) {
            Ok(()) => driver.send(Request::Reserved(state.reserved)),
            Err(error) => warn!(%error, "terms are not on disk: if this node loses power now it may claim under a used one"),
        }
    }
}
