//! The packet that is asked about, as a frame.

use rlvs_ipvs::{Form, IcmpProblem, Probe, Protocol};
use rlvs_packet::ethernet::{self, Ethernet, Mac, VlanTag};
use rlvs_packet::icmp::{Cause, IcmpError};
use rlvs_packet::ipv4::{DONT_FRAGMENT, FRAGMENT_MASK, Ipv4, OFFSET_MASK};
use rlvs_packet::ipv6::{FragmentHeader, Ipv6, extension};
use rlvs_packet::protocol;
use rlvs_packet::sctp::{Chunk, Sctp};
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;
use std::net::IpAddr;
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

/// The frame, between these MACs (receiver, sender) and with this VLAN tag (0: none). Transport checksums are left out: the
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
    frame.extend(packet(probe));
    frame
}

/// The packet, or what of it comes.
fn packet(probe: &Probe) -> Vec<u8> {
    let protocol = probe.protocol.0 as u8;
    match probe.form {
        Form::Whole => in_ip(probe, protocol, None, transport(probe)),
        Form::FirstFragment => in_ip(probe, protocol, Some((0, true)), transport(probe)),
        Form::LaterFragment | Form::EarlyFragment => {
            // Behind the first one of a packet that fills Ethernet's frames.
            let octets = usize::from(probe.length).saturating_sub(header_length(probe)).max(8);
            in_ip(probe, protocol, Some((1480, false)), vec![0; octets])
        }
        Form::Error(problem, _) => {
            let whole = Probe { form: Form::Whole, ..probe.clone() };
            let quoted = in_ip(&whole, protocol, None, transport(&whole));
            let protocol = if probe.source.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
            in_ip(probe, protocol, None, error(problem, protocol, quoted))
        }
    }
}

/// The MTU in errors about packets that are too big.
const MTU: u32 = 1280;
/// Octets of a packet that errors quote, at most.
const QUOTED: usize = 548;

fn error(problem: IcmpProblem, protocol: u8, quoted: Vec<u8>) -> Vec<u8> {
    let v4 = protocol == protocol::ICMP;
    let of = |cause: Cause| if v4 { cause.in_icmp() } else { cause.in_icmpv6() };
    let (kind, code, word) = match problem {
        IcmpProblem::PortUnreachable => of(Cause::PortUnreachable),
        IcmpProblem::TooBig => of(Cause::TooBig(MTU)),
        IcmpProblem::TimeExceeded => of(Cause::TimeExceeded),
        // RFC 792; RFC 4443, 3.1: address unreachable.
        IcmpProblem::HostUnreachable => (if v4 { 3 } else { 1 }, if v4 { 1 } else { 3 }, 0),
    };
    let header = IcmpError { kind, code, checksum: [0; 2], mtu: U32::new(word) };
    [header.as_bytes(), &quoted[..quoted.len().min(QUOTED)]].concat()
}

/// Octets of the IP header, with that of a fragment.
fn header_length(probe: &Probe) -> usize {
    match (probe.source.is_ipv4(), probe.form) {
        (true, _) => Ipv4::LENGTH,
        (false, Form::Whole | Form::Error(..)) => Ipv6::LENGTH,
        (false, _) => Ipv6::LENGTH + FragmentHeader::LENGTH,
    }
}

/// Something behind the IP header: all of the packet, or a fragment of this offset in octets and whether more follow.
fn in_ip(probe: &Probe, protocol: u8, fragment: Option<(u16, bool)>, data: Vec<u8>) -> Vec<u8> {
    let (offset, more) = fragment.unwrap_or_default();
    let header = match probe.ends() {
        [IpAddr::V4(source), IpAddr::V4(destination)] => {
            let more = if more { FRAGMENT_MASK & !OFFSET_MASK } else { 0 };
            let may_not = if fragment.is_some() || probe.may_fragment { 0 } else { DONT_FRAGMENT };
            let header = Ipv4 {
                version_length: Ipv4::PLAIN,
                tos: 0,
                total_length: U16::new((data.len() + Ipv4::LENGTH) as u16),
                identification: U16::ZERO,
                fragment: U16::new((offset / 8) | more | may_not),
                ttl: probe.hops,
                protocol,
                checksum: [0; 2],
                source: source.octets(),
                destination: destination.octets(),
            };
            header.with_checksum().as_bytes().to_vec()
        }
        [source, destination] => {
            let extension = FragmentHeader {
                next_header: protocol,
                reserved: 0,
                offset: U16::new(offset | u16::from(more)),
                identification: U32::ZERO,
            };
            let extension = if fragment.is_some() { extension.as_bytes() } else { &[] };
            let header = Ipv6 {
                version_class_flow: Ipv6::version_and_class(0),
                payload_length: U16::new((data.len() + extension.len()) as u16),
                next_header: if fragment.is_some() { extension::FRAGMENT } else { protocol },
                hop_limit: probe.hops,
                source: v6(source),
                destination: v6(destination),
            };
            [header.as_bytes(), extension].concat()
        }
    };
    [header, data].concat()
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The transport header and what it carries, and zeros up to the length that was asked for. With SCTP, there is a chunk without a content.
fn transport(probe: &Probe) -> Vec<u8> {
    let (source, destination) = (probe.source.port().to_be_bytes(), probe.destination.port().to_be_bytes());
    let wanted = usize::from(probe.length).saturating_sub(header_length(probe));
    let mut octets = match probe.protocol {
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
        Protocol::UDP => {
            let length = (Udp::LENGTH + probe.payload.len()).max(wanted) as u16;
            Udp { source, destination, length: U16::new(length), checksum: [0; 2] }.as_bytes().to_vec()
        }
        // What is secured cannot be read.
        _ => vec![0; 8],
    };
    octets.extend(&probe.payload);
    octets.resize(octets.len().max(wanted), 0);
    octets
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
                let mut probe = Probe::new(protocol, source, destination);
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
