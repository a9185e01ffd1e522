//! The fault injector: one small program on each side of every switch port, all judged by one shared word.
//!
//! Each port has an XDP program on what comes in from its host and a tc program on what goes out to it; both read the same memory-mapped
//! array: a word of cut bits (one per port and direction), then one loss threshold per port and direction. So a whole node falls silent by
//! a single store, on all its cables at the same instant, carrier stays up, and a cut may be one-way. The XDP program is needed anyway: a
//! veth delivers frames transmitted by XDP only if its peer runs a program too.
//!
//! The programs are 16 instructions, written here by hand and loaded by bpf(2): a second BPF build would cost more than it explains.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use super::netdev;

/// Most ports one wire serves: two bits each in the word.
pub const MAX_PORTS: usize = 32;

/// What the programs read; shared by memory mapping.
#[repr(C)]
struct Faults {
    /// Bit `2 * port + direction`: drop everything.
    cut: AtomicU64,
    /// Drop when a random 32-bit number is below this.
    loss: [AtomicU32; 2 * MAX_PORTS],
}

/// Direction of frames at a switch port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the host into the switch.
    FromHost = 0,
    /// From the switch to the host.
    ToHost = 1,
}

/// A switch port, by the number that [`Wire::attach`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(usize);

/// The programs, their links and the shared word; detaches all when dropped.
pub struct Wire {
    map: OwnedFd,
    faults: NonNull<Faults>,
    links: Vec<OwnedFd>,
    ports: usize,
}

// SAFETY: the mapping is shared memory touched only through atomics and lives as long as the Wire.
unsafe impl Send for Wire {}
// SAFETY: as above.
unsafe impl Sync for Wire {}

impl Wire {
    /// Creates the shared word with all ports passing.
    pub fn new() -> Result<Self> {
        let map = create_array(size_of::<Faults>() as u32)?;
        // SAFETY: a fresh shared mapping of the array's first page, placed by the kernel.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Faults>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        ensure!(address != libc::MAP_FAILED, "map the fault array: {}", Errno::last());
        let faults = NonNull::new(address.cast()).context("the fault array was mapped at zero")?;
        Ok(Self { map, faults, links: Vec::new(), ports: 0 })
    }

    /// Puts both programs on the switch port `interface` of the caller's namespace.
    pub fn attach(&mut self, interface: &str) -> Result<Port> {
        ensure!(self.ports < MAX_PORTS, "more than {MAX_PORTS} switch ports");
        let port = Port(self.ports);
        let index = netdev::index(interface)?;
        let ingress = self.load(ProgramKind::XDP, port, Direction::FromHost)?;
        let egress = self.load(ProgramKind::TC, port, Direction::ToHost)?;
        self.links
            .push(create_link(&ingress, index, XDP_ATTACH, XDP_NATIVE).with_context(|| format!("attach XDP to {interface}"))?);
        self.links.push(
            create_link(&egress, index, TCX_EGRESS_ATTACH, 0).with_context(|| format!("attach tc egress to {interface}"))?,
        );
        self.ports += 1;
        Ok(port)
    }

    /// Drops everything in the given directions, all from the same instant, or passes it again.
    pub fn cut(&self, directions: &[(Port, Direction)], cut: bool) {
        let bits = directions.iter().fold(0, |bits, (port, direction)| bits | 1 << (2 * port.0 + *direction as usize));
        match cut {
            true => self.faults().cut.fetch_or(bits, Ordering::SeqCst),
            false => self.faults().cut.fetch_and(!bits, Ordering::SeqCst),
        };
    }

    /// Drops both directions of all `ports` at the same instant: silence, with carrier.
    pub fn silence(&self, ports: &[Port], silent: bool) {
        let both = |port: &Port| [(*port, Direction::FromHost), (*port, Direction::ToHost)];
        self.cut(&ports.iter().flat_map(both).collect::<Vec<_>>(), silent);
    }

