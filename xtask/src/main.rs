//! Every development command of the project: `cargo xtask <command>`.
//!
//! One file per command. The commands that need the test harness (`lab`, `sim`, `model`, `bench`) are binaries of the crate
//! `ha-tests`; this program only prepares the machine and becomes them, so that it stays quick to compile.

mod forward;
mod setup;
mod step;
mod test;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every development command of the project.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds or brings what the build and the tests need; quick when everything is there.
    Setup,
    /// Formatting, lints, documentation and every test; ends with the test runner's summary.
    Test(test::Options),
    /// Raises a pair in network namespaces, fails it over and measures the outage.
    #[command(disable_help_flag = true)]
    Lab(Forwarded),
    /// Runs the pair on a virtual clock through random faults.
    #[command(disable_help_flag = true)]
    Sim(Forwarded),
    /// Random packets over random tables through the pipeline on the host and through the loaded programs, which must agree.
    #[command(disable_help_flag = true)]
    Fuzz(Forwarded),
    /// Makes a pair of two virtual machines, pauses one and sets its clock; slow, by hand.
    #[command(disable_help_flag = true)]
    Guests(Forwarded),
    /// Runs the golden vectors on Debian's kernels, with the programs in the drivers of a virtual machine's network cards; by hand.
    #[command(disable_help_flag = true)]
    Kernels(Forwarded),
    /// Visits every schedule of a bounded pair, also with each rule taken out; `--help` lists what may go wrong.
    #[command(disable_help_flag = true)]
    Model(Forwarded),
    /// Measures: `bench packet` gives nanoseconds per packet, `bench failover` outages and false takeovers, `bench announce` how soon
    /// many VIPs are reachable, `bench rate` what a packet costs on a live path.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Nanoseconds per packet of each path through the loaded program.
    #[command(disable_help_flag = true)]
    Packet(Forwarded),
    /// How long the VIP is without an answer when the Primary is lost, and how often it is lost for no reason.
    #[command(disable_help_flag = true)]
    Failover(Forwarded),
    /// How soon thousands of VIPs are reachable after a takeover, with a virtual MAC and without.
    #[command(disable_help_flag = true)]
    Announce(Forwarded),
    /// What a packet costs on a live path beside the kernel's and nftables' cost, and what a flood of SYNs does.
    #[command(disable_help_flag = true)]
    Rate(Forwarded),
}

/// Arguments that another program understands.
#[derive(clap::Args)]
struct Forwarded {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::run(setup::Say::Everything).map(|_| ExitCode::SUCCESS),
        Command::Test(options) => test::run(&options),
        Command::Lab(args) => forward::become_binary("lab", &args.arguments),
        Command::Sim(args) => forward::become_binary("sim", &args.arguments),
        Command::Fuzz(args) => forward::become_binary("fuzz", &args.arguments),
        Command::Guests(args) => forward::become_binary("guests", &args.arguments),
        Command::Kernels(args) => forward::become_binary("kernels", &args.arguments),
        Command::Model(args) => forward::become_binary("model", &args.arguments),
        Command::Bench { what: Bench::Packet(args) } => forward::become_binary("bench-packet", &args.arguments),
        Command::Bench { what: Bench::Announce(args) } => forward::become_binary("bench-announce", &args.arguments),
        Command::Bench { what: Bench::Rate(args) } => forward::become_binary("bench-rate", &args.arguments),
        Command::Bench { what: Bench::Failover(args) } => forward::become_binary("bench-failover", &args.arguments),
    }
}

/// The workspace's folder.
fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}
