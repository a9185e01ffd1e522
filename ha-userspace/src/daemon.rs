//! `understudy run`: the tasks and threads of one node.
//!
//! ```text
//!   heartbeat thread (FIFO 50)  requests at the hello pace on every link
//!   HA driver (FIFO 49)         kernel records, carrier, commands ─▶ machine ─▶ roles          crate::ha
//!   health (FIFO 48)            follows carrier of legs and links, judges with routes           crate::ha::monitor
//!   probe (FIFO 48)             asks a gateway on each leg of clients                           crate::net::probe
//!   role, announce (FIFO 47)    announcements: a takeover counts once it is known              helpers
//!   witness (FIFO 47)           asks the witness when the driver wants it                      crate::witness
//!   overheard                   takes the kernel's events that are not about roles              overheard
//!   cut-off                     marks connections of services that went down                    crate::datapath
//!   hook-…                      tell syslog, a program, a web server what happens              crate::hook
//!   terms                       disk and log, which the driver must not wait for               helpers
//!   record                      what the machine saw and did, for `understudy replay`          crate::ha::record
//!   tokio (one thread)          socket ─▶ executor ─▶ Live: configuration ─▶ maps, keys, links  live
//!                               monitors, next hops, flow ageing, floating addresses of the host
//! ```
//!
//! SIGTERM ends the process and touches nothing: programs, maps and links are pinned, the kernel goes on serving, and the next
//! daemon adopts them. Leaving the pair is `understudy stop`.

mod alike;
mod arp;
mod conflicts;
mod floating;
mod gateway;
mod helpers;
mod limits;
mod live;
mod local;
mod log;
mod lookout;
mod overheard;
mod probing;
mod reception;
mod sources;
mod status;
mod surges;
mod watched;
mod witness;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, anyhow};
use ha_common::abi::{Event as KernelEvent, event_kind};
use ha_common::ha::machine::TERM_BLOCK;
use ha_common::health::Verdict;
use ha_common::time::nanos_of;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::alarm::Board;
use crate::api::{Socket, serve};
use crate::command::Executor;
use crate::command::runtime::Runtime;
use crate::config::{self, Change, Config, Indices, Store};
use crate::datapath::{self, Datapath, Shared};
use crate::ha::monitor::Monitor;
use crate::ha::record::Pages;
use crate::ha::state::{State, StateFile};
use crate::ha::{Driver, Handle, Parts as DriverParts, Request};
use crate::health::Monitors;
use crate::hook::Hook;
use crate::net::address;
use crate::net::heartbeat::Requests;
use crate::net::link;
use crate::net::neighbour::{self, Neighbours, NextHops};
use crate::net::probe::Probes;
use crate::net::reception::{Receiver, Reception};
use crate::net::route;
use crate::options::Options;
use crate::witness::Client as WitnessClient;
use crate::{clock, realtime};
use helpers::Helpers;
use live::{Live, Parts};

/// Kernel events that wait for the tasks; more are dropped.
const KERNEL_EVENTS: usize = 4096;

/// How often is looked for others who use what is this pair's.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often is looked at how many connections services have that are protected from surges.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// How long a node that leaves waits until others were told of its last change of role.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Node = Rc<RefCell<Executor<Live>>>;

/// Runs a node until it is told to stop.
///
/// # Errors
/// When the configuration, the kernel or the interfaces do not allow it: each says what to do.
pub fn run(options: &Options) -> anyhow::Result<()> {
    log::begin();
    let config = config::load(&options.config, Indices::default())?;
    let state = StateFile::in_dir(&options.state)?;
    let _alone = alone(options)?;
    realtime::lock_memory();
    let settings =
        datapath::Settings { pins: options.pins.clone(), logs: options.state.clone(), sizes: config.limits().sizes() };
    let datapath = Datapath::open(&settings)?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")?;
    tokio.block_on(serve_node(options, config, datapath, state))
}

