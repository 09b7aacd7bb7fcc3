//! Addresses from one to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As many as a range may have.
pub(super) const MOST: u128 = 4_096;

/// The addresses from `first` to `last`, which count as well.
pub(super) fn between(first: u128, last: u128, v6: bool) -> Option<Vec<IpAddr>> {
    let address = |number: u128| match u32::try_from(number) {
        Ok(number) if !v6 => Some(Ipv4Addr::from(number).into()),
        Err(_) if !v6 => None,
        _ => Some(Ipv6Addr::from(number).into()),
    };
    let many = last.checked_sub(first)?;
    if many < MOST { (first..=last).map(address).collect() } else { None }
}

/// An address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
