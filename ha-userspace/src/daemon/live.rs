//! The living side of the command language: the configuration made true.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_common::abi::{Key, node_flags};
use ha_common::ha::event::{Refusal, RoleName};
use ha_common::ha::settings::{HaStatus, Settings};
use ha_common::health::Verdict;
use ha_common::time::nanos_of;
use ha_common::wire::heartbeat::flags;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::floating::{Floating, homes};
use super::helpers::Helpers;
use super::lookout::Lookout;
use super::probing::targets;
use super::status;
use super::watched::{Host, Seen, watched};
use super::witness::Witness;
use crate::alarm::Board;
use crate::clock;
use crate::command::runtime::{AlarmStatus, Health, InterfaceState, Outcome, PairStatus, Runtime, ServiceState};
use crate::command::{CommandError, words};
use crate::config::{Change, Config, Pair, SavedForm, Store, Touched};
use crate::conflict::Conflicts;
use crate::datapath::{self, Datapath, Mode, Timeouts};
use crate::ha::monitor::Monitor;
use crate::ha::{Handle, Request};
use crate::health::{self, Monitors};
use crate::hook::{self, Hook};
use crate::keys::heartbeat_key;
use crate::net::address::LocalAddress;
use crate::net::forwarding;
use crate::net::heartbeat::{Port, Requests, network_order};
use crate::net::link::{self, Link, Statistics};
use crate::net::media;
use crate::net::neighbour::NextHops;
use crate::net::probe::{Probes, Target};
use crate::net::route::{Routes, Wanted};
use crate::witness;

/// Asked of the daemon's own environment by the lab's control run only: fences are recorded and not obeyed.
const NO_FENCE: &str = "UNDERSTUDY_LAB_NO_FENCE";

/// What is known of a service.
#[derive(Clone, Copy, Debug)]
struct Known {
    verdict: Verdict,
    since: Instant,
}

/// Passwords and addresses that the present keys were made of.
type KeyMaterial = (Pair, String, String);

/// Everything that a change of the configuration reaches.
pub struct Live {
    pub(super) datapath: Datapath,
    pub(super) requests: Arc<Requests>,
    pub(super) driver: Handle,
    monitor: Monitor,
    probes: Probes,
    /// What is probed, for how long a silence.
    probed: (Vec<Target>, Duration),
    pub(super) routes: Routes,
    asked_routes: watch::Sender<Wanted>,
    pub(super) helpers: Helpers,
    pub(super) monitors: Monitors,
    pub(super) wanted: watch::Sender<BTreeSet<IpAddr>>,
    /// What the daemon before knew, as long as nothing newer is known.
    inherited: NextHops,
    pub(super) next_hops: NextHops,
    pub(super) store: Arc<Store>,
    pub(super) own: Vec<LocalAddress>,
    /// What interfaces carried.
    seen: Seen,
    /// Who else uses what is this pair's.
    pub(super) conflicts: Conflicts,
    /// Whether that was looked for yet.
    pub(super) looked: bool,
    timeouts: watch::Sender<Timeouts>,
    services: HashMap<String, Known>,
    modes: BTreeMap<String, Mode>,
    attached: Option<BTreeSet<(String, u32)>>,
    missing: BTreeSet<String>,
    keyed: Option<KeyMaterial>,
    witness: Witness,
    hook: Hook,
    ports: Vec<Link>,
    /// The haStatus in force; none before the configuration was read.
    status: Option<words::HaStatus>,
    commits: u64,
    lookout: Lookout,
    /// What is wrong.
    board: Board,
}

/// The parts that outlive a configuration.
pub struct Parts {
    /// Programs and maps.
    pub datapath: Datapath,
    /// The way out for heartbeats.
    pub requests: Arc<Requests>,
    /// The HA driver.
    pub driver: Handle,
    /// Own health.
    pub monitor: Monitor,
    /// Who asks on the legs of clients.
    pub probes: Probes,
    /// What is asked of the routing table.
    pub asked_routes: watch::Sender<Wanted>,
    /// Its helpers.
    pub helpers: Helpers,
    /// Where monitors report.
    pub monitors: Monitors,
    /// Addresses whose next hops are to be known.
    pub wanted: watch::Sender<BTreeSet<IpAddr>>,
    /// Where the configuration is saved.
    pub store: Arc<Store>,
    /// How long flows may be idle, for whoever ages them.
    pub timeouts: watch::Sender<Timeouts>,
    /// The host's own addresses.
    pub own: Vec<LocalAddress>,
    /// Where faults are put up.
    pub board: Board,
    /// Asks the witness.
    pub witness: witness::Client,
    /// Tells others what happens.
    pub hook: Hook,
}

