//! The links and neighbours that the kernel has told of.

use std::collections::HashMap;

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::interface::{Interface, InterfaceEvent, Medium};
use super::neighbour::{Hop, Neighbour, Upkeep};

/// Interfaces by index, neighbours by interface and address.
#[derive(Debug, Default)]
pub(super) struct World {
    interfaces: HashMap<u32, Interface>,
    neighbours: HashMap<Hop, Neighbour>,
    /// The addresses that were told of since all was read, with what of them may change a route. Router
    /// advertisements have the kernel tell of the same address, again and again, for its lifetime.
    addresses: HashMap<Hop, (u8, AddressHeaderFlags)>,
}

/// What a message from the kernel means for what was decided before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Routes may lead elsewhere: ask for each again.
    pub(super) routes: bool,
    /// Paths may differ, along the same routes.
    pub(super) paths: bool,
    /// A path that somebody else cached may be wrong now.
    pub(super) generation: bool,
    /// News for those who follow interfaces.
    pub(super) interface: Option<InterfaceEvent>,
}

impl Effect {
    fn routing(interface: Option<InterfaceEvent>) -> Self {
        Effect { routes: true, paths: true, generation: true, interface }
    }
}

impl World {
    /// A world with just these in it.
    pub(super) fn of(
        interfaces: impl IntoIterator<Item = Interface>,
        neighbours: impl IntoIterator<Item = (Hop, Neighbour)>,
    ) -> Self {
        World {
            interfaces: interfaces.into_iter().map(|interface| (interface.index, interface)).collect(),
            neighbours: neighbours.into_iter().collect(),
            addresses: HashMap::new(),
        }
    }

    pub(super) fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(&index)
    }

    /// The MAC address that the kernel would send to.
    pub(super) fn mac(&self, hop: &Hop) -> Option<[u8; 6]> {
        self.neighbours.get(hop)?.mac
    }

    /// Who keeps this neighbour's address known; `None` if the kernel has no entry for it.
    pub(super) fn upkeep(&self, hop: &Hop) -> Option<Upkeep> {
        Some(self.neighbours.get(hop)?.upkeep)
    }

    /// Takes in one message of the kernel's multicast groups.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Effect {
        use RouteNetlinkMessage as Message;
        match message {
            // A bridge tells of its ports in link messages of its own family; "deleted" there means
            // "left the bridge".
            Message::NewLink(link) | Message::DelLink(link)
                if link.header.interface_family != AddressFamily::Unspec =>
            {
                Effect::default()
            }
            Message::NewLink(link) => Interface::from_message(link).map_or_else(Effect::default, |new| {
                let old = self.interfaces.insert(new.index, new.clone());
                if old.as_ref() == Some(&new) { Effect::default() } else { changed(old, Some(new)) }
            }),
            Message::DelLink(link) => match self.interfaces.remove(&link.header.index) {
                Some(old) => {
                    self.neighbours.retain(|(interface, _), _| *interface != old.index);
                    changed(Some(old), None)
                }
                None => Effect::default(),
            },
            Message::NewNeighbour(neighbour) => match Neighbour::from_message(neighbour) {
                Some((hop, new)) => {
                    let old = self.neighbours.insert(hop, new);
                    resolution(old, Some(new))
                }
                None => Effect::default(),
            },
            Message::DelNeighbour(neighbour) => match Neighbour::from_message(neighbour) {
                Some((hop, _)) => resolution(self.neighbours.remove(&hop), None),
                None => Effect::default(),
            },
            Message::NewAddress(address) => {
                let header = &address.header;
                let told = (header.prefix_len, header.flags);
                let before = address_of(address).and_then(|own| self.addresses.insert(own, told));
                if before == Some(told) { Effect::default() } else { Effect::routing(None) }
            }
            Message::DelAddress(address) => {
                address_of(address).and_then(|own| self.addresses.remove(&own));
                Effect::routing(None)
            }
            Message::NewRoute(_) | Message::DelRoute(_) | Message::NewRule(_) | Message::DelRule(_) => {
                Effect::routing(None)
            }
            _ => Effect::default(),
        }
    }

    /// Replaces everything by what the kernel has now. Returns what became of the interfaces.
    pub(super) fn replace(&mut self, now: World) -> Vec<InterfaceEvent> {
        let mut before = std::mem::replace(self, now).interfaces;
        let mut events: Vec<_> = self
            .interfaces
            .values()
            .filter_map(|new| {
                let old = before.remove(&new.index);
                if old.as_ref() == Some(new) { None } else { news(old, Some(new.clone())) }
            })
            .collect();
        events.extend(before.into_values().filter_map(|old| news(Some(old), None)));
        events
    }
}

fn address_of(message: &AddressMessage) -> Option<Hop> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some((message.header.index, *address)),
        _ => None,
    })
}

fn changed(old: Option<Interface>, new: Option<Interface>) -> Effect {
    Effect::routing(news(old, new))
}

/// What a change means to those who follow Ethernet interfaces.
fn news(old: Option<Interface>, new: Option<Interface>) -> Option<InterfaceEvent> {
    let ethernet = |interface: &Interface| interface.medium == Medium::Ethernet;
    match (old.filter(ethernet), new.filter(ethernet)) {
        (None, Some(new)) => Some(InterfaceEvent::Appeared(new)),
        (Some(_), Some(new)) => Some(InterfaceEvent::Changed(new)),
        (Some(old), None) => Some(InterfaceEvent::Gone(old)),
        (None, None) => None,
    }
}

