//! Words in, answer out: the one way in which anyone changes or asks anything.

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::parse::parse;
use super::runtime::{Outcome, Runtime};
use super::schema::{Verb, connection};
use super::tokens::Token;
use super::{Command, CommandError, code, help, show};
use crate::config::{Change, Config};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Exit code for the shell: 0 done, 1 refused.
    pub exit: u8,
    /// What a person reads.
    pub text: String,
    /// What a program reads: `errorcode`, `message`, `severity`, and the resource for a `show`.
    pub json: Value,
}

impl Reply {
    /// The plain ` Done`, after any warnings.
    fn done(warnings: &[String]) -> Self {
        let text: String = warnings.iter().map(|warning| format!("WARNING: {warning}\n")).collect();
        let mut json = json!({"errorcode": 0, "message": "Done", "severity": "NONE"});
        if !warnings.is_empty() {
            json["severity"] = "WARNING".into();
            json["warnings"] = warnings.into();
        }
        Self { exit: 0, text: text + " Done\n", json }
    }

    /// What a `show` found, under the name of its resource.
    pub(super) fn shown(resource: &str, text: String, value: Value) -> Self {
        Self {
            text: text + " Done\n",
            json: json!({"errorcode": 0, "message": "Done", "severity": "NONE", resource: value}),
            exit: 0,
        }
    }

    /// Text alone, as help is.
    fn told(text: String) -> Self {
        Self { exit: 0, json: json!({"errorcode": 0, "message": text, "severity": "NONE"}), text }
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        let json = json!({"errorcode": error.code, "message": error.message, "severity": "ERROR"});
        Self { exit: 1, text: format!("ERROR: {}\n", error.message), json }
    }
}

/// A reply, now or when something that takes time has ended.
pub enum Answer {
    /// It is here.
    Now(Reply),
    /// It comes when this has ended.
    Later(Outcome),
    /// This is it, when it has ended.
    Found(Pin<Box<dyn Future<Output = Result<Reply, CommandError>>>>),
    /// The same, and if it succeeds it is the daemon's last.
    Last(Outcome),
}

impl Answer {
    /// Waits for the reply.
    pub async fn reply(self) -> Reply {
        match self {
            Answer::Now(reply) => reply,
            Answer::Found(reply) => reply.await.unwrap_or_else(Reply::from),
            Answer::Later(outcome) | Answer::Last(outcome) => outcome.await.map_or_else(Reply::from, |()| Reply::done(&[])),
        }
    }
}

/// Executes commands on the running configuration and the living node.
#[derive(Debug)]
pub struct Executor<R> {
    config: Config,
    runtime: R,
    /// The generation that is on disk; shared with saves under way.
    saved: Rc<Cell<u64>>,
}

impl<R: Runtime> Executor<R> {
    /// Begins with a loaded configuration, to which `runtime` is already equal.
    pub fn new(config: Config, runtime: R) -> Self {
        Self { saved: Rc::new(Cell::new(config.generation())), config, runtime }
    }

    /// Returns the running configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the living side.
    pub fn runtime(&mut self) -> &mut R {
        &mut self.runtime
    }

    /// Lets `f` work on the living side with the configuration at hand.
    pub fn with<T>(&mut self, f: impl FnOnce(&Config, &mut R) -> T) -> T {
        f(&self.config, &mut self.runtime)
    }

    /// Gives back the living side.
    pub fn into_runtime(self) -> R {
        self.runtime
    }

    /// Executes the words of one command.
    pub fn execute(&mut self, words: &[Token]) -> Answer {
        if let [first, rest @ ..] = words
            && first.text.len() > 1
            && "help".starts_with(&first.text.to_ascii_lowercase())
        {
            return Answer::Now(help(rest).map_or_else(Reply::from, Reply::told));
        }
        parse(words).map_or_else(|error| Answer::Now(error.into()), |command| self.run(&command))
    }

    /// Executes one parsed command.
    pub fn run(&mut self, command: &Command) -> Answer {
        let result = match command.verb {
            Verb::Show if command.entity == &connection::TABLE => {
                show::connections(command, &self.config, &self.runtime).map(Answer::Found)
            }
            Verb::Show | Verb::Stat => {
                show::show(command, &self.config, &self.runtime, self.saved.get() == self.config.generation()).map(Answer::Now)
            }
            Verb::Save => Ok(Answer::Later(self.save())),
            Verb::Force => Ok(Answer::Later(self.runtime.force_failover(command.has("force")))),
            Verb::Send => self.send_arp(command).map(Answer::Later),
            Verb::Clear => self.clear_sessions(command).map(Answer::Now),
            Verb::Stop => Ok(Answer::Last(self.runtime.stop(command.has("force")))),
            _ => self.change(command).map(Answer::Now),
        };
        if !matches!(command.verb, Verb::Show | Verb::Stat) {
            let result = result.as_ref().map_or_else(|error| error.message.as_str(), |_| "accepted");
            info!(%command, result, "command");
        }
        result.unwrap_or_else(|error| Answer::Now(error.into()))
    }

    fn clear_sessions(&mut self, command: &Command) -> Result<Reply, CommandError> {
        let wanted = show::sessions_of(command, &self.config)?;
        self.runtime.clear_sessions(&wanted)?;
        Ok(Reply::done(&[]))
    }

    fn save(&mut self) -> Outcome {
        let (generation, saved) = (self.config.generation(), Rc::clone(&self.saved));
        let written = self.runtime.save(self.config.saved_form());
        Box::pin(async move {
            written.await?;
            saved.set(saved.get().max(generation));
            Ok(())
        })
    }

    fn send_arp(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let address: Option<IpAddr> = command.read("IPAddress");
        match (address, command.has("all")) {
            (Some(_), true) => {
                Err(CommandError::new(code::EXCLUSIVE, "Arguments mutually exclusive [-all]: name one address, or give -all"))
            }
            (None, false) => {
                Err(CommandError::new(code::MISSING, "Required argument missing [IPAddress]: name one address, or give -all"))
            }
            _ => Ok(self.runtime.send_arp(&self.config, address)),
        }
    }

    fn change(&mut self, command: &Command) -> Result<Reply, CommandError> {
        let known_warnings = self.config.warnings();
        let old = self.config.clone();
        let change = self.config.apply(command)?;
        self.reconcile(old, &change)?;
        let news = self.config.warnings().into_iter().filter(|warning| !known_warnings.contains(warning));
        let news: Vec<String> = news.chain(self.runtime.pending(&self.config, &change)).collect();
        Ok(Reply::done(&news))
    }

    /// Makes the node equal to the configuration, or both again what they were.
    fn reconcile(&mut self, old: Config, change: &Change) -> Result<(), CommandError> {
        let Err(error) = self.runtime.reconcile(&self.config, change) else { return Ok(()) };
        self.config.revert(old);
        if let Err(again) = self.runtime.reconcile(&self.config, change) {
            tracing::error!(%error, %again, "the node could be made equal neither to the new configuration nor to the old one");
        }
        Err(error)
    }
}