impl Live {
    /// Nothing configured yet; `verdicts` and `inherited` next hops are what an earlier daemon knew.
    pub fn new(parts: Parts, verdicts: HashMap<String, Verdict>, inherited: NextHops) -> Live {
        let Parts {
            datapath,
            requests,
            driver,
            monitor,
            probes,
            asked_routes,
            helpers,
            monitors,
            wanted,
            store,
            timeouts,
            own,
            board,
            witness,
            hook,
        } = parts;
        let since = Instant::now();
        let services = verdicts.into_iter().map(|(name, verdict)| (name, Known { verdict, since })).collect();
        Live {
            datapath,
            requests,
            driver,
            monitor,
            probes,
            probed: (Vec::new(), Duration::ZERO),
            routes: Routes::default(),
            asked_routes,
            helpers,
            monitors,
            wanted,
            store,
            own,
            seen: Seen::default(),
            conflicts: Conflicts::new(board.clone()),
            looked: false,
            timeouts,
            services,
            next_hops: inherited.clone(),
            inherited,
            modes: BTreeMap::new(),
            attached: None,
            missing: BTreeSet::new(),
            keyed: None,
            witness: Witness::new(witness),
            hook,
            ports: Vec::new(),
            status: None,
            commits: 0,
            lookout: Lookout::default(),
            board,
        }
    }

    /// It is time to look around.
    pub fn look_out(&mut self, config: &Config) {
        self.lookout.look(config, &self.requests, &self.driver.snapshot(), &self.board);
    }

    /// A monitor has decided.
    pub fn learn(&mut self, config: &Config, change: &health::Change) {
        info!(service = change.service, verdict = ?change.verdict, "service");
        self.services.insert(change.service.clone(), Known { verdict: change.verdict, since: Instant::now() });
        self.project_or_log(config);
    }

    /// The role has changed: what this node may reach may have, too.
    pub fn probe_now(&self) {
        self.monitors.hurry();
    }

    /// The host's interfaces or addresses have changed.
    pub fn know_host(&mut self, config: &Config, own: Vec<LocalAddress>) {
        self.own = own;
        self.project_or_log(config);
    }

    /// The routing table has changed.
    pub fn know_routes(&mut self, config: &Config, routes: Routes) {
        self.monitor.routes(routes.monitored.clone());
        self.routes = routes;
        self.project_or_log(config);
    }

    /// Next hops have changed.
    pub fn follow(&mut self, config: &Config, next_hops: NextHops) {
        self.inherited.retain(|address, _| !next_hops.contains_key(address));
        self.next_hops = next_hops;
        self.next_hops.extend(self.inherited.iter().map(|(&address, &hop)| (address, hop)));
        self.project_or_log(config);
    }

    /// Makes the kernel's side true again from what is known now; interfaces may have gone or come back.
    pub fn project_or_log(&mut self, config: &Config) {
        let made = self.links(config).and_then(|links| {
            self.take_interfaces(config, &links)?;
            self.project(config, &links)
        });
        if let Err(error) = made {
            warn!(error = error.message, "the data plane is not up to date");
        }
    }

    /// The interfaces in use, as the kernel has them. One that is missing is reported once; its carrier counts as lost.
    fn links(&mut self, config: &Config) -> Result<Vec<Link>, CommandError> {
        let present = link::links().map_err(|error| refused(format!("cannot list the interfaces: {error}")))?;
        let used = || config.interfaces().filter(|interface| interface.enabled);
        let find = |name: &str| present.iter().find(|link| link.name == name);
        let missing: BTreeSet<String> =
            used().filter(|interface| find(&interface.name).is_none()).map(|interface| interface.name.clone()).collect();
        for name in missing.difference(&self.missing) {
            warn!(interface = name, "configured interface is not there");
        }
        self.missing = missing;
        Ok(used().filter_map(|interface| find(&interface.name).cloned()).collect())
    }

    /// Attaches the programs and opens the heartbeat sockets, if an interface is new or another one under an old name.
    fn take_interfaces(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let now: BTreeSet<(String, u32)> = links.iter().map(|link| (link.name.clone(), link.ifindex)).collect();
        if self.attached.as_ref() != Some(&now) {
            let names: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
            self.modes = self.datapath.attach(&names).map_err(refused)?.into_iter().collect();
            self.attached = Some(now);
        }
        self.forward(config);
        self.set_ports(config, links)
    }

