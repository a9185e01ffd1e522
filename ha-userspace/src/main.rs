//! The one program: the daemon (`run`), and the command line that speaks to it.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use understudy::api;
use understudy::command::{Reply, Token};
use understudy::options::{DEFAULT_SOCKET, Options};

/// Exit code when no daemon answered or could be started; 1 is a refused command.
const NOT_STARTED: u8 = 2;

/// An HA pair of layer 4 load balancers.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true, disable_help_subcommand = true)]
struct Arguments {
    /// Unix socket of the daemon
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON instead of text (-json is the same)
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Run(Options),
    /// Examine this host and the named interfaces: what would keep a node from working, and what mends it
    Doctor {
        /// NAME, or with its role NAME=leg or NAME=ha
        #[arg(value_name = "INTERFACE", allow_hyphen_values = true)]
        interfaces: Vec<String>,
    },
    /// Any command of the language: help, show ha node, add lb vserver …, stop [-force]
    #[command(external_subcommand)]
    Words(Vec<String>),
}

fn main() -> ExitCode {
    let Arguments { socket, json, command } = Arguments::parse_from(arguments());
    match command {
        Command::Run(options) => run(&options),
        Command::Doctor { interfaces } => examine(interfaces, json),
        Command::Words(words) => speak(&socket, json, words),
    }
}

/// Returns the program's arguments with a `-json` before the words, as the language spells it, spelt as clap wants it.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut own = arguments.iter_mut().skip(1);
    while let Some(argument) = own.next().filter(|argument| argument.as_encoded_bytes().starts_with(b"-")) {
        if argument == "-json" {
            *argument = "--json".into();
        } else if argument == "--socket" {
            own.next();
        }
    }
    arguments
}

fn run(options: &Options) -> ExitCode {
    match understudy::daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ERROR: {error:#}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Examines the host; needs no daemon.
fn examine(mut interfaces: Vec<String>, json: bool) -> ExitCode {
    let json = json || interfaces.iter().any(|word| word == "-json");
    interfaces.retain(|word| word != "-json");
    let report = understudy::doctor::run(&interfaces);
    let written = match json {
        true => writeln!(std::io::stdout(), "{}", report.to_json()),
        false => write!(std::io::stdout(), "{report}"),
    };
    // A reader that has gone (a closed pipe) does not change what was found.
    drop(written);
    ExitCode::from(report.exit_code())
}

/// Has the daemon execute `words`, and prints its reply.
fn speak(socket: &Path, json: bool, words: Vec<String>) -> ExitCode {
    let json = json || words.iter().any(|word| Token::from(word.as_str()).flag() == Some("json"));
    match api::ask(socket, words) {
        Ok(reply) => print(&reply, json),
        Err(error) => {
            eprintln!("ERROR: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn print(reply: &Reply, json: bool) -> ExitCode {
    let written = match (json, reply.exit) {
        (true, _) => writeln!(std::io::stdout(), "{:#}", reply.json),
        (false, 0) => write!(std::io::stdout(), "{}", reply.text),
        (false, _) => write!(std::io::stderr(), "{}", reply.text),
    };
    // A reader that has gone (a closed pipe) does not change what the daemon did.
    drop(written);
    ExitCode::from(reply.exit)
}
