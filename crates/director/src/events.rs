//! What happened to packets other than being switched as usual.

use aya::maps::{MapData, PerCpuArray, RingBuf};
use rlvs_ipvs::{Errno, EventCount, Sample};
use rlvs_switch::config::Config;
use rlvs_switch::counters::{self, Event};
use rlvs_switch::order;
use zerocopy::FromBytes;

/// Packets that may be copied between two requests for them.
const SAMPLES: u32 = 100;

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

/// The packets that were copied since the last call; from now on more may be.
pub(crate) fn take_samples(ring: &mut RingBuf<MapData>, config: &Config) -> Vec<Sample> {
    let mut samples = Vec::new();
    while let Some(octets) = ring.next() {
        let Ok((sample, _)) = counters::Sample::read_from_prefix(&octets) else { continue };
        let Some(event) = Event::ALL.get(sample.event as usize) else { continue };
        samples.push(Sample {
            event: event.name().into(),
            words: event.words().into(),
            frame: sample.frame[..sample.frame.len().min(sample.length as usize)].into(),
        });
    }
    config.samples.store(SAMPLES, order::PLAIN);
    samples
}
