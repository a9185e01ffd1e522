//! `show interface`.

use serde_json::{Value, json};

use super::Shown;
use super::text::{enabled, mac};
use crate::command::runtime::{InterfaceState, Runtime};
use crate::command::{Command, CommandError};
use crate::config::{Config, Interface, Record};

pub fn show(command: &Command, config: &Config, runtime: &impl Runtime) -> Shown {
    let wanted: Option<String> = command.read("id");
    let rows: Vec<&Interface> =
        config.interfaces().filter(|interface| wanted.as_ref().is_none_or(|name| *name == interface.name)).collect();
    if let (Some(name), true) = (wanted, rows.is_empty()) {
        return Err(CommandError::missing("id", name, "the configuration names no such interface; show interface lists them"));
    }
    let states: Vec<Option<InterfaceState>> = rows.iter().map(|interface| runtime.interface_state(&interface.name)).collect();
    let pairs = || rows.iter().zip(&states);
    let text = pairs().enumerate().map(|(at, (interface, state))| block(at + 1, interface, state.as_ref())).collect();
    Ok((text, pairs().map(|(interface, state)| row(interface, state.as_ref())).collect()))
}

fn block(number: usize, interface: &Interface, state: Option<&InterfaceState>) -> String {
    let Some(state) = state else {
        return format!("{number})\tInterface {}: there is no such interface on this host\n", interface.name);
    };
    let up = |up: bool| if up { "UP" } else { "DOWN" };
    let mut flags = vec![enabled(interface.enabled), up(state.up), up(state.carrier)];
    flags.extend(state.media.autonegotiation.then_some("autoneg"));
    flags.extend(interface.monitor.then_some("HAMON"));
    flags.extend(interface.heartbeat.then_some("HEARTBEAT"));
    let attached = state.attached.as_deref().unwrap_or("not attached");
    let (name, flags) = (&interface.name, flags.join(", "));
    let speed = state.media.speed.map_or("UNKNOWN".to_owned(), |speed| speed.to_string());
    let duplex = state.media.full_duplex.map_or("UNKNOWN", |full| if full { "FULL" } else { "HALF" });
    let counts =
        |[packets, bytes, errors, drops]: [u64; 4]| format!("Pkts({packets}) Bytes({bytes}) Errs({errors}) Drops({drops})");
    let threshold = match interface.throughput {
        0 => "not set".to_owned(),
        throughput => format!("{throughput} Mbit/s"),
    };
    format!(
        "{number})\tInterface {name} ({attached}) #{}\n\tflags={:#x} <{flags}>\n\tMTU={}, MAC={}\n\tActual: speed {speed}, duplex {duplex}\n\t\
         Throughput threshold: {threshold}\n\tRX: {}\n\tTX: {}\n",
        state.index,
        state.traffic.flags,
        state.mtu_bytes,
        mac(state.mac),
        counts(state.traffic.rx),
        counts(state.traffic.tx),
    )
}

fn row(interface: &Interface, state: Option<&InterfaceState>) -> Value {
    let mut row = Value::Object(interface.json());
    row["present"] = state.is_some().into();
    if let Some(state) = state {
        let kernel = json!({
            "ifnum": state.index, "intfstate": u8::from(state.up), "linkstate": u8::from(state.carrier),
            "actualmtu": state.mtu_bytes, "mac": mac(state.mac), "attached": state.attached,
            "flags": state.traffic.flags, "actspeed": state.media.speed, "actduplex": state.media.full_duplex.map(|full| if full { "FULL" } else { "HALF" }),
            "rxpackets": state.traffic.rx[0], "rxbytes": state.traffic.rx[1], "rxerrors": state.traffic.rx[2], "rxdrops": state.traffic.rx[3],
            "txpackets": state.traffic.tx[0], "txbytes": state.traffic.tx[1], "txerrors": state.traffic.tx[2], "txdrops": state.traffic.tx[3],
        });
        if let (Value::Object(row), Value::Object(kernel)) = (&mut row, kernel) {
            row.extend(kernel);
        }
    }
    row
}
