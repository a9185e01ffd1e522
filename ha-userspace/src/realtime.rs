//! Threads that must run on time: real-time priority and memory that is never paged out.
#![allow(unsafe_code)] // sched_setscheduler has no safe wrapper

use std::io;
use std::thread::JoinHandle;

use tracing::{error, warn};

/// Priority of the heartbeat thread; the HA driver runs one below it.
pub const HEARTBEAT_PRIORITY: i32 = 50;

/// Priority of whoever announces a new role: behind everybody who decides about it.
pub const ANNOUNCE_PRIORITY: i32 = HEARTBEAT_PRIORITY - 3;

/// Starts `body` in a thread of its own under SCHED_FIFO. Where that is not allowed it runs with ordinary priority, with a
/// warning: short intervals then mistake load for death.
///
/// # Errors
/// When the kernel gives no thread.
pub fn spawn(name: &str, priority: i32, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let label = name.to_owned();
    std::thread::Builder::new().name(label.clone()).spawn(move || {
        let param = libc::sched_param { sched_priority: priority };
        // SAFETY: pid 0 is the calling thread, and `param` lives through the call.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) } != 0 {
            warn!(thread = label, error = %io::Error::last_os_error(), "no real-time priority: a busy CPU may delay failover");
        }
        // Half a daemon is worse than none: the kernel serves on, and whoever supervises this process starts a whole one.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
            error!(thread = label, "a real-time thread has failed; the daemon ends, the kernel serves on");
            std::process::abort();
        }
    })
}

/// Keeps the whole process in memory.
pub fn lock_memory() {
    use nix::sys::mman::{MlockAllFlags, mlockall};
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
        warn!(%error, "memory is not locked: swapping may delay failover");
    }
}
