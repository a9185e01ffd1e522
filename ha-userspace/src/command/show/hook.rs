//! `show ha hook`.

use serde_json::{Value, json};

use super::Shown;
use crate::command::runtime::Runtime;
use crate::command::span::{self, Unit};
use crate::config::{Config, Record};
use crate::hook::{Counts, SyslogTo};

pub fn show(config: &Config, runtime: &impl Runtime) -> Shown {
    let hook = config.hook();
    let status = runtime.hook_status();
    let syslog = hook.syslog.map(|to| match to {
        SyslogTo::Local => "LOCAL".to_owned(),
        SyslogTo::Server(server) => server.to_string(),
    });
    let outlets = [
        ("Syslog", syslog, &status.syslog),
        ("Program", hook.program.clone(), &status.program),
        ("Webhook", hook.webhook.as_deref().map(crate::hook::server), &status.webhook),
    ];
    let lines: String = outlets.iter().map(|(name, to, counts)| line(name, to.as_deref(), counts)).collect();
    let mut row = hook.json();
    for (name, to, counts) in outlets {
        let name = name.to_lowercase();
        row.extend([(format!("{name}counts"), row_of(counts))]);
        row.entry(name).and_modify(|value| *value = to.into());
    }
    Ok((lines + &format!("\tTimeout: {}\n", span::label(hook.timeout, Unit::Seconds)), Value::Object(row)))
}

fn line(name: &str, to: Option<&str>, counts: &Counts) -> String {
    let Some(to) = to else { return format!("\t{name}: NONE\n") };
    let Counts { delivered, failed, lost, last_error } = counts;
    let error = last_error.as_ref().map_or_else(String::new, |error| format!("\t\tlast failure: {error}\n"));
    format!("\t{name}: {to}\n\t\tdelivered: {delivered}\tfailed: {failed}\tlost: {lost}\n{error}")
}

fn row_of(Counts { delivered, failed, lost, last_error }: &Counts) -> Value {
    json!({"delivered": delivered, "failed": failed, "lost": lost, "lasterror": last_error})
}
