//! Why packets left a node the way they did: the kernel's counters, read through their pin.

use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Map, MapData, PerCpuArray};
use ha_common::abi::Reason;

/// Packets by reason, those that are not zero, from the maps pinned below `pins`.
pub fn read(pins: &Path) -> Result<Vec<(&'static str, u64)>> {
    let path = pins.join(format!("v{}", ha_common::abi::ABI_VERSION)).join("maps").join("COUNTERS");
    let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    let counters: PerCpuArray<_, [u64; 2]> = Map::PerCpuArray(data).try_into()?;
    let mut found = Vec::new();
    for (number, reason) in Reason::ALL.iter().enumerate() {
        let packets = counters.get(&(number as u32), 0)?.iter().map(|[packets, _]| packets).sum();
        if packets != 0 {
            found.push((reason.name(), packets));
        }
    }
    Ok(found)
}
