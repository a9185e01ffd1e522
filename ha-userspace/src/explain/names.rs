//! What virtual servers and services are called: the daemon knows, the maps do not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ha_common::abi::{Backend, Vserver};
use serde_json::Value;

use crate::api;

/// How long a daemon may think: one that hangs shall not keep the answer back.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where something is: address, port, IP protocol (zero for any).
type Place = (IpAddr, u16, u8);

/// Names by place, as the running configuration has them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    vservers: HashMap<Place, String>,
    services: HashMap<Place, String>,
    missing: Option<String>,
}

impl Names {
    /// Asks the daemon behind `socket`; without one there are no names.
    #[must_use]
    pub fn ask(socket: &Path) -> Self {
        let ask = |words: &[&str]| api::ask_within(socket, words.iter().map(|word| (*word).to_owned()).collect(), PATIENCE);
        match (ask(&["show", "lb", "vserver"]), ask(&["show", "service"])) {
            (Ok(vservers), Ok(services)) => Names {
                vservers: places(&vservers.json["lbvserver"], "ipv46"),
                services: places(&services.json["service"], "ipaddress"),
                missing: None,
            },
            (Err(error), _) | (_, Err(error)) => Names { missing: Some(error.to_string()), ..Names::default() },
        }
    }

    /// Why there are none.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// What the virtual server of this index and record is called.
    #[must_use]
    pub fn vserver(&self, index: u32, record: Option<&Vserver>) -> String {
        let known = record.and_then(|record| find(&self.vservers, (record.vip.into(), record.port.get(), record.protocol)));
        known.unwrap_or_else(|| format!("virtual server number {index}"))
    }

    /// What the service of this index and record, whose packets are of `protocol`, is called.
    #[must_use]
    pub fn service(&self, index: u32, record: Option<&Backend>, protocol: u8) -> String {
        let known = record.and_then(|record| find(&self.services, (record.addr.into(), record.port.get(), protocol)));
        known.unwrap_or_else(|| format!("service number {index}"))
    }

    /// Address, port and protocol of the virtual server that is called `name`.
    #[must_use]
    pub fn place_of_vserver(&self, name: &str) -> Option<Place> {
        self.vservers.iter().find(|(_, called)| *called == name).map(|(place, _)| *place)
    }
}

fn find(names: &HashMap<Place, String>, (ip, port, protocol): Place) -> Option<String> {
    [(ip, port, protocol), (ip, port, 0)].iter().find_map(|place| names.get(place)).cloned()
}

fn places(rows: &Value, address: &str) -> HashMap<Place, String> {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    let place = |row: &Value| {
        let ip = row[address].as_str()?.parse().ok()?;
        let port = row["port"].as_u64()?.try_into().ok()?;
        let protocol = match row["servicetype"].as_str()? {
            "UDP" => 17,
            "ANY" => 0,
            _ => 6,
        };
        Some(((ip, port, protocol), row["name"].as_str()?.to_owned()))
    };
    rows.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use ha_common::wire::Be16;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_known_by_where_it_is() {
        let rows = json!([
            {"name": "web", "ipv46": "10.1.0.100", "port": 80, "servicetype": "TCP"},
            {"name": "dns", "ipv46": "10.1.0.100", "port": 80, "servicetype": "UDP"},
        ]);
        let names = Names { vservers: places(&rows, "ipv46"), ..Names::default() };
        let vip = "10.1.0.100".parse::<IpAddr>().unwrap().into();
        let record = |protocol, port| Vserver { vip, port: Be16::new(port), protocol, ..Vserver::default() };
        assert_eq!(names.vserver(3, Some(&record(17, 80))), "dns");
        assert_eq!(names.vserver(3, Some(&record(6, 80))), "web");
        assert_eq!(names.vserver(3, Some(&record(6, 81))), "virtual server number 3");
        assert_eq!(names.place_of_vserver("web"), Some(("10.1.0.100".parse().unwrap(), 80, 6)));
    }
}
