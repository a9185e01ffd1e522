//! What a guest comes up with: busybox, programs with their libraries, a few modules and an init that ends in a shell on the console.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernel::{Kernel, run};

/// What every guest loads; what a kernel has built in is left out.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_net", "sch_ingress", "cls_bpf"];

/// What a guest has beside busybox.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Programs of this machine, to be found in `/bin` under the names of their files.
    pub programs: &'a [PathBuf],
    /// More modules than any guest loads.
    pub modules: &'a [&'a str],
    /// Text files in `/`, readable by root alone.
    pub files: &'a [(&'a str, &'a str)],
    /// Run before the shell.
    pub setup: &'a str,
}

/// Printed by init when the shell listens.
pub const READY: &str = "guest is up";

/// Builds the first file system of a guest in `dir`; its file.
pub fn build(dir: &Path, kernel: &Kernel, contents: &Contents<'_>) -> Result<PathBuf> {
    let root = dir.join("root");
    for folder in ["bin", "proc", "sys", "dev", "run", "tmp", "modules", "state"] {
        fs::create_dir_all(root.join(folder))?;
    }
    copy(&busybox()?, &root.join("bin/busybox"))?;
    for program in contents.programs {
        copy(
            program,
            &root.join("bin").join(program.file_name().with_context(|| format!("{} is no file", program.display()))?),
        )?;
        for library in libraries(program)? {
            copy(&library, &root.join(library.strip_prefix("/")?))?;
        }
    }
    let modules = kernel.copy_modules(&[&MODULES, contents.modules].concat(), &root.join("modules"))?;
    let loads: String = modules.iter().map(|module| format!("insmod /modules/{module}\n")).collect();
    for (name, text) in contents.files {
        fs::write(root.join(name), text)?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o600))?;
    }
    let setup = contents.setup;
    let init = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin 2>/dev/null\nexport PATH=/bin PS1=\n\
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
