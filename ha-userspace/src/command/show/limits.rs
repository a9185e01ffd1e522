//! `show ns limits`: what there is room for, and how much of it is taken.

use serde_json::{Map, Value, json};

use super::Shown;
use crate::command::runtime::LimitsStatus;
use crate::config::{Config, Limits, Record, Service};
use crate::datapath::{LimitedTable, Pool, Ring};

pub fn show(config: &Config, status: &LimitsStatus) -> Shown {
    let limits = &status.limits;
    let sizes = config.limits().sizes();
    let mut text = columns(["Table", "Used", "High", "Maximum", "Used %"], "");
    for table in &limits.tables {
        let note = if table.evicts { "\t(the oldest give way)" } else { "" };
        let numbers = [table.used, table.high, table.max, percent(table.used, table.max)].map(|number| number.to_string());
        let [used, high, max, percent] = numbers.each_ref().map(String::as_str);
        text += &columns([table.name, used, high, max, percent], note);
    }
    if let Some(pool) = &limits.pool {
        text += &pool_line(pool, service(config, pool));
    }
    for Ring { name, bytes, lost } in &limits.rings {
        text += &format!("\tRing buffer {name}: {bytes} bytes, {lost} events lost\n");
    }
    text += &format!("\tPackets without room: {}\n", reasons(&status.refused));
    text += &format!("\tPackets kept out: {}\n", reasons(&status.kept_out));
    for table in &limits.tables {
        if let Some(&configured) = sizes.get(table.name).filter(|&&size| u64::from(size) != table.max) {
            text += &format!("\t{}\n", Limits::pending(table.name, table.max, configured));
        }
    }
    let mut row = Map::new();
    row.insert("configured".into(), Value::Object(config.limits().json()));
    row.insert("tables".into(), limits.tables.iter().map(table_row).collect());
    row.insert("sourceports".into(), limits.pool.as_ref().map_or(Value::Null, |pool| pool_row(pool, service(config, pool))));
    let ring = |ring: &Ring| json!({"name": ring.name, "bytes": ring.bytes, "lost": ring.lost});
    row.insert("ringbuffers".into(), limits.rings.iter().map(ring).collect());
    for (name, counts) in [("refused", &status.refused), ("keptout", &status.kept_out)] {
        row.insert(name.into(), counts.iter().map(|(reason, packets)| ((*reason).to_owned(), json!(packets))).collect());
    }
    Ok((text, Value::Object(row)))
}

fn reasons(counts: &[(&'static str, u64)]) -> String {
    counts.iter().map(|(reason, packets)| format!("{reason} {packets}")).collect::<Vec<_>>().join(", ")
}

fn percent(used: u64, max: u64) -> u64 {
    (100 * used).checked_div(max).unwrap_or(0)
}

fn columns([name, used, high, max, percent]: [&str; 5], note: &str) -> String {
    format!("\t{name:<18}{used:>12}{high:>12}{max:>12}{percent:>8}{note}\n")
}

fn service<'a>(config: &'a Config, pool: &Pool) -> Option<&'a Service> {
    config.services().find(|service| service.index == pool.backend)
}

fn protocol(pool: &Pool) -> &'static str {
    if i32::from(pool.protocol) == libc::IPPROTO_UDP { "UDP" } else { "TCP" }
}

fn pool_line(pool: &Pool, service: Option<&Service>) -> String {
    let Some(source) = pool.source else {
        return format!("\tSource ports: none given out, {} on each SNIP for each service\n", pool.max);
    };
    let name = service.map_or("a service that is gone", |service| service.name.as_str());
    let (used, max, high) = (pool.used, pool.max, pool.high);
    format!(
        "\tSource ports, the fullest: {used} of {max} from {source} to {name} ({}), at most {high} so far\n",
        protocol(pool)
    )
}

fn pool_row(pool: &Pool, service: Option<&Service>) -> Value {
    let service = service.map(|service| &service.name);
    let protocol = pool.source.map(|_| protocol(pool));
    json!({"source": pool.source, "service": service, "protocol": protocol, "used": pool.used, "high": pool.high, "maximum": pool.max})
}

fn table_row(table: &LimitedTable) -> Value {
    json!({"name": table.name, "used": table.used, "high": table.high, "maximum": table.max, "evicts": table.evicts})
}