async fn serve_node(options: &Options, config: Config, mut datapath: Datapath, state: StateFile) -> anyhow::Result<()> {
    let socket = Socket::bind(&options.socket)?;
    let shared = datapath.shared();
    begin_life(&shared)?;
    let (driver, ends) = Handle::new()?;
    let (orders, received) = channel();
    let found = reserve(&state)?;
    let board = Board::default();
    let hook = Hook::spawn().context("cannot start the threads that tell of events")?;
    hook.set(config.hook_settings());
    let helpers = Helpers::spawn((orders.clone(), received), state, driver.clone(), board.clone(), hook.clone())?;
    let requests = Requests::new(Arc::clone(&shared), config.ha().hello_interval);
    let (verdicts_in, mut verdicts) = mpsc::unbounded_channel();
    let (wanted, wanted_out) = watch::channel(BTreeSet::new());
    let neighbours = neighbour::spawn(wanted_out).context("cannot follow routes and neighbours")?;
    let mut next_hops = neighbours.next_hops.clone();
    let (others, mut kernel_events) = mpsc::channel(KERNEL_EVENTS);
    let (known, inherited) = inherit(&config, &datapath);
    let (connection, netlink, _) = rtnetlink::new_connection().context("cannot speak netlink")?;
    tokio::spawn(connection);
    let mut own = address::follow(netlink.clone()).context("cannot follow the host's addresses")?;
    let (timeouts, timeouts_out) = watch::channel(datapath::idle_timeouts(&config));
    let (exceptions, mut exceptions_out) = watch::channel(HashSet::new());
    if let Some(ageing) = datapath.ageing() {
        tokio::spawn(ageing.run(timeouts_out, exceptions));
    }
    if let Some(cutter) = datapath.cutter() {
        let thread = std::thread::Builder::new().name("cut-off".into());
        thread.spawn(move || cutter.run()).context("cannot start the thread that cuts connections off")?;
    }
    let (lists, lists_out) = watch::channel(datapath::lists(&config));
    tokio::spawn(datapath.purge().run(lists_out));
    let to_driver = driver.clone();
    let witness = WitnessClient::spawn(move |testimony| to_driver.send(Request::Witness(testimony)))
        .context("cannot start the thread that asks the witness")?;
    let to_driver = driver.clone();
    let probes = Probes::spawn(move || to_driver.wake()).context("cannot probe the legs of clients")?;
    let events = datapath.events().context("cannot read the kernel's events")?;
    overheard::spawn(events, others).context("cannot start the thread that takes the kernel's events")?;
    let parts = DriverParts {
        shared: Arc::clone(&shared),
        requests: Arc::clone(&requests),
        events: datapath.rulings().context("cannot read the kernel's rulings")?,
        ends,
        reach: probes.reach(),
        helpers: orders,
        witness: witness.clone(),
        record: record(options, &board)?,
    };
    let to_driver = driver.clone();
    let tell = move |facts| to_driver.send(Request::Health(facts));
    let monitor = Monitor::spawn(tell).context("cannot follow the interfaces")?;
    let (asked_routes, asked) = watch::channel(route::Wanted::default());
    let mut routes = route::spawn(asked).context("cannot follow the routing table")?;
    let mut live = Live::new(
        Parts {
            datapath,
            requests: Arc::clone(&requests),
            driver: driver.clone(),
            monitor,
            probes,
            asked_routes,
            helpers: helpers.clone(),
            monitors: Monitors::new(verdicts_in),
            wanted,
            store: Arc::new(Store::new(&options.config)),
            timeouts,
            lists,
            board: board.clone(),
            witness,
            hook: hook.clone(),
            own: address::list(&netlink).await.context("cannot list the host's addresses")?,
        },
        known,
        inherited,
    );
    live.reconcile(&config, &Change::default()).map_err(|error| anyhow!("{}: {}", options.config.display(), error.message))?;
    let ha = Driver::new(parts, live::settings(&config), found);
    let thread = realtime::spawn("ha", realtime::HEARTBEAT_PRIORITY - 1, move || ha.run())?;
    requests.spawn()?;
    info!(config = %options.config.display(), socket = %options.socket.display(), "node is up");

    let node: Node = Rc::new(RefCell::new(Executor::new(config, live)));
    let (mut roles, roles_of) = (helpers.changes(), helpers.clone());
    let tasks = [
        tokio::spawn(local::keep(helpers.clone(), netlink.clone())),
        tokio::spawn(reception::keep(helpers.clone(), netlink.clone(), options.state.clone())),
        tokio::spawn(gateway::watch(helpers, netlink.clone(), board)),
    ];
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let serving = serve(socket.listener(), Rc::clone(&node));
    tokio::pin!(serving);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut counts = tokio::time::interval(COUNT_EVERY);
    counts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stopped = loop {
        let due = due(&node);
        tokio::select! {
            () = &mut serving => break true,
            _ = terminated.recv() => break false,
            _ = interrupted.recv() => break false,
            Some(change) = verdicts.recv() => with(&node, |config, live| live.learn(config, &change)),
            Ok(()) = next_hops.changed() => {
                let found = next_hops.borrow_and_update().clone();
                with(&node, |config, live| live.follow(config, found));
            }
            Ok(()) = routes.changed() => {
                let found = routes.borrow_and_update().clone().unwrap_or_default();
                with(&node, |config, live| live.know_routes(config, found));
            }
            Ok(()) = exceptions_out.changed() => {
                let met = exceptions_out.borrow_and_update().clone();
                with(&node, |_, live| live.datapath.set_exceptions(met));
            }
            Ok(()) = roles.changed() => with(&node, |_, live| live.probe_now()),
            Ok(()) = own.changed() => {
                let found = own.borrow_and_update().clone();
                with(&node, |config, live| live.know_host(config, found));
            }
            Some(event) = kernel_events.recv() => {
                note(&event, &neighbours);
                with(&node, |_, live| live.overhear(&event));
            }
            _ = looks.tick() => with(&node, |config, live| {
                live.look_for_conflicts(config);
                live.look_out(config);
                live.look_for_leavers(config);
            }),
            _ = counts.tick() => with(&node, |config, live| live.watch_surges(config)),
            () = due => with(&node, |config, live| live.project_or_log(config)),
        }
    };
    requests.stop();
    driver.send(Request::End);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    if thread.join().is_err() {
        warn!("the HA driver ended badly; see above");
    }
    if stopped {
        local::remove_all(&roles_of, &netlink).await;
        Receiver::of(&roles_of.reception(), &options.state).follow(&netlink, &Reception::default()).await;
        let left = leave(node);
        let last = driver.snapshot().past.last().map(|past| past.when);
        if !hook.finish(last, LAST_WORDS) {
            warn!("not everybody could be told of this node's last change of role in time");
        }
        left?;
    }
    Ok(())
}

