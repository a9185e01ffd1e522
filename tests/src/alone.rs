//! A test that has a kernel's network and mounts for itself.

use std::path::Path;
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a thread with network and mounts of its own, and a BPF file system at `/mnt/bpf`: interfaces and pins are gone
/// when the thread is, whatever happens.
///
/// # Panics
/// When `test` does, or without root.
pub fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root may have namespaces of its own");
            let none = None::<&Path>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts become private");
            mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs can be mounted");
            std::fs::create_dir("/mnt/bpf").expect("a new tmpfs is empty");
            mount(Some("bpf"), "/mnt/bpf", Some("bpf"), MsFlags::empty(), none).expect("bpf can be mounted");
            test()
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs ip(8), words separated by spaces.
///
/// # Panics
/// When it fails.
pub fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a pair of veths, `leg0` and `peer0`, both up.
pub fn veth() {
    ip("link add leg0 type veth peer name peer0");
    ip("link set leg0 up");
    ip("link set peer0 up");
}
