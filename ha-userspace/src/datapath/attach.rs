//! Attaches the programs to interfaces, or replaces what is attached there without a gap.

use std::fs;
use std::io;
use std::path::Path;

use aya::pin::PinError;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode, loaded_programs};
use aya::util::KernelVersion;
use thiserror::Error;
use tracing::{info, warn};

use super::detach::detach_link;
use super::loader::Programs;
use super::pins::{Pins, remove_tree};
use crate::net::link::{self, XdpProgram};

/// Place of the guard among classic tc filters: before all others.
const PRIORITY: u16 = 1;
/// Its handle there.
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// A traffic control program's place: its name, as the kernel keeps it, the side of the stack that it is on, and the name of its pin.
type Station = (&'static str, TcAttachType, &'static str);
/// Judges what the host sends.
const GUARD: Station = ("egress_guard", TcAttachType::Egress, "egress");
/// Admits what XDP gave to the host.
const ADMISSION: Station = ("admission", TcAttachType::Ingress, "admission");

/// How an interface runs the XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's stack, because the driver cannot: correct, and several times slower.
    Generic,
}

/// The programs could not be attached to an interface.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Somebody else's XDP program is there.
    #[error(
        "interface {interface} runs a foreign XDP program: {name} (id {id}); stop what loaded it, or: ip link set dev {interface} xdp off"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// The program's name.
        name: String,
        /// The kernel's number of it.
        id: u32,
    },
    /// Netlink failed, or there is no such interface.
    #[error("cannot look at interface {interface}: {source}")]
    Interface {
        /// The interface.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot attach {program} to interface {interface}: {reason}")]
    Refused {
        /// Which program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// Why.
        reason: String,
    },
}

/// Attaches the programs to `interface`. What is attached already and equal stays untouched.
pub(super) fn attach(pins: &Pins, programs: &mut Programs, interface: &str) -> Result<Mode, AttachError> {
    let look = || link::link(interface).map_err(|source| AttachError::Interface { interface: interface.into(), source });
    let refused = |program: &'static str, reason: String| AttachError::Refused { program, interface: interface.into(), reason };
    let before = look()?;
    let dir = pins.links(before.ifindex);
    fs::create_dir_all(&dir).map_err(|error| refused("the programs", format!("{}: {error}", dir.display())))?;

    // The guard first: no moment in which this node could serve and not be silenced.
    for (program, station) in [(&mut programs.egress, GUARD), (&mut programs.admission, ADMISSION)] {
        attach_classifier(program, station, &dir, interface).map_err(|error| refused(station.0, error.to_string()))?;
    }
    let path = dir.join("xdp");
    let own = programs.ingress.info().map_err(|error| refused("ingress", error.to_string()))?.id();
    if before.xdp.is_none_or(|xdp| xdp.id != own) {
        replace_or_attach(&mut programs.ingress, &path, before.ifindex, before.xdp)
            .map_err(|error| foreign(interface, before.xdp).unwrap_or_else(|| refused("ingress", explain(&error))))?;
    }
    match look()?.xdp {
        Some(XdpProgram { native: true, .. }) => Ok(Mode::Native),
        Some(_) => {
            warn!(
                interface,
                "XDP runs in generic mode: the driver has none, or not for this MTU; expect a fraction of the speed"
            );
            Ok(Mode::Generic)
        }
        None => Err(refused("ingress", "it is not there after it was attached".into())),
    }
}

/// Detaches the programs from interface `ifindex`.
pub(super) fn detach(pins: &Pins, ifindex: u32) -> io::Result<()> {
    let dir = pins.links(ifindex);
    // The guard last. An error says that there is no link, or that its interface is no more: then its pin is all that is left.
    let _ = detach_link(&dir.join("xdp"));
    for (.., pin) in [ADMISSION, GUARD] {
        let _ = detach_link(&dir.join(pin));
    }
    detach_classic(ifindex);
    remove_tree(&dir)
}

/// Removes programs that were attached without a link (kernels before 6.6), which nothing but their removal detaches.
fn detach_classic(ifindex: u32) {
    let Ok(name) = nix::net::if_::if_indextoname(ifindex) else { return };
    if let Ok(name) = name.to_str() {
        for (program, side, _) in [ADMISSION, GUARD] {
            // An error says that there is none.
            let _ = tc::qdisc_detach_program(name, side, program);
        }
    }
}

