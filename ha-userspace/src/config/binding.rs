//! Which service belongs to which virtual server, and which pairs cannot work.

use super::change::{Change, Touched};
use super::record::{Record, record};
use super::service::{Service, no_such_service};
use super::vserver::{Vserver, no_such_vserver};
use super::{ANY_PORT, Config};
use crate::command::schema::{self, Verb};
use crate::command::words::{Mode, Protocol};
use crate::command::{Arg, Command, CommandError, code};

/// `bind lb vserver`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The virtual server's name.
    pub vserver: String,
    /// The service's name.
    pub service: String,
    /// The service's share of the connections, 1 to 100.
    pub weight: u32,
}

record!(Binding: schema::lb::BINDING, { "name" => vserver, "serviceName" => service, "weight" => weight });

impl Binding {
    /// Returns the command that binds the service.
    pub(super) fn bind_command(&self) -> Option<Command> {
        let attribute = schema::lb::BINDING.attribute("serviceName")?;
        let mut command = self.command(Verb::Bind)?;
        // By position, behind the virtual server.
        command.args.insert(1, Arg { attribute, value: self.value(attribute.name) });
        Some(command)
    }
}

/// Refuses a service that could not serve this virtual server's clients.
pub(super) fn check(vserver: &Vserver, service: &Service) -> Result<(), CommandError> {
    let (v, s) = (&vserver.name, &service.name);
    let why = if vserver.protocol != service.protocol {
        format!("virtual server {v} is {} and service {s} is {}; both must be the same", vserver.protocol, service.protocol)
    } else if vserver.mode != Mode::IpTunnel && vserver.ip.is_ipv4() != service.ip.is_ipv4() {
        format!(
            "virtual server {v} is {} and service {s} is {}: address families are not translated; use one for both, or -m IPTUNNEL",
            vserver.ip, service.ip
        )
    } else if vserver.mode == Mode::Ip && vserver.sessionless && !service.use_source_ip {
        format!(
            "service {s} is -usip NO and virtual server {v} is -sessionless ENABLED: who keeps no connections cannot know whose answer it is; set \
             service {s} -usip YES and make the pair the backend's gateway, or use -m MAC or IPTUNNEL"
        )
    } else if vserver.sessionless && service.max_clients != 0 {
        format!(
            "service {s} has -maxClient {} and virtual server {v} is -sessionless ENABLED, which counts no connections; set one of the two otherwise",
            service.max_clients
        )
    } else if vserver.l2_conn && service.use_source_ip {
        format!(
            "virtual server {v} is -l2Conn ON and service {s} is -usip YES: it sees clients by address and port alone and would take two of them \
             for one; set service {s} -usip NO, or set lb vserver {v} -l2Conn OFF"
        )
    } else if vserver.port == ANY_PORT && service.port != ANY_PORT {
        format!(
            "virtual server {v} takes any port and service {s} is on port {}: the port that a client speaks to is kept; add the service with port *",
            service.port
        )
    } else if vserver.protocol == Protocol::Ftp && vserver.port != service.port {
        format!(
            "virtual server {v} is FTP on port {} and service {s} on port {}: control and data connections keep their ports; use equal ones",
            vserver.port, service.port
        )
    } else if vserver.mode != Mode::Ip && vserver.port != service.port && service.port != ANY_PORT {
        format!(
            "virtual server {v} is -m {} on port {} and service {s} is on port {}: this mode changes no port; use equal ports or -m IP",
            vserver.mode, vserver.port, service.port
        )
    } else {
        return Ok(());
    };
    Err(CommandError::refused(why))
}

impl Config {
    /// Refuses a service whose answers from any port would be another service's as well: only one can be asked whose they are.
    pub(super) fn check_answers(&self, vserver: &Vserver, service: &Service) -> Result<(), CommandError> {
        let answers_from_any = |vserver: &Vserver| vserver.mode == Mode::Ip && vserver.takes_any_port();
        if !answers_from_any(vserver) {
            return Ok(());
        }
        let other_there =
            |other: &Service| other.ip == service.ip && other.name != service.name && other.protocol.meets(service.protocol);
        let there = |other: &&Vserver| answers_from_any(other) && self.bound(other).any(|(bound, _)| other_there(bound));
        match self.vservers.values().find(there) {
            Some(other) => Err(CommandError::refused(format!(
                "virtual server {} takes any port and has another service on {}: whose an answer is could not be told; use -m MAC or IPTUNNEL, \
                 or one service for both",
                other.name, service.ip
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn apply_binding(&mut self, command: &Command) -> Result<Change, CommandError> {
        if let Some(flag) = ["allow", "deny"].into_iter().find(|flag| command.arg(flag).is_some()) {
            return self.apply_clients(command, flag);
        }
        if command.arg("serviceName").is_none() {
            return Err(CommandError::new(
                code::MISSING,
                "Required argument missing [serviceName]: name a service, or clients by -allow <prefix> or -deny <prefix>",
            ));
        }
        let binding = Binding::from_command(command);
        let Some(service) = self.services.get(&binding.service) else {
            return Err(no_such_service("serviceName", &binding.service));
        };
        let Some(vserver) = self.vservers.get(&binding.vserver) else {
            return Err(no_such_vserver("name", &binding.vserver));
        };
        if command.verb == Verb::Bind {
            check(vserver, service)?;
            self.check_answers(vserver, service)?;
        }
        let Some(vserver) = self.vservers.get_mut(&binding.vserver) else {
            return Err(no_such_vserver("name", &binding.vserver));
        };
        let place = vserver.bindings.binary_search_by(|other| other.service.cmp(&binding.service));
        match (command.verb, place) {
            (Verb::Bind, Err(at)) => {
                vserver.bindings.insert(at, binding);
            }
            (Verb::Bind, Ok(_)) => {
                return Err(CommandError::exists(
                    "serviceName",
                    &service.name,
                    format!("it is bound to {}; unbind it first", vserver.name),
                ));
            }
            (_, Ok(at)) => drop(vserver.bindings.remove(at)),
            (_, Err(_)) => {
                return Err(CommandError::missing(
                    "serviceName",
                    &service.name,
                    format!("it is not bound to {}", vserver.name),
                ));
            }
        }
        let change = Change::of(Touched::Vserver(vserver.name.clone()));
        self.check_backups()?;
        Ok(change)
    }
}
