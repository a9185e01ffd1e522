//! What the pipeline may do to a frame: read and write values at offsets, and move its head.
#![allow(unsafe_code)] // reading and writing values at byte offsets is what this file is for

/// A value that may be read from and written to a frame as plain bytes.
///
/// # Safety
/// Every bit pattern is a valid value and there is no padding.
pub unsafe trait Wire: Copy {}

// SAFETY: integers and arrays of them have neither padding nor invalid bit patterns.
unsafe impl Wire for u8 {}
// SAFETY: as above.
unsafe impl Wire for u16 {}
// SAFETY: as above.
unsafe impl Wire for u32 {}
// SAFETY: as above.
unsafe impl Wire for u64 {}
// SAFETY: an array of padding-free values is padding-free.
unsafe impl<T: Wire, const N: usize> Wire for [T; N] {}

/// A frame from its Ethernet header on.
///
/// Offsets count from the first byte of the Ethernet header. Every access is checked against the end of the frame, so a
/// truncated frame yields `None`, never a stray read. Multi-byte integers come as they lie in memory: byte order is the
/// business of the type that is read (see [`crate::wire`]).
pub trait PacketMut {
    /// Length of the frame, in bytes, without the frame check sequence.
    fn len(&self) -> usize;

    /// The value at `offset`, or `None` when it would reach past the end of the frame.
    fn load<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Writes `value` at `offset`; `None`, and nothing written, when it would reach past the end of the frame.
    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Moves the head of the frame: `by` bytes more in front (negative: fewer). New bytes are undefined until stored.
    /// `None`, and nothing moved, when there is no room (or not that much frame).
    fn grow_head(&mut self, by: i32) -> Option<()>;

    /// Cuts the frame off after `len` bytes; `None`, and nothing cut, when it is shorter.
    fn cut_tail(&mut self, len: usize) -> Option<()>;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A frame on the host, with headroom like a driver's, for tests, vectors and simulation.
#[cfg(any(test, feature = "std"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPacket {
    bytes: Vec<u8>,
    head: usize,
}

#[cfg(any(test, feature = "std"))]
impl HostPacket {
    /// Room in front of the frame, in bytes: what XDP drivers reserve (`XDP_PACKET_HEADROOM`).
    pub const HEADROOM: usize = 256;

    /// A frame that holds `frame`, with the usual headroom.
    #[must_use]
    pub fn new(frame: &[u8]) -> Self {
        let mut bytes = vec![0; Self::HEADROOM];
        bytes.extend_from_slice(frame);
        HostPacket { bytes, head: Self::HEADROOM }
    }

    /// The frame as it stands now.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.head..]
    }
}

#[cfg(any(test, feature = "std"))]
impl PacketMut for HostPacket {
    fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        let end = offset.checked_add(size_of::<T>())?;
        let bytes = self.frame().get(offset..end)?;
        // SAFETY: `bytes` is exactly as long as `T`, and `T: Wire` is valid for every bit pattern.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn store<T: Wire>(&mut self, offset: usize, value: T) -> Option<()> {
        let end = offset.checked_add(size_of::<T>())?;
        let head = self.head;
        let bytes = self.bytes.get_mut(head + offset..head + end)?;
        // SAFETY: `bytes` is exactly as long as `T`.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn grow_head(&mut self, by: i32) -> Option<()> {
        let head = i64::try_from(self.head).ok()? - i64::from(by);
        let head = usize::try_from(head).ok().filter(|&head| head < self.bytes.len())?;
        self.head = head;
        Some(())
    }

    fn cut_tail(&mut self, len: usize) -> Option<()> {
        (len <= self.len()).then(|| self.bytes.truncate(self.head + len))
    }
}
