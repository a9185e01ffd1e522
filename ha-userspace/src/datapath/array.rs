//! Arrays of the kernel in this process's memory: reading and writing them costs no system call.
//!
//! The kernel and other threads read and write at the same time, so every access is an atomic one of a word, and a record
//! that must not be seen half-written has an order of its own in which its words are stored.
#![allow(unsafe_code)] // memory shared with the kernel

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::plain::Plain;

/// An array map that was created with `BPF_F_MMAPABLE`.
#[derive(Debug)]
pub struct Array<T> {
    base: NonNull<u8>,
    len: usize,
    bytes: NonZeroUsize,
    records: PhantomData<T>,
}

// SAFETY: the memory lives until the drop, belongs to no thread, and is only accessed by atomic operations.
unsafe impl<T> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Array<T> {}

impl<T: Plain> Array<T> {
    /// The kernel spaces elements by eight bytes at least.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps the array behind `fd`, which has `len` elements of the size of `T`: the caller has checked that.
    pub(super) fn new(fd: &OwnedFd, len: u32, writable: bool) -> io::Result<Self> {
        let len = len as usize;
        let bytes = NonZeroUsize::new(len * Self::STRIDE).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = if writable { ProtFlags::PROT_READ | ProtFlags::PROT_WRITE } else { ProtFlags::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, fd, 0)? };
        Ok(Array { base: base.cast(), len, bytes, records: PhantomData })
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element: never, the kernel refuses such a map.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of element `index`, word by word: a writer may be half-way.
    ///
    /// # Panics
    /// When there is no such element.
    #[must_use]
    pub fn get(&self, index: usize) -> T {
        let mut record = std::mem::MaybeUninit::<T>::uninit();
        for word in 0..size_of::<T>() / 4 {
            let value = self.word32(index, word * 4).load(Ordering::Relaxed);
            // SAFETY: `word` counts the 32-bit words of `T`, so the write stays inside `record`.
            unsafe { record.as_mut_ptr().cast::<u32>().add(word).write_unaligned(value) };
        }
        // SAFETY: every byte was written (`Plain`: a whole number of words), and every bit pattern is valid.
        unsafe { record.assume_init() }
    }

    /// Stores `record` as element `index`, word by word in ascending order: a reader may see it half-way.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn set(&self, index: usize, record: &T) {
        let words = std::ptr::from_ref(record).cast::<u32>();
        for word in 0..size_of::<T>() / 4 {
            // SAFETY: `word` counts the 32-bit words of `T`, which has no padding.
            let value = unsafe { words.add(word).read_unaligned() };
            self.word32(index, word * 4).store(value, Ordering::Release);
        }
    }

    /// The 32-bit word at byte `offset` of element `index`.
    ///
    /// # Panics
    /// When it is not inside the element, or not aligned.
    #[must_use]
    pub fn word32(&self, index: usize, offset: usize) -> &AtomicU32 {
        assert!(index < self.len && offset.is_multiple_of(4) && offset + 4 <= size_of::<T>());
        // SAFETY: inside the mapping and aligned, as just asserted; shared memory is only accessed atomically.
        unsafe { &*self.base.as_ptr().add(index * Self::STRIDE + offset).cast::<AtomicU32>() }
    }

    /// The 64-bit word at byte `offset` of element `index`.
    ///
    /// # Panics
    /// When it is not inside the element, or not aligned.
    #[must_use]
    pub fn word64(&self, index: usize, offset: usize) -> &AtomicU64 {
        assert!(index < self.len && offset.is_multiple_of(8) && offset + 8 <= size_of::<T>());
        // SAFETY: inside the mapping and aligned, as just asserted; shared memory is only accessed atomically.
        unsafe { &*self.base.as_ptr().add(index * Self::STRIDE + offset).cast::<AtomicU64>() }
    }
}

impl Array<ha_common::abi::Fence> {
    /// Element `index` itself: a record of atomic words.
    ///
    /// # Panics
    /// When there is no such element.
    #[must_use]
    pub fn fence(&self, index: usize) -> &ha_common::abi::Fence {
        assert!(index < self.len);
        // SAFETY: inside the mapping, aligned, and made of atomic words only.
        unsafe { &*self.base.as_ptr().add(index * Self::STRIDE).cast() }
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives this value.
        let _ = unsafe { munmap(self.base.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::Ordering;

    use ha_common::abi::Backend;

    use super::*;

    /// Memory of a plain file stands in for the kernel's.
    pub fn array<T: Plain>(len: u32) -> Array<T> {
        let fd = nix::sys::memfd::memfd_create(c"array", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&fd, i64::from(len) * Array::<T>::STRIDE as i64).unwrap();
        Array::new(&fd, len, true).unwrap()
    }

    #[test]
    fn elements_are_spaced_by_eight_bytes_like_the_kernels() {
        let slots = array::<u32>(4);
        for index in 0..4 {
            slots.set(index, &(index as u32 + 1));
        }
        assert_eq!((0..4).map(|index| slots.get(index)).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(slots.bytes.get(), 32);
    }

    #[test]
    fn record_survives_the_way_there_and_back_and_its_words_are_in_place() {
        let backends = array::<Backend>(2);
        let backend = Backend { flags: 1, generation: 7, mtu: 3, ..Backend::default() };
        backends.set(1, &backend);
        assert_eq!((backends.get(1), backends.get(0)), (backend, Backend::default()));
        assert_eq!(backends.word32(1, std::mem::offset_of!(Backend, generation)).load(Ordering::Relaxed), 7);
    }

    #[test]
    #[should_panic = "assertion failed"]
    fn words_outside_of_an_element_are_refused() {
        let _ = array::<u32>(1).word64(0, 0);
    }
}
