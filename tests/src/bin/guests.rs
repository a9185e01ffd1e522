//! `cargo xtask guests`: a pair of virtual machines, one of which is paused, and one of which has its clock set.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ha_tests::guests::cables::{self, Cables};
use ha_tests::guests::guest::{Guest, Pause};
use ha_tests::guests::image::{self, Contents};
use ha_tests::guests::kernel::Kernel;
use ha_tests::guests::scratch::Scratch;
use ha_tests::harness::lab::daemon;
use ha_tests::harness::topology::{Host, VIP_V4};

/// Boots two guests under qemu, makes them a pair, pauses the Primary and sets its clock, and says what the client saw.
///
/// Slow (no acceleration is needed or used) and by hand. Needs the packages qemu-system-x86 and busybox-static; kernels are brought
/// from Debian's archive into target/guests and not installed.
#[derive(Parser)]
#[command(name = "cargo xtask guests")]
struct Arguments {
    /// Kernel series of guest a.
    #[arg(long, default_value = "6.12")]
    kernel_a: String,
    /// Kernel series of guest b.
    #[arg(long, default_value = "6.12")]
    kernel_b: String,
    /// Where kernels are kept and sockets lie.
    #[arg(long, default_value = "target/guests")]
    dir: PathBuf,
    /// Seconds for which the Primary is paused, by the monitor and by its host's scheduler.
    #[arg(long, default_value_t = 8)]
    pause: u64,
}

/// The public defaults; see `ha_tests::guests`.
const HELLO_MS: u64 = 200;
const DEAD: Duration = Duration::from_secs(3);
/// What an emulated machine may take on top of what the rules say.
const SLOWNESS: Duration = Duration::from_secs(20);
/// How long is watched that nothing happens.
const QUIET: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let scratch = Scratch::create(&arguments.dir)?;
    let mut pair = Pair::raise(scratch.path(), arguments)?;
    let primary = pair.settle()?;
    println!("Primary: guest {}", primary.name());
    step_clock(&mut pair, primary)?;
    // Each in turn: the one with the lower id decides disputes, the other one obeys.
    let mut faults = Vec::new();
    for (host, pause) in Host::BOTH.into_iter().flat_map(|host| Pause::ALL.map(|pause| (host, pause))) {
        if pair.settle()? != host {
            let answer = pair.guest(host.peer()).run("understudy force ha failover -force 2>&1")?;
            ensure!(pair.settle()? == host, "guest {} did not hand over: {answer}\n{}", host.peer().name(), pair.logs());
        }
        if let Err(error) = pause_and_resume(&mut pair, host, pause, Duration::from_secs(arguments.pause)) {
            eprintln!("{error:#}");
            faults.push(format!("guest {} ({pause:?})", host.name()));
        }
    }
    ensure!(faults.is_empty(), "paused and continued, it did not stop at once: {}", faults.join(", "));
    Ok(())
}

struct Pair {
    guests: [Guest; 2],
    cables: Cables,
}

impl Pair {
    fn raise(dir: &Path, arguments: &Arguments) -> Result<Self> {
        let cables = Cables::lay(dir, VIP_V4)?;
        let boot = |host: Host, series: &str| {
            let kernel = Kernel::bring(series, &arguments.dir.join("kernels"))?;
            let place = dir.join(host.name());
            std::fs::create_dir_all(&place)?;
            let setup = format!(
                "for n in 0 1 2; do ip link set eth$n up; done\nip addr add {}/24 dev eth0\n\
                 understudy run --config /understudy.conf --state /state --pins /sys/fs/bpf/understudy > /log 2>&1 &",
                host.client_v4()
            );
            let contents =
                Contents { programs: &[daemon()?], modules: &[], files: &[("understudy.conf", &config(host))], setup: &setup };
            let image = image::build(&place, &kernel, &contents)?;
            println!("guest {} boots Linux {}", host.name(), kernel.release);
            Guest::boot(dir, host.name(), &kernel, &image, &cables::cards(dir, host))
        };
        let guests = [boot(Host::A, &arguments.kernel_a)?, boot(Host::B, &arguments.kernel_b)?];
        Ok(Self { guests, cables })
    }

    fn guest(&mut self, host: Host) -> &mut Guest {
        &mut self.guests[host as usize]
    }

