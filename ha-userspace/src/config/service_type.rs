//! What a service type is at layer 4: the one rule for virtual servers and services, whether typed or read from a file.

use std::time::Duration;

use super::{Service, Vserver};
use crate::command::CommandError;
use crate::command::error::code;
use crate::command::words::{LbMethod, Mode, Persistence, Protocol};

const TCP: &[u8] = &[libc::IPPROTO_TCP as u8];
const UDP: &[u8] = &[libc::IPPROTO_UDP as u8];
const BOTH: &[u8] = &[libc::IPPROTO_TCP as u8, libc::IPPROTO_UDP as u8];

/// The port that stands for every one.
pub const ANY_PORT: u16 = 0;

/// A service type as the data plane knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer4 {
    /// IP protocols that carry it.
    pub transports: &'static [u8],
    /// Idle time after which a connection is forgotten, unless another is set.
    pub idle: Duration,
    /// Whether it can be had at every port (`*`).
    pub any_port: bool,
    /// What the public product reads of it and this one does not.
    pub unread: Option<&'static str>,
}

impl Protocol {
    /// Returns what it is at layer 4.
    pub const fn layer4(self) -> Layer4 {
        let (transports, seconds, any_port, unread) = match self {
            Protocol::Tcp => (TCP, 9_000, true, None),
            Protocol::Udp => (UDP, 120, true, None),
            Protocol::Any => (BOTH, 120, true, Some("TCP and UDP are balanced; other IP protocols are not")),
            Protocol::Http => (
                TCP,
                180,
                false,
                Some(
                    "HTTP is passed on unread: a connection, with all its requests, goes to one service, and nothing is inserted, rewritten or switched by content",
                ),
            ),
            Protocol::Ssl => {
                (TCP, 180, false, Some("TLS is passed on unread: it ends at the services, which need the certificates"))
            }
            Protocol::SslBridge => (TCP, 180, false, Some("TLS is passed on unread, session ids too")),
            Protocol::Ftp => {
                (TCP, 9_000, false, Some("FTP is passed on unread, and data connections follow their client's address"))
            }
        };
        Layer4 { transports, idle: Duration::from_secs(seconds), any_port, unread }
    }

    /// Refuses a port at which there is no such service.
    pub(super) fn check_port(self, port: u16) -> Result<(), CommandError> {
        if port != ANY_PORT || self.layer4().any_port {
            return Ok(());
        }
        let why = format!("type {self} is had at one port; every port (*) is for types TCP, UDP and ANY");
        Err(CommandError::value(code::BAD_VALUE, "port", "*", why))
    }

    /// Whether it is carried by TCP.
    pub fn meets_tcp(self) -> bool {
        self.meets(Protocol::Tcp)
    }

    /// Whether an IP protocol carries both.
    pub(super) fn meets(self, other: Protocol) -> bool {
        let others = other.layer4().transports;
        self.layer4().transports.iter().any(|transport| others.contains(transport))
    }
}

impl Vserver {
    /// Whether it takes packets for whatever address.
    pub fn is_any_address(&self) -> bool {
        self.ip.is_unspecified()
    }

    /// Whether it takes ports that no other virtual server of its address has: every one, or FTP's data connections.
    pub fn takes_any_port(&self) -> bool {
        self.port == ANY_PORT || self.protocol == Protocol::Ftp
    }

    /// Returns the ports that it is found by; zero stands for those that nobody else has.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let also = (self.port != ANY_PORT && self.takes_any_port()).then_some(ANY_PORT);
        std::iter::once(self.port).chain(also)
    }

    /// Returns the port that a service's answers to it come from; zero stands for any.
    pub fn answered_from(&self, service: &Service) -> u16 {
        match (self.takes_any_port(), service.port) {
            (true, _) => ANY_PORT,
            (false, ANY_PORT) => self.port,
            (false, port) => port,
        }
    }

    /// Whether packets for one address could be for either.
    pub(super) fn shares_port(&self, other: &Vserver) -> bool {
        self.protocol.meets(other.protocol) && self.ports().any(|port| other.ports().any(|theirs| theirs == port))
    }

    /// Refuses what cannot be done at its address and ports.
    pub(super) fn check_type(&self) -> Result<(), CommandError> {
        let Vserver { name, protocol, mode, .. } = self;
        self.protocol.check_port(self.port)?;
        let why = if self.is_any_address() && *mode != Mode::Mac {
            format!(
                "virtual server {name} takes packets for any address (*) and passes them on as they are, which is -m MAC, not -m {mode}"
            )
        } else if self.is_any_address() && protocol.layer4().unread.is_some() && *protocol != Protocol::Any {
            format!(
                "virtual server {name} takes packets for any address (*): that is for types TCP, UDP and ANY, not {protocol}"
            )
        } else if self.is_any_address() && self.ipset.is_some() {
            format!("virtual server {name} takes packets for any address (*) already; leave -ipset out")
        } else if *protocol == Protocol::Ftp
            && matches!(self.method, LbMethod::RoundRobin | LbMethod::LeastConnection)
            && self.persistence != Persistence::SourceIp
        {
            format!(
                "virtual server {name} is FTP, whose data connections have to come to the service of their control connection: with -lbMethod {} use \
                 -persistenceType SOURCEIP, or use -lbMethod SOURCEIPHASH",
                self.method
            )
        } else if self.takes_any_port() && self.sessionless && *mode == Mode::Ip {
            format!(
                "virtual server {name} takes any port and is -sessionless ENABLED: without a table of connections an answer cannot be told from \
                 what a service begins by itself; use -m MAC or IPTUNNEL, or leave it at DISABLED"
            )
        } else {
            return Ok(());
        };
        Err(CommandError::refused(why))
    }

    /// Returns what is allowed, and less than the public product does.
    pub(super) fn warning(&self) -> Option<String> {
        let Vserver { name, protocol, mode, .. } = self;
        let unread = protocol.layer4().unread?;
        let data = match (protocol, mode) {
            (Protocol::Ftp, Mode::Ip) => {
                "; EPSV works, and active mode where services have -usip YES; PASV replies name the service's own address, which clients have to \
                 ignore or to reach: -m MAC and IPTUNNEL have no such limit"
            }
            (Protocol::Ftp, _) => "; every port from 1024 on of its address leads to its services",
            _ => "",
        };
        Some(format!("virtual server {name} is {protocol}: {unread}{data}"))
    }
}
