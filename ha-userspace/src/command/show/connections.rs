//! `show ns connectiontable`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};

use super::text::mac;
use crate::command::executor::Reply;
use crate::command::runtime::Runtime;
use crate::command::words::{ConnectionDetail as Detail, ConnectionState};
use crate::command::{Command, CommandError, code};
use crate::config::Config;
use crate::connections::{Connection, Filter, Found, Query, ROWS_MAX};

/// A reply that comes when the tables have been read.
type Later = Pin<Box<dyn Future<Output = Result<Reply, CommandError>>>>;

/// Begins to look for what `command` means.
pub fn connections(command: &Command, config: &Config, runtime: &impl Runtime) -> Result<Later, CommandError> {
    let rows: u32 = command.read("count");
    let detail: Option<Detail> = command.read("detail");
    let search = runtime.connections(config, Query { filter: filter(command, config)?, rows: rows as usize });
    Ok(Box::pin(async move {
        let mut found = search.await?;
        found.shown.sort_by(|a, b| (&a.front.name, a.source).cmp(&(&b.front.name, b.source)));
        let mut reply = Reply::shown("nsconnectiontable", text(&found, detail), found.shown.iter().map(row).collect());
        reply.json["total"] = found.total.into();
        Ok(reply)
    }))
}

/// The expression, and what the other words require.
fn filter(command: &Command, config: &Config) -> Result<Filter, CommandError> {
    let expression: Option<String> = command.read("filterexpression");
    let names = [("lbVserver", "LB_VSERVER.NAME"), ("svcName", "SVCNAME")];
    for (argument, _) in names {
        let name: Option<String> = command.read(argument);
        let known = |name: &str| match argument {
            "lbVserver" => config.vserver(name).is_some(),
            _ => config.service(name).is_some(),
        };
        if let Some(name) = name.filter(|name| !known(name)) {
            return Err(CommandError::missing(argument, name, "show lb vserver and show service list the names"));
        }
    }
    let words = [("srcIP", "SRCIP"), ("srcPort", "SRCPORT"), ("dstIP", "DSTIP"), ("dstPort", "DSTPORT")];
    let words = words.into_iter().chain([("tcpState", "TCPSTATE")]).chain(names);
    let told = |why| CommandError::value(code::BAD_VALUE, "filterexpression", expression.as_deref().unwrap_or_default(), why);
    let mut filter = expression.as_deref().map_or(Ok(Filter::default()), Filter::read).map_err(told)?;
    for (argument, qualifier) in words {
        let Some(arg) = command.arg(argument) else { continue };
        let value = arg.value.as_ref().map(|value| arg.attribute.kind.print(value)).unwrap_or_default();
        filter = filter.and(&format!("{qualifier}.EQ({value})")).map_err(told)?;
    }
    Ok(filter)
}

/// A column: its title, and what stands in it.
type Column = (&'static str, fn(&Connection) -> String);

const ENDS: &[Column] = &[
    ("SRCIP", |row| row.source.ip().to_string()),
    ("SRCPORT", |row| row.source.port().to_string()),
    ("DSTIP", |row| row.front.address.ip().to_string()),
    ("DSTPORT", |row| row.front.address.port().to_string()),
    ("SVCTYPE", |row| row.front.kind.to_owned()),
    ("IDLTIME(s)", |row| seconds(row.idle)),
    ("STATE", |row| row.state.word().to_owned()),
];
const NAMES: &[Column] = &[
    ("VSERVER", |row| row.front.name.clone()),
    ("SERVICE", |row| row.back.as_ref().map_or_else(|| "-".to_owned(), |back| back.name.clone())),
];
const LINK: &[Column] = &[
    ("SEEN AS", |row| socket(row.seen_as)),
    ("SERVED BY", |row| socket(row.back.as_ref().map(|back| back.address))),
    ("CLIENT MAC", |row| mac(row.mac)),
    ("IFINDEX", |row| row.ifindex.to_string()),
    ("VLAN", |row| row.vlan.to_string()),
];
const FAILOVER: &[Column] = &[("CONNFAILOVER", |row| row.front.failover.to_owned()), ("PLACED", |row| placed(row).to_owned())];
const TRAFFIC: &[Column] = &[
    ("AGE(s)", |row| seconds(row.age)),
    ("PKTS IN", |row| row.received.packets.to_string()),
    ("BYTES IN", |row| row.received.bytes.to_string()),
    ("PKTS OUT", |row| row.sent.packets.to_string()),
    ("BYTES OUT", |row| row.sent.bytes.to_string()),
];

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".to_owned(), |span| format!("{:.1}", span.as_secs_f64()))
}

