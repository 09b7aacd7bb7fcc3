//! The decision: what a route, the interfaces and the neighbours mean for a frame.

use std::net::IpAddr;

use super::interface::{Interface, Medium};
use super::neighbour::Hop;
use super::route::Route;
use super::world::World;

/// How a frame leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    /// The interface index that the frame leaves by; for a route over a VLAN device, the device below it.
    pub interface: u32,
    /// The 802.1Q tag that the frame must carry, if any.
    pub vlan: Option<u16>,
    /// The MAC address of the destination, or of the gateway towards it.
    pub destination_mac: [u8; 6],
    /// The MAC address of the interface (of the VLAN device, where there is one).
    pub source_mac: [u8; 6],
    /// The largest IP packet that the route takes, in octets.
    pub mtu: u32,
    /// The director's preferred source address on this route, for the outer header of tunnels. Unspecified (all
    /// zero) if the director has no address of that family.
    pub source: IpAddr,
}

/// What is known of the way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// Frames can be sent.
    Via(Egress),
    /// The address is the director's own.
    Local,
    /// There is a route, and no MAC address for its next hop yet: resolution is under way, or nobody answers.
    Unresolved,
    /// No frame of the switch can get there.
    Unreachable(Unreachable),
}

/// Why no frame can be sent to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The kernel answered the request for a route with this errno value.
    #[error("no route: {}", std::io::Error::from_raw_os_error(*.0))]
    NoRoute(i32),
    /// The route is of a type that forwards nothing to one host (broadcast, multicast...).
    #[error("its route is of type {0}, not unicast")]
    RouteType(String),
    /// The route puts packets into a tunnel or under MPLS labels.
    #[error("its route encapsulates; the switch sends plain frames only")]
    Encapsulated,
    /// The route's interface is not in this namespace (any more).
    #[error("the interface of its route is gone")]
    InterfaceGone,
    /// The named interface has no link, or is administratively down.
    #[error("interface {0} is down")]
    InterfaceDown(String),
    /// The named interface carries something else than Ethernet frames.
    #[error("interface {0} is not an Ethernet interface")]
    NotEthernet(String),
    /// The named interface is a VLAN device on another one, or 802.1ad.
    #[error("interface {0} needs more than one 802.1Q tag")]
    StackedVlan(String),
}

/// The neighbour that a route needs resolved, if any.
pub(super) fn hop_of(route: &Route, world: &World) -> Option<Hop> {
    let Route::Out { interface, next_hop, .. } = route else { return None };
    let link = world.interface(*interface)?;
    (link.medium == Medium::Ethernet && link.resolves && link.up).then_some((*interface, *next_hop))
}

/// Decides how frames travel along a route.
pub(super) fn decide(route: &Route, world: &World) -> Path {
    let (index, next_hop, mtu, source) = match route {
        Route::Local => return Path::Local,
        Route::None(reason) => return Path::Unreachable(reason.clone()),
        Route::Out { interface, next_hop, mtu, source } => (*interface, *next_hop, *mtu, *source),
    };
    let Some(link) = world.interface(index) else { return Path::Unreachable(Unreachable::InterfaceGone) };
    let (carrier, vlan) = match carrier(link, world) {
        Ok(found) => found,
        Err(reason) => return Path::Unreachable(reason),
    };
    // On a device that does not resolve, the kernel addresses frames to the device itself.
    let mac = if link.resolves { world.mac(&(index, next_hop)) } else { Some(link.mac) };
    let Some(destination_mac) = mac else { return Path::Unresolved };
    Path::Via(Egress {
        interface: carrier.index,
        vlan,
        destination_mac,
        source_mac: link.mac,
        mtu: mtu.unwrap_or(link.mtu),
        source,
    })
}

/// The interface that carries the frames of `link`, and the tag that they carry there.
fn carrier<'a>(link: &'a Interface, world: &'a World) -> Result<(&'a Interface, Option<u16>), Unreachable> {
    match link.medium {
        Medium::Ethernet if !link.up => return Err(Unreachable::InterfaceDown(link.name.clone())),
        Medium::Ethernet => {}
        _ => return Err(Unreachable::NotEthernet(link.name.clone())),
    }
    let Some(vlan) = link.vlan else { return Ok((link, None)) };
    let lower = vlan.lower.and_then(|index| world.interface(index)).ok_or(Unreachable::InterfaceGone)?;
    if vlan.provider || lower.vlan.is_some() {
        return Err(Unreachable::StackedVlan(link.name.clone()));
    }
    Ok((lower, Some(vlan.id)))
}

