//! What `understudy run` is started with.

use std::path::PathBuf;

/// The daemon's own arguments; everything else is in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Configuration: a list of commands, one per line
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Directory of what must survive a restart: terms, indices
    #[arg(long, value_name = "DIR", default_value = "/var/lib/understudy")]
    pub state: PathBuf,
    /// Unix socket on which commands are accepted; the program's global `--socket`
    #[arg(from_global)]
    pub socket: PathBuf,
    /// Directory in a bpf file system where programs, links and maps are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS)]
    pub pins: PathBuf,
    /// How much of the HA machine's inputs is kept in the state directory, for `understudy replay`; 0 for nothing
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(..=4096))]
    pub record: u64,
}

/// Where the daemon listens and the client connects unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/understudy/understudy.sock";

/// Where the daemon pins, and other tools look, unless told otherwise.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/understudy";
