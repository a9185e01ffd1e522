//! `show lb persistentSessions`.

use serde_json::{Value, json};

use super::Shown;
use crate::command::runtime::{Runtime, SessionStatus};
use crate::command::{Command, CommandError};
use crate::config::{Config, Vserver};

/// The virtual servers that a `show` or `clear` is about.
pub fn wanted<'c>(command: &Command, config: &'c Config) -> Result<Vec<&'c Vserver>, CommandError> {
    let wanted: Option<String> = command.read("vServer");
    let Some(name) = wanted else { return Ok(config.vservers().collect()) };
    let found = config
        .vserver(&name)
        .ok_or_else(|| CommandError::missing("vServer", &name, "show lb vserver lists the virtual servers"))?;
    Ok(vec![found])
}

pub fn show(command: &Command, config: &Config, runtime: &impl Runtime) -> Shown {
    let sessions = runtime.sessions(config, &wanted(command, config)?)?;
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let line = |(at, session): (usize, &SessionStatus)| {
        format!(
            "{})\tVServer: {}\tSource: {}\tDestination: {}\tService: {}\tTimeout: {} secs\n",
            at + 1,
            session.vserver,
            dash(session.source.map(|ip| ip.to_string())),
            dash(session.destination.map(|ip| ip.to_string())),
            dash(session.service.clone()),
            session.left.as_secs()
        )
    };
    let row = |session: &SessionStatus| {
        json!({
            "vserver": session.vserver,
            "srcip": session.source,
            "destip": session.destination,
            "servicename": session.service,
            "timeout": session.left.as_secs(),
        })
    };
    Ok((sessions.iter().enumerate().map(line).collect(), sessions.iter().map(row).collect::<Vec<Value>>().into()))
}
