//! What the language asks of the living node.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ha_common::abi::{Reason, node_flags};
use ha_common::ha::event::{Refusal, RoleName};
use ha_common::health::Verdict;
use ha_common::time::nanos_of;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{Live, placed, refused, settings};
use crate::command::CommandError;
use crate::command::runtime::{
    AlarmStatus, Health, InterfaceState, LimitsStatus, Outcome, PairStatus, Runtime, Search, ServiceLoad, ServiceState,
    SessionStatus,
};
use crate::config::{Change, Config, Limits, SavedForm, Service, Touched, Vserver};
use crate::connections::{self, Fronts, Query};
use crate::daemon::floating::homes;
use crate::daemon::status;
use crate::datapath::{self, Desired, Mode};
use crate::ha::Request;
use crate::hook;
use crate::net::link::{self, Statistics};
use crate::net::media;

/// Asked of the daemon's own environment by the lab's control run only: fences are recorded and not obeyed.
const NO_FENCE: &str = "UNDERSTUDY_LAB_NO_FENCE";

/// Reasons of packets for which some table or pool had no room.
const NO_ROOM: [Reason; 3] = [Reason::ForwardTableFull, Reason::NoRoom, Reason::NoPort];

/// Reasons of packets that lists, limits and surge protection keep out.
const KEPT_OUT: [Reason; 4] = [Reason::Denied, Reason::SourceConnections, Reason::SourceRate, Reason::Surge];

/// What the kernel is told about its tables, and about the lab's control run.
pub(super) fn flags(desired: &Desired) -> u32 {
    let bonds = if desired.has_bonds() { node_flags::BONDS } else { 0 };
    let ignored = if std::env::var_os(NO_FENCE).is_some() { node_flags::FENCE_IGNORED } else { 0 };
    let any_port = if desired.has_any_port() { node_flags::ANY_PORT } else { 0 };
    bonds | any_port | ignored
}

impl Runtime for Live {
    fn reconcile(&mut self, config: &Config, change: &Change) -> Result<(), CommandError> {
        self.check_leaving(config)?;
        self.check_status(config)?;
        let links = self.links(config)?;
        for touched in change.touched() {
            if let Touched::Interface(name) = touched
                && self.missing.contains(name)
            {
                return Err(refused(format!("there is no interface {name} on this host")));
            }
        }
        self.hook.set(config.hook_settings());
        self.set_pair(config)?;
        self.witness.follow(config)?;
        self.take_interfaces(config, &links)?;
        self.project(config, &links)?;
        self.watch_services(config);
        self.timeouts.send_replace(datapath::idle_timeouts(config));
        self.datapath.set_session_rules(datapath::session_rules(config));
        self.status = Some(config.ha().status);
        self.commits += 1;
        let shared = self.datapath.shared();
        shared.set_config_identity(config.identity());
        shared.set_controller_dead(nanos_of(config.ha().controller_dead_interval));
        shared.set_dead(nanos_of(config.ha().dead_interval));
        shared.set_icmp_cost(nanos_of(config.rate_control().icmp_cost()));
        shared.set_reset_cost(nanos_of(config.rate_control().reset_cost()));
        if std::env::var_os(NO_FENCE).is_some() {
            warn!("{NO_FENCE} is set: fences are not obeyed; this is for the lab's control run only");
        }
        let configured = config.vservers().next().is_some() || config.addresses().next().is_some();
        self.driver.send(Request::Settings(settings(config)));
        self.driver.send(Request::Committed { incarnation: self.commits, configured });
        Ok(())
    }

    fn ha_status(&self, config: &Config) -> PairStatus {
        self.lookout.pair(config, &self.requests, &self.driver.snapshot())
    }

