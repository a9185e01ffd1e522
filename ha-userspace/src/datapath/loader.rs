//! Loads the kernel programs, or adopts what an earlier daemon left running.
//!
//! Nothing here touches a packet: maps that are pinned are kept as they are, programs that came from the same object are
//! neither loaded nor verified again (verifying stalls a CPU), and what is attached is replaced atomically, if at all.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapError};
use aya::pin::PinError;
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_obj::generated::bpf_map_type;
use aya_obj::programs::XdpAttachType;
use aya_obj::{EbpfSectionKind, Object, ParseError};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tracing::{info, warn};

use super::clocks::Clocks;
use super::maps::{Maps, OpenError};
use super::pins::{Pins, PinsError, remove_tree};

/// Name of the XDP program.
const INGRESS: &str = "ingress";
/// Name of the program on the way out.
const EGRESS: &str = "egress_guard";
/// Name of the program between XDP and the host's stack.
const ADMISSION: &str = "admission";
/// Name of the program that reads the clocks.
pub(super) const CLOCKS: &str = "clocks";
/// Name of the program that asks for ways.
pub(super) const WAY: &str = "way";

/// Loading or adopting failed; nothing that was attached has changed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No pin directory.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The object in this binary is damaged.
    #[error("the kernel programs in this binary are damaged: {0}")]
    Object(#[from] ParseError),
    /// A pinned map is not what this binary needs.
    #[error(
        "the pinned map {} has {found}, this binary needs {wanted}: hand over and remove it with `understudy stop`, then start again",
        .path.display()
    )]
    Layout {
        /// The map.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The kernel refused a map.
    #[error("cannot make the maps: {0}; `understudy doctor` says what this kernel lacks")]
    Maps(EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refuses the program {program}: {reason}; {log}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// The kernel's error.
        reason: io::Error,
        /// Where the verifier's explanation is.
        log: String,
    },
    /// Anything else about a program.
    #[error("cannot load the program {program}: {source}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        source: ProgramError,
    },
    /// A map that was just made or checked cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What to load, and where to keep it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pin directory of this node.
    pub pins: PathBuf,
    /// Where the verifier's log goes when it refuses a program.
    pub logs: PathBuf,
    /// Entries of maps by name; those of others are as many as the object says.
    pub sizes: BTreeMap<&'static str, u32>,
}

/// The programs, loaded and pinned.
#[derive(Debug)]
pub(super) struct Programs {
    pub ingress: Xdp,
    pub egress: SchedClassifier,
    pub admission: SchedClassifier,
    pub clocks: Clocks,
    /// Whether they were running already.
    pub adopted: bool,
    pub identity: String,
}

/// Makes or adopts maps and programs.
pub(super) fn load(settings: &Settings, object: &[u8]) -> Result<(Pins, Programs, Maps), LoadError> {
    let pins = Pins::new(&settings.pins);
    pins.create()?;
    let mut ebpf = make_maps(settings, &pins, object)?;
    let maps = Maps::open(&pins.maps())?;
    let identity = identity(object);
    let programs = match adopt(&pins, &identity) {
        Some(programs) => programs,
        None => verify(settings, &pins, &identity, &mut ebpf)?,
    };
    info!(adopted = programs.adopted, identity, "kernel programs are ready");
    Ok((pins, programs, maps))
}

