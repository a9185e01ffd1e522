//! How the rest of the daemon speaks with the HA driver.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use ha_common::abi::Term;
use ha_common::ha::alarm::Alarms;
use ha_common::ha::event::{Refusal, Testimony};
use ha_common::ha::settings::Settings;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::Snapshot;
use super::monitor::Facts;
use crate::net::announce::Roll;

/// Something for the driver.
#[derive(Debug)]
pub enum Request {
    /// The operator forces a failover.
    Force {
        /// Even if the node that would take over is not well.
        force: bool,
        /// Told when the roles are swapped, or why not.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// The operator stops this node.
    Stop {
        /// Even if nobody takes over.
        force: bool,
        /// Told when this node does not serve any more, or why it still does.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// New settings.
    Settings(Settings),
    /// A configuration was committed under the present term.
    Committed {
        /// Number of the commit.
        incarnation: u64,
        /// Whether there is anything to serve.
        configured: bool,
    },
    /// The state of the own interfaces and routes, whenever it changes.
    Health(Facts),
    /// What came of announcing under this term.
    Announced {
        /// The term.
        term: Term,
        /// Whether it took effect.
        done: bool,
    },
    /// Term counters up to this one are on disk.
    Reserved(u64),
    /// What the witness said, or that it said nothing.
    Witness(Testimony),
    /// End the thread; nothing is touched.
    End,
}

/// What the driver wants of helpers that may take time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helper {
    /// Announce every floating address under this term, bring up those that the host owns, and answer with [`Request::Announced`].
    Announce(Term),
    /// Stop that, and take them down.
    Withdraw,
    /// Announce this from now on while this node serves. Not of the driver, but of whoever knows the configuration.
    Roll(Arc<Roll>),
    /// Announce once more from the first round on, if this node serves: an operator wants it.
    Repeat,
    /// The role has changed: for the log.
    Log(super::Past),
    /// What is wrong with the pair now: all of it.
    Alarms(Alarms),
    /// HA links by interface, and whether each is silent while another one is heard.
    Links(Vec<(String, bool)>),
    /// Write to disk, then answer with [`Request::Reserved`].
    Persist {
        /// Term counters up to this one.
        reserved: u64,
        /// The last term under which this node was Primary.
        last_term: Term,
    },
}

/// The driver, from outside.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: Sender<Request>,
    wake: Arc<EventFd>,
    snapshot: Arc<Mutex<Snapshot>>,
}

/// The driver's ends of a [`Handle`].
#[derive(Debug)]
pub struct Ends {
    pub(super) requests: Receiver<Request>,
    pub(super) wake: Arc<EventFd>,
    pub(super) snapshot: Arc<Mutex<Snapshot>>,
}

impl Handle {
    /// A handle, and the driver's ends of it.
    ///
    /// # Errors
    /// When the kernel gives no event descriptor.
    pub fn new() -> nix::Result<(Handle, Ends)> {
        let (sender, requests) = channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        let handle = Handle { requests: sender, wake: Arc::clone(&wake), snapshot: Arc::clone(&snapshot) };
        Ok((handle, Ends { requests, wake, snapshot }))
    }

    /// Gives `request` to the driver. One that has ended drops it; whoever waits for a reply sees that.
    pub fn send(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            self.wake();
        }
    }

    /// Has the driver look at once at what it reads by itself.
    pub fn wake(&self) {
        // Fails only when the counter is full: then the driver is awake already.
        let _ = self.wake.write(1);
    }

    /// How things stood at the driver's last turn, at most 20 ms ago.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
