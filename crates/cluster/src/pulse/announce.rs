//! Tells neighbours who has an address: gratuitous ARP (RFC 5227, RFC 826) and unsolicited neighbour advertisements
//! (RFC 4861).

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use rlvs_packet::checksum;
use rlvs_packet::ethernet::{self, Ethernet, Mac};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol::ICMPV6;
use std::os::fd::AsRawFd;
use zerocopy::IntoBytes;

use super::kernel::Interface;

const BROADCAST: Mac = [0xff; 6];
const ARP: u16 = 0x0806;
/// Where unsolicited neighbour advertisements go: all nodes.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Sends announcements by an interface.
#[derive(Debug)]
pub struct Announcer {
    socket: File,
    mac: Mac,
    /// The interface forwards IPv6: neighbours are to know it as a router.
    router: bool,
}

impl Announcer {
    /// By the interface of this name.
    ///
    /// # Errors
    /// If there is none, it has no MAC address, or this is not root (CAP_NET_RAW).
    pub fn open(interface: &str) -> io::Result<Self> {
        let none = || io::Error::new(io::ErrorKind::NotFound, format!("{interface} has no MAC address"));
        let link = Interface::look(interface)?.link.ok_or_else(none)?;
        let mac = link.addr().ok_or_else(none)?;
        // Without a protocol it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &link)?;
        let forwarding = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
        let router = std::fs::read_to_string(forwarding).is_ok_and(|text| text.trim() != "0");
        Ok(Self { socket: File::from(socket), mac, router })
    }

    /// Announces another MAC address than the interface's own.
    pub fn with_mac(self, mac: Mac) -> Self {
        Self { mac, ..self }
    }

    /// Says once that the interface has `address`.
    ///
    /// # Errors
    /// Those of the kernel: such as that the interface is down.
    pub fn send(&mut self, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.socket.write_all(&gratuitous_arp(self.mac, address)),
            IpAddr::V6(address) => self.socket.write_all(&advertisement(self.mac, address, self.router)),
        }
    }
}

/// An ARP request for the address, by its owner.
fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let ethernet = Ethernet { destination: BROADCAST, source: mac, kind: ARP.into() };
    let mut frame = ethernet.as_bytes().to_vec();
    // Ethernet, IPv4, lengths of their addresses, request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(BROADCAST);
    frame.extend(address.octets());
    frame
}

/// A neighbour advertisement with the flag Override.
fn advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const ROUTER: u8 = 0x80;
    const LENGTH: u16 = 32;
    // Type and length, in units of eight octets, of the option "target link-layer address".
    const TARGET_LINK_ADDRESS: [u8; 2] = [2, 1];
    let mut message = [0; LENGTH as usize];
    message[0] = ADVERTISEMENT;
    message[4] = OVERRIDE | if router { ROUTER } else { 0 };
    message[8..24].copy_from_slice(&address.octets());
    message[24..26].copy_from_slice(&TARGET_LINK_ADDRESS);
    message[26..32].copy_from_slice(&mac);
    let sum = checksum::sum_of(&address.octets())
        + checksum::sum_of(&ALL_NODES.octets())
        + checksum::sum_of_pseudo(ICMPV6, LENGTH)
        + checksum::sum_of(&message);
    message[2..4].copy_from_slice(&checksum::finish(sum));
    let ip = Ipv6 {
        version_class_flow: (6 << 28).into(),
        payload_length: LENGTH.into(),
        next_header: ICMPV6,
        hop_limit: 255,
        source: address.octets(),
        destination: ALL_NODES.octets(),
    };
    let ethernet = Ethernet { destination: ALL_NODES_MAC, source: mac, kind: ethernet::IPV6.into() };
    [ethernet.as_bytes(), ip.as_bytes(), &message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_arp_request_asks_for_its_own_address() {
        let frame = gratuitous_arp(MAC, [192, 0, 2, 10].into());
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..14], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 8, 6]);
        assert_eq!(frame[20..22], [0, 1], "a request");
        assert_eq!((&frame[28..32], &frame[38..42]), (&[192, 0, 2, 10][..], &[192, 0, 2, 10][..]));
    }

    #[test]
    fn an_advertisement_overrides_what_neighbours_know() {
        let address: Ipv6Addr = "2001:db8::10".parse().unwrap();
        let frame = advertisement(MAC, address, true);
        assert_eq!((frame.len(), &frame[..6]), (86, &ALL_NODES_MAC[..]));
        assert_eq!((frame[21], frame[54], frame[58]), (255, 136, 0xa0));
        assert_eq!(frame[62..78], address.octets());
        assert_eq!(frame[80..86], MAC);
        assert_eq!(advertisement(MAC, address, false)[58], 0x20);
    }
}
