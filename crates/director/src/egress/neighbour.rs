//! Entries of the kernel's neighbour tables.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};

/// Where a neighbour is: the interface index and the address on that link.
pub(super) type Hop = (u32, IpAddr);

/// What the kernel knows of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Its MAC address, while the kernel would send to it.
    pub(super) mac: Option<[u8; 6]>,
    /// Who sees to it that the address stays known.
    pub(super) upkeep: Upkeep,
}

/// Who keeps a neighbour's MAC address known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Traffic through the kernel, if any; else the entry ages.
    Traffic,
    /// The kernel, because it was asked to (a managed entry).
    Kernel,
    /// Nobody needs to: a static entry, or a device without ARP.
    Fixed,
}

impl Neighbour {
    /// Reads a neighbour message. Returns `None` for those of other families (a bridge's forwarding table).
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<(Hop, Self)> {
        let (mut address, mut mac, mut managed) = (None, None, false);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some(IpAddr::V4(*a)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some(IpAddr::V6(*a)),
                NeighbourAttribute::LinkLayerAddress(octets) => mac = octets.as_slice().try_into().ok(),
                NeighbourAttribute::ExtFlags(flags) => managed = flags.contains(NeighbourExtFlags::Managed),
                _ => {}
            }
        }
        let state = message.header.state;
        let fixed = matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
        // The kernel sends to all of these; a failed or incomplete entry may still carry its last address.
        let valid = fixed
            || matches!(
                state,
                NeighbourState::Reachable
                    | NeighbourState::Stale
                    | NeighbourState::Delay
                    | NeighbourState::Probe
            );
        let upkeep = match (fixed, managed) {
            (true, _) => Upkeep::Fixed,
            (false, true) => Upkeep::Kernel,
            (false, false) => Upkeep::Traffic,
        };
        Some(((message.header.ifindex, address?), Neighbour { mac: mac.filter(|_| valid), upkeep }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: NeighbourState) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.header.state = state;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 1].into())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
        ];
        message
    }

    #[test]
    fn an_address_counts_only_while_the_kernel_would_use_it() {
        for (state, usable) in [
            (NeighbourState::Reachable, true),
            (NeighbourState::Stale, true),
            (NeighbourState::Delay, true),
            (NeighbourState::Probe, true),
            (NeighbourState::Permanent, true),
            (NeighbourState::Failed, false),
            (NeighbourState::Incomplete, false),
        ] {
            let (hop, neighbour) = Neighbour::from_message(&message(state)).unwrap();
            assert_eq!(hop, (7, IpAddr::from([192, 0, 2, 1])));
            assert_eq!(neighbour.mac, usable.then_some([2, 0, 0, 0, 0, 1]), "{state}");
        }
    }

    #[test]
    fn static_and_managed_entries_need_no_traffic() {
        let upkeep = |message| Neighbour::from_message(&message).unwrap().1.upkeep;
        assert_eq!(upkeep(message(NeighbourState::Permanent)), Upkeep::Fixed);
        assert_eq!(upkeep(message(NeighbourState::Reachable)), Upkeep::Traffic);
        let mut managed = message(NeighbourState::Reachable);
        managed.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        assert_eq!(upkeep(managed), Upkeep::Kernel);
    }

    #[test]
    fn forwarding_table_entries_are_no_neighbours() {
        let mut message = message(NeighbourState::Reachable);
        message.attributes.remove(0);
        assert_eq!(Neighbour::from_message(&message), None);
    }
}
