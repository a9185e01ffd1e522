//! Which of the distribution's packages are needed, and who may install them?

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::step;

/// What the lab, the privileged tests and the comparison with keepalived call: the program and Debian's package that holds it.
const TEST_TOOLS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("ethtool", "ethtool"), ("tshark", "tshark"), ("keepalived", "keepalived")];

/// Installs the tools that the lab and the privileged tests call and that are missing.
///
/// Without root those tests are left out anyway, so that a missing tool is then only mentioned.
pub fn test_tools() -> Result<()> {
    let missing: Vec<&str> =
        TEST_TOOLS.iter().filter(|(program, _)| !is_on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    match install(&missing) {
        Err(error) if !is_root() => {
            eprintln!("setup: {error:#} (only the lab and the privileged tests need them)");
            Ok(())
        }
        result => result,
    }
}

/// Installs Debian packages, or says in one line who has to.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_on_path("apt-get") {
        bail!("needed: what Debian calls {list}; install it with this system's package manager");
    }
    if !is_root() {
        bail!("needed: sudo apt-get install --no-install-recommends {list}");
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    step::run("setup: apt-get update", apt().arg("update"))?;
    step::run(
        &format!("setup: apt-get install {list}"),
        apt().args(["install", "--yes", "--no-install-recommends"]).args(packages),
    )
}

/// May this process install packages, make namespaces and load programs?
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    std::os::unix::fs::MetadataExt::uid(&match std::fs::metadata("/proc/self") {
        Ok(metadata) => metadata,
        Err(_) => return false,
    }) == 0
}

fn is_on_path(program: &str) -> bool {
    // A user's PATH often lacks the folders of administration.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_owned()))
        .any(|folder| folder.join(program).is_file())
}