    /// Legs that carry answers of backends forward.
    fn forward(&self, config: &Config) {
        if !config.vservers().any(|vserver| vserver.mode == words::Mode::Ip) {
            return;
        }
        for leg in config.legs().filter(|leg| !self.missing.contains(&leg.name)) {
            if let Err(error) = forwarding::enable(&leg.name) {
                warn!(
                    interface = leg.name,
                    %error,
                    "forwarding is off and cannot be switched on: after a takeover a connection waits for its client to speak first"
                );
            }
        }
    }

    /// A node must not leave the pair while the other would then serve beside it.
    fn check_leaving(&self, config: &Config) -> Result<(), CommandError> {
        let Some((before, ..)) = &self.keyed else { return Ok(()) };
        let after = config.pair();
        if after == Some(*before) {
            return Ok(());
        }
        if after.is_some_and(|after| after.own != before.own) {
            return Err(refused("the NSIP of a node in a pair cannot change: rm ha node first"));
        }
        let snapshot = self.driver.snapshot();
        if snapshot.peer_alive != Some(true) {
            return Ok(());
        }
        let peer = before.peer;
        if !snapshot.view.term().is_none() {
            return Err(refused(format!(
                "the peer {peer} is alive and serves: without it this node would serve beside it; `understudy stop` this node, or stop the peer"
            )));
        }
        if snapshot.view.says(flags::WILLING) {
            return Err(refused(format!(
                "the peer {peer} is alive and would take over when it hears nothing more: on it, set ha node -haStatus STAYSECONDARY, or stop it"
            )));
        }
        Ok(())
    }

    /// A role to stay in is given to a node that has it.
    fn check_status(&self, config: &Config) -> Result<(), CommandError> {
        let (wanted, is_new) = (config.ha().status, self.status.is_some_and(|present| present != config.ha().status));
        if !is_new || config.peer().is_none() {
            return Ok(());
        }
        let role = self.driver.snapshot().role;
        match (wanted, role) {
            (words::HaStatus::StayPrimary, RoleName::Secondary | RoleName::Claiming | RoleName::HandingOver) => {
                Err(refused(format!(
                    "this node is {role}, and only a stand-alone node or the Primary can stay Primary; force ha failover makes it Primary first"
                )))
            }
            (words::HaStatus::StaySecondary, RoleName::Primary | RoleName::Claiming | RoleName::HandingOver) => {
                Err(refused(format!(
                    "this node is {role}, and only a stand-alone node or the Secondary can stay Secondary; force ha failover makes it Secondary first"
                )))
            }
            _ => Ok(()),
        }
    }

    fn project(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let verdicts = self.services.iter().map(|(name, known)| (name.clone(), known.verdict)).collect();
        let own: Vec<IpAddr> = self.own.iter().map(|local| local.address).collect();
        let desired = datapath::project(config, links, &own, &verdicts, &self.next_hops);
        self.datapath.reconcile(clock::now(), &desired).map_err(refused)?;
        self.helpers.set(Floating::of(config, links, &self.own));
        self.watch_host(config, links);
        let apart = config.peer().filter(|peer| peer.inc);
        let towards = apart.map(|peer| IpAddr::V4(peer.ip));
        replace(&self.asked_routes, Wanted { monitored: config.route_monitors().clone(), towards });
        self.route_heartbeats(apart.is_some());
        let mut wanted = datapath::wanted_next_hops(config);
        wanted.extend(self.routes.towards.values().filter(|_| apart.is_some()));
        replace(&self.wanted, wanted);
        Ok(())
    }

    /// With the peer in another subnet, requests go to the router on the way: nobody else there would pass them on.
    fn route_heartbeats(&self, apart: bool) {
        self.requests.map_ports(|port| {
            let via = self.routes.towards.get(&port.ifindex).filter(|_| apart);
            let hop = via.and_then(|via| self.next_hops.get(via)).filter(|hop| hop.ifindex == port.ifindex);
            port.set_router(hop.map(|hop| hop.mac));
        });
    }

    /// Tells whoever looks at interfaces, routes and gateways what to look at.
    fn watch_host(&mut self, config: &Config, links: &[Link]) {
        let host = Host { links, own: &self.own, routes: &self.routes };
        self.monitor.follow(watched(config, &host, &mut self.seen));
        let probed = (targets(config, &host), settings(config).isolation_hold);
        if self.probed != probed {
            self.probes.follow(probed.0.clone(), probed.1);
            self.probed = probed;
        }
    }

