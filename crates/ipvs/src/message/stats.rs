//! The nests of statistics: STATS with packet counters and rates cut to 32 bits, STATS64.

use crate::model::Stats;
use crate::netlink::{Attribute, Writer, attributes};

/// From STATS64, or from STATS where the kernel is too old for the other.
pub fn decode(narrow: Option<Attribute<'_>>, wide: Option<Attribute<'_>>) -> Stats {
    let mut stats = Stats::default();
    for attribute in wide.or(narrow).map(|nest| attributes(nest.value)).into_iter().flatten() {
        let Some(value) = attribute.u64().or_else(|| attribute.u32().map(u64::from)) else { continue };
        let field = match attribute.kind {
            1 => &mut stats.connections,
            2 => &mut stats.in_packets,
            3 => &mut stats.out_packets,
            4 => &mut stats.in_bytes,
            5 => &mut stats.out_bytes,
            6 => &mut stats.connections_rate,
            7 => &mut stats.in_packets_rate,
            8 => &mut stats.out_packets_rate,
            9 => &mut stats.in_bytes_rate,
            10 => &mut stats.out_bytes_rate,
            _ => continue,
        };
        *field = value;
    }
    stats
}

/// STATS64.
pub fn encode_wide(w: &mut Writer, stats: &Stats) {
    for (kind, value) in (1..).zip(in_order(stats)) {
        w.put(kind, &value.to_ne_bytes());
    }
}

/// STATS: all but the octet counters lose their upper half.
pub fn encode_narrow(w: &mut Writer, stats: &Stats) {
    const IN_BYTES: u16 = 4;
    const OUT_BYTES: u16 = 5;
    for (kind, value) in (1..).zip(in_order(stats)) {
        match kind {
            IN_BYTES | OUT_BYTES => w.put(kind, &value.to_ne_bytes()),
            _ => w.put(kind, &((value & u64::from(u32::MAX)) as u32).to_ne_bytes()),
        }
    }
}

/// Attribute 1 first.
fn in_order(stats: &Stats) -> [u64; 10] {
    [
        stats.connections,
        stats.in_packets,
        stats.out_packets,
        stats.in_bytes,
        stats.out_bytes,
        stats.connections_rate,
        stats.in_packets_rate,
        stats.out_packets_rate,
        stats.in_bytes_rate,
        stats.out_bytes_rate,
    ]
}
