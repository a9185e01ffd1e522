//! Privileged: what the loaded program tells whoever traces, and that it does nothing else because of it.

use anyhow::{Context, Result, ensure};
use aya::maps::RingBuf;
use ha_common::abi::{
    NO_BACKEND, Reason, ServiceKey, TRACED_BYTES, Trace, TraceBudget, TraceFilter, Traced, node_flags, traced_as,
};
use ha_common::time::Ticks;
use ha_common::wire::Be16;
use ha_tests::kernel::{Kernel, map};
use ha_tests::vectors::{self, Place, Vector, hex, loaded, world};

/// Of what is not traced by rate: each packet costs nothing.
const FREELY: u64 = 0;

/// Begins to trace in this kernel, for ever.
fn trace(kernel: &Kernel, filter: TraceFilter, cost: u64) -> Result<()> {
    let trace = Trace { until: Ticks(u64::MAX), holder: 1, cost, filter, reserved: 0 };
    map::put(kernel.map("TRACE")?, &0u32, &trace)?;
    Ok(map::put_per_cpu(kernel.map("TRACE_BUDGET")?, &0u32, &TraceBudget::default())?)
}

/// Everything that was told since this was asked last.
fn told(kernel: &mut Kernel) -> Result<Vec<Traced>> {
    let mut ring = RingBuf::try_from(kernel.ebpf().map_mut("TRACED").context("map TRACED")?)?;
    let mut told = Vec::new();
    while let Some(record) = ring.next() {
        told.push(map::record::<Traced>(&record));
    }
    Ok(told)
}

/// What was not told, all CPUs together: above the rate, and without room.
fn lost(kernel: &Kernel) -> Result<[u64; 2]> {
    let budgets: Vec<TraceBudget> = map::get_per_cpu(kernel.map("TRACE_BUDGET")?, &0u32)?;
    Ok([budgets.iter().map(|budget| budget.limited).sum(), budgets.iter().map(|budget| budget.full).sum()])
}

/// Puts the tables of `vector` into the kernel, traced or not, and runs its frame; what the program returned, and the frame then.
fn run(kernel: &Kernel, vector: &Vector, traced: bool) -> Result<Option<(u32, Vec<u8>)>> {
    let Place::Ingress(ifindex) = vector.place() else { return Ok(None) };
    let mut tables = vector.tables(kernel.clocks()?.1);
    tables.node.flags |= if traced { node_flags::TRACED } else { 0 };
    kernel.fill(&tables)?;
    let output = kernel.ingress(vector.frame(), ifindex)?;
    Ok(Some((output.code, output.frame)))
}

#[test]
fn every_vector_ends_as_ever_while_it_is_traced_and_is_told_once_with_its_reason() -> Result<()> {
    let mut kernel = loaded::load()?;
    trace(&kernel, TraceFilter::default(), FREELY)?;
    for vector in &vectors::all() {
        let Some((code, frame)) = run(&kernel, vector, true)? else { continue };
        let counted: Vec<Reason> = kernel.counters()?.iter().map(|(reason, _)| *reason).collect();
        let host = vector.run_on_host(&vector.tables(kernel.clocks()?.1));
        ensure!(counted == [host.counters[0].0], "{}: {counted:?}", vector.name);
        ensure!(hex(&frame) == hex(&host.frame), "{}: another frame leaves", vector.name);
        let told = told(&mut kernel)?;
        let [one] = &told[..] else { anyhow::bail!("{}: told of {} times", vector.name, told.len()) };
        let beginning = |bytes: &[u8]| hex(&bytes[..bytes.len().min(TRACED_BYTES)]);
        let kept = |bytes: &[u8], len: u32| hex(&bytes[..(len as usize).min(TRACED_BYTES)]);
        ensure!(Reason::ALL[usize::from(one.reason)] == counted[0], "{}: reason {}", vector.name, one.reason);
        ensure!(one.len as usize == vector.frame().len() && one.at.0 != 0, "{}: {one:?}", vector.name);
        ensure!(kept(&one.came, one.len) == beginning(vector.frame()), "{}: another frame came", vector.name);
        ensure!(u32::from(one.action) == code, "{}: {} instead of {code}", vector.name, one.action);
        if one.action == traced_as::DROP {
            ensure!(one.out_len == 0, "{}: it leaves", vector.name);
        } else {
            ensure!(one.out_len as usize == frame.len(), "{}: {} bytes leave", vector.name, one.out_len);
            ensure!(kept(&one.leaves, one.out_len) == beginning(&frame), "{}: another frame leaves", vector.name);
        }
    }
    ensure!(lost(&kernel)? == [0, 0]);
    Ok(())
}