    fn set_pair(&mut self, config: &Config) -> Result<(), CommandError> {
        let shared = self.datapath.shared();
        let Some(pair) = config.pair() else {
            let own = config.nsip().map_or(0, network_order);
            self.keyed = None;
            shared.set_pair(own, 0, 0, 0);
            return Ok(());
        };
        let password = |ip| config.rpc_node(IpAddr::V4(ip)).and_then(|node| node.password.as_ref());
        let text = |ip| password(ip).map_or_else(String::new, |secret| secret.reveal().to_owned());
        let material = (pair, text(pair.own), text(pair.peer));
        if self.keyed.as_ref() == Some(&material) {
            return Ok(());
        }
        let tx = heartbeat_key(&material.1, pair.own, pair.peer).map_err(refused)?;
        let rx = heartbeat_key(&material.2, pair.peer, pair.own).map_err(refused)?;
        // The former key opens until the peer has used the present one: a password is changed on one node first.
        let [present, former] = shared.node().rx_keys;
        let same_pair = self.keyed.as_ref().is_none_or(|(known, ..)| *known == pair);
        let former = match present.id == rx.id {
            true => former,
            false if same_pair => present,
            false => Key::default(),
        };
        shared.set_keys(&tx, &[rx, former]);
        shared.set_pair(network_order(pair.own), pair.own_id.into(), network_order(pair.peer), pair.peer_id.into());
        self.keyed = Some(material);
        Ok(())
    }

    fn set_ports(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let named = |name: &str| links.iter().find(|link| link.name == name).cloned();
        let wanted: Vec<Link> = config.ha_links().filter_map(|interface| named(&interface.name)).collect();
        let same = |a: &Link, b: &Link| (a.ifindex, a.mac) == (b.ifindex, b.mac);
        if wanted.len() == self.ports.len() && wanted.iter().zip(&self.ports).all(|(a, b)| same(a, b)) {
            return Ok(());
        }
        let ports: Result<Vec<Port>, _> =
            wanted.iter().enumerate().map(|(number, link)| Port::open(number, &link.name, link.ifindex, link.mac)).collect();
        self.requests.set_ports(ports.map_err(|error| refused(format!("cannot send heartbeats: {error}")))?);
        self.ports = wanted;
        Ok(())
    }

    fn watch_services(&mut self, config: &Config) {
        let targets = datapath::targets(config);
        let services = &self.services;
        self.monitors.watch(&targets, |name| services.get(name).map_or(Verdict::Unknown, |known| known.verdict));
        self.services.retain(|name, _| targets.contains_key(name));
    }
}

/// The HA machine's settings, as configured.
pub fn settings(config: &Config) -> Settings {
    let ha = config.ha();
    Settings {
        node_id: config.pair().map_or(0, |pair| pair.own_id),
        paired: config.pair().is_some(),
        status: match ha.status {
            words::HaStatus::Enabled => HaStatus::Enabled,
            words::HaStatus::Disabled => HaStatus::Disabled,
            words::HaStatus::StayPrimary => HaStatus::StayPrimary,
            words::HaStatus::StaySecondary => HaStatus::StaySecondary,
        },
        hello: ha.hello_interval,
        dead: ha.dead_interval,
        controller_dead: ha.controller_dead_interval,
        isolation_hold: ha.isolation_hold(),
        fail_safe: ha.fail_safe,
        witness: ha.witness.is_some(),
        max_flips: ha.max_flips,
        max_flip_time: ha.max_flip_time,
        inc: config.peer().is_some_and(|peer| peer.inc),
        route_hold: ha.route_hold,
        route_monitors: number_of(config.route_monitors()),
        witness_id: number_of(&ha.witness),
    }
}

/// A number that changes with `value`, within this process.
fn number_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Tells whoever waits for `channel`, if `value` is another one.
fn replace<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|present| {
        let differs = *present != value;
        *present = value;
        differs
    });
}

pub(super) fn refused(why: impl std::fmt::Display) -> CommandError {
    CommandError::refused(why.to_string())
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
        self.status = Some(config.ha().status);
        self.commits += 1;
        let shared = self.datapath.shared();
        shared.set_config_identity(config.identity());
        shared.set_controller_dead(nanos_of(config.ha().controller_dead_interval));
        shared.set_dead(nanos_of(config.ha().dead_interval));
        let ignores_fence = std::env::var_os(NO_FENCE).is_some();
        if ignores_fence {
            warn!("{NO_FENCE} is set: fences are not obeyed; this is for the lab's control run only");
        }
        shared.set_flags(if ignores_fence { node_flags::FENCE_IGNORED } else { 0 });
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
        homes(config, &link::links().unwrap_or_default(), &self.own)
    }

    fn hook_status(&self) -> hook::Status {
        self.hook.status()
    }

    fn alarms(&self) -> Vec<AlarmStatus> {
        self.board.list().into_iter().map(status::alarm).collect()
    }

    fn save(&mut self, form: SavedForm) -> Outcome {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let saved = tokio::task::spawn_blocking(move || store.save(&form)).await;
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
