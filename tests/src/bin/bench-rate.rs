//! `cargo xtask bench rate`: what a packet costs on a live path, beside the kernel's and nftables' cost in the same run.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use ha_tests::harness::run::reap_on_signals;
use ha_tests::rate::device::Kind;
use ha_tests::rate::flood::{self, Flood};
use ha_tests::rate::measure::{Bench, Placement};
use ha_tests::rate::nic::{self, Remote};
use ha_tests::rate::report::{self, Figure};
use ha_tests::rate::rows::{CEILING, ROWS, Row};

/// Measures what a packet costs on a live path: frames made in the kernel on CPU 0 cross real interfaces and a real daemon.
///
/// Costs are CPU time per packet above that of a path whose device drops every frame by XDP, in the same round; the medians of rounds that
/// interleave all rows. With `inline` the sender's CPU carries each packet to the end: costs add up. With `threaded` the device's packets
/// have a thread on CPU 1, are too many, and what it cannot take is lost. These are costs of this machine's veths and not the rate of any
/// network card: for that see `--nic`.
///
/// Needs root. All traffic stays within namespaces of its own, unless `--nic` is given.
#[derive(Parser)]
#[command(name = "cargo xtask bench rate", after_long_help = RECIPE)]
struct Arguments {
    /// Measure another system too, on the same bed and in the same run.
    #[arg(long)]
    against: Option<Against>,
    /// Who carries packets; both if not given.
    #[arg(long)]
    placement: Option<Placement>,
    /// Rounds of each row.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round of a row, ms.
    #[arg(long, default_value_t = 1_000)]
    ms: u64,
    /// Only these rows, and the ceiling.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Instead: random SYNs at 80 % of the rate without loss, while 10,000 connections go on and new ones are made.
    #[arg(long)]
    flood: bool,
    /// How long the flood lasts, s.
    #[arg(long, default_value_t = 20)]
    flood_seconds: u64,
    /// Part of the rate without loss that the flood has, percent.
    #[arg(long, default_value_t = 80)]
    flood_percent: u64,
    /// Instead: measure another machine, through this interface.
    #[arg(long, requires = "peer")]
    nic: Option<String>,
    /// The address of it that frames are sent to: its VIP, with `--nic`.
    #[arg(long, requires = "nic")]
    peer: Option<std::net::Ipv4Addr>,
    /// Port of the VIP.
    #[arg(long, default_value_t = 80)]
    port: u16,
    /// Where frames come back, if not on `--nic`.
    #[arg(long, requires = "nic")]
    back: Option<String>,
    /// Have the kernel's module pktgen send, with `--nic`: datagrams only.
    #[arg(long, requires = "nic")]
    pktgen: bool,
    /// One JSON object on standard output, nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Against {
    Nftables,
}

const RECIPE: &str = "\
Two real hosts, T (traffic) and D (device), cabled back to back or through a switch of their own:

  T has the interface eth1 with 10.1.0.2/24 and, as backends, 10.1.0.21/24 and 10.1.0.22/24 (`ip addr add … dev eth1`), no service on them.
  D has eth1 with 10.1.0.11/24, `ip route add 10.16.0.0/12 via 10.1.0.2`, and runs understudy with
      add ns ip 10.1.0.100 255.255.255.255 -type VIP
      add lb vserver web TCP 10.1.0.100 80 -lbMethod SRCIPSRCPORTHASH
      add service s1 10.1.0.21 TCP 80 -usip YES -healthMonitor NO
      add service s2 10.1.0.22 TCP 80 -usip YES -healthMonitor NO
      bind lb vserver web s1
      bind lb vserver web s2
  T: cargo xtask bench rate --nic eth1 --peer 10.1.0.100
  For the comparison, on D instead of understudy: `sysctl net.ipv4.ip_forward=1`, the VIP on eth1, and
      nft 'add table ip lb; add chain ip lb pre { type nat hook prerouting priority dstnat; }; add rule ip lb pre ip daddr 10.1.0.100
           tcp dport 80 dnat to jhash ip saddr . tcp sport mod 2 map { 0 : 10.1.0.21, 1 : 10.1.0.22 }'
  and the same command on T again. One queue of D's NIC (`ethtool -L eth1 combined 1`) gives the figure of one core.

T's driver must send what XDP redirects to it (most do once an XDP program is attached, which this does); otherwise, `--pktgen` with a UDP
vserver. What is reported is what T saw come back: no figure of a NIC is known before somebody ran this.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match reap_on_signals().and_then(|()| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds: at least one");
    if let (Some(nic), Some(peer)) = (&arguments.nic, arguments.peer) {
        let back = arguments.back.as_ref().unwrap_or(nic);
        let remote = Remote { nic, back, peer, port: arguments.port, pktgen: arguments.pktgen };
        let figures = nic::measure(&remote, arguments.rounds, Duration::from_millis(arguments.ms))?;
        return arguments.print(&figures, nic::table(&figures));
    }
    if arguments.flood {
        let flood = Flood { time: Duration::from_secs(arguments.flood_seconds), percent: arguments.flood_percent };
        let results = arguments.kinds_flooded().map(|kind| flood::run(kind, &flood)).collect::<Result<Vec<_>>>()?;
        return arguments.print(&results, flood::table(&results));
    }
    let rows = arguments.rows()?;
    let mut kinds: Vec<Kind> = Kind::ALL.to_vec();
    kinds.retain(|kind| rows.iter().any(|row| row.kind == *kind));
    let mut bench = Bench::raise(&kinds)?;
    let placements = arguments.placement.map_or_else(|| vec![Placement::Inline, Placement::Threaded], |one| vec![one]);
    let mut figures: Vec<Figure> = Vec::new();
    for placement in placements {
        if placement == Placement::Threaded {
            bench.thread()?;
        }
        let time = Duration::from_millis(arguments.ms);
        // One round before those that count: neighbours are found, pages and tables are warm.
        rows.iter().try_for_each(|row| bench.round(row, time / 4).map(drop)).context("before the first round")?;
        let mut rounds = Vec::new();
        for number in 1..=arguments.rounds {
            eprintln!("bench: round {number} of {}, {placement:?}", arguments.rounds);
            rounds.push(rows.iter().map(|row| bench.round(row, time)).collect::<Result<Vec<_>>>()?);
        }
        figures.extend(report::figures(&rows, placement, &rounds));
    }
    arguments.print(&figures, report::table(&figures))
}

impl Arguments {
    fn rows(&self) -> Result<Vec<Row>> {
        let unknown = self.only.iter().find(|name| ROWS.iter().all(|row| row.name != *name));
        let known = || ROWS.map(|row| row.name).join(", ");
        ensure!(unknown.is_none(), "--only {}: there are {}", unknown.map_or("", String::as_str), known());
        let wanted = |row: &&Row| {
            let chosen = self.only.is_empty() || row.name == CEILING || self.only.iter().any(|name| name == row.name);
            chosen && (row.kind != Kind::Nftables || self.against == Some(Against::Nftables))
        };
        Ok(ROWS.iter().filter(wanted).copied().collect())
    }

    fn kinds_flooded(&self) -> impl Iterator<Item = Kind> {
        [Kind::Understudy].into_iter().chain((self.against == Some(Against::Nftables)).then_some(Kind::Nftables))
    }

    fn print<T: serde::Serialize>(&self, figures: &T, table: String) -> Result<()> {
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(figures)?),
            false => print!("{table}"),
        }
        Ok(())
    }
}
