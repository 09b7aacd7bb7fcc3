//! What happened to packets other than being switched as usual.

use aya::maps::{MapData, PerCpuArray};
use rlvs_ipvs::{Errno, EventCount};
use rlvs_switch::counters::Event;

/// How often each event happened on all CPUs, in the order of their numbers.
pub(crate) fn counts(map: &PerCpuArray<MapData, u64>) -> Result<Vec<EventCount>, Errno> {
    let count = |event: Event| {
        let cpus = map.get(&(event as u32), 0).map_err(|error| {
            tracing::warn!("cannot read the counters of events: {error}");
            Errno::IO
        })?;
        Ok(EventCount { name: event.name().into(), words: event.words().into(), count: cpus.iter().sum() })
    };
    Event::ALL.iter().map(|event| count(*event)).collect()
}
