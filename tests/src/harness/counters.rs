//! Why packets left a node the way they did: the kernel's counters, read through their pin.

use std::mem::offset_of;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use ha_common::abi::{FlowKey, Node, Reason, ReverseKey};

/// Packets by reason, those that are not zero, from the maps pinned below `pins`.
pub fn read(pins: &Path) -> Result<Vec<(&'static str, u64)>> {
    let counters: PerCpuArray<_, [u64; 2]> = Map::PerCpuArray(open(pins, "COUNTERS")?).try_into()?;
    let mut found = Vec::new();
    for (number, reason) in Reason::ALL.iter().enumerate() {
        let packets = counters.get(&(number as u32), 0)?.iter().map(|[packets, _]| packets).sum();
        if packets != 0 {
            found.push((reason.name(), packets));
        }
    }
    Ok(found)
}

/// How many entries `REVERSE` has below `pins`: sources that are given out.
pub fn sources(pins: &Path) -> Result<usize> {
    let data = open(pins, "REVERSE")?;
    let reverse: HashMap<_, [u8; size_of::<ReverseKey>()], [u8; size_of::<FlowKey>()]> = Map::HashMap(data).try_into()?;
    reverse.keys().try_fold(0, |count, key| Ok(key.map(|_| count + 1)?))
}

/// `node_flags` in `NODE` below `pins`.
pub fn flags(pins: &Path) -> Result<u32> {
    let node: Array<_, [u64; size_of::<Node>() / 8]> = Map::Array(open(pins, "NODE")?).try_into()?;
    let words = node.get(&0, 0)?;
    Ok((words[offset_of!(Node, flags) / 8] >> (offset_of!(Node, flags) % 8 * 8)) as u32)
}

fn open(pins: &Path, map: &str) -> Result<MapData> {
    let path = pins.join(format!("v{}", ha_common::abi::ABI_VERSION)).join("maps").join(map);
    MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))
}
