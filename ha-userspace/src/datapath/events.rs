//! The kernel's events, read without waiting.
#![allow(unsafe_code)] // reading records from the ring buffer's bytes

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use ha_common::abi::Event;

/// The reading end of `EVENTS` or `RULINGS`.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    pub(super) fn open(maps: &Path, name: &str) -> io::Result<Self> {
        let map = MapData::from_pin(maps.join(name)).and_then(Map::from_map_data).map_err(io::Error::other)?;
        let ring = RingBuf::try_from(map).map_err(io::Error::other)?;
        Ok(Events { ring })
    }

    /// Readable when there are events.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// Yields what is there and never waits: the end is the end for now. A caller bounds how many it takes in one turn.
impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            if let Some(event) = event_of(&item) {
                return Some(event);
            }
        }
    }
}

/// A record of another length is none that this program knows.
fn event_of(bytes: &[u8]) -> Option<Event> {
    // SAFETY: exactly as many bytes as `Event`, which is valid for every bit pattern (see `Plain`).
    (bytes.len() == size_of::<Event>()).then(|| unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_another_length_are_skipped() {
        let mut bytes = vec![0; size_of::<Event>()];
        bytes[0] = 5;
        assert_eq!(event_of(&bytes), Some(Event { kind: 5, ..Event::default() }));
        assert_eq!(event_of(&bytes[1..]), None);
    }
}
