//! `understudy doctor`: will this machine carry a node, and if not, what has to be done?
//!
//! Facts are gathered first ([`facts`]), without changing anything; then judged by pure functions ([`judge`]), each finding
//! with a command that mends it. Called by the main program, and by whoever needs to explain why a node cannot start.
//! All questions about interfaces go through netlink and ioctl, never through sysfs, which shows the network
//! namespace of its mount rather than that of the caller.

pub mod facts;
mod host;
mod interface;
pub mod judge;
mod netdev;
mod report;
pub(crate) mod syscall;

pub use facts::{Interface, Role};
pub use report::{Finding, Level, Report};

/// Examines this machine and the named `interfaces` of the calling thread's network namespace.
///
/// A name may carry its role: `client0=leg`, `ha0=ha`. Where both roles are known, the HA links' MTU is compared with
/// the legs'.
#[must_use]
pub fn run(interfaces: &[String]) -> Report {
    let interfaces: Vec<Interface> = interfaces.iter().map(|name| Interface::from_argument(name)).collect();
    let host = host::gather();
    let links = interface::gather(&interfaces);
    let mut findings = judge::host(&host);
    findings.extend(judge::interfaces(&links, host.cpus));
    Report::new(findings)
}
