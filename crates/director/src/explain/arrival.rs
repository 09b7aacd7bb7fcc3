//! Where the packet that is asked about comes in, and the way to its receiver.

use crate::egress::{Interface, Path};
use rlvs_ipvs::{Errno, Probe};
use rlvs_packet::ethernet::Mac;
use rlvs_switch::destination::Hop;
use std::collections::BTreeMap;

/// How a frame comes to the switch.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Index of the interface.
    pub interface: u32,
    /// The VLAN tag's control field; 0: untagged.
    pub vlan: u16,
    /// Receiver's and sender's MAC.
    pub macs: [Mac; 2],
    /// The kernel's way to the packet's receiver.
    pub way: Way,
}

/// The kernel's way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By this hop, which carries so many octets from the IP header on.
    Via(Hop, u32),
    /// There is a route, but its next station is not known yet.
    Unresolved,
    /// The address is the director's own, or nobody's.
    Nowhere,
}

impl Arrival {
    /// By the interface that is asked for; else by the one that leads to the sender, else by the first one that
    /// the switch is attached to. `from` and `to` are the kernel's ways to sender and receiver.
    ///
    /// # Errors
    /// ENODEV if there is no such interface, or none at all.
    pub fn new(
        probe: &Probe,
        [from, to]: [&Path; 2],
        interfaces: &BTreeMap<u32, Interface>,
        attached: &[u32],
    ) -> Result<Arrival, Errno> {
        let back = match from {
            Path::Via(egress) => Some(egress),
            _ => None,
        };
        let named = |name: &String| interfaces.values().find(|interface| interface.name == *name);
        let by_default = || back.map(|egress| egress.interface).or_else(|| attached.first().copied());
        let (interface, vlan) = match &probe.interface {
            Some(name) => {
                let interface = named(name).ok_or(Errno::NODEV)?;
                match interface.vlan {
                    Some(vlan) => (vlan.lower.ok_or(Errno::NODEV)?, vlan.id),
                    None => (interface.index, 0),
                }
            }
            None => (by_default().ok_or(Errno::NODEV)?, back.and_then(|egress| egress.vlan).unwrap_or(0)),
        };
        let own_mac = interfaces.get(&interface).map_or([0; 6], |interface| interface.mac);
        let sender_mac = back
            .filter(|egress| egress.interface == interface)
            .map_or([0; 6], |egress| egress.destination_mac);
        Ok(Arrival { interface, vlan, macs: [own_mac, sender_mac], way: way(to) })
    }
}

fn way(path: &Path) -> Way {
    match path {
        Path::Via(e) => {
            let hop = Hop::new(e.interface, e.destination_mac, e.source_mac, e.vlan.unwrap_or(0));
            Way::Via(hop, e.mtu)
        }
        Path::Unresolved => Way::Unresolved,
        Path::Local | Path::Unreachable(_) => Way::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Egress, Medium, Vlan};
    use rlvs_ipvs::Protocol;

    fn interface(index: u32, name: &str, vlan: Option<Vlan>) -> (u32, Interface) {
        let interface = Interface {
            index,
            name: name.into(),
            kind: None,
            medium: Medium::Ethernet,
            mac: [2, 0, 0, 0, 0, index as u8],
            mtu: 1500,
            up: true,
            resolves: true,
            controller: None,
            vlan,
        };
        (index, interface)
    }

    #[test]
    fn the_interface_is_the_named_one_or_leads_to_the_sender() {
        let tagged = Vlan { id: 7, lower: Some(2), provider: false };
        let interfaces = BTreeMap::from([
            interface(2, "eth0", None),
            interface(3, "eth1", None),
            interface(4, "eth0.7", Some(tagged)),
        ]);
        let via = Path::Via(Egress {
            interface: 3,
            vlan: None,
            destination_mac: [4; 6],
            source_mac: [2, 0, 0, 0, 0, 3],
            mtu: 1500,
            source: "10.0.0.254".parse().unwrap(),
        });
        let arrival = |name: Option<&str>, from: &Path, attached: &[u32]| {
            let (source, destination) = ("192.0.2.7:1".parse().unwrap(), "10.0.0.1:80".parse().unwrap());
            let interface = name.map(String::from);
            let probe = Probe { interface, ..Probe::new(Protocol::TCP, source, destination) };
            let arrival = Arrival::new(&probe, [from, &Path::Unresolved], &interfaces, attached);
            arrival.map(|a| (a.interface, a.vlan, a.macs[0][5], a.macs[1][5]))
        };
        assert_eq!(arrival(None, &via, &[2]), Ok((3, 0, 3, 4)));
        assert_eq!(arrival(Some("eth0"), &via, &[]), Ok((2, 0, 2, 0)));
        assert_eq!(arrival(Some("eth0.7"), &via, &[]), Ok((2, 7, 2, 0)));
        assert_eq!(arrival(None, &Path::Unresolved, &[2]), Ok((2, 0, 2, 0)));
        assert_eq!(arrival(None, &Path::Local, &[]), Err(Errno::NODEV));
        assert_eq!(arrival(Some("eth9"), &via, &[2]), Err(Errno::NODEV));
    }
}
