//! Frames made to order, with checksums computed here and not by the code under test.

use super::{CLIENT_MAC, DIRECTOR_MAC};
use crc::{CRC_32_ISCSI, Crc};
use rlvs_packet::ethernet::Mac;
use rlvs_packet::protocol;
use std::net::{IpAddr, SocketAddr};

/// A packet: what it says, from which [`Packet::frame`] makes its octets.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver, of the same family.
    pub destination: SocketAddr,
    /// [`protocol::TCP`], [`protocol::UDP`], [`protocol::SCTP`]; of [`protocol::AH`] and
    /// [`protocol::ESP`] there is only the payload.
    pub protocol: u8,
    /// TCP's flags; the type of SCTP's only chunk.
    pub flags: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// DSCP and ECN.
    pub class: u8,
    /// IPv4's identification.
    pub identification: u16,
    /// IPv4's "don't fragment".
    pub dont_fragment: bool,
    /// IPv4's options: a multiple of four octets, at most 40.
    pub options: Vec<u8>,
    /// VLAN tag's control field.
    pub vlan: Option<u16>,
    /// Whether UDP has a checksum.
    pub checksum: bool,
    /// What is carried.
    pub payload: Vec<u8>,
    /// Receiver's and sender's MAC.
    pub macs: [Mac; 2],
    /// Octets after the packet, as short frames have them.
    pub padding: usize,
}

impl Packet {
    /// A TCP packet with these flags.
    pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Packet {
        Packet {
            source,
            destination,
            protocol: protocol::TCP,
            flags,
            hops: 64,
            class: 0,
            identification: 7,
            dont_fragment: true,
            options: Vec::new(),
            vlan: None,
            checksum: true,
            payload: Vec::new(),
            macs: [DIRECTOR_MAC, CLIENT_MAC],
            padding: 0,
        }
    }

    /// A UDP packet.
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Packet {
        let payload = b"question".to_vec();
        Packet { protocol: protocol::UDP, payload, ..Packet::tcp(source, destination, 0) }
    }

    /// An SCTP packet with one chunk of this type ([`rlvs_packet::sctp::chunk`]).
    pub fn sctp(source: SocketAddr, destination: SocketAddr, kind: u8) -> Packet {
        Packet { protocol: protocol::SCTP, ..Packet::tcp(source, destination, kind) }
    }

    /// Its octets, link header included.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.macs.concat());
        if let Some(control) = self.vlan {
            frame.extend(0x8100u16.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        let transport = self.transport();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(0x0800u16.to_be_bytes());
                let header_length = 20 + self.options.len();
                let mut ip = vec![0x40 | (header_length / 4) as u8, self.class];
                ip.extend(((header_length + transport.len()) as u16).to_be_bytes());
                ip.extend(self.identification.to_be_bytes());
                ip.extend(if self.dont_fragment { [0x40, 0] } else { [0, 0] });
                ip.extend([self.hops, self.protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.options);
                let checksum = !ones_complement_sum(&[&ip]);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                frame.extend(ip);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(0x86ddu16.to_be_bytes());
                frame.extend((6u32 << 28 | (self.class as u32) << 20 | 0x12345).to_be_bytes());
                frame.extend((transport.len() as u16).to_be_bytes());
                frame.extend([self.protocol, self.hops]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => panic!("sender and receiver of different families: {self:?}"),
        }
        frame.extend(transport);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        if matches!(self.protocol, protocol::AH | protocol::ESP) {
            return self.payload.clone();
        }
        let mut segment = Vec::new();
        segment.extend(self.source.port().to_be_bytes());
        segment.extend(self.destination.port().to_be_bytes());
        if self.protocol == protocol::SCTP {
            segment.extend([0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, self.flags, 0]);
            segment.extend(((4 + self.payload.len()) as u16).to_be_bytes());
            segment.extend(&self.payload);
            segment.resize(segment.len().next_multiple_of(4), 0);
            let checksum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&segment);
            segment[8..12].copy_from_slice(&checksum.to_le_bytes());
            return segment;
        }
        let checksum_at = if self.protocol == protocol::TCP {
            segment.extend([
                0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x50, self.flags, 0x20, 0, 0, 0, 0, 0,
            ]);
            16
        } else {
            segment.extend(((8 + self.payload.len()) as u16).to_be_bytes());
            segment.extend([0, 0]);
            6
        };
        segment.extend(&self.payload);
        if self.checksum {
            let pseudo = [(segment.len() as u32).to_be_bytes(), [0, 0, 0, self.protocol]].concat();
            let addresses = [octets(self.source.ip()), octets(self.destination.ip())].concat();
            let sum = !ones_complement_sum(&[&addresses, &pseudo, &segment]);
            let sum = if sum == 0 && self.protocol == protocol::UDP { 0xffff } else { sum };
            segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        segment
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// RFC 1071, word by word, of parts of even length but the last.
pub fn ones_complement_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]) as u32;
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}
