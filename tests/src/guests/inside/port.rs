//! One end of a wire: sends frames, and waits for one.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::harness::packet_socket;

/// Frames are shorter.
const FRAME_MAX: usize = 4096;
/// How long a look at the sockets waits.
const LOOK: Duration = Duration::from_millis(50);

/// A network card, or a bond, and what comes in there.
pub struct Port {
    sender: Socket,
    capture: Socket,
}

impl Port {
    /// Of `interface` in this thread's namespace.
    pub fn open(interface: &str) -> Result<Self> {
        Ok(Self { sender: packet_socket::sender(interface)?, capture: packet_socket::tagged_capture(interface)? })
    }

    /// Puts a frame on the wire.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.sender.send(frame).map(drop).context("send a frame")
    }

    fn received(&self) -> Result<Option<Vec<u8>>> {
        packet_socket::receive_tagged(&self.capture, &mut [0; FRAME_MAX])
    }
}

/// Throws away what has come in on `ports`.
pub fn drain(ports: &[Port]) -> Result<()> {
    for port in ports {
        while port.received()?.is_some() {}
    }
    Ok(())
}

/// Waits until `frame` has come in on one of `ports`; else, after `limit`, what has come instead.
pub fn wait_for(ports: &[Port], frame: &[u8], limit: Duration) -> Result<Result<(), Vec<Vec<u8>>>> {
    let deadline = Instant::now() + limit;
    let mut others = Vec::new();
    loop {
        for port in ports {
            while let Some(other) = port.received()? {
                if other == frame {
                    return Ok(Ok(()));
                }
                others.push(other);
            }
        }
        if Instant::now() > deadline {
            return Ok(Err(others));
        }
        let mut polled: Vec<_> = ports.iter().map(|port| PollFd::new(port.capture.as_fd(), PollFlags::POLLIN)).collect();
        // An interrupted wait is a look that comes early.
        let _ = poll(&mut polled, PollTimeout::from(LOOK.as_millis() as u16));
    }
}
