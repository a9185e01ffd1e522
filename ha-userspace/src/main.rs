//! The one program: the daemon (`run`), what examines a host or a record, and the command line that speaks to it.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use understudy::command::{Reply, Token};
use understudy::config::{self, Indices};
use understudy::options::{DEFAULT_SOCKET, Options};
use understudy::{api, doctor, explain, replay, trace, witness};

/// Exit code when no daemon answered or could be started; 1 is a refused command.
const NOT_STARTED: u8 = 2;

/// What clap cannot list: the words of the language.
const WORDS: &str = "\
All other words are a command for the daemon, and come after --socket and --json:
  understudy show ha node
  understudy add lb vserver web TCP 10.1.0.100 80
  understudy stop [-force]
  understudy help [<verb>] [<object>]";

/// An HA pair of layer 4 load balancers.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true, disable_help_subcommand = true, after_help = WORDS)]
struct Arguments {
    /// Unix socket of the daemon
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON instead of text (-json is the same)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Run(Options),
    /// Examine this host: kernel, BPF, interfaces; each finding with its remedy
    Doctor {
        /// Examine the interfaces that this configuration names
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Further interfaces, with their role where it is known: client0=leg, ha0=ha
        interfaces: Vec<String>,
    },
    /// Run a witness: on a third host, says which node may serve when neither hears the other
    Witness(witness::Options),
    /// Repeat what the HA machine saw (STATE/record.old, STATE/record): every change of role with its cause; 1 if it acts differently
    Replay {
        /// The records, the oldest first
        #[arg(required = true, value_name = "FILE")]
        records: Vec<PathBuf>,
    },
    /// Say what would become of a packet here, step by step, and why
    Explain(explain::Options),
    /// Show packets as the kernel meets them, with what becomes of each and why
    Trace(trace::Options),
    /// Any command of the language: help, show ha node, add lb vserver …, stop [-force]
    #[command(external_subcommand)]
    Words(Vec<String>),
}

fn main() -> ExitCode {
    let Arguments { socket, json, command } = Arguments::parse_from(arguments());
    match command {
        Command::Run(options) => run(&options),
        Command::Witness(options) => ended(witness::run(&options)),
        Command::Doctor { config, interfaces } => doctor(config.as_deref(), interfaces, json),
        Command::Replay { records } => replay(&records),
        Command::Explain(options) => ended(explain::run(&options, &socket, json)),
        Command::Trace(options) => ended(trace::run(&options, &socket, json)),
        Command::Words(words) => speak(&socket, json, words),
    }
}

/// Tools of the program itself whose options may be spelt as the language spells them.
const TOOLS: [&str; 2] = ["explain", "trace"];

/// Returns the program's arguments with a `-json` before the words, and the options of [`TOOLS`], as the language spells them, spelt as
/// clap wants them.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut own = arguments.iter_mut().skip(1);
    let word = loop {
        match own.next() {
            Some(argument) if argument == "-json" => *argument = "--json".into(),
            Some(argument) if argument == "--socket" => drop(own.next()),
            Some(argument) if argument.as_encoded_bytes().starts_with(b"-") => {}
            other => break other,
        }
    };
    if word.is_some_and(|word| TOOLS.iter().any(|tool| *word == **tool)) {
        own.for_each(|argument| {
            // One dash and more than a letter: no short option of clap's.
            if let [b'-', b'a'..=b'z', _, ..] = argument.as_encoded_bytes() {
                let mut spelt = OsString::from("-");
                spelt.push(&*argument);
                *argument = spelt;
            }
        });
    }
    arguments
}

fn run(options: &Options) -> ExitCode {
    ended(understudy::daemon::run(options))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(format_args!("{error:#}")),
    }
}

fn not_started(why: impl Display) -> ExitCode {
    eprintln!("ERROR: {why}");
    ExitCode::from(NOT_STARTED)
}

/// Examines the host and the interfaces that are named here or in a configuration.
fn doctor(config: Option<&Path>, mut interfaces: Vec<String>, json: bool) -> ExitCode {
    if let Some(path) = config {
        let config = match config::load(path, Indices::default()) {
            Ok(config) => config,
            Err(error) => return not_started(error),
        };
        interfaces.extend(config.legs().map(|leg| format!("{}=leg", leg.name)));
        interfaces.extend(config.ha_links().filter(|link| !link.monitor).map(|link| format!("{}=ha", link.name)));
    }
    let report = doctor::run(&interfaces);
    if json {
        println!("{}", report.to_json())
    } else {
        print!("{report}")
    }
    ExitCode::from(report.exit_code())
}

/// Repeats what the HA machine of a daemon saw and did.
fn replay(records: &[PathBuf]) -> ExitCode {
    match replay::replay(records, &mut std::io::stdout().lock()) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ERROR: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Has the daemon execute `words`, and prints its reply.
fn speak(socket: &Path, json: bool, words: Vec<String>) -> ExitCode {
    let json = json || words.iter().any(|word| Token::from(word.as_str()).flag() == Some("json"));
    let times = api::times(&words);
    for left in (0..times).rev() {
        match api::ask(socket, words.clone()) {
            Ok(reply) => {
                let is_read = print(&reply, json).is_ok();
                // A reader that has gone (a closed pipe) does not change what the daemon did.
                if left == 0 || reply.exit != 0 || !is_read {
                    return ExitCode::from(reply.exit);
                }
            }
            Err(error) => return not_started(error),
        }
        std::thread::sleep(api::STAT_EVERY);
    }
    ExitCode::SUCCESS
}

fn print(reply: &Reply, json: bool) -> std::io::Result<()> {
    match (json, reply.exit) {
        (true, _) => writeln!(std::io::stdout(), "{:#}", reply.json),
        (false, 0) => write!(std::io::stdout(), "{}", reply.text),
        (false, _) => write!(std::io::stderr(), "{}", reply.text),
    }
}
