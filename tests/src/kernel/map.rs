//! Records of kernel maps, one by one and many at a time.
#![allow(unsafe_code)] // raw bpf(2): typed access to any map by its file descriptor, whatever its kind

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const DELETE: libc::c_long = 3;
const NEXT_KEY: libc::c_long = 4;
const UPDATE_BATCH: libc::c_long = 26;

/// `union bpf_attr` of the commands on one element.
#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of the batch commands.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    elem_flags: u64,
    flags: u64,
}

fn call<A>(command: libc::c_long, attributes: &mut A) -> io::Result<()> {
    // SAFETY: `attributes` is the `bpf_attr` of `command`, of the size that is passed, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn element<K, V>(map: BorrowedFd<'_>, key: *const K, value: *const V) -> Element {
    Element { map: map.as_raw_fd() as u32, pad: 0, key: key as u64, value: value as u64, flags: 0 }
}

/// Puts `value` under `key`. The caller names the types that the map was made for.
pub fn put<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    call(UPDATE, &mut element(map, key, value))
}

/// Puts all of `entries`, which are keys and values side by side.
pub fn put_all<K, V>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    assert_eq!(keys.len(), values.len());
    let mut batch = Batch {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    call(UPDATE_BATCH, &mut batch)
}

/// The value under `key`.
pub fn get<K, V: Default>(map: BorrowedFd<'_>, key: &K) -> io::Result<V> {
    let mut value = V::default();
    call(LOOKUP, &mut element(map, key, &raw mut value)).map(|()| value)
}

/// The values of all CPUs under `key` of a per-CPU map.
pub fn get_per_cpu<K, V: Default + Clone>(map: BorrowedFd<'_>, key: &K) -> io::Result<Vec<V>> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    assert_eq!(size_of::<V>() % 8, 0, "per-CPU values lie eight bytes apart");
    let mut values = vec![V::default(); cpus];
    call(LOOKUP, &mut element(map, key, values.as_mut_ptr())).map(|()| values)
}

/// Puts the same `value` under `key` of a per-CPU map for every CPU.
pub fn put_per_cpu<K, V: Clone>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    let values = vec![value.clone(); cpus];
    call(UPDATE, &mut element(map, key, values.as_ptr()))
}

/// Every key of a map.
pub fn keys<K: Default + Clone>(map: BorrowedFd<'_>) -> io::Result<Vec<K>> {
    let mut keys: Vec<K> = Vec::new();
    loop {
        let mut next = K::default();
        let last = keys.last().map_or(std::ptr::null(), |key| key as *const K);
        match call(NEXT_KEY, &mut element(map, last, &raw mut next)) {
            Ok(()) => keys.push(next),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
            Err(error) => return Err(error),
        }
    }
}

/// Every entry of a map.
pub fn entries<K: Default + Clone, V: Default>(map: BorrowedFd<'_>) -> io::Result<Vec<(K, V)>> {
    keys(map)?.into_iter().map(|key: K| get(map, &key).map(|value| (key, value))).collect()
}

/// Empties a hash map with keys of type `K`.
pub fn clear<K: Default + Clone>(map: BorrowedFd<'_>) -> io::Result<()> {
    for key in keys::<K>(map)? {
        call(DELETE, &mut element(map, &raw const key, std::ptr::null::<u8>()))?;
    }
    Ok(())
}

/// The record that `bytes` hold, which is as long as they are.
pub fn record<T: Default>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>());
    let mut record = T::default();
    // SAFETY: as many bytes as the record has; records of maps are integers, for which every bit pattern is valid.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut record).cast::<u8>(), bytes.len()) };
    record
}

const LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;
/// Entries deleted by one call.
const CHUNK: usize = 1 << 16;

/// Empties a large hash map with keys of type `K`.
pub fn clear_all<K: Default + Clone>(map: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        let found = keys_of_a_chunk::<K>(map)?;
        if found == 0 {
            return Ok(());
        }
    }
}

fn keys_of_a_chunk<K: Default + Clone>(map: BorrowedFd<'_>) -> io::Result<u32> {
    let mut keys = vec![K::default(); CHUNK];
    // Larger than any value of the product.
    let mut values = vec![[0u64; 32]; CHUNK];
    let mut token = [0u64; 4];
    let mut batch = Batch {
        in_batch: 0,
        out_batch: token.as_mut_ptr() as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: CHUNK as u32,
        map: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    match call(LOOKUP_AND_DELETE_BATCH, &mut batch) {
        Ok(()) => Ok(batch.count),
        // The end of the table.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(batch.count),
        Err(error) => Err(error),
    }
}
