//! `show ns alarms`: what is wrong, as long as it is.

use serde_json::{Value, json};

use super::Shown;
use super::text::moment;
use crate::command::runtime::AlarmStatus;

pub fn show(alarms: &[AlarmStatus]) -> Shown {
    let line = |(at, alarm): (usize, &AlarmStatus)| {
        let subject = if alarm.subject.is_empty() { String::new() } else { format!(" {}", alarm.subject) };
        format!("{})\t{}{subject}\tsince {}\n\t{}\n", at + 1, alarm.kind, moment(alarm.since), alarm.text)
    };
    let text: String = alarms.iter().enumerate().map(line).collect();
    let text = if alarms.is_empty() { "\tNo alarm stands\n".to_owned() } else { text };
    let row = |alarm: &AlarmStatus| json!({"kind": alarm.kind, "subject": alarm.subject, "since": moment(alarm.since), "text": alarm.text});
    Ok((text, alarms.iter().map(row).collect::<Vec<Value>>().into()))
}
