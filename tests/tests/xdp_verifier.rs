//! Privileged: what it costs the kernel to prove the programs harmless. It gives up at a million instructions, and a CPU does nothing else
//! while it walks them: a program that grows towards that stalls the machine at every start before it is refused.

use anyhow::{Context, Result, ensure};
use aya::programs::Program;
use ha_tests::kernel::{self, Kernel, Sizes, stack};

/// The most instructions that the walk through one program may have: a newer kernel, whose walk is longer, must still accept it.
const MOST: u32 = 500_000;

#[test]
fn every_program_leaves_the_verifier_half_of_its_limit() -> Result<()> {
    let mut kernel = Kernel::load(Sizes { flows: 16, exceptions: 16, embryonic: 16 })?;
    for name in ["ingress", "egress_guard"] {
        let info = match kernel.ebpf().program(name).context(name)? {
            Program::Xdp(program) => program.info()?,
            Program::SchedClassifier(program) => program.info()?,
            other => anyhow::bail!("{name} is {other:?}"),
        };
        let walked = info.verified_instruction_count().context("a kernel that says how long the walk was")?;
        println!("{name}: {walked} instructions walked, {} translated", info.size_translated().unwrap_or(0) / 8);
        ensure!(walked <= MOST, "{name}: the verifier walks {walked} instructions, {MOST} are allowed");
    }
    Ok(())
}

#[test]
fn every_chain_of_functions_fits_the_stack_of_the_oldest_kernel() -> Result<()> {
    let object = kernel::object()?;
    for program in ["ingress", "egress_guard", "admission"] {
        let deepest = stack::deepest(&object, program)?;
        println!("{program}: {} bytes, {}", deepest.bytes, deepest.names.join(" > "));
        ensure!(
            deepest.bytes <= stack::LIMIT,
            "{program} takes {} bytes of {}: {:#?}",
            deepest.bytes,
            stack::LIMIT,
            deepest.names
        );
        ensure!(program != "ingress" || deepest.names.len() > 2, "the calls of {program} are not found");
    }
    Ok(())
}