/// The last step of `understudy stop`: nothing of this node is left in the kernel.
fn leave(node: Node) -> anyhow::Result<()> {
    // What still holds the node are requests under way; they are over with this process.
    let Some(executor) = Rc::into_inner(node) else { return Ok(()) };
    executor.into_inner().into_runtime().datapath.detach().context("cannot remove the programs")
}

fn with(node: &Node, f: impl FnOnce(&Config, &mut Live)) {
    node.borrow_mut().with(f);
}

/// When the maps are to be written again although nothing has changed.
async fn due(node: &Node) {
    let at = node.borrow_mut().runtime().datapath.poll_timeout();
    match at {
        Some(at) => tokio::time::sleep(at.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// Keeps a second daemon from working on the same node.
fn alone(options: &Options) -> anyhow::Result<Flock<File>> {
    let path = options.state.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| anyhow!("another daemon runs with the state directory {} ({error})", options.state.display()))
}

/// What was found on disk, with a block of terms more: on disk before the first of them can be used.
fn reserve(file: &StateFile) -> anyhow::Result<State> {
    let found = file.read()?;
    let state = State { reserved: found.reserved + TERM_BLOCK, ..found };
    if let Err(error) = file.write(&state) {
        warn!(%error, "terms are not on disk: if this node loses power now it may claim under a used one");
    }
    Ok(state)
}

/// The record of the HA machine's inputs, unless it is switched off.
fn record(options: &Options, board: &Board) -> anyhow::Result<Option<Pages>> {
    if options.record == 0 {
        return Ok(None);
    }
    let pages = Pages::spawn(&options.state, options.record, board.clone()).context("cannot start the record's thread")?;
    Ok(Some(pages))
}

/// A kernel that holds no life of this node yet gets one.
fn begin_life(shared: &Shared) -> anyhow::Result<()> {
    // Of a life that goes on, only a driver that runs may say that the controller is well.
    if shared.node().boot_nonce == 0 {
        shared.set_controller_at(clock::now());
        let nonce = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
        shared.set_controller_dead(nanos_of(std::time::Duration::from_secs(3)));
        shared.set_boot_nonce(nonce | 1);
    }
    Ok(())
}

/// What an earlier daemon knew of services and the ways to them, as the kernel still has it.
fn inherit(config: &Config, datapath: &Datapath) -> (HashMap<String, Verdict>, NextHops) {
    let Ok(present) = datapath.present() else { return (HashMap::new(), NextHops::new()) };
    let verdict = |name: &str| datapath::inherited_verdict(config, &present, name);
    let links = live::placed(config, link::links().unwrap_or_default());
    let verdicts = config.services().map(|service| (service.name.clone(), verdict(&service.name))).collect();
    (verdicts, datapath::inherited_next_hops(config, &links, &present))
}

/// What the kernel tells besides rulings: somebody's way is wanted, or a logged flow came or went.
fn note(event: &KernelEvent, neighbours: &Neighbours) {
    if event.kind == event_kind::NEXT_HOP_WANTED {
        neighbours.poke(event.flow.addr.into());
    } else {
        tracing::debug!(target: "flow", ?event);
    }
}
