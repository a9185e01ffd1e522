//! What is nearly used up, and what to do about it: looked at once a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::alarm::{Board, Kind};
use crate::config::{self, Config};
use crate::datapath::{LimitedTable, Limits, Pool, Ring};

/// Per cent of the room from which on an alarm stands, and below which it is cleared: in between it stays as it is.
const RAISE: u64 = 80;
const CLEAR: u64 = 70;

/// How long after the last event that was lost the alarm is cleared.
const QUIET: Duration = Duration::from_secs(60);

/// Subject of the alarm about source ports.
const PORTS: &str = "source ports";

/// What was seen before.
#[derive(Debug, Default)]
pub struct Watermarks {
    /// The most entries that were seen, by table.
    high: BTreeMap<&'static str, u64>,
    /// By ring buffer: events lost so far, and when some were lost last.
    lost: BTreeMap<&'static str, (u64, Option<Instant>)>,
}

impl Watermarks {
    /// Looks at `limits`; what is nearly used up is on the `board`.
    pub fn look(&mut self, config: &Config, limits: &Limits, now: Instant, board: &Board) {
        for table in &limits.tables {
            let high = self.high.entry(table.name).or_default();
            *high = table.high.max(*high);
            if !table.evicts {
                judge(board, table.name, table.used, table.max, || remedy(table));
            }
        }
        if let Some(pool) = &limits.pool {
            judge(board, PORTS, pool.used, pool.max, || remedy_of_ports(config, pool));
        }
        for ring in &limits.rings {
            self.listen(ring, now, board);
        }
    }

    /// `limits` with the most that was ever seen.
    pub fn marked(&self, mut limits: Limits) -> Limits {
        for table in &mut limits.tables {
            table.high = table.high.max(self.high.get(table.name).copied().unwrap_or(0));
        }
        limits
    }

    fn listen(&mut self, ring: &Ring, now: Instant, board: &Board) {
        // What was lost before this daemon came is the one before it's business.
        let (known, last) = self.lost.entry(ring.name).or_insert((ring.lost, None));
        if ring.lost > *known {
            (*known, *last) = (ring.lost, Some(now));
        }
        let recent = last.is_some_and(|last| now.duration_since(last) < QUIET);
        board.set(Kind::EventsLost, ring.name, recent, || {
            let what = match ring.name {
                "RULINGS" => "the daemon does not get to run: look for what takes its CPU time, and at show ha node",
                _ => "fewer connections can be told of than come: set lb vserver <name> -flowLog DISABLED on the busiest",
            };
            format!("{} events of the kernel found no room so far; {what}", ring.lost)
        });
    }
}

fn judge(board: &Board, subject: &str, used: u64, max: u64, text: impl FnOnce() -> String) {
    if max == 0 || 100 * used < CLEAR * max {
        board.clear(Kind::LimitNear, subject);
    } else if 100 * used >= RAISE * max {
        board.raise(Kind::LimitNear, subject, text());
    }
}

fn remedy(table: &LimitedTable) -> String {
    let LimitedTable { name, used, max, .. } = *table;
    let when_full = match name {
        "FLOWS" => {
            "when it is full, new connections go where the hash says without a record, and those of services with -usip NO are refused; \
                    connections that are recorded stay: shorten -cltTimeout, or"
        }
        "EXCEPTIONS" => {
            "when it is full, connections that began before services came or went may end: wait until they have ended, or"
        }
        "REVERSE" => {
            "when it is full, new connections of services with -usip NO are refused; those that are there stay: shorten -cltTimeout, or"
        }
        "PERSIST" => {
            "when it is full, clients that are new may get another service for each connection: shorten -timeout of virtual servers with \
                      -persistenceType, widen its mask, clear lb persistentSessions, or"
        }
        "PREFIXES" => "unbind prefixes that are not needed, or",
        "VSERVERS" | "BACKENDS" => {
            "numbers are not used twice while the daemon runs: remove what is not needed, then understudy stop and start"
        }
        "RINGS" => "virtual servers with the same services share room: bind the same services to them, or remove some",
        "SNIPS" => "lists of SNIPs stay while connections may name them: change SNIPs less often, or understudy stop and start",
        _ => "remove addresses, virtual servers or services that are not needed",
    };
    let size = config::Limits::flag_of(name);
    let size = size.map_or_else(String::new, |flag| {
        format!(" set ns limits -{flag} {}, then understudy stop and start", (2 * max).next_power_of_two())
    });
    format!("{used} of {max} entries are used; {when_full}{size}")
}

fn remedy_of_ports(config: &Config, pool: &Pool) -> String {
    let service = config.services().find(|service| service.index == pool.backend).map_or("a service", |service| &service.name);
    let source = pool.source.map_or_else(String::new, |source| source.to_string());
    format!(
        "{} of {} ports of {source} are given out towards {service}; when they are used up its new connections are refused: add ns ip <ip> <mask> \
         -type SNIP in its subnet, set service {service} -usip YES, or leave the kernel fewer ports (net.ipv4.ip_local_port_range)",
        pool.used, pool.max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(used: u64, lost: u64) -> Limits {
        let table = |name, evicts| LimitedTable { name, used, high: used, max: 1_000, evicts };
        let ring = Ring { name: "EVENTS", bytes: 4096, lost };
        Limits { tables: vec![table("FLOWS", false), table("EMBRYONIC", true)], pool: None, rings: vec![ring] }
    }

    fn standing(board: &Board) -> Vec<String> {
        board.list().into_iter().map(|(_, subject, _)| subject).collect()
    }

    #[test]
    fn an_alarm_is_raised_at_eighty_per_cent_and_cleared_below_seventy() {
        let (config, board, mut marks, now) = (Config::default(), Board::default(), Watermarks::default(), Instant::now());
        let mut after = |used| {
            marks.look(&config, &limits(used, 0), now, &board);
            standing(&board)
        };
        assert_eq!(after(799), [""; 0]);
        assert_eq!(after(800), ["FLOWS"], "a table that evicts is always full");
        assert_eq!(after(700), ["FLOWS"]);
        assert_eq!(after(699), [""; 0]);
        assert_eq!(after(799), [""; 0]);
        assert_eq!(marks.marked(limits(5, 0)).tables[0].high, 800);
    }

    #[test]
    fn an_alarm_says_which_setting_helps() {
        let (board, mut marks) = (Board::default(), Watermarks::default());
        marks.look(&Config::default(), &limits(900, 0), Instant::now(), &board);
        let text = board.list()[0].2.text.clone();
        assert!(text.contains("900 of 1000") && text.contains("set ns limits -flows 2048"), "{text}");
    }

    #[test]
    fn lost_events_are_an_alarm_until_a_minute_has_passed_without_another() {
        let (config, board, mut marks, start) = (Config::default(), Board::default(), Watermarks::default(), Instant::now());
        let mut after = |seconds, lost| {
            marks.look(&config, &limits(0, lost), start + Duration::from_secs(seconds), &board);
            standing(&board)
        };
        assert_eq!(after(0, 7), [""; 0], "lost before");
        assert_eq!(after(1, 8), ["EVENTS"]);
        assert_eq!(after(60, 8), ["EVENTS"]);
        assert_eq!(after(61, 8), [""; 0]);
    }
}
