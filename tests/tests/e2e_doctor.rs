//! Privileged: the doctor examines real interfaces in a network namespace that ends with the test's thread.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::Command,
};

use nix::sched::{CloneFlags, unshare};
use understudy::doctor::{self, Level, Report};

/// Enters a new network namespace with a veth pair `leg0`, `ha0`.
fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    ip("link add leg0 type veth peer name ha0");
    ip("link set leg0 up");
    ip("link set ha0 up");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip is installed");
    assert!(status.success(), "ip {arguments}: {status}");
}

fn examine(interfaces: &[&str]) -> Report {
    doctor::run(&interfaces.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn has(report: &Report, level: Level, subject: &str, part: &str) -> bool {
    let mut findings = report.findings.iter();
    findings.any(|finding| (finding.level, finding.subject.as_str()) == (level, subject) && finding.what.contains(part))
}

#[test]
fn a_veth_is_native_and_the_kernel_has_every_feature() {
    enter_namespace();
    let report = examine(&["leg0"]);
    assert!(has(&report, Level::Ok, "leg0", "native XDP (driver veth)"), "{report}");
    assert!(has(&report, Level::Ok, "privileges", "all"), "{report}");
    let lacking = report.findings.iter().filter(|finding| finding.subject == "bpf" && finding.level != Level::Ok);
    assert_eq!(lacking.count(), 0, "{report}");
}

#[test]
fn an_ha_link_smaller_than_a_stray_is_refused_until_its_mtu_is_raised() {
    enter_namespace();
    let report = examine(&["leg0=leg", "ha0=ha"]);
    assert!(has(&report, Level::Fail, "ha0", "1560 is needed"), "{report}");
    assert_eq!(report.exit_code(), 1);
    ip("link set ha0 mtu 1560");
    let report = examine(&["leg0=leg", "ha0=ha"]);
    assert!(has(&report, Level::Ok, "ha0", "carries whole frames of leg0"), "{report}");
}

#[test]
fn a_foreign_program_is_named_with_its_id() {
    enter_namespace();
    let program = load_pass_program(c"squatter").expect("root may load a program");
    let index = nix::net::if_::if_nametoindex("leg0").expect("leg0 is there");
    let _link = attach(&program, index).expect("leg0 is free");
    let report = examine(&["leg0"]);
    assert!(has(&report, Level::Fail, "leg0", "squatter (id "), "{report}");
    assert!(has(&report, Level::Ok, "leg0", "native XDP in use"), "{report}");
}

#[test]
fn an_interface_of_another_namespace_is_not_there() {
    enter_namespace();
    let kept = File::open("/proc/thread-self/ns/net").expect("the namespace has a file");
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    let report = examine(&["leg0"]);
    drop(kept);
    assert!(has(&report, Level::Fail, "leg0", "no such interface"), "{report}");
}

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Loads `return XDP_PASS` under `name`.
fn load_pass_program(name: &CStr) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    let instructions: [u64; 2] = [0x0000_0002_0000_00b7, 0x95]; // r0 = 2; exit
    let mut attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_XDP,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    attributes.name[..name.count_bytes()].copy_from_slice(name.to_bytes());
    bpf(BPF_PROG_LOAD, &attributes)
}

#[repr(C)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches in the driver; the program stays as long as the returned link lives.
fn attach(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_long = 28;
    const BPF_XDP: u32 = 37;
    const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
    let program = program.as_raw_fd().cast_unsigned();
    bpf(BPF_LINK_CREATE, &LinkAttributes { program, interface, attach_type: BPF_XDP, flags: XDP_FLAGS_DRV_MODE })
}

/// bpf(2) for commands that return a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes, and what the load's pointers name, live across the call; the size is theirs.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("descriptors are small")) })
}