#[cfg(test)]
mod tests {
    use super::super::interface::Vlan;
    use super::super::neighbour::{Neighbour, Upkeep};
    use super::*;

    const HOP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn ethernet(index: u32) -> Interface {
        Interface {
            index,
            name: format!("eth{index}"),
            kind: None,
            medium: Medium::Ethernet,
            mac: [2, 0, 0, 0, 1, index as u8],
            mtu: 1500,
            up: true,
            resolves: true,
            controller: None,
            vlan: None,
        }
    }

    fn vlan(index: u32, id: u16, lower: u32) -> Interface {
        Interface { vlan: Some(Vlan { id, lower: Some(lower), provider: false }), ..ethernet(index) }
    }

    fn world(interfaces: impl IntoIterator<Item = Interface>, neighbours: &[Hop]) -> World {
        let neighbour = Neighbour { mac: Some(MAC), upkeep: Upkeep::Kernel };
        World::of(interfaces, neighbours.iter().map(|hop| (*hop, neighbour)))
    }

    fn out(interface: u32) -> Route {
        Route::Out { interface, next_hop: HOP, mtu: None, source: SOURCE }
    }

    #[test]
    fn a_resolved_neighbour_makes_a_path() {
        let world = world([ethernet(3)], &[(3, HOP)]);
        let Path::Via(egress) = decide(&out(3), &world) else { panic!("not Via") };
        assert_eq!(
            egress,
            Egress {
                interface: 3,
                vlan: None,
                destination_mac: MAC,
                source_mac: [2, 0, 0, 0, 1, 3],
                mtu: 1500,
                source: SOURCE
            }
        );
    }

    #[test]
    fn a_neighbour_counts_on_its_own_interface_only() {
        let world = world([ethernet(3), ethernet(4)], &[(4, HOP)]);
        assert_eq!(decide(&out(3), &world), Path::Unresolved);
        assert_eq!(hop_of(&out(3), &world), Some((3, HOP)));
    }

    #[test]
    fn the_mtu_of_the_route_wins() {
        let world = world([ethernet(3)], &[(3, HOP)]);
        let route = Route::Out { interface: 3, next_hop: HOP, mtu: Some(1400), source: SOURCE };
        assert!(matches!(decide(&route, &world), Path::Via(Egress { mtu: 1400, .. })));
    }

    #[test]
    fn a_vlan_device_means_the_device_below_and_a_tag() {
        let world = world([ethernet(3), vlan(5, 100, 3)], &[(5, HOP)]);
        let Path::Via(egress) = decide(&out(5), &world) else { panic!("not Via") };
        assert_eq!((egress.interface, egress.vlan, egress.source_mac[5]), (3, Some(100), 5));
    }

    #[test]
    fn two_tags_are_refused() {
        let world = world([ethernet(3), vlan(5, 100, 3), vlan(6, 200, 5)], &[(6, HOP)]);
        assert_eq!(decide(&out(6), &world), Path::Unreachable(Unreachable::StackedVlan("eth6".into())));
    }

    #[test]
    fn what_cannot_carry_a_frame_says_why() {
        let down = Interface { up: false, ..ethernet(3) };
        let tunnel = Interface { medium: Medium::Other, ..ethernet(4) };
        let world = world([down, tunnel], &[(3, HOP), (4, HOP)]);
        for (route, reason) in [
            (out(3), Unreachable::InterfaceDown("eth3".into())),
            (out(4), Unreachable::NotEthernet("eth4".into())),
            (out(9), Unreachable::InterfaceGone),
            (Route::None(Unreachable::NoRoute(101)), Unreachable::NoRoute(101)),
        ] {
            assert_eq!(decide(&route, &world), Path::Unreachable(reason));
            assert_eq!(hop_of(&route, &world), None, "nothing to resolve on a dead end");
        }
        assert_eq!(decide(&Route::Local, &world), Path::Local);
    }

    #[test]
    fn a_device_without_arp_is_addressed_by_its_own_mac() {
        let dummy = Interface { resolves: false, ..ethernet(3) };
        let world = world([dummy], &[]);
        assert!(matches!(
            decide(&out(3), &world),
            Path::Via(Egress { destination_mac: [2, 0, 0, 0, 1, 3], .. })
        ));
    }
}
