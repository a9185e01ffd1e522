//! What a guest comes up with: busybox, the daemon with its libraries, a few modules and an init that ends in a shell on the console.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernel::{Kernel, run};

/// In the order in which they can be loaded; what a kernel has built in is left out.
const MODULES: [&str; 10] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "sch_ingress",
    "cls_bpf",
];

/// Printed by init when the shell listens.
pub const READY: &str = "guest is up";

/// Builds the first file system of a guest in `dir`, with `config` for the daemon and `setup` run before the shell; its file.
pub fn build(dir: &Path, kernel: &Kernel, daemon: &Path, config: &str, setup: &str) -> Result<PathBuf> {
    let root = dir.join("root");
    for folder in ["bin", "proc", "sys", "dev", "run", "tmp", "modules", "state"] {
        fs::create_dir_all(root.join(folder))?;
    }
    copy(&busybox()?, &root.join("bin/busybox"))?;
    copy(daemon, &root.join("bin/understudy"))?;
    for library in libraries(daemon)? {
        copy(&library, &root.join(library.strip_prefix("/")?))?;
    }
    let mut loads = String::new();
    for module in MODULES {
        if kernel.copy_module(module, &root.join("modules"))? {
            loads += &format!("insmod /modules/{module}.ko\n");
        }
    }
    fs::write(root.join("understudy.conf"), config)?;
    fs::set_permissions(root.join("understudy.conf"), fs::Permissions::from_mode(0o600))?;
    let init = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n\
         mount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\nmount -t bpf bpf /sys/fs/bpf\n\
         {loads}ip link set lo up\n{setup}\nstty -echo\necho {READY}\nexec sh\n"
    );
    fs::write(root.join("init"), init)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let image = dir.join("initrd");
    let pack = format!("find . | {} cpio -o -H newc > ../initrd 2>/dev/null", busybox()?.display());
    run(Command::new("sh").args(["-c", &pack]).current_dir(&root))?;
    Ok(image)
}

fn busybox() -> Result<PathBuf> {
    let path = PathBuf::from("/bin/busybox");
    ensure!(path.exists(), "busybox is missing: apt-get install busybox-static");
    Ok(path)
}

/// What the dynamic linker needs for `binary`.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(binary).output().context("run ldd")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
