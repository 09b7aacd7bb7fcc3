//! Frames that are not plain packets: fragments, ICMP errors, extension headers.

use super::packet::{Packet, ones_complement_sum};
use super::{CLIENT_MAC, DIRECTOR_MAC};
use rlvs_packet::protocol;
use std::net::IpAddr;

/// Octets of an untagged link header.
const LINK: usize = 14;

impl Packet {
    /// Cuts the packet into frames of at most so many octets of its data each (a multiple of eight), in order. With IPv6,
    /// extension headers of [`Packet::with_extensions`] are not made.
    pub fn fragments(&self, octets: usize) -> Vec<Vec<u8>> {
        assert!(octets.is_multiple_of(8) && self.vlan.is_none() && self.padding == 0, "{self:?}");
        let frame = self.frame();
        let header = LINK + if self.source.is_ipv4() { 20 + self.options.len() } else { 40 };
        let (header, data) = frame.split_at(header);
        let last = data.len().div_ceil(octets) - 1;
        let parts = data.chunks(octets).enumerate();
        parts
            .map(|(n, part)| {
                let place = ((n * octets) as u16, n < last);
                if self.source.is_ipv4() {
                    fragment4(header, part, place)
                } else {
                    self.fragment6(header, part, place)
                }
            })
            .collect()
    }

    fn fragment6(&self, header: &[u8], part: &[u8], (offset, more): (u16, bool)) -> Vec<u8> {
        let mut frame = header.to_vec();
        frame[LINK + 4..LINK + 6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
        frame[LINK + 6] = 44;
        frame.extend([self.protocol, 0]);
        frame.extend((offset | u16::from(more)).to_be_bytes());
        frame.extend(u32::from(self.identification).to_be_bytes());
        frame.extend(part);
        frame
    }

    /// The IPv6 packet with these extension headers before its transport header: the number of each, and its octets
    /// after the first two (a multiple of eight, less two).
    pub fn with_extensions(&self, headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let frame = self.frame();
        let link = if self.vlan.is_some() { LINK + 4 } else { LINK };
        let (fixed, transport) = frame.split_at(link + 40);
        let mut fixed = fixed.to_vec();
        let mut octets = Vec::new();
        for (n, (number, body)) in headers.iter().enumerate() {
            if n == 0 {
                fixed[link + 6] = *number;
            }
            octets.push(headers.get(n + 1).map_or(self.protocol, |(next, _)| *next));
            octets.push(((body.len() + 2) / 8 - 1) as u8);
            octets.extend(body);
        }
        let length = u16::from_be_bytes([fixed[link + 4], fixed[link + 5]]) + octets.len() as u16;
        fixed[link + 4..link + 6].copy_from_slice(&length.to_be_bytes());
        [fixed, octets, transport.to_vec()].concat()
    }
}

fn fragment4(header: &[u8], part: &[u8], (offset, more): (u16, bool)) -> Vec<u8> {
    let mut header = header.to_vec();
    let ip = &mut header[LINK..];
    let length = (ip.len() + part.len()) as u16;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[6..8].copy_from_slice(&((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    ip[10..12].fill(0);
    let checksum = !ones_complement_sum(&[ip]);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    [header, part.to_vec()].concat()
}

/// An ICMP error of this type and code from `sender` to `receiver`, of one family, with this second word: about the packet
/// whose octets from the IP header on are `quote`.
pub fn icmp_error(sender: IpAddr, receiver: IpAddr, kind: (u8, u8), word: u32, quote: &[u8]) -> Vec<u8> {
    let mut message = vec![kind.0, kind.1, 0, 0];
    message.extend(word.to_be_bytes());
    message.extend(quote);
    let mut frame = [DIRECTOR_MAC, CLIENT_MAC].concat();
    match (sender, receiver) {
        (IpAddr::V4(sender), IpAddr::V4(receiver)) => {
            let sum = !ones_complement_sum(&[&message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut ip = vec![0x45, 0xc0];
            ip.extend((20 + message.len() as u16).to_be_bytes());
            ip.extend([0, 9, 0, 0, 64, protocol::ICMP, 0, 0]);
            ip.extend(sender.octets());
            ip.extend(receiver.octets());
            let sum = !ones_complement_sum(&[&ip]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(ip);
        }
        (IpAddr::V6(sender), IpAddr::V6(receiver)) => {
            let addresses = [sender.octets(), receiver.octets()].concat();
            let pseudo = [(message.len() as u32).to_be_bytes(), [0, 0, 0, protocol::ICMPV6]].concat();
            let sum = !ones_complement_sum(&[&addresses, &pseudo, &message]);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((message.len() as u16).to_be_bytes());
            frame.extend([protocol::ICMPV6, 64]);
            frame.extend(addresses);
        }
        _ => panic!("sender and receiver of different families"),
    }
    [frame, message].concat()
}
