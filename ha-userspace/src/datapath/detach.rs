//! Detaches a pinned link at once.
#![allow(unsafe_code)] // raw bpf(2): detaching a link has no safe wrapper

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

const OBJ_GET: libc::c_long = 7;
const LINK_DETACH: libc::c_long = 34;

/// `union bpf_attr` of `BPF_OBJ_GET`.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Detaches the link that is pinned at `path`, whose interface then runs without its program. (Removing the pin alone would do
/// that too, but some time later.)
///
/// # Errors
/// When there is no link there.
pub fn detach_link(path: &Path) -> io::Result<()> {
    let pathname = CString::new(path.as_os_str().as_bytes())?;
    let mut get = ObjGet { pathname: pathname.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    let fd = bpf(OBJ_GET, &mut get)?;
    // SAFETY: the kernel has just opened it for this call alone.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    bpf(LINK_DETACH, &mut (link.as_raw_fd() as u32)).map(drop)
}

fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<i32> {
    // SAFETY: `attribute` is as long as said and what the command expects; a path in it outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attribute), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