/// Removes everything that a node with this pin directory has in the kernel.
pub(super) fn remove_all(pins: &Pins) -> io::Result<()> {
    for ifindex in pins.attached() {
        detach(pins, ifindex)?;
    }
    pins.remove()
}

fn replace_or_attach(program: &mut Xdp, path: &Path, ifindex: u32, there: Option<XdpProgram>) -> Result<(), ProgramError> {
    // A pin without a program on the interface is what is left of an interface that is no more.
    if there.is_some()
        && let Some(link) = pinned(path)?
    {
        let link = XdpLink::try_from(link).map_err(link_error)?;
        let id = program.attach_to_link(link)?;
        drop(program.take_link(id)?);
        info!(ifindex, "replaced the XDP program without a gap");
        return Ok(());
    }
    remove_tree(path).map_err(ProgramError::IOError)?;
    let id = match program.attach_to_if_index(ifindex, XdpMode::Driver) {
        // Nobody can share an interface: no other mode will do either.
        Err(error) if is_busy(&error) => return Err(error),
        Err(error) => {
            let id = program.attach_to_if_index(ifindex, XdpMode::Skb)?;
            warn!(ifindex, reason = explain(&error), "the driver does not take the XDP program");
            id
        }
        Ok(id) => id,
    };
    let link = FdLink::try_from(program.take_link(id)?).map_err(link_error)?;
    link.pin(path).map_err(pin_error)?;
    Ok(())
}

fn attach_classifier(
    program: &mut SchedClassifier,
    (_, side, pin): Station,
    dir: &Path,
    interface: &str,
) -> Result<(), ProgramError> {
    if KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0)) {
        attach_tcx(program, side, &dir.join(pin), interface)
    } else {
        attach_classic(program, side, interface)
    }
}

fn attach_tcx(program: &mut SchedClassifier, side: TcAttachType, path: &Path, interface: &str) -> Result<(), ProgramError> {
    let own = program.info()?.id();
    let (_, there) = SchedClassifier::query_tcx(interface, side)?;
    if let Some(link) = pinned(path)? {
        let attached = link.info().map_err(link_error)?.program_id();
        if there.iter().any(|there| there.id() == attached) {
            if attached != own {
                let id = program.attach_to_link(SchedClassifierLink::try_from(link).map_err(link_error)?)?;
                drop(program.take_link(id)?);
            }
            return Ok(());
        }
        remove_tree(path).map_err(ProgramError::IOError)?;
    }
    // First of all: another program's verdict must not let a frame out before it was judged.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, side, options)?;
    FdLink::try_from(program.take_link(id)?).map_err(link_error)?.pin(path).map_err(pin_error)?;
    Ok(())
}

/// A filter of a clsact queueing discipline stays until it is removed: there is no link to pin.
fn attach_classic(program: &mut SchedClassifier, side: TcAttachType, interface: &str) -> Result<(), ProgramError> {
    // An error says that it is there already; if it could not be added, attaching says so.
    let _ = tc::qdisc_add_clsact(interface);
    let options = || TcAttachOptions::Netlink(NlOptions { priority: PRIORITY, handle: HANDLE, classid: None });
    let id = match program.attach_with_options(interface, side, options()) {
        Ok(id) => id,
        Err(ProgramError::TcError(TcError::NetlinkError(_))) => {
            let link = SchedClassifierLink::attached(interface, side, PRIORITY, HANDLE, None);
            program.attach_to_link(link.map_err(ProgramError::IOError)?)?
        }
        Err(error) => return Err(error),
    };
    // Dropping it would detach it.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// The link that is pinned at `path`, if there is one.
fn pinned(path: &Path) -> Result<Option<FdLink>, ProgramError> {
    if !path.exists() {
        return Ok(None);
    }
    PinnedLink::from_pin(path).map(|link| Some(link.into())).map_err(link_error)
}

fn link_error(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}

fn pin_error(error: PinError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}

fn is_busy(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if matches!(error.io_error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)))
}

/// The whole chain of causes in one line.
fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn foreign(interface: &str, there: Option<XdpProgram>) -> Option<AttachError> {
    let id = there?.id;
    let program = loaded_programs().flatten().find(|program| program.id() == id);
    let name = program.and_then(|program| Some(program.name_as_str()?.to_owned())).unwrap_or_else(|| "without a name".into());
    Some(AttachError::Foreign { interface: interface.to_owned(), name, id })
}