/// Names an object by its content: programs of equal objects are equal.
fn identity(object: &[u8]) -> String {
    Sha256::digest(object).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make_maps(settings: &Settings, pins: &Pins, object: &[u8]) -> Result<Ebpf, LoadError> {
    let mut loader = EbpfLoader::new();
    let parsed = Object::parse(object)?;
    for (name, map) in &parsed.maps {
        // Constants of the programs belong to them and are loaded with them.
        if matches!(map.section_kind(), EbpfSectionKind::Rodata | EbpfSectionKind::Data | EbpfSectionKind::Bss) {
            continue;
        }
        let mut wanted = Layout::of_object(map);
        let path = pins.maps().join(name);
        if let Some((sized, &entries)) = settings.sizes.get_key_value(name.as_str()) {
            wanted.max_entries = size_to_have(&path, name, entries);
            loader.map_max_entries(sized, wanted.max_entries);
        }
        check(&path, &wanted)?;
        loader.map_pin_path(name, path);
    }
    loader.load(object).map_err(LoadError::Maps)
}

/// The size that a map shall have now: that of the one that is pinned, whatever is configured, because what is in it is worth more.
fn size_to_have(path: &Path, name: &str, configured: u32) -> u32 {
    let Ok(Some(present)) = Layout::of_pin(path) else { return configured };
    if present.max_entries != configured {
        warn!(
            table = name,
            present = present.max_entries,
            configured,
            "a table keeps its size until the kernel's tables are made anew: `understudy stop` this node, then start it"
        );
    }
    present.max_entries
}

/// What two maps must have in common to hold the same records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

impl Layout {
    fn of_object(map: &aya_obj::Map) -> Self {
        Layout {
            kind: map.map_type(),
            key_size: map.key_size(),
            value_size: map.value_size(),
            max_entries: map.max_entries(),
            flags: map.map_flags(),
        }
    }

    fn of_pin(path: &Path) -> Result<Option<Self>, MapError> {
        if !path.exists() {
            return Ok(None);
        }
        let info = MapData::from_pin(path)?.info()?;
        let kind = info.map_type()? as u32;
        let (key_size, value_size) = (info.key_size(), info.value_size());
        Ok(Some(Layout { kind, key_size, value_size, max_entries: info.max_entries(), flags: info.map_flags() }))
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Layout { kind, key_size, value_size, max_entries, flags } = self;
        match bpf_map_type::try_from(*kind) {
            Ok(kind) => write!(f, "{}", format!("{kind:?}").trim_start_matches("BPF_MAP_TYPE_").to_lowercase())?,
            Err(_) => write!(f, "type {kind}")?,
        }
        write!(f, " with {max_entries} entries of {key_size} + {value_size} bytes, flags {flags:#x}")
    }
}

fn check(path: &Path, wanted: &Layout) -> Result<(), LoadError> {
    let layout = |found: String| LoadError::Layout { path: path.to_owned(), found, wanted: wanted.to_string() };
    match Layout::of_pin(path) {
        Ok(None) => Ok(()),
        Ok(Some(found)) if found == *wanted => Ok(()),
        Ok(Some(found)) => Err(layout(found.to_string())),
        Err(error) => Err(layout(format!("no readable layout ({error})"))),
    }
}

/// The programs of an earlier daemon, if they came from the same object and use the maps that are pinned now.
fn adopt(pins: &Pins, identity: &str) -> Option<Programs> {
    // Every program counts every packet.
    let counters = MapData::from_pin(pins.maps().join("COUNTERS")).ok()?.info().ok()?.id();
    let uses_maps = |info: ProgramInfo| info.map_ids().ok().flatten().is_some_and(|ids| ids.contains(&counters));
    let programs = reopen(pins, identity, true).ok()?;
    let fits = uses_maps(programs.ingress.info().ok()?) && uses_maps(programs.egress.info().ok()?);
    fits.then_some(programs)
}

/// Opens the programs that are pinned.
fn reopen(pins: &Pins, identity: &str, adopted: bool) -> Result<Programs, LoadError> {
    let dir = pins.programs(identity);
    let xdp = |name| Xdp::from_pin(dir.join(name), XdpAttachType::Interface).map_err(|error| other(name, error));
    let classifier = |name| SchedClassifier::from_pin(dir.join(name)).map_err(|error| other(name, error));
    let (egress, admission) = (classifier(EGRESS)?, classifier(ADMISSION)?);
    let (ingress, clocks) = (xdp(INGRESS)?, Clocks::new(xdp(CLOCKS)?));
    Ok(Programs { ingress, egress, admission, clocks, adopted, identity: identity.to_owned() })
}

fn verify(settings: &Settings, pins: &Pins, identity: &str, ebpf: &mut Ebpf) -> Result<Programs, LoadError> {
    let dir = pins.programs(identity);
    let io_error = |source| PinsError::Io { path: dir.clone(), source };
    // What a daemon left that was killed while it was here.
    remove_tree(&dir).map_err(io_error)?;
    fs::create_dir_all(&dir).map_err(io_error)?;
    for name in [INGRESS, CLOCKS, WAY] {
        let program: &mut Xdp = program(ebpf, name)?;
        program.load().map_err(|error| refused(settings, name, error))?;
        program.pin(dir.join(name)).map_err(|error| other(name, pin_error(error)))?;
    }
    for name in [EGRESS, ADMISSION] {
        let classifier: &mut SchedClassifier = program(ebpf, name)?;
        classifier.load().map_err(|error| refused(settings, name, error))?;
        classifier.pin(dir.join(name)).map_err(|error| other(name, pin_error(error)))?;
    }
    reopen(pins, identity, false)
}

fn program<'e, P>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut P, LoadError>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = ProgramError>,
{
    let missing = || io::Error::other("it is not in the object");
    let program = ebpf.program_mut(name).ok_or_else(missing).map_err(|error| other(name, ProgramError::IOError(error)))?;
    program.try_into().map_err(|error| other(name, error))
}

fn other(program: &'static str, source: ProgramError) -> LoadError {
    LoadError::Program { program, source }
}

fn pin_error(error: PinError) -> ProgramError {
    ProgramError::IOError(io::Error::other(error))
}

/// The verifier explains itself in thousands of lines: they go to a file, and the message says which.
fn refused(settings: &Settings, program: &'static str, error: ProgramError) -> LoadError {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return other(program, error);
    };
    let path = settings.logs.join(format!("verifier-{program}.log"));
    let text = verifier_log.to_string();
    let written = fs::create_dir_all(&settings.logs).and_then(|()| fs::write(&path, &text));
    let said = last_words(&text);
    let log = match written {
        Ok(()) => format!(
            "the verifier says `{said}`, its whole log is {}; `understudy doctor` says what this kernel lacks",
            path.display()
        ),
        Err(error) => format!("the verifier says `{said}`; its log could not be written to {} ({error})", path.display()),
    };
    LoadError::Refused { program, reason: io_error, log }
}

