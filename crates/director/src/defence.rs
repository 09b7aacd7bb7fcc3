//! Defence against floods: IPVS's `drop_entry`, `drop_packet` and `secure_tcp`.
//!
//! Each has a mode: 0 never, 3 always, 1 and 2 while memory is short, of which 2 says that it is. The director decides
//! once a second; the switch drops packets and follows TCP accordingly, the director takes entries out of the table.
//!
//! IPVS spares idle connections with more than a few packets. Our entries do not count packets, so established TCP
//! connections are all spared, and other idle ones (UDP) are all taken.

use crate::tables::Tables;
use rlvs_packet::protocol;
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::order;
use rlvs_switch::state::{self, sctp, tcp};
use rlvs_switch::table::{Bucket, Family, Meta, Slot, WAYS, release, slot, template};
use rustix::rand::{GetRandomFlags, getrandom};

/// An entry is idle after so many seconds without a packet.
const IDLE: u32 = 60;

/// Of how many buckets one is looked at each second.
const SHARE: usize = 32;

/// The defence's work of each second.
pub(crate) fn every_second(tables: &Tables) {
    if update(tables.settings(), available_pages()) {
        let ended = thin_out(tables, tables.connections4.all()) + thin_out(tables, tables.connections6.all());
        tracing::debug!("drop_entry: took {ended} connections and templates out of the table");
    }
}

/// What a change of settings means at once.
pub(crate) fn settings_changed(tables: &Tables) {
    update(tables.settings(), available_pages());
}

/// Brings modes, the switch's drop rate and its TCP table up to date; whether entries are to be dropped.
fn update(config: &Config, available: u64) -> bool {
    let director = &config.director;
    let wanted = (director.amemthresh.load(order::PLAIN) as i32).max(0) as u64;
    let missing = wanted.saturating_sub(available);
    let is_short = missing > 0;

    let secure = level(&director.secure_tcp, is_short) != Level::Off;
    config.settings.secure_tcp.store(secure.into(), order::PLAIN);

    let rate = match level(&director.drop_packet, is_short) {
        Level::Off => 0,
        Level::Automatic => {
            let rate = u32::try_from(wanted / missing.max(1)).unwrap_or(i32::MAX as u32);
            config.settings.drop_counter.store(rate, order::PLAIN);
            rate
        }
        Level::Always => (director.am_droprate.load(order::PLAIN) as i32).max(0) as u32,
    };
    config.settings.drop_rate.store(rate, order::PLAIN);

    level(&director.drop_entry, is_short) != Level::Off
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Off,
    Automatic,
    Always,
}

/// What a mode means now; modes 1 and 2 take each other's place.
fn level(mode: &AtomicU32, is_short: bool) -> Level {
    match mode.load(order::PLAIN) {
        0 => Level::Off,
        1 | 2 => {
            mode.store(if is_short { 2 } else { 1 }, order::PLAIN);
            if is_short { Level::Automatic } else { Level::Off }
        }
        _ => Level::Always,
    }
}

/// Pages of memory that nobody uses; page cache and swap do not count.
pub(crate) fn available_pages() -> u64 {
    let info = rustix::system::sysinfo();
    (info.freeram + info.bufferram) * u64::from(info.mem_unit.max(1)) / rustix::param::page_size() as u64
}

/// Takes entries out of a part of the buckets, picked at random; how many connections and templates ended.
fn thin_out<F: Family>(tables: &Tables, buckets: &[Bucket<F>]) -> usize {
    let now = tables.now();
    let mut ended = 0;
    for number in picks(buckets.len()) {
        for (way, place) in buckets[number].slots.iter().enumerate() {
            let meta = place.meta();
            let index = (number * WAYS + way) as u32;
            if !is_spare(tables, place, index, meta, now) {
                continue;
            }
            let controller = if meta.is_template() { None } else { place.controller() };
            if release::release::<_, F>(tables, index, meta) {
                ended += 1;
                ended += controller.map_or(0, |index| end_controller::<F>(tables, index));
            }
        }
    }
    ended
}

