//! Hash maps of the kernel, many entries at a time.
//!
//! The batch calls of bpf(2) move two to four million entries per second; one entry per call moves one.
#![allow(unsafe_code)] // raw bpf(2): its batch commands have no safe wrapper

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use super::plain::Plain;

const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const LOOKUP_BATCH: libc::c_long = 24;
const UPDATE_BATCH: libc::c_long = 26;
const DELETE_BATCH: libc::c_long = 27;

/// `BPF_EXIST`: only what is there.
const EXIST: u64 = 2;

/// Entries read by one call while a whole table is read.
const CHUNK: usize = 4096;

/// A chunk that does not hold one hash bucket is doubled up to this many entries.
const CHUNK_MAX: usize = 1 << 20;

/// `union bpf_attr` of the batch commands.
#[derive(Default)]
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` of the commands for one entry.
#[derive(Default)]
#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A hash map from `K` to `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    fd: OwnedFd,
    records: PhantomData<fn(K) -> V>,
}

/// Where a walk over a table stands.
#[derive(Debug, Default)]
pub struct Cursor(Option<[u64; 4]>);

impl<K: Plain + Clone + Default, V: Plain + Clone + Default> Table<K, V> {
    /// The map behind `fd`. The caller has checked its key and value sizes.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Table { fd, records: PhantomData }
    }

    /// Puts every entry, in this order.
    ///
    /// # Errors
    /// When the table is full; the entries before have been put.
    pub fn put(&self, entries: &[(K, V)]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let (keys, values): (Vec<K>, Vec<V>) = entries.iter().cloned().unzip();
        let mut batch = Batch { count: count_of(&keys), ..self.batch(&keys, &values) };
        self.call(UPDATE_BATCH, &mut batch)
    }

    /// Replaces every entry that is still there. One call each: the kernel's batches know no such condition.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn replace(&self, entries: &[(K, V)]) -> io::Result<()> {
        for (key, value) in entries {
            let mut element = Element { value: ptr::from_ref(value) as u64, flags: EXIST, ..self.element(key) };
            match self.touch(UPDATE, &mut element) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes every key; one that is not there is none the worse for it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete(&self, keys: &[K]) -> io::Result<()> {
        let mut rest = keys;
        while !rest.is_empty() {
            let mut batch = Batch { count: count_of(rest), ..self.batch(rest, &[]) };
            match self.call(DELETE_BATCH, &mut batch) {
                Ok(()) => return Ok(()),
                // The kernel stops at a key that is missing, having counted those before it.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    rest = rest.get(batch.count as usize + 1..).unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Every entry. Entries that come or go meanwhile may be in it or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn entries(&self) -> io::Result<Vec<(K, V)>> {
        let mut cursor = Cursor::default();
        let mut all = Vec::new();
        while self.walk(&mut cursor, CHUNK, &mut all)? {}
        Ok(all)
    }

    /// Appends about `chunk` more entries to `found` and moves `cursor` behind them; whether there may be more. At the end the
    /// cursor is back at the beginning.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn walk(&self, cursor: &mut Cursor, chunk: usize, found: &mut Vec<(K, V)>) -> io::Result<bool> {
        let mut room = chunk;
        loop {
            match self.lookup(cursor, room) {
                Ok((keys, values, more)) => {
                    found.extend(keys.into_iter().zip(values));
                    return Ok(more);
                }
                // One bucket of the table holds more than that.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < CHUNK_MAX => room *= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands every entry to `take`, and holds about `chunk` of them at a time.
    ///
    /// # Errors
    /// When the kernel refuses, or `take` fails.
    pub fn each(&self, chunk: usize, mut take: impl FnMut(K, V) -> io::Result<()>) -> io::Result<()> {
        self.batches(chunk, |batch| batch.drain(..).try_for_each(|(key, value)| take(key, value)))
    }

    /// Hands all entries to `take`, about `chunk` of them at a time.
    ///
    /// # Errors
    /// When the kernel refuses, or `take` fails.
    pub fn batches(&self, chunk: usize, mut take: impl FnMut(&mut Vec<(K, V)>) -> io::Result<()>) -> io::Result<()> {
        let (mut cursor, mut batch) = (Cursor::default(), Vec::new());
        loop {
            let more = self.walk(&mut cursor, chunk, &mut batch)?;
            take(&mut batch)?;
            batch.clear();
            if !more {
                return Ok(());
            }
        }
    }

    /// The entry of `key`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::default();
        let mut element = Element { value: ptr::from_mut(&mut value) as u64, ..self.element(key) };
        match self.touch(LOOKUP, &mut element) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn element(&self, key: &K) -> Element {
        Element { map_fd: self.fd.as_raw_fd() as u32, key: ptr::from_ref(key) as u64, ..Element::default() }
    }

    fn touch(&self, command: libc::c_long, element: &mut Element) -> io::Result<()> {
        // SAFETY: `element` is the attribute of these commands and points to a key and a value of the sizes that the map was checked to
        // have; `Plain` records are valid whatever the kernel writes into them.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(element), size_of::<Element>()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn lookup(&self, cursor: &mut Cursor, room: usize) -> io::Result<(Vec<K>, Vec<V>, bool)> {
        let mut keys = vec![K::default(); room];
        let mut values = vec![V::default(); room];
        let mut next = [0u64; 4];
        let mut batch = Batch {
            in_batch: cursor.0.as_ref().map_or(0, |token| ptr::from_ref(token) as u64),
            out_batch: ptr::from_mut(&mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            map_fd: self.fd.as_raw_fd() as u32,
            ..Batch::default()
        };
        let more = match self.call(LOOKUP_BATCH, &mut batch) {
            Ok(()) => true,
            // The end of the table; the last entries are valid.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => false,
            Err(error) => return Err(error),
        };
        cursor.0 = more.then_some(next);
        keys.truncate(batch.count as usize);
        values.truncate(batch.count as usize);
        Ok((keys, values, more))
    }

    fn batch(&self, keys: &[K], values: &[V]) -> Batch {
        Batch {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            map_fd: self.fd.as_raw_fd() as u32,
            ..Batch::default()
        }
    }

    fn call(&self, command: libc::c_long, batch: &mut Batch) -> io::Result<()> {
        // SAFETY: `batch` is the attribute of these commands and points to `count` keys and values (where the command has any)
        // of the sizes that the map was checked to have; `Plain` records are valid whatever the kernel writes into them.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(batch), size_of::<Batch>()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn count_of<K>(keys: &[K]) -> u32 {
    u32::try_from(keys.len()).expect("no table has four billion entries")
}
