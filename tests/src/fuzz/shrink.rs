//! Less of a case that still differs.

use anyhow::Result;

use super::both::Both;
use super::case::Case;
use super::mutate::{SHORTEST, SHORTEST_SENT};

/// Makes `case`, which differs, as small as leaves it different: fewer packets, fewer entries of tables, shorter frames, more zeros.
/// What differs then; `None` if it does not differ when it is run again.
pub fn shrink(both: &mut Both, case: &mut Case) -> Result<Option<String>> {
    let Some((at, _)) = case.run(both)? else {
        return Ok(None);
    };
    case.packets.truncate(at + 1);
    shorten(both, case)?;
    without(both, case, |case| &mut case.packets)?;
    without(both, case, |case| &mut case.entries)?;
    for number in 0..case.packets.len() {
        cut(both, case, number)?;
        blank(both, case, number)?;
    }
    Ok(case.run(both)?.map(|(_, difference)| difference))
}

fn differs(both: &mut Both, case: &Case) -> Result<bool> {
    Ok(case.run(both)?.is_some())
}

/// Takes packets off the end by halves: what is left behind differs from some packet on.
fn shorten(both: &mut Both, case: &mut Case) -> Result<()> {
    let (mut same, mut different) = (0, case.packets.len());
    while different - same > 1 {
        let middle = usize::midpoint(same, different);
        let shorter = Case { packets: case.packets[..middle].to_vec(), ..case.clone() };
        *(if differs(both, &shorter)? { &mut different } else { &mut same }) = middle;
    }
    case.packets.truncate(different);
    Ok(())
}

/// Takes out parts of a list, large ones first, as long as that leaves a difference.
fn without<T: Clone>(both: &mut Both, case: &mut Case, list: impl Fn(&mut Case) -> &mut Vec<T>) -> Result<()> {
    let mut size = list(case).len();
    while size > 0 {
        let mut at = 0;
        while at < list(case).len() {
            let mut smaller = case.clone();
            let end = (at + size).min(list(case).len());
            list(&mut smaller).drain(at..end);
            if differs(both, &smaller)? {
                *case = smaller;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Ok(())
}

/// Cuts a frame at its end.
fn cut(both: &mut Both, case: &mut Case, number: usize) -> Result<()> {
    let mut by = case.packets[number].frame.len() / 2;
    while by > 0 {
        let mut shorter = case.clone();
        let least = if shorter.packets[number].sent { SHORTEST_SENT } else { SHORTEST };
        let frame = &mut shorter.packets[number].frame;
        if frame.len() >= by + least {
            frame.truncate(frame.len() - by);
            if differs(both, &shorter)? {
                *case = shorter;
                continue;
            }
        }
        by /= 2;
    }
    Ok(())
}

/// Makes bytes of a frame zero.
fn blank(both: &mut Both, case: &mut Case, number: usize) -> Result<()> {
    for at in 0..case.packets[number].frame.len() {
        let mut blanker = case.clone();
        let byte = &mut blanker.packets[number].frame[at];
        if *byte != 0 {
            *byte = 0;
            if differs(both, &blanker)? {
                *case = blanker;
            }
        }
    }
    Ok(())
}
