//! Identities, between the control protocol's form and the tables'.

use crate::dataplane::KeyOctets;
use rlvs_ipvs::{Family, Protocol, ServiceId};
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::order;
use rlvs_switch::service::ServiceKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

/// An address as the tables hold it: words in network order.
pub(crate) fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            std::array::from_fn(|i| {
                u32::from_ne_bytes([octets[4 * i], octets[4 * i + 1], octets[4 * i + 2], octets[4 * i + 3]])
            })
        }
    }
}

/// The reverse of [`words`], for the family 4 or 6.
pub(super) fn address(family: u8, words: [u32; 4]) -> IpAddr {
    match family {
        6 => {
            let mut octets = [0; 16];
            for (octets, word) in octets.chunks_exact_mut(4).zip(words) {
                octets.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => IpAddr::V4(Ipv4Addr::from(words[0].to_ne_bytes())),
    }
}

/// 4 or 6.
pub(crate) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// A service's identity as the switch looks it up; `None` for a protocol that no packet has.
pub(super) fn key(id: &ServiceId) -> Option<ServiceKey> {
    match id {
        ServiceId::Mark { family, mark } => {
            Some(ServiceKey::of_mark(mark.get(), if *family == Family::Inet { 4 } else { 6 }))
        }
        ServiceId::Address { protocol, address, port } => Some(ServiceKey {
            address: words(*address),
            reserved: 0,
            port: port.to_be(),
            // 0 is for marks.
            protocol: u8::try_from(protocol.0).ok().filter(|number| *number != 0)?,
            family: family(*address),
        }),
    }
}

/// The reverse of [`key`].
pub(crate) fn id(key: &ServiceKey) -> ServiceId {
    if let Some(mark) = key.mark().and_then(NonZeroU32::new) {
        return ServiceId::Mark { family: if key.family == 6 { Family::Inet6 } else { Family::Inet }, mark };
    }
    let address = address(key.family, key.address);
    ServiceId::Address { protocol: Protocol(key.protocol.into()), address, port: u16::from_be(key.port) }
}

/// A key as the map wants it.
pub(super) fn octets(key: &ServiceKey) -> KeyOctets {
    zerocopy::transmute!(*key)
}

/// The reverse of [`octets`].
pub(super) fn from_octets(octets: &KeyOctets) -> ServiceKey {
    zerocopy::transmute!(*octets)
}

/// Stores a key in words of shared memory.
pub(super) fn store(cells: &[AtomicU32; 6], key: &ServiceKey) {
    let words: [u32; 6] = zerocopy::transmute!(*key);
    for (cell, word) in cells.iter().zip(words) {
        cell.store(word, order::PLAIN);
    }
}

/// The reverse of [`store`].
pub(crate) fn load(cells: &[AtomicU32; 6]) -> ServiceKey {
    let words: [u32; 6] = std::array::from_fn(|i| cells[i].load(order::PLAIN));
    zerocopy::transmute!(words)
}
