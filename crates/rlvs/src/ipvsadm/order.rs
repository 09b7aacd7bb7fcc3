//! The order of a listing: ipvsadm's, which scripts and saved files know.
//!
//! It compares unsigned numbers by the sign of their 32-bit difference. Those more than 2^31 apart come out the wrong
//! way round, so that this is no order at all, and the result depends on how one sorts: by merging, as the C library
//! does (`slice::sort_by` may panic on such comparisons).

use std::cmp::Ordering;
use std::net::IpAddr;

use rlvs_ipvs::{DestinationEntry, DestinationId, Protocol, ServiceEntry, ServiceId};

/// Sorts services: by mark, family, protocol, address, port.
pub fn services(entries: Vec<ServiceEntry>) -> Vec<ServiceEntry> {
    merge_sort(entries, &|a, b| compare_services(&a.service.id, &b.service.id))
}

/// Sorts destinations: by address, port.
pub fn destinations(entries: Vec<DestinationEntry>) -> Vec<DestinationEntry> {
    merge_sort(entries, &|a, b| compare_destinations(&a.destination.id, &b.destination.id))
}

fn compare_services(a: &ServiceId, b: &ServiceId) -> Ordering {
    let key = |id: &ServiceId| match *id {
        ServiceId::Mark { family, mark } => (mark.get(), family, Protocol::TCP, family.unspecified(), 0),
        ServiceId::Address { protocol, address, port } => (0, id.family(), protocol, address, port),
    };
    let (a, b) = (key(a), key(b));
    wrapped(a.0, b.0)
        .then(a.1.cmp(&b.1))
        .then(a.2.cmp(&b.2))
        .then_with(|| compare_addresses(a.3, b.3))
        .then(a.4.cmp(&b.4))
}

fn compare_destinations(a: &DestinationId, b: &DestinationId) -> Ordering {
    compare_addresses(a.address, b.address).then(a.port.cmp(&b.port))
}

/// Compares word by word; an IPv4 address is the first word of an IPv6 one.
fn compare_addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let words = |address| match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift & u128::from(u32::MAX)) as u32)
        }
    };
    let pairs = words(a).into_iter().zip(words(b));
    pairs.map(|(a, b)| wrapped(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn wrapped(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

fn merge_sort<T>(mut left: Vec<T>, compare: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if left.len() < 2 {
        return left;
    }
    let right = left.split_off(left.len() / 2);
    let mut left = merge_sort(left, compare).into_iter().peekable();
    let mut right = merge_sort(right, compare).into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b).is_le() { left.next() } else { right.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use rlvs_ipvs::Family;

    use super::*;

    fn service(protocol: Protocol, address: &str, port: u16) -> ServiceId {
        ServiceId::Address { protocol, address: address.parse().unwrap(), port }
    }

    #[test]
    fn services_by_mark_family_protocol_address_port() {
        let mark = |family, mark| ServiceId::Mark { family, mark: NonZeroU32::new(mark).unwrap() };
        let sorted = [
            mark(Family::Inet, 4_000_000_000),
            service(Protocol::TCP, "10.0.0.1", 80),
            service(Protocol::TCP, "10.0.0.1", 443),
            service(Protocol::TCP, "10.0.0.2", 80),
            service(Protocol::UDP, "1.0.0.1", 53),
            service(Protocol::SCTP, "1.0.0.1", 53),
            service(Protocol::TCP, "fd01::200", 80),
            service(Protocol::TCP, "fd01::201", 80),
            mark(Family::Inet, 3),
            mark(Family::Inet6, 3),
            mark(Family::Inet, 5),
        ];
        let mut reversed = sorted.to_vec();
        reversed.reverse();
        assert_eq!(merge_sort(reversed, &compare_services), sorted);
    }

    #[test]
    fn far_apart_numbers_compare_the_wrong_way_round() {
        // As Debian's ipvsadm 1.31 lists them, from the order that the kernel gave (newest first).
        let id = |address: &str| DestinationId { address: address.parse().unwrap(), port: 80 };
        let given = ["c8ff::1", "11.0.0.1", "fe00::1", "1::1", "200.0.0.1", "9.0.0.1", "fd02::1", "10.2.0.1"];
        let listed =
            ["200.0.0.1", "c8ff::1", "fd02::1", "fe00::1", "1::1", "9.0.0.1", "10.2.0.1", "11.0.0.1"];
        assert_eq!(merge_sort(given.map(id).to_vec(), &compare_destinations), listed.map(id));
    }
}
