//! The kernel's own packet generator, where its module is there: datagrams only, but from any driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::traffic::Way;

const ROOT: &str = "/proc/net/pktgen";

/// pktgen's thread of CPU 0 with one interface.
pub struct Pktgen {
    interface: PathBuf,
}

impl Pktgen {
    /// Gives it `interface`.
    pub fn open(interface: &str) -> Result<Self> {
        if !Path::new(ROOT).exists() {
            // Built in, loaded here, or not there: the folder says which.
            let _ = Command::new("modprobe").arg("pktgen").output();
        }
        ensure!(
            Path::new(ROOT).exists(),
            "this kernel has no packet generator (module pktgen, CONFIG_NET_PKTGEN): leave --pktgen out, live frames need no module"
        );
        let thread = Path::new(ROOT).join("kpktgend_0");
        tell(&thread, "rem_device_all")?;
        tell(&thread, &format!("add_device {interface}"))?;
        Ok(Self { interface: Path::new(ROOT).join(interface) })
    }

    /// Sends for `time`; how many frames, and how long that took.
    pub fn send(&self, way: &Way, time: Duration) -> Result<(u64, Duration)> {
        let mac = way.to.map(|byte| format!("{byte:02x}")).join(":");
        let settings = [
            "count 0".to_owned(),
            "clone_skb 0".to_owned(),
            "delay 0".to_owned(),
            "pkt_size 64".to_owned(),
            "tos 04".to_owned(),
            format!("dst {}", way.address),
            format!("dst_mac {mac}"),
            // As many flows as the generator of live frames has.
            "src_min 10.16.0.0".to_owned(),
            "src_max 10.16.15.255".to_owned(),
            "flag IPSRC_RND".to_owned(),
            "udp_src_min 40000".to_owned(),
            "udp_src_max 40015".to_owned(),
            "flag UDPSRC_RND".to_owned(),
            "flag UDPCSUM".to_owned(),
            format!("udp_dst_min {}", way.port),
            format!("udp_dst_max {}", way.port),
        ];
        settings.iter().try_for_each(|setting| tell(&self.interface, setting))?;
        let control = Path::new(ROOT).join("pgctrl");
        let begun = Instant::now();
        std::thread::scope(|scope| {
            // Returns when it is stopped.
            let running = scope.spawn(|| tell(&control, "start"));
            std::thread::sleep(time);
            tell(&control, "stop")?;
            running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok((sent(&fs::read_to_string(&self.interface)?)?, begun.elapsed()))
    }
}

impl Drop for Pktgen {
    fn drop(&mut self) {
        // The interface may be gone.
        let _ = tell(&Path::new(ROOT).join("kpktgend_0"), "rem_device_all");
    }
}

fn tell(file: &Path, command: &str) -> Result<()> {
    fs::write(file, command).with_context(|| format!("tell {} {command}", file.display()))
}

/// The number of packets in what pktgen shows of an interface.
fn sent(shown: &str) -> Result<u64> {
    let mut words = shown.split_whitespace();
    if !words.any(|word| word == "pkts-sofar:") {
        bail!("pktgen shows no packets:\n{shown}");
    }
    words.next().and_then(|count| count.parse().ok()).with_context(|| format!("pktgen shows no count of packets:\n{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_read_from_what_pktgen_shows() {
        let shown = "Params: count 0  min_pkt_size: 64\nCurrent:\n     pkts-sofar: 1234567  errors: 0\n";
        assert_eq!(sent(shown).unwrap(), 1_234_567);
        assert!(sent("Params: count 0").is_err());
    }
}
