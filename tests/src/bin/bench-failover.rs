//! `cargo xtask bench failover`: outages and false takeovers, beside keepalived's in the same lab.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use ha_tests::failover::event::Event;
use ha_tests::failover::keepalived::{KeepalivedPair, VARIANTS};
use ha_tests::failover::pair::Pair;
use ha_tests::failover::results::{FalseFailovers, KEEPALIVED, Results, Row, Setting, UNDERSTUDY};
use ha_tests::failover::understudy::Settings;
use ha_tests::failover::{measure, steadiness};
use ha_tests::harness::keepalived::ADVERT;
use ha_tests::harness::report::ms;
use ha_tests::harness::run::reap_on_signals;

/// Measures how long the VIP is without an answer when the Primary is lost, and how often it is lost for no reason.
///
/// At every setting: each event as often as asked, one probe per millisecond; then the false-failover test with busy loops beside. A
/// takeover is false unless a CPU stood still meanwhile for longer than the dead interval, as a real-time timer on it recorded.
#[derive(Parser)]
#[command(name = "cargo xtask bench failover")]
struct Arguments {
    /// Measure another system too, in the same lab and the same run.
    #[arg(long)]
    against: Option<Against>,
    /// Runs of each event.
    #[arg(long, default_value_t = 11)]
    runs: usize,
    /// How long the client is watched after the new Primary's first answer, ms.
    #[arg(long, default_value_t = 300)]
    watch_ms: u64,
    /// Say more of each run whose outage is longer, ms.
    #[arg(long)]
    explain_above: Option<f64>,
    /// Settings of Understudy: hello/dead in ms; `none` leaves it out.
    #[arg(long, value_delimiter = ',', default_value = "1/4,2/6,10/30")]
    settings: Vec<String>,
    /// Settings of keepalived, by name; all if not given.
    #[arg(long, value_delimiter = ',')]
    variants: Vec<String>,
    /// Events; all if not given.
    #[arg(long, value_delimiter = ',')]
    events: Vec<Event>,
    /// Length of the false-failover test at each setting; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    false_seconds: u64,
    /// Busy loops during the false-failover test.
    #[arg(long, default_value_t = 8)]
    busy_loops: usize,
    /// One JSON object on standard output, nothing else there.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Against {
    Keepalived,
}

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
    ensure!(arguments.runs > 0, "--runs: at least one");
    let known: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).collect();
    let unknown = arguments.variants.iter().find(|name| !known.contains(&name.as_str()));
    ensure!(unknown.is_none(), "--variants {}: there are {}", unknown.map_or("", String::as_str), known.join(", "));
    let own = arguments.settings.iter().filter(|text| *text != "none").map(|text| Settings::parse(text));
    let own = own.collect::<Result<Vec<_>>>()?;

    let mut results = Results::default();
    for settings in own {
        let Settings { hello_ms, dead_ms } = settings;
        let setting = Setting { system: UNDERSTUDY, variant: "default", hello_ms, dead_ms };
        let mut lab = settings.raise().with_context(|| setting.to_string())?;
        arguments.measure(&setting, &mut lab, Event::value_variants(), &mut results)?;
    }
    if arguments.against == Some(Against::Keepalived) {
        let chosen = |name: &str| arguments.variants.is_empty() || arguments.variants.iter().any(|wanted| wanted == name);
        for variant in VARIANTS.iter().filter(|variant| chosen(variant.name)) {
            let (hello_ms, dead_ms) = (ms(ADVERT), ms(variant.settings.master_down()));
            let setting = Setting { system: KEEPALIVED, variant: variant.name, hello_ms, dead_ms };
            let mut pair = KeepalivedPair::raise(&variant.settings).with_context(|| setting.to_string())?;
            arguments.measure(&setting, &mut pair, variant.events, &mut results)?;
        }
    }
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&results)?),
        false => print!("{}", results.for_people()),
    }
    Ok(())
}

impl Arguments {
    /// All events and the false-failover test at one setting.
    fn measure(&self, setting: &Setting, pair: &mut dyn Pair, events: &[Event], results: &mut Results) -> Result<()> {
        let wanted = |event: &&Event| self.events.is_empty() || self.events.contains(event);
        for event in events.iter().filter(wanted) {
            eprintln!("bench: {setting}: {}, {} runs", event.name(), self.runs);
            let after = Duration::from_millis(self.watch_ms);
            let runs = (0..self.runs).map(|_| {
                let sample = measure::run(pair, *event, after)?;
                if self.explain_above.is_some_and(|limit| ms(sample.outage) > limit) {
                    eprintln!("{sample:#?}\n{}", pair.logs());
                }
                Ok(sample)
            });
            let samples = runs.collect::<Result<Vec<_>>>();
            let samples = samples.with_context(|| format!("{setting}: {}\n{}", event.name(), pair.logs()))?;
            let row = Row::new(setting, *event, &samples);
            eprintln!("bench: {row}");
            results.rows.push(row);
        }
        let time = Duration::from_secs(self.false_seconds);
        if !time.is_zero() {
            eprintln!("bench: {setting}: {} busy loops for {} s", self.busy_loops, self.false_seconds);
            let dead = Duration::from_secs_f64(setting.dead_ms / 1000.0);
            let seen = steadiness::observe(pair, time, self.busy_loops, dead);
            let seen = seen.with_context(|| format!("{setting}: busy loops\n{}", pair.logs()))?;
            let row = FalseFailovers::new(setting, time, self.busy_loops, &seen);
            eprintln!("bench: {row}");
            results.false_failovers.push(row);
        }
        Ok(())
    }
}
