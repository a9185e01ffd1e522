//! `understudy run`: the tasks of one node.

use std::cell::RefCell;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{Socket, serve};
use crate::command::error::code;
use crate::command::runtime::{Health, InterfaceState, NodeStatus, Outcome, PairStatus, Runtime, ServiceState};
use crate::command::{CommandError, Executor};
use crate::config::{self, Change, Config, Indices, SavedForm, Store};
use crate::options::Options;

/// Runs a node until it is told to stop.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let config = config::load(&options.config, Indices::default())?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the event loop")?;
    tokio.block_on(async {
        let socket = Socket::bind(&options.socket)?;
        let runtime = ControlPlane { store: Arc::new(Store::new(&options.config)) };
        let executor = Rc::new(RefCell::new(Executor::new(config, runtime)));
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            () = serve(socket.listener(), executor) => {}
            _ = terminated.recv() => {}
        }
        Ok(())
    })
}

/// A node that holds a configuration and moves no packets.
struct ControlPlane {
    store: Arc<Store>,
}

impl Runtime for ControlPlane {
    fn reconcile(&mut self, _: &Config, _: &Change) -> Result<(), CommandError> {
        Ok(())
    }

    fn ha_status(&self, config: &Config) -> PairStatus {
        PairStatus {
            local: NodeStatus::local(config),
            peer: NodeStatus::unheard_peer(config),
            links: Vec::new(),
            transitions: Vec::new(),
        }
    }

    fn force_failover(&mut self, _: bool) -> Outcome {
        let error =
            CommandError::new(code::STANDALONE, "Operation not permitted on stand-alone node: add ha node makes a pair");
        Box::pin(ready(Err(error)))
    }

    fn service_state(&self, _: &str) -> ServiceState {
        ServiceState { health: Health::Unknown, since: None, probes: 0, failed: 0, last_response: None }
    }

    fn interface_state(&self, _: &str) -> Option<InterfaceState> {
        None
    }

    fn save(&mut self, form: SavedForm) -> Outcome {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let saved = tokio::task::spawn_blocking(move || store.save(&form)).await;
            saved.unwrap_or_else(|error| Err(CommandError::refused(format!("the save was interrupted: {error}"))))
        })
    }

    fn stop(&mut self, _: bool) -> Outcome {
        Box::pin(ready(Ok(())))
    }
}
