//! The object that the daemon loads, with three of its calls replaced by values, so that all that it does can be compared.
//!
//! Every other instruction stays as it is shipped. Clocks stand still at a time that the host is told as well; a redirect, which a
//! test run does not carry out, returns the interface that it names.

use anyhow::{Context, Result, ensure};
use ha_common::time::{Nanos, Ticks};
use object::{File, Object as _, ObjectSection as _, SectionKind};

/// What time it always is. Less than 2^31: it is an immediate value of one instruction.
pub const NOW: Nanos = Nanos(2_000_000_000);
/// The same in ticks.
pub const TICKS: Ticks = Ticks(1_234_567_890);

/// Length of an instruction.
const LEN: usize = 8;

/// A call of the helper with this number.
const fn call(helper: u32) -> [u8; LEN] {
    let [a, b, c, d] = helper.to_le_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
}

/// Puts `value` where a call leaves its result.
const fn result_is(value: u64) -> [u8; LEN] {
    let [a, b, c, d, ..] = value.to_le_bytes();
    [0xb7, 0, 0, 0, a, b, c, d]
}

/// Puts the first argument of a call where the call leaves its result.
const RESULT_IS_ARGUMENT: [u8; LEN] = [0xbf, 0x10, 0, 0, 0, 0, 0, 0];

/// `object` with its calls replaced.
///
/// # Errors
/// When one of them is not in it: then it is no object of this project, or it asks the time in another way.
pub fn comparable(object: &[u8]) -> Result<Vec<u8>> {
    replaced(object, RESULT_IS_ARGUMENT)
}

/// The same, with what stands for a redirect.
fn replaced(object: &[u8], redirect: [u8; LEN]) -> Result<Vec<u8>> {
    let replacements = [
        ("bpf_ktime_get_ns", call(5), result_is(NOW.0)),
        ("bpf_jiffies64", call(118), result_is(TICKS.0)),
        ("bpf_redirect", call(23), redirect),
    ];
    let mut changed = object.to_vec();
    for (name, call, value) in replacements {
        let count = replace(&mut changed, call, value)?;
        ensure!(count > 0, "the kernel programs do not call {name}: teach fuzz/object.rs what they call instead");
    }
    Ok(changed)
}

/// The same, with a mistake: whatever it redirects leaves on interface `ifindex`.
///
/// # Errors
/// As for [`comparable`].
pub fn astray(object: &[u8], ifindex: u32) -> Result<Vec<u8>> {
    replaced(object, result_is(ifindex.into()))
}

/// Replaces one instruction wherever it is; how often it was.
fn replace(object: &mut [u8], old: [u8; LEN], new: [u8; LEN]) -> Result<usize> {
    let file = File::parse(&*object).context("read the kernel programs' object")?;
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges: Vec<(u64, u64)> = code.filter_map(|section| section.file_range()).collect();
    let mut count = 0;
    for (at, len) in ranges {
        // The second half of an instruction of two begins with a zero: none is mistaken for another.
        for instruction in object[at as usize..(at + len) as usize].chunks_exact_mut(LEN) {
            if *instruction == old {
                instruction.copy_from_slice(&new);
                count += 1;
            }
        }
    }
    Ok(count)
}