/// What the verifier objected to: the last line before its statistics.
fn last_words(log: &str) -> &str {
    let is_statistics = |line: &str| {
        ["verification time", "stack depth", "processed", "peak_states"].iter().any(|start| line.starts_with(start))
    };
    log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_statistics(line)).unwrap_or("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_objects_have_equal_identities_that_a_bpf_file_system_takes_as_a_name() {
        assert_eq!(identity(b"object"), identity(b"object"));
        assert_ne!(identity(b"object"), identity(b"other"));
        assert!(identity(b"object").chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn layouts_are_told_apart_in_words() {
        let layout = Layout { kind: 1, key_size: 24, value_size: 120, max_entries: 1024, flags: 0 };
        assert_eq!(layout.to_string(), "hash with 1024 entries of 24 + 120 bytes, flags 0x0");
    }

    #[test]
    fn a_refusal_names_what_the_verifier_objected_to() {
        let log = "6485: (79) r1 = *(u64 *)(r1 -8)\ninvalid access to packet, off=-8 size=8\nR1 offset is outside of the packet\n\
                   verification time 8640 usec\nstack depth 280+0\nprocessed 1833 insns (limit 1000000)\n";
        assert_eq!(last_words(log), "R1 offset is outside of the packet");
        assert_eq!(last_words(""), "nothing");
    }
}
