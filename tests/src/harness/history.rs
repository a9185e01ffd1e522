//! What a node says of its changes of role, read from its log: the log outlives the daemon, whatever kills it.

use std::fmt;
use std::time::Duration;

use super::rt;
use super::topology::Host;

/// One change of role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// Whose.
    pub host: Host,
    /// When, on [`rt::now`]'s scale.
    pub at: Duration,
    /// The role before.
    pub from: String,
    /// The role after.
    pub to: String,
    /// The rule that decided.
    pub cause: String,
}

impl RoleChange {
    /// Whether a new daemon only found what its kernel does.
    pub fn is_adoption(&self) -> bool {
        self.cause.starts_with("the kernel was serving")
    }

    /// Whether a node became Primary that was not.
    pub fn is_takeover(&self) -> bool {
        self.to == "Primary" && ["Secondary", "Claiming"].contains(&self.from.as_str())
    }
}

impl fmt::Display for RoleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: {} -> {} ({})", self.host.name(), self.from, self.to, self.cause)
    }
}

/// The changes in `log`, the log of `host`.
pub fn read(host: Host, log: &str) -> Vec<RoleChange> {
    let offset = rt::wall_offset();
    log.lines().filter_map(|line| change(host, line, offset)).collect()
}

fn change(host: Host, line: &str, wall_offset: Duration) -> Option<RoleChange> {
    let (_, fields) = line.split_once(": role from=")?;
    let (from, rest) = fields.split_once(" to=")?;
    let (to, rest) = rest.split_once(" term=")?;
    let (cause, rest) = rest.split_once(" cause=")?.1.split_once(" evidence=")?;
    let (seconds, micros) = rest.rsplit_once(" at=")?.1.trim().split_once('.')?;
    let at = Duration::new(seconds.parse().ok()?, micros.parse::<u32>().ok()? * 1000);
    let (from, to, cause) = (from.to_owned(), to.to_owned(), cause.to_owned());
    Some(RoleChange { host, at: at.saturating_sub(wall_offset), from, to, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_role_is_read_with_its_cause_and_time() {
        let line = "2026-11-20T12:00:00.000001Z  INFO understudy::daemon::helpers: role from=Handing over to=Primary term=514 \
                    cause=peer dead: no echo on any link for 30.1ms, all requests since unanswered \
                    evidence=\"links heard: 0; own health ok\" at=1800000000.000250";
        let read = change(Host::B, line, Duration::from_secs(1_799_999_999)).expect("a change");
        assert_eq!(
            (read.from.as_str(), read.to.as_str(), read.at),
            ("Handing over", "Primary", Duration::from_micros(1_000_250))
        );
        assert!(read.cause.starts_with("peer dead") && read.cause.ends_with("unanswered"));
        assert!(!read.is_takeover() && !read.is_adoption());
        assert_eq!(change(Host::A, "INFO understudy: node is up config=x", Duration::ZERO), None);
    }
}
