//! Lines for syslog: RFC 5424 by UDP (RFC 5426) or by the host's socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use syslog_fmt::v5424::{Config, Timestamp};
use syslog_fmt::{Facility, Severity as Level};

use super::{Notice, Settings, Severity, SyslogTo};
use crate::command::moment;

/// Where the host's own syslog listens.
const LOCAL: &str = "/dev/log";

pub fn deliver(notice: &Notice, lost: u64, settings: &Settings) -> Result<(), String> {
    let Some(to) = settings.syslog else { return Ok(()) };
    let line = line(notice, lost, settings);
    let failed = |to: &dyn std::fmt::Display| {
        let to = to.to_string();
        move |error: std::io::Error| format!("syslog {to} does not take a line: {error}")
    };
    match to {
        SyslogTo::Local => {
            let socket = UnixDatagram::unbound().map_err(failed(&LOCAL))?;
            // One that does not read its socket must not hold up the next notice for ever.
            socket.set_write_timeout(Some(settings.timeout)).map_err(failed(&LOCAL))?;
            socket.send_to(&line, LOCAL).map_err(failed(&LOCAL))?;
        }
        SyslogTo::Server(server) => {
            let any = match server {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let socket = UdpSocket::bind((any, 0)).map_err(failed(&server))?;
            socket.send_to(&line, server).map_err(failed(&server))?;
        }
    }
    Ok(())
}

fn line(notice: &Notice, lost: u64, settings: &Settings) -> Vec<u8> {
    let host = settings.name.clone().or(settings.ip.map(|ip| ip.to_string()));
    let process = std::process::id().to_string();
    let formatter =
        Config { facility: Facility::Daemon, hostname: host.as_deref(), app_name: Some("understudy"), proc_id: Some(&process) }
            .into_formatter();
    let level = match notice.severity() {
        Severity::Critical => Level::Crit,
        Severity::Major => Level::Err,
        Severity::Minor | Severity::Warning => Level::Warning,
        Severity::Informational => Level::Notice,
    };
    let id = notice.trap().map_or_else(|| notice.kind().replace(' ', "-"), str::to_owned);
    let lost = if lost == 0 { String::new() } else { format!(" ({lost} earlier events were lost)") };
    let mut line = Vec::new();
    let time = moment(notice.when);
    let text = notice.text() + &lost;
    formatter
        .write_without_data(&mut line, level, Timestamp::PreformattedStr(&time), text, Some(&id))
        .expect("memory takes what is written");
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::notice::tests::{settings, transition};
    use super::*;

    #[test]
    fn a_line_is_as_rfc_5424_wants_it() {
        let process = std::process::id();
        let wanted = format!(
            "<27>1 2000-02-29T00:00:00.001Z nsA understudy {process} changeToPrimary - \u{feff}Secondary -> Primary, term 769: peer dead: \
             no echo on any link for 30.0ms, all requests since unanswered (links heard: 0) (2 earlier events were lost)"
        );
        assert_eq!(String::from_utf8(line(&transition(), 2, &settings())).unwrap(), wanted);
    }

    #[test]
    fn a_line_reaches_the_server() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let settings = Settings { syslog: Some(SyslogTo::Server(server.local_addr().unwrap())), ..settings() };
        deliver(&transition(), 0, &settings).unwrap();
        let mut bytes = [0; 2048];
        let len = server.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], line(&transition(), 0, &settings));
    }
}
