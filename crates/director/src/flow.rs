//! Whose packet a frame is.

use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use rlvs_packet::ipv4::{FRAGMENT_MASK, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use std::fmt;
use std::net::IpAddr;
use zerocopy::FromBytes;

/// Protocol, addresses and ports, as far as the frame has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// What follows the IP header.
    pub protocol: Option<u8>,
    /// Sender.
    pub source: Option<IpAddr>,
    /// Receiver.
    pub destination: Option<IpAddr>,
    /// Their ports (host byte order). Only the first fragment of a packet has them; IPv6 extension headers are not read.
    pub ports: Option<[u16; 2]>,
}

impl Flow {
    /// Reads the beginning of a frame.
    pub fn of_frame(frame: &[u8]) -> Flow {
        Self::read(frame).unwrap_or_default()
    }

    fn read(frame: &[u8]) -> Option<Flow> {
        let (link, mut rest) = Ethernet::read_from_prefix(frame).ok()?;
        let mut kind = link.kind.get();
        if kind == ethernet::VLAN {
            let (tag, inside) = VlanTag::read_from_prefix(rest).ok()?;
            (kind, rest) = (tag.kind.get(), inside);
        }
        match kind {
            ethernet::IPV4 => Self::read4(rest),
            ethernet::IPV6 => Self::read6(rest),
            _ => None,
        }
    }

    fn read4(packet: &[u8]) -> Option<Flow> {
        let (ip, _) = Ipv4::read_from_prefix(packet).ok()?;
        let is_first = ip.fragment.get() & FRAGMENT_MASK & !MORE_FRAGMENTS == 0;
        let transport = if is_first { packet.get(ip.header_length()..) } else { None };
        Some(Flow {
            protocol: Some(ip.protocol),
            source: Some(ip.source.into()),
            destination: Some(ip.destination.into()),
            ports: transport.and_then(|octets| ports(ip.protocol, octets)),
        })
    }

    fn read6(packet: &[u8]) -> Option<Flow> {
        let (ip, transport) = Ipv6::read_from_prefix(packet).ok()?;
        Some(Flow {
            protocol: Some(ip.next_header),
            source: Some(ip.source.into()),
            destination: Some(ip.destination.into()),
            ports: ports(ip.next_header, transport),
        })
    }
}

/// In IPv4's fragment field: others follow.
const MORE_FRAGMENTS: u16 = 0x2000;

fn ports(number: u8, transport: &[u8]) -> Option<[u16; 2]> {
    let has_ports = matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP);
    let [a, b, c, d] = *transport.first_chunk().filter(|_| has_ports)?;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}

/// "TCP 192.0.2.1:1024 10.0.0.1:80", with "-" for what is not there.
impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(number) => write!(f, "{}", rlvs_ipvs::Protocol(number.into()))?,
            None => f.write_str("-")?,
        }
        let [from, to] = self.ports.map_or([None; 2], |ports| ports.map(Some));
        for (address, port) in [(self.source, from), (self.destination, to)] {
            match (address, port) {
                (Some(address), Some(port)) => write!(f, " {}", std::net::SocketAddr::new(address, port))?,
                (Some(address), None) => write!(f, " {address}")?,
                (None, _) => f.write_str(" -")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet from 192.0.2.1 to 10.0.0.1 with ports 1024 and 80.
    fn ipv4(protocol: u8, fragment: u16) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, high, low, 64, protocol, 0, 0, 192, 0, 2, 1, 10, 0, 0, 1];
        packet.extend([4, 0, 0, 80]);
        packet
    }

    fn shown(link: &[u8], packet: &[u8]) -> String {
        Flow::of_frame(&[&[2; 12], link, packet].concat()).to_string()
    }

    #[test]
    fn addresses_and_ports_are_found() {
        assert_eq!(shown(&[8, 0], &ipv4(6, 0)), "TCP 192.0.2.1:1024 10.0.0.1:80");
        assert_eq!(shown(&[0x81, 0, 0, 7, 8, 0], &ipv4(17, 0x4000)), "UDP 192.0.2.1:1024 10.0.0.1:80");
        let mut ipv6 = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        ipv6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        ipv6.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 80]);
        assert_eq!(shown(&[0x86, 0xdd], &ipv6), "TCP [2001:db8::1]:1024 [fd00::2]:80");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        assert_eq!(shown(&[8, 0], &ipv4(6, 0x2000)), "TCP 192.0.2.1:1024 10.0.0.1:80");
        assert_eq!(shown(&[8, 0], &ipv4(6, 0x2001)), "TCP 192.0.2.1 10.0.0.1");
        assert_eq!(shown(&[8, 0], &ipv4(1, 0)), "ICMP 192.0.2.1 10.0.0.1");
        assert_eq!(shown(&[8, 0], &ipv4(6, 0)[..20]), "TCP 192.0.2.1 10.0.0.1");
        for length in 0..20 {
            assert_eq!(shown(&[8, 0], &ipv4(6, 0)[..length]), "- - -");
        }
        assert_eq!(shown(&[8, 6], &ipv4(6, 0)), "- - -");
    }
}
