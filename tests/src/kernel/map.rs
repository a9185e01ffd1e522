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

const RUN: libc::c_long = 10;
const LOOKUP_BATCH: libc::c_long = 24;

/// The bytes of a record of a map.
pub fn bytes_of<T>(record: &T) -> &[u8] {
    // SAFETY: as many bytes as the record has; records of maps are integers without padding, as their size assertions show.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<T>()) }
}

/// Entries side by side: all keys, all values, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    /// Keys, one behind the other.
    pub keys: Vec<u8>,
    /// Values, one behind the other; of a per-CPU map, those of all CPUs.
    pub values: Vec<u8>,
    /// Number of entries.
    pub count: usize,
}

/// Puts all of `bulk`, whose keys and values are as long as those of the map.
pub fn put_bulk(map: BorrowedFd<'_>, bulk: &Bulk) -> io::Result<()> {
    if bulk.count == 0 {
        return Ok(());
    }
    let (keys, values) = (bulk.keys.as_ptr() as u64, bulk.values.as_ptr() as u64);
    call(UPDATE_BATCH, &mut batch(map, keys, values, bulk.count, &mut [0; 4]))
}

/// All entries of a map of keys and values of these lengths, into `bulk`, which has room for as many as the map. `take`: the map (a
/// hash map) is empty then.
pub fn all_into(
    map: BorrowedFd<'_>,
    bulk: &mut Bulk,
    room: usize,
    key_len: usize,
    value_len: usize,
    take: bool,
) -> io::Result<()> {
    bulk.keys.resize(room * key_len, 0);
    bulk.values.resize(room * value_len, 0);
    let mut token = [0; 4];
    let (keys, values) = (bulk.keys.as_mut_ptr() as u64, bulk.values.as_mut_ptr() as u64);
    let mut attributes = batch(map, keys, values, room, &mut token);
    match call(if take { LOOKUP_AND_DELETE_BATCH } else { LOOKUP_BATCH }, &mut attributes) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        // No such entry: the end of the table was reached.
        _ => bulk.count = attributes.count as usize,
    }
    bulk.keys.truncate(bulk.count * key_len);
    bulk.values.truncate(bulk.count * value_len);
    Ok(())
}

fn batch(map: BorrowedFd<'_>, keys: u64, values: u64, count: usize, token: &mut [u64; 4]) -> Batch {
    Batch {
        in_batch: 0,
        out_batch: token.as_mut_ptr() as u64,
        keys,
        values,
        count: count as u32,
        map: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    }
}

/// `union bpf_attr` of a test run.
#[derive(Default)]
#[repr(C)]
struct TestRun {
    program: u32,
    code: u32,
    len_in: u32,
    len_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_len_in: u32,
    context_len_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Runs `program` once over `frame` with `context`; its return code, and how much of `out` the frame takes up then.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], context: &[u8], out: &mut [u8]) -> io::Result<(u32, usize)> {
    let mut run = TestRun {
        program: program.as_raw_fd() as u32,
        len_in: frame.len() as u32,
        len_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        context_len_in: context.len() as u32,
        context_in: context.as_ptr() as u64,
        ..TestRun::default()
    };
    call(RUN, &mut run)?;
    Ok((run.code, run.len_out as usize))
}