    fn force_failover(&mut self, force: bool) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.driver.send(Request::Force { force, reply });
        outcome(answer)
    }

    fn send_arp(&mut self, config: &Config, address: Option<IpAddr>) -> Outcome {
        self.announce(config, address)
    }

    fn service_state(&self, name: &str) -> ServiceState {
        let known = self.services.get(name);
        let health = match known.map(|known| known.verdict) {
            Some(Verdict::Up) => Health::Up,
            Some(Verdict::Down) => Health::Down,
            Some(Verdict::Unknown) | None => Health::Unknown,
        };
        let stats = self.monitors.stats(name).unwrap_or_default();
        ServiceState {
            health,
            since: known.map(|known| known.since.elapsed()),
            probes: stats.probes,
            failed: stats.failed,
            last_response: stats.last_response,
        }
    }

    fn service_load(&self, service: &Service) -> ServiceLoad {
        let flows = self.datapath.flows_of(service.index);
        let (leaving, left) = self.leavers.status(&service.name, Instant::now());
        ServiceLoad { open: flows.open, peak: flows.peak, leaving, left }
    }

    fn sessions(&self, config: &Config, vservers: &[&Vserver]) -> Result<Vec<SessionStatus>, CommandError> {
        self.list_sessions(config, vservers).map_err(refused)
    }

    fn clear_sessions(&mut self, vservers: &[&Vserver]) -> Result<(), CommandError> {
        self.forget_sessions(vservers).map_err(refused)
    }

    fn interface_state(&self, name: &str) -> Option<InterfaceState> {
        let link = link::link(name).ok()?;
        let attached = self.modes.get(name).map(|mode| match mode {
            Mode::Native => "native XDP".to_owned(),
            Mode::Generic => "generic XDP".to_owned(),
        });
        Some(InterfaceState {
            index: link.ifindex,
            up: link.up,
            carrier: link.carrier,
            mtu_bytes: link.mtu,
            mac: link.mac,
            media: media::of(name),
            traffic: Statistics::open().and_then(|mut counts| counts.traffic(link.ifindex)).unwrap_or_default(),
            attached,
        })
    }

    fn homes(&self, config: &Config) -> BTreeMap<IpAddr, Vec<String>> {
        // Without a list of interfaces it is not known where an address lives.
        homes(config, &placed(config, link::links().unwrap_or_default()), &self.own)
    }

    fn connections(&self, config: &Config, query: Query) -> Search {
        let (maps, clocks) = (Arc::clone(self.datapath.maps()), self.datapath.clocks().clone());
        let fronts = Fronts::of(config);
        Box::pin(async move {
            let found = spawn_blocking(move || connections::find(&maps, &clocks, &fronts, &query)).await;
            let read = found.map_err(refused)?;
            read.map_err(|error| refused(format!("cannot read the connection table: {error}")))
        })
    }

    fn hook_status(&self) -> hook::Status {
        self.hook.status()
    }

    fn limits(&self) -> LimitsStatus {
        let counters = self.datapath.maps().counters().unwrap_or_default();
        let packets = |reason| counters.get(&reason).map_or(0, |counter| counter.packets);
        LimitsStatus {
            limits: self.watermarks.marked(self.datapath.limits()),
            refused: NO_ROOM.map(|reason| (reason.name(), packets(reason))).to_vec(),
            kept_out: KEPT_OUT.map(|reason| (reason.name(), packets(reason))).to_vec(),
        }
    }

    fn pending(&self, config: &Config, change: &Change) -> Vec<String> {
        if !change.touched().any(|touched| *touched == Touched::Limits) {
            return Vec::new();
        }
        let present = |name| self.datapath.maps().size(name);
        let sizes = config.limits().sizes().into_iter().filter(|&(name, size)| present(name) != u64::from(size));
        sizes.map(|(name, size)| Limits::pending(name, present(name), size)).collect()
    }

    fn alarms(&self) -> Vec<AlarmStatus> {
        self.board.list().into_iter().map(status::alarm).collect()
    }

    fn save(&mut self, form: SavedForm) -> Outcome {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let saved = spawn_blocking(move || store.save(&form)).await;
            saved.unwrap_or_else(|error| Err(refused(format!("the save was interrupted: {error}"))))
        })
    }

    fn stop(&mut self, force: bool) -> Outcome {
        let snapshot = self.driver.snapshot();
        if snapshot.role == RoleName::Secondary && snapshot.at.0 == 0 {
            return Box::pin(ready(Ok(())));
        }
        let (reply, answer) = oneshot::channel();
        self.driver.send(Request::Stop { force, reply });
        outcome(answer)
    }
}

fn refusal(refusal: Refusal) -> CommandError {
    CommandError::new(refusal.code(), refusal.to_string())
}

fn outcome(reply: oneshot::Receiver<Result<(), Refusal>>) -> Outcome {
    Box::pin(async move {
        match reply.await {
            Ok(answer) => answer.map_err(refusal),
            Err(_) => Err(refused("the HA driver has ended; see the log")),
        }
    })
}