    /// Waits until one is Primary, the other Secondary, and the Primary answers; the Primary.
    fn settle(&mut self) -> Result<Host> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let roles = Host::BOTH.map(|host| self.guest(host).role().unwrap_or_else(|error| format!("{error:#}")));
            let primary = match (roles[0].as_str(), roles[1].as_str()) {
                ("Primary", "Secondary") => Some(Host::A),
                ("Secondary", "Primary") => Some(Host::B),
                _ => None,
            };
            if let Some(primary) = primary {
                self.cables.wait_answer_of(primary, Instant::now(), SLOWNESS)?;
                return Ok(primary);
            }
            if Instant::now() > deadline {
                let logs = self.logs();
                return Err(anyhow::anyhow!("the pair did not settle: a {}, b {}\n{logs}", roles[0], roles[1]));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn logs(&mut self) -> String {
        let log = |host: Host| {
            let log = self.guests[host as usize].run("tail -n 40 /log").unwrap_or_else(|error| format!("{error:#}"));
            format!("--- log of guest {}\n{log}\n", host.name())
        };
        Host::BOTH.map(log).concat()
    }

    /// How many changes of role the guest has logged.
    fn changes(&mut self, host: Host) -> Result<usize> {
        let printed = self.guest(host).run("grep -c ': role from=' /log")?;
        let count = printed.split_whitespace().last().and_then(|word| word.parse().ok());
        count.with_context(|| format!("grep printed {printed}"))
    }
}

/// The wall clock jumps by a day there and back: nobody may care.
fn step_clock(pair: &mut Pair, primary: Host) -> Result<()> {
    for host in [primary, primary.peer()] {
        let before = [pair.changes(Host::A)?, pair.changes(Host::B)?];
        let since = Instant::now();
        for step in ["+ 86400", "- 172800", "+ 86400"] {
            pair.guest(host).run(&format!("date -s @$(( $(date +%s) {step} )) > /dev/null"))?;
            std::thread::sleep(DEAD);
        }
        let after = [pair.changes(Host::A)?, pair.changes(Host::B)?];
        let others = pair.cables.seen().answers_of(primary.peer(), since).count();
        ensure!(
            before == after && others == 0,
            "the clock of guest {} was set and a role changed:\n{}",
            host.name(),
            pair.logs()
        );
        println!("clock of guest {} set a day ahead, two back, one ahead: no change of role", host.name());
    }
    Ok(())
}

/// The Primary stands still for longer than the dead interval, then goes on.
fn pause_and_resume(pair: &mut Pair, old: Host, pause: Pause, span: Duration) -> Result<()> {
    let new = old.peer();
    let paused = Instant::now();
    pair.guest(old).pause(pause)?;
    let taken = pair.cables.wait_answer_of(new, paused, DEAD + SLOWNESS)?;
    println!("guest {} {pause:?}; guest {} answers after {:.1?}", old.name(), new.name(), taken - paused);
    ensure!(
        taken - paused >= DEAD - Duration::from_millis(HELLO_MS),
        "guest {} took over before the dead interval",
        new.name()
    );
    std::thread::sleep(span.saturating_sub(paused.elapsed()));

    let resumed = Instant::now();
    pair.guest(old).resume(pause)?;
    std::thread::sleep(QUIET);
    let seen = pair.cables.seen();
    let heard = seen.first_heartbeat_to(old, resumed).context("no heartbeat reached the resumed guest")?;
    let stale: Vec<_> = seen.answers_of(old, resumed).collect();
    let last = stale.last().map(|at| *at - resumed);
    println!(
        "guest {} goes on: the first heartbeat reaches it after {:.1?}; it answers {} more times, last after {last:.1?}",
        old.name(),
        heard - resumed,
        stale.len()
    );
    let roles = [pair.guest(Host::A).role()?, pair.guest(Host::B).role()?];
    ensure!(
        roles[new as usize] == "Primary" && roles[old as usize] == "Secondary",
        "the resumed guest {} had to stop, but guest a is {} and b {}\n{}",
        old.name(),
        roles[0],
        roles[1],
        pair.logs()
    );
    // What was on its way to the paused guest comes first and is as old as the pause.
    let limit = Duration::from_secs(1);
    let late = stale.iter().filter(|at| **at > heard + limit).count();
    ensure!(
        late == 0,
        "guest {} still answered {late} times later than {limit:?} after the first heartbeat\n{}",
        old.name(),
        pair.logs()
    );
    Ok(())
}

/// One node of the pair, with the public default intervals.
fn config(host: Host) -> String {
    let (own, peer) = (host.nsip(), host.peer().nsip());
    format!(
        "set ns config -IPAddress {own} -netmask 255.255.255.0\n\
         set ns hostName ns-{}\n\
         set interface eth0 -haMonitor ON -haHeartbeat OFF\n\
         set interface eth1 -haMonitor OFF -haHeartbeat ON\n\
         set interface eth2 -haMonitor OFF -haHeartbeat ON\n\
         set ns rpcnode {own} -password guests\n\
         add ha node 1 {peer}\n\
         set ns rpcnode {peer} -password guests\n\
         set ha node -helloInterval {HELLO_MS} -deadInterval {}\n\
         add ns ip {VIP_V4} 255.255.255.255 -type VIP\n\
         add lb vserver web TCP {VIP_V4} 80\n",
        host.name(),
        DEAD.as_secs()
    )
}
