//! Locality-based least connection with replication (`lblcr`), for caches: an address goes to the least loaded of
//! those that serve it, and while they have too much to do, others join them.

use super::locality::{Address, SERVERS_MAX, Wanted};
use super::{Members, NOBODY, locality_based};
use crate::config::Tick;
use crate::destination::Destination;
use crate::order;
use crate::platform::Platform;

/// The index of the least loaded destination that serves the address, if it is not busy while another one idles. Else weighted
/// least connection chooses, and it [`remember`]s.
///
/// If those who serve the address have been the same for long, the most loaded one leaves.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, wanted: Wanted) -> Option<u32> {
    let platform = members.platform;
    let best = wanted.look(platform, |address, known| {
        if !known {
            return NOBODY;
        }
        address.touch(platform.now());
        let best = least_loaded(platform, address);
        if is_due(platform, address) {
            remove_most_loaded(platform, address);
        }
        best
    })?;
    if best == NOBODY || locality_based::is_over(members, best) { None } else { Some(best) }
}

/// From now on this destination, too, serves the address.
#[inline(always)]
pub(super) fn remember<P: Platform>(platform: &P, wanted: Wanted, chosen: u32) {
    let _busy = wanted.look(platform, |address, known| {
        if known {
            address.add(platform, chosen);
        } else {
            address.take(platform, wanted, chosen);
        }
    });
}

/// Whether several serve the address and have been the same for so long that one may leave.
#[inline(always)]
fn is_due<P: Platform>(platform: &P, address: &Address) -> bool {
    let Some(config) = platform.config() else { return false };
    let unchanged = Tick(address.changed.load(order::PLAIN)).until(platform.now());
    let expiration = config.settings.lblcr_expiration.load(order::PLAIN);
    address.latest() != 0 && unchanged as i64 > expiration as i64
}

/// The eligible one with the smallest overhead / weight, or [`NOBODY`].
#[inline(always)]
fn least_loaded<P: Platform>(platform: &P, address: &Address) -> u32 {
    let (mut best, mut best_load, mut best_weight) = (NOBODY, 0u64, 0u64);
    each(platform, address, |_, index, destination| {
        let (load, weight) = (destination.overhead(), destination.eligible_weight() as u64);
        let better = best == NOBODY || best_load.wrapping_mul(weight) > load.wrapping_mul(best_weight);
        if weight > 0 && destination.is_available() && better {
            (best, best_load, best_weight) = (index, load, weight);
        }
    });
    best
}

/// Removes the one with the largest overhead / weight, of those that have a weight.
#[inline(always)]
fn remove_most_loaded<P: Platform>(platform: &P, address: &Address) {
    let (mut worst, mut worst_load, mut worst_weight) = (NOBODY, 0u64, 0u64);
    each(platform, address, |place, _, destination| {
        let (load, weight) = (destination.overhead(), destination.weight.load(order::PLAIN) as u64);
        let worse = worst == NOBODY || load.wrapping_mul(worst_weight) > worst_load.wrapping_mul(weight);
        if weight > 0 && worse {
            (worst, worst_load, worst_weight) = (place, load, weight);
        }
    });
    if worst != NOBODY {
        address.remove(platform, worst);
    }
}

/// Visits place, index and destination of all who serve the address and still are who they were, the latest first.
#[inline(always)]
fn each<P: Platform>(platform: &P, address: &Address, mut visit: impl FnMut(u32, u32, &Destination)) {
    let mut place = address.latest();
    let mut i = 0;
    while i < SERVERS_MAX {
        let Some(server) = address.server(place) else { return };
        let index = server.index(platform);
        if let Some(destination) = platform.destination(index) {
            visit(place, index, destination);
        }
        place = place.wrapping_sub(1);
        i += 1;
    }
}
