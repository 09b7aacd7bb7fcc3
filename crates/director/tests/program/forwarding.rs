//! The three forwarding methods.

use crate::lab::*;
use rlvs_packet::protocol::{AH, ESP, SCTP, TCP, UDP};
use rlvs_packet::sctp::chunk::{INIT, INIT_ACK};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE};
use rlvs_switch::simulation::{CLIENT_MAC, DIRECTOR_MAC, Packet};

const SLOTS: u32 = 1 << 10;

#[test]
fn nat_changes_addresses_and_ports_both_ways() {
    run(SLOTS, |twins| {
        for (index, net) in (0..).zip(nets()) {
            for (protocol, index) in [(TCP, 3 * index), (UDP, 3 * index + 1), (SCTP, 3 * index + 2)] {
                twins.add_service(protocol, net.vip, &[server(MASQUERADE, net.server)])?;
                let request = Packet { protocol, ..Packet::udp(net.client, net.vip) };
                let (opens, answers) = if protocol == SCTP { (INIT, INIT_ACK) } else { (SYN, SYN | ACK) };
                let request = Packet { flags: opens, vlan: Some(7), padding: 3, ..request };
                twins.to_server(&request);
                let (_, out) = twins.receive(&request.frame());
                let macs = [mac_of(net.server.ip()), DIRECTOR_MAC];
                let expected =
                    Packet { destination: net.server, hops: 63, vlan: None, macs, ..request.clone() };
                assert_eq!(out, expected.frame());

                let reply = Packet { source: net.server, destination: net.client, flags: answers, ..request };
                let (verdict, out) = twins.receive(&reply.frame());
                assert_eq!(verdict, Verdict::Transmit, "the way that the request came");
                let expected =
                    Packet { source: net.vip, hops: 63, macs: [CLIENT_MAC, DIRECTOR_MAC], ..reply };
                assert_eq!(out, expected.frame());
                twins.compare_service(index, protocol, net.vip)?;
            }
        }
        twins.compare()
    });
}

#[test]
fn ipsec_follows_the_exchange_of_its_keys() {
    run(SLOTS, |twins| {
        for (index, mut net) in (0..).zip(nets()) {
            for address in [&mut net.client, &mut net.vip, &mut net.server] {
                address.set_port(500);
            }
            twins.add_service(UDP, net.vip, &[server(MASQUERADE, net.server)])?;
            let key_exchange = Packet::udp(net.client, net.vip);
            for protocol in [AH, ESP] {
                let request = Packet { protocol, ..key_exchange.clone() };
                if protocol == AH {
                    assert_eq!(twins.receive(&request.frame()), (Verdict::Pass, request.frame()));
                    twins.to_server(&key_exchange);
                }
                let (_, out) = twins.receive(&request.frame());
                let macs = [mac_of(net.server.ip()), DIRECTOR_MAC];
                assert_eq!(
                    out,
                    Packet { destination: net.server, hops: 63, macs, ..request.clone() }.frame()
                );
                let reply = Packet { source: net.server, destination: net.client, ..request };
                let (verdict, out) = twins.receive(&reply.frame());
                assert_eq!(verdict, Verdict::Transmit);
                let macs = [CLIENT_MAC, DIRECTOR_MAC];
                assert_eq!(out, Packet { source: net.vip, hops: 63, macs, ..reply }.frame());
            }
            twins.compare_service(index, UDP, net.vip)?;
        }
        twins.compare()
    });
}

#[test]
fn direct_routing_changes_macs_only() {
    run(SLOTS, |twins| {
        for (index, net) in (0..).zip(nets()) {
            twins.add_service(TCP, net.vip, &[server(DIRECT_ROUTE, net.server)])?;
            for flags in [SYN, ACK] {
                let request = Packet { payload: vec![1; 99], ..Packet::tcp(net.client, net.vip, flags) };
                let (verdict, out) = twins.receive(&request.frame());
                assert!(matches!(verdict, Verdict::Redirect(_)), "{verdict:?}");
                let macs = [mac_of(net.server.ip()), DIRECTOR_MAC];
                assert_eq!(out, Packet { macs, hops: 63, ..request }.frame());
            }
            twins.compare_service(index, TCP, net.vip)?;
        }
        twins.compare()
    });
}

#[test]
fn tunnels_carry_each_family_in_each_family() {
    run(SLOTS, |twins| {
        let mut index = 0;
        for inner in nets() {
            for outer in nets() {
                let mut vip = inner.vip;
                vip.set_port(80 + index as u16);
                twins.add_service(UDP, vip, &[server(TUNNEL, outer.server)])?;
                let request = Packet { payload: vec![5; 333], ..Packet::udp(inner.client, vip) };
                let sent = twins.to_server(&request);
                assert_eq!(sent.ip.len(), 2);
                assert_eq!(sent.ip[0].destination, outer.server.ip());
                assert_eq!((sent.ip[1].source, sent.ip[1].destination), (inner.client.ip(), vip.ip()));
                twins.compare_service(index, UDP, vip)?;
                index += 1;
            }
        }
        twins.compare()
    });
}

#[test]
fn gue_and_gre_carry_each_family_in_each_family() {
    run(SLOTS, |twins| {
        let mut index = 0;
        for inner in nets() {
            for outer in nets() {
                for (kind, flags) in [(GUE, 0), (GUE, CHECKSUM), (GRE, 0), (GRE, CHECKSUM)] {
                    let mut vip = inner.vip;
                    vip.set_port(80 + index as u16);
                    twins.add_service(UDP, vip, &[server_behind(kind, flags, outer.server)])?;
                    // Without a checksum of its own the packet is added up: in pieces of the kernel's program.
                    for (length, checksum) in
                        [(333, true), (0, false), (1, false), (484, false), (1400, false)]
                    {
                        let request =
                            Packet { payload: vec![5; length], checksum, ..Packet::udp(inner.client, vip) };
                        let sent = twins.to_server(&request);
                        assert!(sent.between.is_some(), "{sent:?}");
                        assert_eq!(sent.ip[0].destination, outer.server.ip());
                        assert_eq!(
                            (sent.ip[1].source, sent.ip[1].destination),
                            (inner.client.ip(), vip.ip())
                        );
                    }
                    twins.compare_service(index, UDP, vip)?;
                    index += 1;
                }
            }
        }
        twins.compare()
    });
}

#[test]
fn connections_take_turns_and_packets_stay_with_their_connection() {
    run(SLOTS, |twins| {
        let [net, _] = nets();
        let servers = ["10.2.0.1:8080", "10.2.0.2:8080", "10.2.0.3:8080"].map(|a| server(MASQUERADE, at(a)));
        twins.add_service(TCP, net.vip, &servers)?;
        let send = |port: u16, flags| {
            let mut client = net.client;
            client.set_port(port);
            twins.to_server(&Packet::tcp(client, net.vip, flags)).inner().destination
        };
        let first: Vec<_> = (1000..1030).map(|port| send(port, SYN)).collect();
        for (turn, chosen) in first.iter().enumerate() {
            assert_eq!(*chosen, servers[2 - turn % 3].address.ip(), "the newest destination is the first");
        }
        let later: Vec<_> = (1000..1030).map(|port| send(port, ACK)).collect();
        assert_eq!(first, later);
        twins.compare_service(0, TCP, net.vip)?;
        twins.compare()
    });
}