/// What a change of a neighbour means. A first address cannot have been cached as another one; an entry that comes
/// or goes, even without address, has to be asked for (again).
fn resolution(old: Option<Neighbour>, new: Option<Neighbour>) -> Effect {
    let mac = |neighbour: Option<Neighbour>| neighbour.and_then(|neighbour| neighbour.mac);
    let differs = mac(old) != mac(new);
    let paths = differs || old.is_some() != new.is_some();
    Effect { paths, generation: differs && mac(old).is_some(), ..Effect::default() }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
    use netlink_packet_route::neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
    };
    use netlink_packet_route::route::RouteMessage;

    use super::*;

    fn link(index: u32, up: bool) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = if up { LinkFlags::Up | LinkFlags::LowerUp } else { LinkFlags::empty() };
        message.attributes = vec![LinkAttribute::IfName(format!("eth{index}")), LinkAttribute::Mtu(1500)];
        message
    }

    fn neighbour(state: NeighbourState, last: u8) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.state = state;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 1].into())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, last]),
        ];
        message
    }

    #[test]
    fn interfaces_come_change_and_go() {
        let mut world = World::default();
        let effect = world.apply(&RouteNetlinkMessage::NewLink(link(3, false)));
        assert!(matches!(effect.interface, Some(InterfaceEvent::Appeared(_))));
        let effect = world.apply(&RouteNetlinkMessage::NewLink(link(3, true)));
        assert!(effect.routes && matches!(effect.interface, Some(InterfaceEvent::Changed(_))));
        assert_eq!(world.apply(&RouteNetlinkMessage::NewLink(link(3, true))), Effect::default());
        let effect = world.apply(&RouteNetlinkMessage::DelLink(link(3, true)));
        assert!(effect.generation && matches!(effect.interface, Some(InterfaceEvent::Gone(_))));
    }

    #[test]
    fn leaving_a_bridge_is_not_the_end() {
        let mut world = World::default();
        world.apply(&RouteNetlinkMessage::NewLink(link(3, true)));
        let mut left = link(3, true);
        left.header.interface_family = AddressFamily::Bridge;
        assert_eq!(world.apply(&RouteNetlinkMessage::DelLink(left)), Effect::default());
        assert!(world.interface(3).is_some());
    }

    #[test]
    fn only_a_different_mac_makes_a_new_generation() {
        let mut world = World::default();
        let mut apply = |state, last| world.apply(&RouteNetlinkMessage::NewNeighbour(neighbour(state, last)));
        let first = apply(NeighbourState::Reachable, 1);
        assert!(first.paths && !first.generation);
        assert_eq!(apply(NeighbourState::Stale, 1), Effect::default());
        let moved = apply(NeighbourState::Reachable, 2);
        assert!(moved.paths && moved.generation && !moved.routes);
        assert!(apply(NeighbourState::Failed, 2).generation);
    }

    #[test]
    fn a_deleted_neighbour_is_asked_for_again() {
        let mut world = World::default();
        let incomplete = neighbour(NeighbourState::Incomplete, 0);
        world.apply(&RouteNetlinkMessage::NewNeighbour(incomplete.clone()));
        let effect = world.apply(&RouteNetlinkMessage::DelNeighbour(incomplete));
        assert!(effect.paths && !effect.generation);
    }

    #[test]
    fn a_deleted_interface_takes_its_neighbours_along() {
        let mut world = World::default();
        world.apply(&RouteNetlinkMessage::NewLink(link(3, true)));
        world.apply(&RouteNetlinkMessage::NewNeighbour(neighbour(NeighbourState::Reachable, 1)));
        world.apply(&RouteNetlinkMessage::DelLink(link(3, true)));
        assert_eq!(world.mac(&(3, [192, 0, 2, 1].into())), None);
    }

    #[test]
    fn an_address_told_of_again_changes_nothing() {
        let mut address = AddressMessage::default();
        address.header.index = 3;
        address.header.flags = AddressHeaderFlags::Tentative;
        address.attributes = vec![AddressAttribute::Address([192, 0, 2, 1].into())];
        let mut world = World::default();
        let mut tell =
            |address: &AddressMessage| world.apply(&RouteNetlinkMessage::NewAddress(address.clone()));
        assert!(tell(&address).generation);
        assert_eq!(tell(&address), Effect::default());
        address.header.flags = AddressHeaderFlags::empty();
        assert!(tell(&address).generation, "it can be a source now");
        assert!(world.apply(&RouteNetlinkMessage::DelAddress(address.clone())).generation);
        assert!(world.apply(&RouteNetlinkMessage::NewAddress(address)).generation);
    }

    #[test]
    fn a_route_may_change_everything() {
        let effect = World::default().apply(&RouteNetlinkMessage::NewRoute(RouteMessage::default()));
        assert_eq!(effect, Effect::routing(None));
    }

    #[test]
    fn after_a_loss_the_difference_is_told() {
        let interface = |index| Interface::from_message(&link(index, true)).unwrap();
        let mut world = World::of([interface(3), interface(4), interface(5)], []);
        let mut changed = interface(4);
        changed.mtu = 9000;
        let mut events = world.replace(World::of([interface(3), changed.clone(), interface(6)], []));
        events.sort_by_key(|event| match event {
            InterfaceEvent::Appeared(it) | InterfaceEvent::Changed(it) | InterfaceEvent::Gone(it) => it.index,
        });
        assert_eq!(
            events,
            [
                InterfaceEvent::Changed(changed),
                InterfaceEvent::Gone(interface(5)),
                InterfaceEvent::Appeared(interface(6))
            ]
        );
    }
}