    /// Drops frames with `probability` (0 to 1) at random.
    pub fn lose(&self, port: Port, direction: Direction, probability: f64) {
        let threshold = (probability.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        self.faults().loss[2 * port.0 + direction as usize].store(threshold, Ordering::SeqCst);
    }

    fn faults(&self) -> &Faults {
        // SAFETY: mapped in `new`, unmapped only in `drop`, and only atomics inside.
        unsafe { self.faults.as_ref() }
    }

    fn load(&self, kind: ProgramKind, port: Port, direction: Direction) -> Result<OwnedFd> {
        let slot = (2 * port.0 + direction as usize) as i32;
        load_program(kind.program_type, &verdict_program(self.map.as_raw_fd(), slot, kind))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; no reference to it outlives self.
        unsafe { libc::munmap(self.faults.as_ptr().cast(), size_of::<Faults>()) };
    }
}

/// Program type with its two verdicts.
#[derive(Clone, Copy)]
struct ProgramKind {
    program_type: u32,
    pass: i32,
    drop: i32,
}

impl ProgramKind {
    const XDP: Self = Self { program_type: 6, pass: 2, drop: 1 };
    const TC: Self = Self { program_type: 3, pass: 0, drop: 2 };
}

/// One BPF instruction: opcode, destination and source register, jump or memory offset, immediate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// `if word >> slot & 1 or random() < loss[slot] then drop else pass`.
fn verdict_program(map_fd: i32, slot: i32, kind: ProgramKind) -> Vec<Insn> {
    const LOAD_IMMEDIATE_64: u8 = 0x18;
    const LOAD_64: u8 = 0x79;
    const LOAD_32: u8 = 0x61;
    const SHIFT_RIGHT: u8 = 0x77;
    const AND: u8 = 0x57;
    const MOVE: u8 = 0xb7;
    const JUMP_IF_NOT_ZERO: u8 = 0x55;
    const JUMP_IF_LESS: u8 = 0xad;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const MAP_VALUE: u8 = 2;
    const GET_PRANDOM_U32: i32 = 7;
    let insn = |code, destination: u8, source: u8, offset, immediate| Insn {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    };
    vec![
        insn(LOAD_IMMEDIATE_64, 6, MAP_VALUE, 0, map_fd), // r6 = address of Faults
        insn(0, 0, 0, 0, 0),
        insn(LOAD_64, 1, 6, 0, 0), // r1 = cut
        insn(SHIFT_RIGHT, 1, 0, 0, slot),
        insn(AND, 1, 0, 0, 1),
        insn(JUMP_IF_NOT_ZERO, 1, 0, 5, 0), // -> drop
        insn(CALL, 0, 0, 0, GET_PRANDOM_U32),
        insn(LOAD_32, 1, 6, 8 + 4 * slot as i16, 0), // r1 = loss[slot]
        insn(JUMP_IF_LESS, 0, 1, 2, 0),              // -> drop
        insn(MOVE, 0, 0, 0, kind.pass),
        insn(EXIT, 0, 0, 0, 0),
        insn(MOVE, 0, 0, 0, kind.drop),
        insn(EXIT, 0, 0, 0, 0),
    ]
}

const MAP_CREATE: i32 = 0;
const PROGRAM_LOAD: i32 = 5;
const LINK_CREATE: i32 = 28;
const XDP_ATTACH: u32 = 37;
const TCX_EGRESS_ATTACH: u32 = 47;
const XDP_NATIVE: u32 = 1 << 2;

fn create_array(value_size: u32) -> Result<OwnedFd> {
    const ARRAY: u32 = 2;
    const MMAPABLE: u32 = 1 << 10;
    // type, key size, value size, entries, flags
    let attributes: [u32; 5] = [ARRAY, 4, value_size, 1, MMAPABLE];
    bpf(MAP_CREATE, &attributes).context("create the fault array")
}

fn load_program(program_type: u32, program: &[Insn]) -> Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
    }
    let mut log = vec![0u8; 1 << 16];
    let attributes = Attributes {
        program_type,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log: log.as_mut_ptr() as u64,
    };
    bpf(PROGRAM_LOAD, &attributes).with_context(|| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        format!("load the fault program: {}", String::from_utf8_lossy(&log[..end]))
    })
}

fn create_link(program: &OwnedFd, interface: u32, attach_type: u32, flags: u32) -> Result<OwnedFd> {
    // program, interface, attach type, flags, and for tcx: relative to nothing, any revision
    let attributes: [u32; 8] = [program.as_raw_fd() as u32, interface, attach_type, flags, 0, 0, 0, 0];
    bpf(LINK_CREATE, &attributes)
}

/// bpf(2) for commands that return a file descriptor.
fn bpf<T>(command: i32, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: `attributes` is the prefix of union bpf_attr that `command` reads, with its true size; buffers it points to outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let fd = Errno::result(fd).with_context(|| format!("bpf command {command}"))?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
