//! The packet that is asked about, as a frame.

use rlvs_ipvs::{Probe, Protocol};
use rlvs_packet::ethernet::{self, Ethernet, Mac, VlanTag};
use rlvs_packet::ipv4::{DONT_FRAGMENT, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::sctp::{Chunk, Sctp};
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;
use std::net::IpAddr;
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// The frame, between these MACs (receiver, sender) and with this VLAN tag (0: none). Its data are zeros; transport checksums are left out: the
/// switch changes them by difference, and looks at none.
pub(super) fn frame(probe: &Probe, [receiver, sender]: [Mac; 2], vlan: u16) -> Vec<u8> {
    let kind = if probe.source.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
    let first_kind = if vlan == 0 { kind } else { ethernet::VLAN };
    let mut frame = Vec::new();
    let link = Ethernet { destination: receiver, source: sender, kind: U16::new(first_kind) };
    frame.extend(link.as_bytes());
    if vlan != 0 {
        frame.extend(VlanTag { control: U16::new(vlan), kind: U16::new(kind) }.as_bytes());
    }
    let mut transport = transport(probe);
    let header = if probe.source.is_ipv4() { Ipv4::LENGTH } else { Ipv6::LENGTH };
    transport.resize(transport.len().max(usize::from(probe.length).saturating_sub(header)), 0);
    frame.extend(network(probe, transport.len() as u16));
    frame.extend(transport);
    frame
}

fn network(probe: &Probe, data: u16) -> Vec<u8> {
    let protocol = probe.protocol.0 as u8;
    match (probe.source.ip(), probe.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Ipv4 {
            version_length: Ipv4::PLAIN,
            tos: 0,
            total_length: U16::new(data.saturating_add(Ipv4::LENGTH as u16)),
            identification: U16::ZERO,
            fragment: U16::new(DONT_FRAGMENT),
            ttl: probe.hops,
            protocol,
            checksum: [0; 2],
            source: source.octets(),
            destination: destination.octets(),
        }
        .with_checksum()
        .as_bytes()
        .to_vec(),
        (source, destination) => Ipv6 {
            version_class_flow: Ipv6::version_and_class(0),
            payload_length: U16::new(data),
            next_header: protocol,
            hop_limit: probe.hops,
            source: v6(source),
            destination: v6(destination),
        }
        .as_bytes()
        .to_vec(),
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The transport header, and with SCTP a chunk without a content.
fn transport(probe: &Probe) -> Vec<u8> {
    let (source, destination) = (probe.source.port().to_be_bytes(), probe.destination.port().to_be_bytes());
    match probe.protocol {
        Protocol::TCP => Tcp {
            source,
            destination,
            sequence: U32::ZERO,
            acknowledgement: U32::ZERO,
            data_offset: 5 << 4,
            flags: probe.signal,
            window: U16::ZERO,
            checksum: [0; 2],
            urgent: U16::ZERO,
        }
        .as_bytes()
        .to_vec(),
        Protocol::SCTP => {
            let header = Sctp { source, destination, verification_tag: U32::ZERO, checksum: [0; 4] };
            let chunk = Chunk { kind: probe.signal, flags: 0, length: U16::new(size_of::<Chunk>() as u16) };
            [header.as_bytes(), chunk.as_bytes()].concat()
        }
        _ => Udp { source, destination, length: U16::new(Udp::LENGTH as u16), checksum: [0; 2] }
            .as_bytes()
            .to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Flow;

    #[test]
    fn a_frame_is_the_packet_that_was_asked_about() {
        for (protocol, headers) in [(Protocol::TCP, 20), (Protocol::UDP, 8), (Protocol::SCTP, 16)] {
            for (ends, header) in
                [(["192.0.2.7:40000", "10.0.0.1:80"], 20), (["[2001:db8::7]:1", "[fd00::1]:2"], 40)]
            {
                let [source, destination] = ends.map(|end| end.parse().unwrap());
                let mut probe =
                    Probe { protocol, source, destination, signal: 1, length: 0, hops: 9, interface: None };
                for vlan in [0, 7] {
                    let link = if vlan == 0 { 14 } else { 18 };
                    let made = frame(&probe, [[2; 6], [4; 6]], vlan);
                    assert_eq!(made.len(), link + header + headers);
                    let flow = Flow::of_frame(&made);
                    assert_eq!(flow.to_string(), format!("{protocol} {source} {destination}"));
                }
                probe.length = 1500;
                assert_eq!(frame(&probe, [[2; 6], [4; 6]], 0).len(), 1514);
            }
        }
    }
}
