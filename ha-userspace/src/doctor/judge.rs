//! Which facts are good enough, and what mends those that are not? Pure.

use super::{
    facts::{Examined, Host, Link, Mode, Role, XDP_BASIC},
    report::Finding,
};

/// The oldest kernel with all that the programs use (64-bit compare-and-swap came last, in 5.12).
const OLDEST: (u32, u32) = (5, 12);

/// The oldest kernel that the programs have been loaded on.
const OLDEST_TRIED: (u32, u32) = (6, 1);

/// From this kernel on, maps and programs no longer count as locked memory.
const NO_MEMLOCK: (u32, u32) = (5, 11);

/// Below this much, locking the daemon's memory and creating its maps is hopeless, in bytes.
const MEMLOCK_NEEDED: u64 = 1 << 30;

/// The capabilities that a node needs: bit and name.
const CAPABILITIES: [(u32, &str); 6] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (14, "CAP_IPC_LOCK"),
    (23, "CAP_SYS_NICE"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// The one that stands in for CAP_BPF and CAP_PERFMON.
const CAP_SYS_ADMIN: u32 = 21;

/// What a stray's encapsulation adds to a frame, in bytes.
const STRAY_OVERHEAD: u32 = 60;

/// The largest MTU at which drivers run a program that takes one buffer per frame (a page less its head and tail room).
const MAX_NATIVE_MTU: u32 = 3498;

/// How our own programs' names begin in the kernel.
const OWN_PROGRAMS: [&str; 2] = ["understudy", "ingress"];

/// Judges the machine.
#[must_use]
pub fn host(host: &Host) -> Vec<Finding> {
    let mut findings = vec![kernel(host), capabilities(host)];
    findings.push(match host.btf {
        true => Finding::ok("btf", "the kernel describes its types"),
        false => Finding::fail(
            "btf",
            "/sys/kernel/btf/vmlinux is missing",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (distributions' kernels are)",
        ),
    });
    findings.extend(host.features.iter().map(|(feature, missing)| match missing {
        None => Finding::ok("bpf", format!("{feature} works")),
        Some(why) => Finding::fail("bpf", format!("{feature} does not work: {why}"), "run as root on Linux 6.1 or newer"),
    }));
    findings.push(match host.bpffs {
        true => Finding::ok("bpffs", "mounted on /sys/fs/bpf"),
        false => Finding::fail(
            "bpffs",
            "not mounted on /sys/fs/bpf: a restarted daemon could not find its programs",
            "mount -t bpf bpf /sys/fs/bpf",
        ),
    });
    findings.push(memlock(host));
    findings.push(match &host.fifo_refused {
        None => Finding::ok("sched", "real-time priority (SCHED_FIFO) is allowed"),
        Some(why) => Finding::warn(
            "sched",
            format!("real-time priority (SCHED_FIFO) is refused ({why}): heartbeats will be late under load"),
            "run with CAP_SYS_NICE, outside a control group without cpu.rt_runtime_us",
        ),
    });
    findings
}

fn kernel(host: &Host) -> Finding {
    let release = &host.kernel;
    let Some(version) = version(release) else {
        return Finding::warn("kernel", format!("{release:?} is not a version"), "use Linux 6.1 or newer");
    };
    if version < OLDEST {
        return Finding::fail("kernel", format!("Linux {release} lacks what the programs use"), "use Linux 6.1 or newer");
    }
    if version < OLDEST_TRIED {
        return Finding::warn("kernel", format!("Linux {release} was never tried"), "use Linux 6.1 or newer");
    }
    Finding::ok("kernel", format!("Linux {release}"))
}

fn capabilities(host: &Host) -> Finding {
    let has_bit = |bit: u32| host.capabilities >> bit & 1 == 1;
    let has = |bit: u32| has_bit(bit) || (bit >= 38 && has_bit(CAP_SYS_ADMIN));
    let missing: Vec<&str> = CAPABILITIES.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Finding::ok("privileges", "all capabilities that a node needs");
    }
    let missing = missing.join(" ");
    Finding::fail(
        "privileges",
        format!("missing: {missing}"),
        format!("run as root, or add AmbientCapabilities={missing} to the unit"),
    )
}

fn memlock(host: &Host) -> Finding {
    let has_ipc_lock = host.capabilities >> 14 & 1 == 1;
    let uncounted = version(&host.kernel).is_some_and(|version| version >= NO_MEMLOCK);
    match host.memlock {
        None => Finding::ok("memlock", "no limit"),
        Some(limit) if limit >= MEMLOCK_NEEDED => Finding::ok("memlock", format!("{} MiB", limit >> 20)),
        Some(limit) if has_ipc_lock && uncounted => {
            Finding::ok("memlock", format!("limit of {} KiB does not bind (CAP_IPC_LOCK)", limit >> 10))
        }
        Some(limit) => Finding::fail(
            "memlock",
            format!("only {} KiB may be locked: maps or the daemon's memory do not fit", limit >> 10),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
        ),
    }
}

/// Judges the interfaces, each alone and the HA links against the legs.
#[must_use]
pub fn interfaces(examined: &[Examined], cpus: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Examined { interface, link } in examined {
        match link {
            Some(link) => findings.extend(alone(&interface.name, link, cpus)),
            None => findings.push(Finding::fail(&interface.name, "no such interface here", "ip link show")),
        }
    }
    findings.extend(ha_mtu(examined));
    findings
}

fn alone(name: &str, link: &Link, cpus: usize) -> Vec<Finding> {
    let mut findings = vec![xdp(name, link)];
    findings.extend(foreign_program(name, link));
    if !link.carrier {
        findings.push(Finding::warn(name, "no carrier", format!("check the cable, or: ip link set dev {name} up")));
    }
    if link.lro == Some(true) {
        let what = "large receive offload is on: XDP would see merged frames, drivers refuse it";
        findings.push(Finding::warn(name, what, format!("ethtool -K {name} lro off")));
    }
    if link.rx_vlan_offload == Some(true) {
        let what = "the device takes VLAN tags off: tagged traffic is not recognised";
        findings.push(Finding::warn(name, what, format!("ethtool -K {name} rxvlan off")));
    }
    findings.push(queues(name, link, cpus));
    findings
}

fn xdp(name: &str, link: &Link) -> Finding {
    let Link { driver, mtu, .. } = link;
    let attached = link.attached.as_ref().map(|program| program.mode);
    let native = link.xdp_features.map(|features| features & XDP_BASIC != 0);
    match (attached, native) {
        (Some(Mode::Native | Mode::Offloaded), _) => Finding::ok(name, format!("native XDP in use (driver {driver})")),
        (_, Some(true)) if *mtu > MAX_NATIVE_MTU => Finding::warn(
            name,
            format!("MTU {mtu}: native XDP takes at most {MAX_NATIVE_MTU}, generic XDP will be used, many times slower"),
            format!("ip link set dev {name} mtu {MAX_NATIVE_MTU}"),
        ),
        (Some(Mode::Generic), Some(true)) => Finding::warn(
            name,
            format!("generic XDP in use although driver {driver} has native XDP"),
            format!("ip link set dev {name} xdpgeneric off, then restart the node"),
        ),
        (None, Some(true)) => Finding::ok(name, format!("native XDP (driver {driver}), MTU {mtu}")),
        (_, Some(false)) => Finding::warn(
            name,
            format!("driver {driver} has no native XDP: generic XDP will be used, many times slower"),
            "use a NIC whose driver has native XDP",
        ),
        (_, None) => Finding::warn(
            name,
            format!("this kernel does not tell whether driver {driver} has native XDP"),
            "use Linux 6.3 or newer to know; the node says at start which mode it got",
        ),
    }
}

fn foreign_program(name: &str, link: &Link) -> Option<Finding> {
    let program = link.attached.as_ref()?;
    if OWN_PROGRAMS.iter().any(|own| program.name.starts_with(own)) {
        return Some(Finding::ok(name, format!("our program {} (id {}) is attached", program.name, program.id)));
    }
    let called = if program.name.is_empty() { "without a name" } else { &program.name };
    Some(Finding::fail(
        name,
        format!("a foreign XDP program holds the interface: {called} (id {})", program.id),
        format!("stop what loaded it, or: ip link set dev {name} xdp off"),
    ))
}

fn queues(name: &str, link: &Link, cpus: usize) -> Finding {
    let (used, possible) = (link.rx_queues, link.max_rx_queues);
    let wanted = possible.min(u32::try_from(cpus).unwrap_or(u32::MAX));
    if used >= wanted {
        return Finding::ok(name, format!("{used} of {possible} receive queues in use"));
    }
    Finding::warn(
        name,
        format!("{used} of {possible} receive queues in use by {cpus} CPUs: some CPUs receive nothing"),
        format!("ethtool -L {name} combined {wanted} (or rx {wanted})"),
    )
}

/// A stray is a whole frame of a leg inside one of the HA link.
fn ha_mtu(examined: &[Examined]) -> Vec<Finding> {
    let of_role = |role: Role| {
        let links = examined.iter().filter(move |one| one.interface.role == role);
        links.filter_map(|one| Some((one.interface.name.as_str(), one.link.as_ref()?.mtu)))
    };
    let Some((leg, mtu)) = of_role(Role::Leg).max_by_key(|(_, mtu)| *mtu) else {
        return Vec::new();
    };
    let needed = mtu + STRAY_OVERHEAD;
    let judged = of_role(Role::HaLink).map(|(name, mtu)| match mtu >= needed {
        true => Finding::ok(name, format!("MTU {mtu} carries whole frames of {leg}")),
        false => Finding::fail(
            name,
            format!("MTU {mtu} is too small to carry whole frames of {leg} to the peer: {needed} is needed"),
            format!("ip link set dev {name} mtu {needed} (on both nodes, and the switch in between)"),
        ),
    });
    judged.collect()
}

/// Major and minor version of a release such as `6.12.9-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests;