/// Numbers below `count`, a power of two: one for each [`SHARE`] of them, with repetition.
fn picks(count: usize) -> Vec<usize> {
    let mut octets = vec![0; count.div_ceil(SHARE) * 4];
    // In one go up to 256 octets, else whatever comes: the rest stays 0, another bucket.
    for part in octets.chunks_mut(256) {
        let _next_second_again = getrandom(part, GetRandomFlags::empty());
    }
    let words = octets.as_chunks::<4>().0.iter();
    words.map(|word| u32::from_ne_bytes(*word) as usize & (count - 1)).collect()
}

/// Ends the template of a connection that was taken out, unless it was ever of use or still is; how many ended.
fn end_controller<F: Family>(tables: &Tables, index: u32) -> usize {
    let Some(place) = slot::<Tables, F>(tables, index) else { return 0 };
    let meta = place.meta();
    let is_spare = meta.is_live() && meta.is_template() && meta.state() != template::ASSURED;
    usize::from(is_spare && release::release::<_, F>(tables, index, meta))
}

/// Whether an entry can be spared, a reply entry being part of its connection's other one.
fn is_spare<F: Family>(tables: &Tables, place: &Slot<F>, index: u32, meta: Meta, now: Tick) -> bool {
    if !meta.is_live() || meta.is_reply() {
        return false;
    }
    if meta.is_template() {
        // One that controls connections is not released.
        return meta.state() != template::ASSURED;
    }
    let (Some(tuple), Some(entry)) = (place.tuple(meta), place.entry(meta)) else { return false };
    if tuple.protocol == protocol::TCP {
        return matches!(meta.state(), tcp::SYN_RECV | tcp::SYNACK);
    }
    if tuple.protocol == protocol::SCTP {
        return matches!(meta.state(), sctp::INIT1 | sctp::INIT);
    }
    let own = place.expires();
    let last = match slot::<Tables, F>(tables, entry.peer) {
        Some(peer) if entry.peer != index && own.until(peer.expires()) > 0 => peer.expires(),
        _ => own,
    };
    // It would expire then, had it a packet now.
    let fresh = state::expiry(tables.settings(), tuple.protocol, meta.state(), now);
    last.until(fresh) >= Tick::in_seconds(IDLE) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(config: &Config) -> [u32; 3] {
        let director = &config.director;
        [&director.drop_entry, &director.drop_packet, &director.secure_tcp].map(|m| m.load(order::PLAIN))
    }

    fn with_mode(mode: u32) -> Config {
        let config = Config::default();
        config.set_defaults();
        let director = &config.director;
        for cell in [&director.drop_entry, &director.drop_packet, &director.secure_tcp] {
            cell.store(mode, order::PLAIN);
        }
        config
    }

    fn of_the_switch(config: &Config) -> [u32; 3] {
        let settings = &config.settings;
        [&settings.drop_rate, &settings.drop_counter, &settings.secure_tcp].map(|m| m.load(order::PLAIN))
    }

    #[test]
    fn automatic_modes_follow_memory() {
        let config = with_mode(1);
        assert!(!update(&config, 1024));
        assert_eq!((modes(&config), of_the_switch(&config)), ([1; 3], [0, 0, 0]));
        assert!(update(&config, 768));
        assert_eq!((modes(&config), of_the_switch(&config)), ([2; 3], [4, 4, 1]));
        assert!(!update(&config, 5000));
        assert_eq!((modes(&config), of_the_switch(&config)), ([1; 3], [0, 4, 0]));
    }

    #[test]
    fn mode_3_is_always_on_and_0_always_off() {
        let config = with_mode(3);
        assert!(update(&config, u64::MAX));
        assert_eq!((modes(&config), of_the_switch(&config)), ([3; 3], [10, 0, 1]));
        let config = with_mode(0);
        assert!(!update(&config, 0));
        assert_eq!((modes(&config), of_the_switch(&config)), ([0; 3], [0, 0, 0]));
    }

    #[test]
    fn no_threshold_is_never_short() {
        let config = with_mode(1);
        config.director.amemthresh.store(-5i32 as u32, order::PLAIN);
        assert!(!update(&config, 0));
    }

    #[test]
    fn picks_are_a_share_of_all_and_differ() {
        let picks = picks(1 << 12);
        assert_eq!(picks.len(), 128);
        assert!(picks.iter().all(|number| *number < 1 << 12));
        assert!(picks.iter().collect::<std::collections::BTreeSet<_>>().len() > 64);
    }
}
