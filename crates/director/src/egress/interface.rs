//! Network interfaces.

use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, VlanProtocol,
};

/// A network interface of the director's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The interface index (ifindex).
    pub index: u32,
    /// The name, "eth0".
    pub name: String,
    /// The kernel's word for a virtual device ("veth", "vlan", "bridge"); `None` for hardware.
    pub kind: Option<String>,
    /// What kind of frames it carries.
    pub medium: Medium,
    /// The hardware address; zero where the medium has none.
    pub mac: [u8; 6],
    /// The largest IP packet, in octets.
    pub mtu: u32,
    /// Administratively up and with a carrier.
    pub up: bool,
    /// Neighbours are resolved by ARP or neighbour discovery (not so on dummy devices).
    pub resolves: bool,
    /// The bridge, bond or VRF (by interface index) that it is a port of.
    pub controller: Option<u32>,
    /// Set for VLAN devices.
    pub vlan: Option<Vlan>,
}

/// What a VLAN device is on top of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The VLAN identifier, 1 to 4094.
    pub id: u16,
    /// The interface index of the device that carries the tagged frames; `None` if that is in another namespace.
    pub lower: Option<u32>,
    /// The tag is an 802.1ad (provider bridge) one, not 802.1Q.
    pub provider: bool,
}

/// What kind of frames an interface carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Ethernet frames with 6-octet addresses.
    Ethernet,
    /// The namespace itself.
    Loopback,
    /// Anything else: tunnels, PPP, InfiniBand.
    Other,
}

/// A change to the Ethernet interfaces of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// It is there now: found at the start, created, or moved into the namespace.
    Appeared(Interface),
    /// It has the same index, and something else about it changed.
    Changed(Interface),
    /// It was deleted or moved away; what is here is what was known of it.
    Gone(Interface),
}

impl Interface {
    /// Reads a link message. Returns `None` for one without a name, which is no answer about an interface.
    pub fn from_message(message: &LinkMessage) -> Option<Self> {
        let flags = message.header.flags;
        let mut interface = Interface {
            index: message.header.index,
            name: String::new(),
            kind: None,
            medium: match message.header.link_layer_type {
                LinkLayerType::Ether => Medium::Ethernet,
                LinkLayerType::Loopback => Medium::Loopback,
                _ => Medium::Other,
            },
            mac: [0; 6],
            mtu: 0,
            up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            resolves: !flags.contains(LinkFlags::Noarp),
            controller: None,
            vlan: None,
        };
        let (mut lower, mut lower_elsewhere, mut tag) = (None, false, None);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name.clone_from(name),
                LinkAttribute::Address(address) => {
                    interface.mac = address.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
                LinkAttribute::Controller(index) => interface.controller = Some(*index),
                LinkAttribute::Link(index) => lower = Some(*index),
                LinkAttribute::LinkNetNsId(_) => lower_elsewhere = true,
                LinkAttribute::LinkInfo(infos) => {
                    interface.kind = infos.iter().find_map(kind);
                    tag = infos.iter().find_map(vlan_tag);
                }
                _ => {}
            }
        }
        interface.vlan =
            tag.map(|(id, provider)| Vlan { id, provider, lower: lower.filter(|_| !lower_elsewhere) });
        (!interface.name.is_empty()).then_some(interface)
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn vlan_tag(info: &LinkInfo) -> Option<(u16, bool)> {
    let LinkInfo::Data(InfoData::Vlan(parts)) = info else { return None };
    let id = parts.iter().find_map(|part| match part {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let provider = parts.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad));
    Some((id, provider))
}
