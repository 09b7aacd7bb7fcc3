//! Frames that are none of the switch's business, or that cannot go on.

use crate::lab::*;
use anyhow::Result;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::{MASQUERADE, TUNNEL};
use rlvs_switch::simulation::{Packet, Transport};

const SLOTS: u32 = 1 << 10;
/// BPF_PROG_TEST_RUN takes nothing shorter than a link header.
const SHORTEST: usize = 14;

fn services(twins: &mut Twins, method: u32) -> Result<()> {
    for net in nets() {
        for protocol in [TCP, UDP] {
            twins.add_service(protocol, net.vip, &[server(method, net.server)])?;
        }
    }
    Ok(())
}

fn passes_untouched(twins: &Twins, frame: &[u8]) {
    assert_eq!(twins.receive(frame), (Verdict::Pass, frame.to_vec()));
}

#[test]
fn foreign_and_cut_off_frames_pass_untouched() {
    run(SLOTS, |twins| {
        services(twins, MASQUERADE)?;
        for net in nets() {
            let mut other = net.vip;
            other.set_port(81);
            passes_untouched(twins, &Packet::tcp(net.client, other, SYN).frame());
            passes_untouched(twins, &Packet::tcp(net.vip, net.client, SYN).frame());
            passes_untouched(twins, &Packet::tcp(net.client, net.vip, ACK).frame());
            for packet in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
                for vlan in [None, Some(7)] {
                    let frame = Packet { vlan, ..packet.clone() }.frame();
                    for length in SHORTEST..frame.len() {
                        passes_untouched(twins, &frame[..length]);
                    }
                }
            }
        }
        let mut arp = Packet::tcp(nets()[0].client, nets()[0].vip, SYN).frame();
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        passes_untouched(twins, &arp);
        twins.compare()
    });
}

#[test]
fn headers_that_contradict_themselves_pass_untouched() {
    run(SLOTS, |twins| {
        services(twins, MASQUERADE)?;
        let good = Packet::tcp(nets()[0].client, nets()[0].vip, SYN).frame();
        // Version, header lengths, total lengths, a fragment without its first.
        for (place, octet) in [(14, 0x55), (14, 0x44), (14, 0x4f), (16, 0x40), (17, 19), (17, 39), (21, 1)] {
            let mut frame = good.clone();
            frame[place] = octet;
            passes_untouched(twins, &frame);
        }
        twins.compare()
    });
}

#[test]
fn the_last_hop_is_reported_to_the_sender() {
    run(SLOTS, |twins| {
        services(twins, TUNNEL)?;
        for net in nets() {
            for packet in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
                for vlan in [None, Some(7)] {
                    let packet = Packet { hops: 1, payload: vec![3; 50], vlan, ..packet.clone() };
                    let expected = if net.client.is_ipv4() { (11, 0) } else { (3, 0) };
                    is_answered_by(twins, &packet, expected);
                }
            }
        }
        twins.compare()
    });
}

#[test]
fn a_packet_too_big_for_the_tunnel_is_reported_to_the_sender() {
    run(SLOTS, |twins| {
        services(twins, TUNNEL)?;
        for net in nets() {
            let packet = Packet { payload: vec![9; 1455], ..Packet::tcp(net.client, net.vip, SYN) };
            is_answered_by(twins, &packet, if net.client.is_ipv4() { (3, 4) } else { (2, 0) });
        }
        twins.compare()
    });
}

#[test]
fn a_service_without_destinations_is_an_unreachable_port() {
    run(SLOTS, |twins| {
        for net in nets() {
            twins.add_service(TCP, net.vip, &[])?;
            let packet = Packet::tcp(net.client, net.vip, SYN);
            is_answered_by(twins, &packet, if net.client.is_ipv4() { (3, 3) } else { (1, 4) });
        }
        twins.compare()
    });
}

/// Sends a packet that must go back to its sender as an ICMP error of this type and code.
fn is_answered_by(twins: &Twins, packet: &Packet, expected: (u8, u8)) {
    let (verdict, out) = twins.receive(&packet.frame());
    assert_eq!(verdict, Verdict::Transmit, "{packet:?}");
    let answer = sound(&out);
    assert_eq!(
        (answer.ip[0].source, answer.ip[0].destination),
        (packet.destination.ip(), packet.source.ip())
    );
    let Transport::Icmp { kind, .. } = answer.transport else { panic!("no ICMP: {answer:?}") };
    assert_eq!(kind, expected);
}