/// A client's SYN to [`world::WEB`].
fn syn() -> Result<Vector> {
    let is_syn = |vector: &Vector| {
        let host = vector.run_on_host(&vector.tables(ha_common::time::Nanos(1_000_000_000)));
        host.counters[0].0 == Reason::ForwardSyn && host.embryonic.keys().all(|key| key.index() == world::WEB)
    };
    vectors::all().into_iter().find(is_syn).context("a vector with a SYN")
}

#[test]
fn only_what_is_wanted_as_it_comes_or_as_it_leaves_is_told_and_nothing_after_the_lease() -> Result<()> {
    let mut kernel = loaded::load()?;
    let vector = syn()?;
    let any = TraceFilter::default();
    let host = |addr: std::net::IpAddr| TraceFilter { host: addr.into(), ..any };
    let vserver = |port| ServiceKey { addr: world::VIP.into(), domain: 0, port: Be16::new(port), protocol: 6 };
    let placed =
        vector.run_on_host(&vector.tables(kernel.clocks()?.1)).embryonic.values().next().map_or(NO_BACKEND, |e| e.backend);
    let backend = world::backend_addr(placed);
    for (filter, wanted) in [
        (any, 1),
        (host(world::CLIENT), 1),
        (host(backend), 1),
        (host(world::CLIENT6), 0),
        (TraceFilter { protocol: 17, ..any }, 0),
        (TraceFilter { port: Be16::new(80), ..any }, 1),
        (TraceFilter { vserver: vserver(80), ..any }, 1),
        (TraceFilter { vserver: vserver(81), ..any }, 0),
    ] {
        trace(&kernel, filter, FREELY)?;
        run(&kernel, &vector, true)?;
        let count = told(&mut kernel)?.len();
        ensure!(count == wanted, "{filter:?}: told of {count} times");
    }
    trace(&kernel, any, FREELY)?;
    run(&kernel, &vector, false)?;
    ensure!(told(&mut kernel)?.is_empty(), "nobody traces");
    let over = Trace { until: kernel.clocks()?.0, ..Trace::default() };
    map::put(kernel.map("TRACE")?, &0u32, &over)?;
    run(&kernel, &vector, true)?;
    ensure!(told(&mut kernel)?.is_empty(), "the lease is over");
    Ok(())
}

#[test]
fn of_a_flood_as_much_is_told_as_the_rate_and_the_buffer_allow_and_the_rest_is_counted() -> Result<()> {
    const FLOOD: u64 = 5_000;
    let mut kernel = loaded::load()?;
    let vector = syn()?;
    run(&kernel, &vector, true)?;
    told(&mut kernel)?;
    for (cost, why) in [(TraceBudget::WINDOW / 100, 0), (FREELY, 1)] {
        trace(&kernel, TraceFilter::default(), cost)?;
        for _ in 0..FLOOD {
            kernel.ingress(vector.frame(), world::CLIENT_LEG)?;
        }
        let (told, lost) = (told(&mut kernel)?.len() as u64, lost(&kernel)?);
        ensure!(told >= 100 && lost[why] > 0 && lost[1 - why] == 0, "{told} told, lost {lost:?}");
        ensure!(told + lost[why] == FLOOD, "{told} told, lost {lost:?}");
    }
    Ok(())
}
