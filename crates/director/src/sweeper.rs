//! The connection table, swept: entries of expired connections are freed, and traces of those that have gone wiped.
//!
//! To read all of a table takes longer than all else, so the sweeper keeps in mind when it has to look at each bucket again:
//! when its first entry expires, or when one could that has come, or has changed its state, since the last look.

use crate::connections::last_expiry;
use crate::registry::keys;
use crate::tables::Tables;
use rlvs_packet::protocol;
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::Tick;
use rlvs_switch::order;
use rlvs_switch::service::flag;
use rlvs_switch::table::{Bucket, Family, Meta, WAYS, control, lookup, release, trace};

/// Sweeps a part of both tables at a time.
#[derive(Debug, Default)]
pub struct Sweeper {
    walk4: Walk,
    walk6: Walk,
    /// Calls of [`Self::sweep`] until all services are looked at again, and [`least_of_services`].
    services_in: usize,
    of_services: u32,
}

impl Sweeper {
    /// Calls of [`Self::sweep`] that go once through the tables.
    pub const PARTS: usize = 20;

    /// Sweeps the next part; the number of connections that ended.
    pub fn sweep(&mut self, tables: &Tables) -> usize {
        self.services_in = match self.services_in.checked_sub(1) {
            Some(calls) => calls,
            None => {
                self.of_services = least_of_services(tables);
                Self::PARTS - 1
            }
        };
        let least = least_of_all(tables).min(self.of_services);
        self.walk4.sweep(tables, tables.connections4.all(), least)
            + self.walk6.sweep(tables, tables.connections6.all(), least)
    }
}

/// Rounds in which all of each bucket's traces are looked at once, some four minutes: it takes longer than to look for what has expired, which
/// takes back most.
const WIPED_EVERY: usize = 128;

/// Where the sweeper is in a table.
#[derive(Debug, Default)]
struct Walk {
    next: usize,
    round: usize,
    /// For each bucket when to look at it again.
    looks: Vec<Tick>,
    /// No entry lived for less when those were written.
    least: u32,
}

impl Walk {
    /// `least`: ticks that an entry has at least, from now on, when it comes or its expiry changes.
    fn sweep<F: Family>(&mut self, tables: &Tables, buckets: &[Bucket<F>], least: u32) -> usize {
        let (now, config) = (tables.now(), tables.settings());
        if self.looks.len() != buckets.len() || least < self.least {
            self.looks = vec![now; buckets.len()];
        }
        self.least = least;
        let mut ended = 0;
        for number in self.part(buckets.len()) {
            if now.until(self.looks[number]) <= 0 {
                let (ended_here, due) = sweep_bucket(tables, &buckets[number], number, now);
                trace::wipe_vacant(tables, &buckets[number]);
                ended += ended_here;
                self.looks[number] = now.plus(due.min(least));
            }
            if number % WIPED_EVERY == self.round % WIPED_EVERY {
                for way in 0..WAYS {
                    trace::wipe::<_, F>(tables, config, (number * WAYS + way) as u32);
                }
            }
        }
        ended
    }

    /// The next buckets in turn.
    fn part(&mut self, buckets: usize) -> std::ops::Range<usize> {
        if self.next >= buckets {
            (self.next, self.round) = (0, self.round.wrapping_add(1));
        }
        let start = self.next;
        self.next = (start + buckets.div_ceil(Sweeper::PARTS)).min(buckets);
        start..self.next
    }
}

/// Frees what has expired; the number of connections that ended, and in how many ticks the next one is to, as things are.
fn sweep_bucket<F: Family>(tables: &Tables, bucket: &Bucket<F>, number: usize, now: Tick) -> (usize, u32) {
    let (mut ended, mut due) = (0, u32::MAX);
    for (way, place) in bucket.slots.iter().enumerate() {
        let meta: Meta = place.meta();
        if !meta.is_live() {
            continue;
        }
        let index = (number * WAYS + way) as u32;
        if now.until(place.expires()) <= 0
            && !control::postpone::<_, F>(tables, place, meta, now)
            && lookup::is_expired(tables, place, index, now)
            && release::release::<_, F>(tables, index, meta)
        {
            ended += 1;
            continue;
        }
        let mut left = now.until(place.expires());
        if left <= 0 {
            // Only then is the peer's line worth reading.
            left = now.until(last_expiry(tables, place, index, place.peer()));
        }
        due = due.min(left.max(0) as u32);
    }
    (ended, due)
}

/// The least time in ticks that an entry is given, whatever the services, but for what [`least_of_services`] says.
fn least_of_all(tables: &Tables) -> u32 {
    let config = tables.settings();
    let [_, backup] = &config.daemons;
    let expects_ftp_data = tables.now().until(Tick(config.ftp_data_until.load(order::PLAIN))) > 0;
    // What another director tells of may end at any time. What FTP's data connections are known by ends soon after they have come.
    if backup.started.load(order::PLAIN) != 0 || expects_ftp_data {
        return 0;
    }
    least(&config.tcp_timeouts).min(config.udp_timeout.load(order::PLAIN))
}

/// The least time in ticks that services give an entry: persistent ones a template, those that may have SCTP's packets an association. One
/// that is deleted gives none any more.
fn least_of_services(tables: &Tables) -> u32 {
    let mut ticks = u32::MAX;
    for service in tables.services.all().iter().filter(|service| service.sequence.load(order::PLAIN) != 0) {
        if service.has(flag::PERSISTENT) {
            ticks = ticks.min(Tick::in_seconds(service.timeout.load(order::PLAIN)));
        }
        // Of a mark's service: any.
        if matches!(keys::load(&service.key).protocol, 0 | protocol::SCTP) {
            ticks = ticks.min(least(&tables.settings().sctp_timeouts));
        }
    }
    ticks
}

/// The least of a protocol's timeouts but the first: no entry is in that state.
fn least(timeouts: &[AtomicU32]) -> u32 {
    timeouts.iter().skip(1).map(|cell| cell.load(order::PLAIN)).min().unwrap_or(u32::MAX)
}