fn socket(socket: Option<SocketAddr>) -> String {
    socket.map_or_else(|| "-".to_owned(), |socket| socket.to_string())
}

/// Whether the other node would place it alike.
fn placed(row: &Connection) -> &'static str {
    if row.exception { "EXCEPTION" } else { "HASH" }
}

fn text(found: &Found, detail: Option<Detail>) -> String {
    let more: &[&[Column]] = match detail {
        None => &[],
        Some(Detail::Link) => &[LINK],
        Some(Detail::Name) => &[NAMES],
        Some(Detail::ConnFailover) => &[FAILOVER],
        Some(Detail::Full) => &[NAMES, LINK, FAILOVER, TRAFFIC],
    };
    let columns: Vec<&Column> = ENDS.iter().chain(more.iter().copied().flatten()).collect();
    let cells: Vec<Vec<String>> = found.shown.iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect()).collect();
    let width = |at: usize| cells.iter().map(|row| row[at].len()).chain([columns[at].0.len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: String = cells.zip(&widths).map(|(cell, &width)| format!("{cell:width$}  ")).collect();
        padded.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut columns.iter().map(|(title, _)| *title));
    text.extend(cells.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    let (shown, total) = (found.shown.len() as u64, found.total);
    text + &match total - shown {
        0 => format!("\t{total} connections\n"),
        more => format!("\t{shown} of {total} connections; {more} more: a filter means fewer, -count shows up to {ROWS_MAX}\n"),
    }
}

fn row(row: &Connection) -> Value {
    let state: ConnectionState = row.state;
    json!({
        "sourceip": row.source.ip(),
        "sourceport": row.source.port(),
        "destip": row.front.address.ip(),
        "destport": row.front.address.port(),
        "svctype": row.front.kind,
        "idletime": row.idle.map(|idle| idle.as_secs_f64()),
        "age": row.age.map(|age| age.as_secs_f64()),
        "state": state,
        "vservername": row.front.name,
        "servicename": row.back.as_ref().map(|back| &back.name),
        "linksourceip": row.seen_as.map_or(row.source, |seen| seen).ip(),
        "linksourceport": row.seen_as.map_or(row.source, |seen| seen).port(),
        "linkdestip": row.back.as_ref().map(|back| back.address.ip()),
        "linkdestport": row.back.as_ref().map(|back| back.address.port()),
        "clientmac": mac(row.mac),
        "ifindex": row.ifindex,
        "vlan": row.vlan,
        "connfailover": row.front.failover,
        "exception": row.exception,
        "rxpackets": row.received.packets,
        "rxbytes": row.received.bytes,
        "txpackets": row.sent.packets,
        "txbytes": row.sent.bytes,
    })
}

/// A connection of the first virtual server of `config`.
#[cfg(test)]
pub fn sample(config: &Config) -> Connection {
    use crate::connections::{Fronts, Traffic};
    let fronts = Fronts::of(config);
    let vserver = config.vservers().next().expect("a virtual server");
    let service = config.bound(vserver).next().map(|(service, _)| fronts.services[&service.index].clone());
    Connection {
        source: "10.1.0.1:40000".parse().expect("an address"),
        front: fronts.vservers[&vserver.index].clone(),
        back: service,
        seen_as: Some("10.2.0.1:2000".parse().expect("an address")),
        state: ConnectionState::Established,
        idle: Some(Duration::from_millis(1_500)),
        age: Some(Duration::from_secs(77)),
        received: Traffic { packets: 12, bytes: 1_234 },
        sent: Traffic { packets: 10, bytes: 54_321 },
        mac: [2, 0, 0, 0, 0, 1],
        ifindex: 3,
        vlan: 0,
        exception: false,
    }
}
