//! The kernel's events that are not about roles: a thread that takes them out of their ring buffer, so that whoever floods it floods nobody
//! else.

use std::collections::HashSet;
use std::io;
use std::thread;

use ha_common::abi::{Event, event_kind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::datapath::Events;

/// How often events are taken that wake nobody.
const PACE_MS: u8 = 10;

/// Events taken in one turn; a flood of more is lost in the kernel.
const EVENTS_MAX: usize = 4_096;

/// Hands what comes to `others`, for as long as they listen. What they do not keep up with is lost: a wanted next hop is wanted again, a
/// station says again what it said, a flow's log entry is missing.
///
/// # Errors
/// When the kernel gives no thread.
pub fn spawn(mut events: Events, others: Sender<Event>) -> io::Result<()> {
    let follow = move || {
        loop {
            // Interrupted or not, there may be something.
            let _ = poll(&mut [PollFd::new(events.fd(), PollFlags::POLLIN)], PollTimeout::from(PACE_MS));
            let mut told = HashSet::new();
            for event in events.by_ref().take(EVENTS_MAX) {
                let station = matches!(event.kind, event_kind::ADDRESS_CLAIMED | event_kind::FOREIGN_VRRP);
                // A station that floods is told of once a turn.
                if station && !told.insert((event.kind, event.flow.addr, event.words[0])) {
                    continue;
                }
                if let Err(TrySendError::Closed(_)) = others.try_send(event) {
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("overheard".into()).spawn(follow).map(drop)
}
