//! Vectors in the kernel: what the loaded programs do with a vector's frame, and whether they leave what the host build leaves.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::{Result, bail};
use ha_common::abi::{
    Embryo, Exception, Flow, FlowKey, Fragment, FragmentKey, Load, ReverseKey, Session, SessionKey, Source, SourceKey,
};
use ha_common::pipeline::Action;

use super::outcome::{counts, standing};
use super::{Outcome, Place, Vector, namespace, world};
use crate::kernel::{Kernel, Output, Sizes, map};

/// Room for the tables, as the vectors want it.
pub const SIZES: Sizes = Sizes { flows: world::FLOWS as u32, exceptions: world::EXCEPTIONS as u32, embryonic: 64 };

/// Loads the programs, with tables of the vectors' sizes, into a namespace with the vectors' interfaces.
pub fn load() -> Result<Kernel> {
    namespace::enter()?;
    Kernel::load(SIZES)
}

/// Runs every vector by `BPF_PROG_TEST_RUN`; how many there are, and what is wrong with those that do not hold.
pub fn run_all(kernel: &mut Kernel) -> Result<(usize, Vec<String>)> {
    let vectors = super::all();
    let mut failed = Vec::new();
    for vector in &vectors {
        let now = kernel.clocks()?.1;
        let on_host = vector.run_on_host(&vector.tables(now));
        let in_kernel = run(kernel, vector, vector.frame(), &on_host)?;
        let agree = vector.check(&vector.tables(now), &in_kernel).and_then(|()| same(vector, &in_kernel, &on_host));
        failed.extend(agree.err());
    }
    Ok((vectors.len(), failed))
}

/// Runs one frame by `BPF_PROG_TEST_RUN`, with the tables of `vector`.
pub fn run(kernel: &mut Kernel, vector: &Vector, frame: &[u8], on_host: &Outcome) -> Result<Outcome> {
    let tables = vector.tables(kernel.clocks()?.1);
    kernel.fill(&tables)?;
    kernel.events()?;
    let (Output { frame, .. }, action) = match vector.place() {
        Place::Ingress(ifindex) => {
            let output = kernel.ingress(frame, ifindex)?;
            let action = action_of_xdp(output.code, on_host.action)?;
            (output, action)
        }
        Place::Egress => {
            let output = kernel.egress(frame)?;
            let action = action_of_guard(output.code)?;
            (output, action)
        }
    };
    outcome(kernel, action, frame)
}

/// What the kernel's tables say after a frame that became `frame`.
pub fn outcome(kernel: &mut Kernel, action: Action, frame: Vec<u8>) -> Result<Outcome> {
    let outcome = Outcome {
        action,
        frame,
        counters: kernel.counters()?,
        flows: table::<FlowKey, Flow>(kernel, "FLOWS")?,
        embryonic: table::<FlowKey, Embryo>(kernel, "EMBRYONIC")?,
        exceptions: table::<FlowKey, Exception>(kernel, "EXCEPTIONS")?,
        reverse: table::<ReverseKey, FlowKey>(kernel, "REVERSE")?,
        reverse_embryonic: table::<ReverseKey, FlowKey>(kernel, "REVERSE_EMBRYONIC")?,
        loads: array::<Load>(kernel, "LOADS")?.iter().map(standing).collect(),
        turns: array::<u64>(kernel, "TURNS")?,
        sessions: table::<SessionKey, Session>(kernel, "PERSIST")?,
        session_embryos: table::<SessionKey, Session>(kernel, "PERSIST_EMBRYONIC")?,
        sources: counts(&table::<SourceKey, Source>(kernel, "SOURCES")?),
        fragments: table::<FragmentKey, Fragment>(kernel, "FRAGMENTS")?,
        stray_legs: kernel.stray_legs()?,
        events: kernel.events()?,
    };
    Ok(outcome.without_times())
}

/// Whether the kernel left what the host left.
///
/// # Errors
/// With what differs.
pub fn same(vector: &Vector, in_kernel: &Outcome, on_host: &Outcome) -> Result<(), String> {
    vector.same("flows in the kernel, not as on the host", &in_kernel.flows, &on_host.flows)?;
    vector.same("embryos in the kernel, not as on the host", &in_kernel.embryonic, &on_host.embryonic)?;
    vector.same("exceptions in the kernel, not as on the host", &in_kernel.exceptions, &on_host.exceptions)?;
    vector.same("reverse in the kernel, not as on the host", &in_kernel.reverse, &on_host.reverse)?;
    vector.same(
        "reverse embryos in the kernel, not as on the host",
        &in_kernel.reverse_embryonic,
        &on_host.reverse_embryonic,
    )?;
    vector.same("loads in the kernel, not as on the host", &in_kernel.loads, &on_host.loads)?;
    vector.same("turns in the kernel, not as on the host", &in_kernel.turns, &on_host.turns)?;
    vector.same("sessions in the kernel, not as on the host", &in_kernel.sessions, &on_host.sessions)?;
    vector.same("session embryos in the kernel, not as on the host", &in_kernel.session_embryos, &on_host.session_embryos)?;
    vector.same("sources in the kernel, not as on the host", &in_kernel.sources, &on_host.sources)?;
    vector.same("fragments in the kernel, not as on the host", &in_kernel.fragments, &on_host.fragments)?;
    vector.same("strays by leg in the kernel, not as on the host", &in_kernel.stray_legs, &on_host.stray_legs)?;
    vector.same("events of the kernel, not as on the host", &in_kernel.events, &on_host.events)?;
    vector.same("counters of the kernel, not as on the host", &in_kernel.counters, &on_host.counters)?;
    vector.same("action in the kernel, not as on the host", &in_kernel.action, &on_host.action)?;
    vector.same("frame in the kernel, not as on the host", &in_kernel.frame, &on_host.frame)
}

/// What a return code of an XDP program means. Where a redirected frame goes is not told: its MAC addresses are.
fn action_of_xdp(code: u32, expected: Action) -> Result<Action> {
    Ok(match code {
        1 => Action::Drop,
        2 => Action::Pass,
        3 => Action::Transmit,
        4 if matches!(expected, Action::Redirect(_)) => expected,
        4 => Action::Redirect(0),
        other => bail!("return code {other}"),
    })
}

/// What a return code of the guard means: go on with the chain, or an end of it.
fn action_of_guard(code: u32) -> Result<Action> {
    Ok(match code.cast_signed() {
        -1 => Action::Pass,
        2 => Action::Drop,
        other => bail!("return code {other}"),
    })
}

fn array<V: Default>(kernel: &Kernel, name: &str) -> Result<Vec<V>> {
    let mut entries: Vec<(u32, V)> = map::entries(kernel.map(name)?)?;
    entries.sort_by_key(|(index, _)| *index);
    Ok(entries.into_iter().map(|(_, value)| value).collect())
}

fn table<K: Default + Clone + Eq + Hash, V: Default>(kernel: &Kernel, name: &str) -> Result<HashMap<K, V>> {
    Ok(map::entries(kernel.map(name)?)?.into_iter().collect())
}
