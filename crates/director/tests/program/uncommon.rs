//! Fragments, ICMP errors about connections, IPv6 extension headers.

use crate::lab::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::simulation::{Packet, icmp_error};
use std::net::SocketAddr;

const SLOTS: u32 = 1 << 10;

/// Services on ports 80 (NAT), 81 (direct routing), 82 (tunnel in the same family) and 83 (in the other).
fn services(twins: &mut Twins) -> anyhow::Result<Vec<(SocketAddr, SocketAddr, SocketAddr)>> {
    let mut all = Vec::new();
    let [a, b] = nets();
    for (net, other) in [(a, b), (b, a)] {
        let ways = [
            (MASQUERADE, net.server),
            (DIRECT_ROUTE, net.server),
            (TUNNEL, net.server),
            (TUNNEL, other.server),
        ];
        for (port, (method, address)) in (80..).zip(ways) {
            let mut vip = net.vip;
            vip.set_port(port);
            for protocol in [TCP, UDP] {
                twins.add_service(protocol, vip, &[server(method, address)])?;
            }
            all.push((net.client, vip, address));
        }
    }
    Ok(all)
}

fn is_sent(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Redirect(_) | Verdict::Transmit), "{verdict:?}");
}

#[test]
fn fragments_follow_the_first() {
    run(SLOTS, |twins| {
        let mut identification = 0;
        for (client, vip, server) in services(twins)? {
            for protocol in [TCP, UDP] {
                identification += 1;
                let payload = vec![7; 3000];
                let packet = Packet { protocol, payload, identification, ..Packet::tcp(client, vip, SYN) };
                let fragments = packet.fragments(1024);
                assert_eq!(twins.receive(&fragments[1]).0, Verdict::Pass, "its first one was not seen");
                for fragment in [0, 2, 1] {
                    is_sent(twins.receive(&fragments[fragment]).0);
                }
                if vip.port() == 80 {
                    let reply = Packet { source: server, destination: client, flags: SYN | ACK, ..packet };
                    for fragment in reply.fragments(512) {
                        is_sent(twins.receive(&fragment).0);
                    }
                }
            }
        }
        twins.compare()
    });
}

#[test]
fn icmp_errors_follow_the_packet_that_they_quote() {
    run(SLOTS, |twins| {
        for (client, vip, server) in services(twins)? {
            for request in [Packet::tcp(client, vip, SYN), Packet::udp(client, vip)] {
                let kinds: &[(u8, u8)] =
                    if vip.is_ipv4() { &[(3, 4), (11, 0), (3, 3)] } else { &[(2, 0), (3, 0), (1, 4)] };
                let answer = |source| Packet {
                    source,
                    destination: client,
                    flags: ACK,
                    payload: vec![5; 41],
                    ..request.clone()
                };
                let about_answer = answer(vip).frame();
                let from_client = |kind, quote: &[u8]| icmp_error(client.ip(), vip.ip(), kind, 1400, quote);
                assert_eq!(twins.receive(&from_client(kinds[0], &about_answer[14..])).0, Verdict::Pass);
                is_sent(twins.receive(&request.frame()).0);
                for kind in kinds {
                    is_sent(twins.receive(&from_client(*kind, &about_answer[14..])).0);
                    let mut wrong = from_client(*kind, &about_answer[14..]);
                    let last = wrong.len() - 1;
                    wrong[last] ^= 1;
                    is_sent(twins.receive(&wrong).0);
                    // A tagged frame, and each quote that is cut short.
                    let frame = from_client(*kind, &about_answer[14..]);
                    let tagged = [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
                    is_sent(twins.receive(&tagged).0);
                    let shortest = if vip.is_ipv4() { 24 } else { 44 };
                    for length in (0..about_answer.len() - 14).step_by(3) {
                        let (verdict, _) = twins.receive(&from_client(*kind, &about_answer[14..][..length]));
                        assert_eq!(verdict == Verdict::Pass, length < shortest, "{length}: {verdict:?}");
                    }
                    if vip.port() == 80 {
                        let arrived = Packet { destination: server, ..request.clone() }.frame();
                        let error = icmp_error(server.ip(), client.ip(), *kind, 0, &arrived[14..]);
                        let (verdict, out) = twins.receive(&error);
                        is_sent(verdict);
                        assert_eq!(sound(&out).ip[0].source, vip.ip());
                    }
                }
            }
        }
        twins.compare()
    });
}

#[test]
fn icmp_errors_from_the_way_of_a_tunnel_are_known_by_it() {
    run(SLOTS, |twins| {
        let mut told = 0;
        let [a, b] = nets();
        let kinds = [(IPIP, 0), (GUE, 0), (GUE, CHECKSUM), (GRE, 0), (GRE, CHECKSUM)];
        for (inner, outer) in [(a, a), (a, b), (b, a), (b, b)] {
            for (port, (kind, flags)) in (100..).zip(kinds) {
                let mut vip = inner.vip;
                vip.set_port(port + if outer.server.is_ipv4() { 0 } else { 10 });
                let end = server_behind(kind, flags, outer.server);
                twins.add_service(UDP, vip, std::slice::from_ref(&end))?;
                let (verdict, sent) = twins.receive(&Packet::udp(inner.client, vip).frame());
                is_sent(verdict);
                let too_big = if outer.server.is_ipv4() { (3, 4) } else { (2, 0) };
                let error = |quote| icmp_error(outer.server.ip(), end.source, too_big, 1400, quote);
                // There is no route to the client here, or he would be told.
                assert_eq!(twins.receive(&error(&sent[14..])).0, Verdict::Drop);
                told += 1;
                let outside = if outer.server.is_ipv4() { 20 } else { 40 };
                for length in (0..outside + 16).step_by(3) {
                    assert_eq!(twins.receive(&error(&sent[14..14 + length])).0, Verdict::Pass, "{length}");
                }
            }
        }
        assert_eq!(twins.simulation.events(Event::Unresolved), told);
        twins.compare()
    });
}

#[test]
fn extension_headers_are_walked_over() {
    run(SLOTS, |twins| {
        for (client, vip, _) in services(twins)?.into_iter().filter(|(client, ..)| client.is_ipv6()) {
            for headers in 1..=7usize {
                for octets in [8usize, 16, 64, 80] {
                    let one = |n: usize| {
                        let number = [0, 60, 43, 60, 60, 60, 60][n];
                        // Options that are padding; in a routing header: no stations left.
                        let mut body = if number == 43 { vec![4, 0] } else { vec![1, octets as u8 - 4] };
                        body.resize(octets - 2, 0);
                        (number, body)
                    };
                    let chain: Vec<_> = (0..headers).map(one).collect();
                    let walkable = headers <= 6 && headers * octets + 40 <= 511;
                    for hops in [64, 1] {
                        let packet = Packet { hops, ..Packet::udp(client, vip) };
                        let (verdict, _) = twins.receive(&packet.with_extensions(&chain));
                        assert_eq!(verdict != Verdict::Pass, walkable, "{headers} of {octets}: {verdict:?}");
                    }
                }
            }
        }
        twins.compare()
    });
}
