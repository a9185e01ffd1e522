//! Privileged: golden vectors through the loaded programs. The kernel must do what the vector says, and leave every table as the host
//! build of the same pipeline leaves it.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::{Result, bail, ensure};
use ha_common::abi::{Embryo, Exception, Flow, FlowKey, ReverseKey};
use ha_common::pipeline::Action;
use ha_tests::kernel::{Kernel, Output, Sizes, map};
use ha_tests::vectors::world;
use ha_tests::vectors::{self, Outcome, Place, Vector};

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

fn table<K: Default + Clone + Eq + Hash, V: Default>(kernel: &Kernel, name: &str) -> Result<HashMap<K, V>> {
    Ok(map::entries(kernel.map(name)?)?.into_iter().collect())
}

fn run_in_kernel(kernel: &mut Kernel, vector: &Vector, on_host: &Outcome) -> Result<Outcome> {
    let tables = vector.tables(kernel.clocks()?.1);
    kernel.fill(&tables)?;
    kernel.events()?;
    let (Output { frame, .. }, action) = match vector.place() {
        Place::Ingress(ifindex) => {
            let output = kernel.ingress(vector.frame(), ifindex)?;
            let action = action_of_xdp(output.code, on_host.action)?;
            (output, action)
        }
        Place::Egress => {
            let output = kernel.egress(vector.frame())?;
            let action = action_of_guard(output.code)?;
            (output, action)
        }
    };
    let outcome = Outcome {
        action,
        frame,
        counters: kernel.counters()?,
        flows: table::<FlowKey, Flow>(kernel, "FLOWS")?,
        embryonic: table::<FlowKey, Embryo>(kernel, "EMBRYONIC")?,
        exceptions: table::<FlowKey, Exception>(kernel, "EXCEPTIONS")?,
        reverse: table::<ReverseKey, FlowKey>(kernel, "REVERSE")?,
        reverse_embryonic: table::<ReverseKey, FlowKey>(kernel, "REVERSE_EMBRYONIC")?,
        events: kernel.events()?,
    };
    Ok(outcome.without_times())
}

/// Whether the kernel left what the host left.
fn same(vector: &Vector, in_kernel: &Outcome, on_host: &Outcome) -> Result<(), String> {
    vector.same("flows in the kernel, not as on the host", &in_kernel.flows, &on_host.flows)?;
    vector.same("embryos in the kernel, not as on the host", &in_kernel.embryonic, &on_host.embryonic)?;
    vector.same("exceptions in the kernel, not as on the host", &in_kernel.exceptions, &on_host.exceptions)?;
    vector.same("reverse in the kernel, not as on the host", &in_kernel.reverse, &on_host.reverse)?;
    vector.same(
        "reverse embryos in the kernel, not as on the host",
        &in_kernel.reverse_embryonic,
        &on_host.reverse_embryonic,
    )?;
    vector.same("events of the kernel, not as on the host", &in_kernel.events, &on_host.events)?;
    vector.same("frame in the kernel, not as on the host", &in_kernel.frame, &on_host.frame)
}

#[test]
fn every_vector_holds_in_the_kernel_and_leaves_the_tables_that_the_host_leaves() -> Result<()> {
    vectors::namespace::enter()?;
    let sizes = Sizes { flows: world::FLOWS as u32, exceptions: world::EXCEPTIONS as u32, embryonic: 64 };
    let mut kernel = Kernel::load(sizes)?;
    let mut failed = Vec::new();
    for vector in vectors::all() {
        let now = kernel.clocks()?.1;
        let on_host = vector.run_on_host(&vector.tables(now));
        let in_kernel = run_in_kernel(&mut kernel, &vector, &on_host)?;
        let agree = vector.check(&vector.tables(now), &in_kernel).and_then(|()| same(&vector, &in_kernel, &on_host));
        failed.extend(agree.err());
    }
    ensure!(failed.is_empty(), "{} vectors failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}
