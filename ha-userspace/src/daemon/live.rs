//! The living side of the command language: the configuration made true.

mod interfaces;
mod leaving;
mod pair;
mod runtime;
mod sessions;
mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_common::health::Verdict;
use tokio::sync::watch;
use tracing::{info, warn};

use super::floating::Floating;
use super::helpers::Helpers;
use super::limits::Watermarks;
use super::lookout::Lookout;
use super::probing::targets;
use super::sources::Sources;
use super::surges::Surges;
use super::watched::{Host, Seen, watched};
use super::witness::Witness;
use crate::alarm::Board;
use crate::clock;
use crate::command::{CommandError, words};
use crate::config::{Config, Store};
use crate::conflict::Conflicts;
use crate::datapath::{self, Datapath, Lists, Mode, Timeouts};
use crate::ha::Handle;
use crate::ha::monitor::Monitor;
use crate::health::{self, Monitors};
use crate::hook::Hook;
use crate::net::address::LocalAddress;
use crate::net::heartbeat::Requests;
use crate::net::link::Link;
use crate::net::neighbour::NextHops;
use crate::net::probe::{Probes, Target};
use crate::net::route::{Routes, Wanted};
use crate::witness;
pub use interfaces::placed;
pub use settings::settings;

/// What is known of a service.
#[derive(Clone, Copy, Debug)]
struct Known {
    verdict: Verdict,
    since: Instant,
}

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
    timeouts: watch::Sender<Arc<Timeouts>>,
    lists: watch::Sender<Lists>,
    services: HashMap<String, Known>,
    modes: BTreeMap<String, Mode>,
    attached: Option<BTreeSet<(String, u32)>>,
    missing: BTreeSet<String>,
    /// Members of bonds, and VLANs.
    members: Vec<Link>,
    /// Tagged VLANs of legs for which the host has no interface.
    unspoken: BTreeSet<(String, u16)>,
    keyed: Option<pair::KeyMaterial>,
    witness: Witness,
    hook: Hook,
    ports: Vec<Link>,
    /// The haStatus in force; none before the configuration was read.
    status: Option<words::HaStatus>,
    commits: u64,
    lookout: Lookout,
    watermarks: Watermarks,
    /// Services that leave.
    leavers: leaving::Leavers,
    sources: Sources,
    surges: Surges,
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
    pub timeouts: watch::Sender<Arc<Timeouts>>,
    /// Who is let in, for whoever ends the connections of others.
    pub lists: watch::Sender<Lists>,
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
            lists,
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
            lists,
            services,
            next_hops: inherited.clone(),
            inherited,
            modes: BTreeMap::new(),
            attached: None,
            missing: BTreeSet::new(),
            members: Vec::new(),
            unspoken: BTreeSet::new(),
            keyed: None,
            witness: Witness::new(witness),
            hook,
            ports: Vec::new(),
            status: None,
            commits: 0,
            lookout: Lookout::default(),
            watermarks: Watermarks::default(),
            leavers: leaving::Leavers::default(),
            sources: Sources::default(),
            surges: Surges::default(),
            board,
        }
    }

    /// It is time to look around.
    pub fn look_out(&mut self, config: &Config) {
        self.lookout.look(config, &self.requests, &self.driver.snapshot(), &self.board);
        self.watermarks.look(config, &self.datapath.limits(), Instant::now(), &self.board);
        if self.sources.have_changed() {
            self.project_or_log(config);
        }
        if self.datapath.clear_trace().is_ok_and(|left| left) {
            info!("a trace that was not ended has run out");
        }
    }

    /// Services whose last connections have ended, or whose time is over, are out of service now.
    pub fn look_for_leavers(&mut self, config: &Config) {
        let open = |name: &str| config.service(name).map_or(0, |service| self.datapath.flows_of(service.index).open);
        let gone = self.leavers.look(Instant::now(), open);
        if !gone.is_empty() {
            gone.iter().for_each(|service| info!(service, "out of service"));
            self.project_or_log(config);
            self.watch_services(config);
        }
        if self.sources.have_changed() {
            self.project_or_log(config);
        }
    }

    /// Services may have more or fewer connections than a moment ago.
    pub fn watch_surges(&mut self, config: &Config) {
        let orders = self.surges.look(config, |index| self.datapath.flows_of(index).open);
        orders.distances.iter().for_each(|&(index, distance)| self.datapath.maps().set_throttle(index, distance));
        if orders.flips {
            self.project_or_log(config);
        }
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

    fn project(&mut self, config: &Config, links: &[Link]) -> Result<(), CommandError> {
        let verdicts = self.services.iter().map(|(name, known)| (name.clone(), known.verdict)).collect();
        let ports = self.sources.ports(config);
        self.sources.look(config, ports, &self.board);
        let with_members = [links, &self.members].concat();
        self.leavers.follow(config, Instant::now());
        let leaving = self.leavers.names();
        let mut desired = datapath::project(config, &with_members, &self.own, &verdicts, &self.next_hops, ports, &leaving);
        self.surges.mark(&mut desired);
        self.datapath.reconcile(clock::now(), &desired).map_err(refused)?;
        replace(&self.lists, datapath::lists(config));
        self.datapath.shared().set_flags(runtime::flags(&desired));
        self.helpers.set(Floating::of(config, &with_members, &self.own));
        self.watch_host(config, &with_members);
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

    fn watch_services(&mut self, config: &Config) {
        let targets = datapath::targets(config, &self.leavers.names());
        let services = &self.services;
        self.monitors.watch(&targets, |name| services.get(name).map_or(Verdict::Unknown, |known| known.verdict));
        self.services.retain(|name, _| targets.contains_key(name));
    }
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
