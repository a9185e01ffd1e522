//! Who is told what happens to this node: syslog, a program of the operator's, a web server.
//!
//! ```text
//!   transition, alarm ─▶ Hook::tell ─┬▶ queue ─▶ thread ─▶ RFC 5424 line to /dev/log or a server
//!                        (no wait)   ├▶ queue ─▶ thread ─▶ program, JSON on its standard input
//!                                    └▶ queue ─▶ thread ─▶ POST of the same JSON
//! ```
//!
//! Whoever tells never waits: a queue that is full loses the newest notice, and the next one that is delivered says how many were
//! lost. Each way out has its own thread, so that one that hangs holds up no other, and a time limit per delivery.

mod ledger;
mod notice;
mod outlet;
mod program;
mod syslog;
mod webhook;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

pub use notice::{Notice, Severity, What};
pub use outlet::{Counts, QUEUE_MAX};

use ledger::Ledger;
use outlet::Outlet;
pub use webhook::server;

/// Where lines for syslog go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogTo {
    /// The host's own, by its socket `/dev/log`.
    Local,
    /// A server, by UDP (RFC 5426).
    Server(SocketAddr),
}

/// Who is told, and as whose notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's host name, if it has one.
    pub name: Option<String>,
    /// This node's NSIP, if it has one.
    pub ip: Option<std::net::Ipv4Addr>,
    /// Syslog.
    pub syslog: Option<SyslogTo>,
    /// A program.
    pub program: Option<PathBuf>,
    /// A web server.
    pub webhook: Option<String>,
    /// How long one delivery may take.
    pub timeout: Duration,
}

impl Default for Settings {
    /// Nobody is told.
    fn default() -> Self {
        Settings { name: None, ip: None, syslog: None, program: None, webhook: None, timeout: Duration::from_secs(10) }
    }
}

/// What became of notices, by way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// To syslog.
    pub syslog: Counts,
    /// To the program.
    pub program: Counts,
    /// To the web server.
    pub webhook: Counts,
}

/// The threads, from outside. Clones are the same threads.
#[derive(Clone, Debug)]
pub struct Hook {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<RwLock<Settings>>,
    ledger: Arc<Ledger>,
    syslog: Outlet,
    program: Outlet,
    webhook: Outlet,
}

impl Hook {
    /// Starts the threads; nobody is told until [`Self::set`].
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn spawn() -> io::Result<Hook> {
        let (settings, ledger) = (Arc::new(RwLock::default()), Arc::new(Ledger::default()));
        let outlet = |name, deliver| Outlet::spawn(name, Arc::clone(&settings), Arc::clone(&ledger), deliver);
        let shared = Shared {
            syslog: outlet("hook-syslog", syslog::deliver)?,
            program: outlet("hook-program", program::deliver)?,
            webhook: outlet("hook-webhook", webhook::deliver)?,
            settings,
            ledger,
        };
        Ok(Hook { shared: Arc::new(shared) })
    }

    /// Changes who is told from now on; what is queued goes there, too.
    pub fn set(&self, settings: Settings) {
        *self.shared.settings.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = settings;
    }

    /// Tells everybody who is configured. Never waits.
    pub fn tell(&self, notice: Notice) {
        let (syslog, program, webhook) = {
            let settings = self.shared.settings.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            (settings.syslog.is_some(), settings.program.is_some(), settings.webhook.is_some())
        };
        let transition = matches!(notice.what, What::Transition(_)).then_some(notice.when);
        let notice = Arc::new(notice);
        let outlets = [(&self.shared.syslog, syslog), (&self.shared.program, program), (&self.shared.webhook, webhook)];
        for (outlet, _) in outlets.into_iter().filter(|(_, wanted)| *wanted) {
            outlet.put(Arc::clone(&notice));
        }
        if let Some(when) = transition {
            self.shared.ledger.told(when);
        }
    }

    /// Waits until the transition of `last` was told and nothing is under way any more, but not longer than `limit`; whether that is so.
    #[must_use]
    pub fn finish(&self, last: Option<SystemTime>, limit: Duration) -> bool {
        self.shared.ledger.wait(last, limit)
    }

    /// What became of what was told.
    #[must_use]
    pub fn status(&self) -> Status {
        let Shared { syslog, program, webhook, .. } = &*self.shared;
        Status { syslog: syslog.counts(), program: program.counts(), webhook: webhook.counts() }
    }
}
