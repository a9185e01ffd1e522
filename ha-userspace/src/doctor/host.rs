//! Gathers what concerns the machine as a whole.

use std::{fs, path::Path, thread};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit},
    statfs::{BPF_FS_MAGIC, statfs},
};

use super::{facts::Host, syscall};

/// Where pins go.
const BPFFS: &str = "/sys/fs/bpf";

/// Looks at this machine; what cannot be read counts as missing.
pub fn gather() -> Host {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    Host {
        kernel: read("/proc/sys/kernel/osrelease").trim().into(),
        cpus: thread::available_parallelism().map_or(1, usize::from),
        capabilities: effective_capabilities(&read("/proc/thread-self/status")),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        memlock: (memlock != RLIM_INFINITY).then_some(memlock),
        bpffs: statfs(BPFFS).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC),
        fifo_refused: fifo_refused(),
        features: features(),
    }
}

fn effective_capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Asks for a real-time priority in a thread that ends at once.
fn fifo_refused() -> Option<String> {
    let asked = thread::scope(|scope| scope.spawn(syscall::become_real_time).join());
    asked.ok()?.err().map(|error| error.to_string())
}

/// Tries everything that the programs use, by loading a tiny program or creating a tiny map of each kind.
fn features() -> Vec<(&'static str, Option<String>)> {
    let program = |kind| outcome(is_program_supported(kind));
    let map = |kind| outcome(is_map_supported(kind));
    let helper = |helper| outcome(is_helper_supported(ProgramType::Xdp, helper));
    vec![
        ("XDP program", program(ProgramType::Xdp)),
        ("egress guard (traffic control program)", program(ProgramType::SchedClassifier)),
        ("ring buffer", map(MapType::RingBuf)),
        ("LRU hash map", map(MapType::LruHash)),
        ("bpf_ktime_get_ns", helper(BpfHelper::BPF_FUNC_ktime_get_ns)),
        ("bpf_xdp_adjust_head", helper(BpfHelper::BPF_FUNC_xdp_adjust_head)),
        ("bpf_redirect_map", helper(BpfHelper::BPF_FUNC_redirect_map)),
    ]
}

fn outcome(answer: Result<bool, impl std::error::Error>) -> Option<String> {
    match answer {
        Ok(true) => None,
        Ok(false) => Some("the kernel does not know it".into()),
        Err(error) => {
            let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
            Some(format!("{error}{cause}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000003000\n";
        assert_eq!(effective_capabilities(status), 1 << 12 | 1 << 13);
        assert_eq!(effective_capabilities(""), 0);
    }
}
