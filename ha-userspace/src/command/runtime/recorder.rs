//! A living side for tests: it records what it was asked and answers what it was told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::ready;
use std::net::IpAddr;
use std::rc::Rc;

use super::{
    AlarmStatus, Health, InterfaceState, LimitsStatus, NodeStatus, Outcome, OwnStatus, PairStatus, Runtime, Search,
    ServiceLoad, ServiceState, SessionStatus,
};
use crate::command::CommandError;
use crate::config::{Change, Config, SavedForm, Service, Touched, Vserver};
use crate::connections::{Found, Query};
use crate::datapath::{LimitedTable, Limits, Pool, Ring};
use crate::net::link::Traffic;
use crate::net::media::Media;

/// What a [`Recorder`] was asked, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// To be equal to the configuration with this identity.
    Reconcile(u64, Vec<Touched>),
    /// To fail over.
    Failover(bool),
    /// To announce this address, or all.
    Arp(Option<IpAddr>),
    /// To save this text.
    Save(String),
    /// To stop.
    Stop(bool),
}

/// Records and answers; clones share one record.
#[derive(Clone, Default)]
pub struct Recorder {
    pub asked: Rc<RefCell<Vec<Asked>>>,
    /// The status to show instead of what the configuration alone implies.
    pub status: Rc<RefCell<Option<PairStatus>>>,
    /// Errors to give, last first, before anything succeeds.
    pub errors: Rc<RefCell<Vec<CommandError>>>,
}

impl Recorder {
    fn record(&self, asked: Asked) -> Result<(), CommandError> {
        self.asked.borrow_mut().push(asked);
        self.errors.borrow_mut().pop().map_or(Ok(()), Err)
    }
}

impl Runtime for Recorder {
    fn reconcile(&mut self, config: &Config, change: &Change) -> Result<(), CommandError> {
        self.record(Asked::Reconcile(config.identity(), change.touched().cloned().collect()))
    }

    fn ha_status(&self, config: &Config) -> PairStatus {
        let plain = || PairStatus {
            local: NodeStatus::local(config),
            peer: NodeStatus::unheard_peer(config),
            links: Vec::new(),
            transitions: Vec::new(),
            own: OwnStatus::default(),
        };
        self.status.borrow().clone().unwrap_or_else(plain)
    }

    fn force_failover(&mut self, force: bool) -> Outcome {
        Box::pin(ready(self.record(Asked::Failover(force))))
    }

    fn send_arp(&mut self, _: &Config, address: Option<IpAddr>) -> Outcome {
        Box::pin(ready(self.record(Asked::Arp(address))))
    }

    /// Services whose name ends in `d` are down.
    fn service_state(&self, name: &str) -> ServiceState {
        let (health, last_response) = match name.ends_with('d') {
            true => (Health::Down, "connection refused"),
            false => (Health::Up, "connected in 0.2 msecs"),
        };
        let since = Some(std::time::Duration::from_millis(201_430));
        ServiceState { health, since, probes: 42, failed: 2, last_response: Some(last_response.into()) }
    }

    /// Whoever may still have connections has three.
    fn service_load(&self, service: &Service) -> ServiceLoad {
        let leaving = service.drain.is_some();
        let left = service.drain.and_then(|drain| drain.delay);
        ServiceLoad { open: if service.enabled || leaving { 3 } else { 0 }, peak: 7, leaving, left }
    }

    /// Two for each.
    fn sessions(&self, _: &Config, vservers: &[&Vserver]) -> Result<Vec<SessionStatus>, CommandError> {
        let session = |vserver: &&Vserver, last: u8, service: Option<&str>| SessionStatus {
            vserver: vserver.name.clone(),
            source: Some([10, 7, 0, last].into()),
            destination: None,
            service: service.map(str::to_owned),
            left: std::time::Duration::from_secs(77),
        };
        Ok(vservers.iter().flat_map(|vserver| [session(vserver, 1, Some("s1")), session(vserver, 2, None)]).collect())
    }

    /// Only `eth0` exists.
    fn interface_state(&self, name: &str) -> Option<InterfaceState> {
        (name == "eth0").then(|| InterfaceState {
            index: 3,
            up: true,
            carrier: false,
            mtu_bytes: 1500,
            mac: [2, 0, 0, 0, 0, 0x1f],
            media: Media { speed: Some(25_000), full_duplex: Some(true), autonegotiation: true },
            traffic: Traffic { flags: 0x1003, rx: [4_000, 512_000, 1, 2], tx: [3_000, 256_000, 0, 0] },
            attached: Some("native XDP".into()),
        })
    }

    /// The first address lives on `eth0`.
    fn homes(&self, config: &Config) -> BTreeMap<IpAddr, Vec<String>> {
        config.addresses().take(1).map(|address| (address.ip, vec!["eth0".to_owned()])).collect()
    }

    fn alarms(&self) -> Vec<AlarmStatus> {
        let alarm = |kind: &str, subject: &str, text: &str| AlarmStatus {
            kind: kind.into(),
            subject: subject.into(),
            since: std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_735_689_599),
            text: text.into(),
        };
        vec![alarm("LinkSilent", "ha1", "the peer is not heard on it"), alarm("NobodyServes", "", "neither node may serve")]
    }

    /// A table that is as good as full and smaller than configured, one that evicts, and a pool of ports.
    fn limits(&self) -> LimitsStatus {
        let table = |name, evicts, used| LimitedTable { name, used, high: used + 1_000, max: 131_072, evicts };
        let pool = Pool { source: Some([10, 2, 0, 1].into()), backend: 0, protocol: 6, used: 1_200, high: 15_000, max: 15_872 };
        LimitsStatus {
            limits: Limits {
                tables: vec![table("FLOWS", false, 130_000), table("EMBRYONIC", true, 65_536)],
                pool: Some(pool),
                rings: vec![Ring { name: "EVENTS", bytes: 1_048_576, lost: 3 }],
            },
            refused: vec![("forward_table_full", 0), ("no_room", 17)],
            kept_out: vec![("denied", 3)],
        }
    }

    /// One connection more than is asked for, whatever the filter.
    fn connections(&self, config: &Config, query: Query) -> Search {
        let sample = crate::command::show::sample(config);
        let shown = vec![sample; query.rows.min(2)];
        let total = shown.len() as u64 + 1;
        Box::pin(ready(Ok(Found { shown, total })))
    }

    fn save(&mut self, form: SavedForm) -> Outcome {
        Box::pin(ready(self.record(Asked::Save(form.text().to_owned()))))
    }

    fn stop(&mut self, force: bool) -> Outcome {
        Box::pin(ready(self.record(Asked::Stop(force))))
    }
}
