//! SIP calls: `--pe sip`.

use crate::lab::*;
use anyhow::{Context, ensure};
use rlvs_ipvs::{FlagsChange, Netmask, Reply, Request, Service, ServiceFlags};
use rlvs_packet::protocol::UDP;
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method::MASQUERADE;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::Packet;
use std::net::{Ipv4Addr, SocketAddr};

#[test]
fn calls_are_told_apart_as_in_the_simulation() {
    run(1 << 10, |twins| {
        let persistent = ServiceFlags::PERSISTENT;
        let kinds = [persistent, persistent | ServiceFlags::ONE_PACKET];
        for (index, (net, flags)) in
            (0..).zip(nets().into_iter().flat_map(|net| kinds.map(|flags| (net, flags))))
        {
            let port = |address: SocketAddr, port| SocketAddr::new(address.ip(), port);
            let vip = port(net.vip, 5060 + index as u16);
            let servers = [port(net.server, 6000 + vip.port()), port(net.server, 7000 + vip.port())];
            let real = servers.map(|address| server(MASQUERADE, address));
            twins.add_scheduled(Scheduler::RoundRobin, flags, UDP, vip, &real)?;
            let (netmask, mask) = if vip.is_ipv4() {
                (Netmask::V4(Ipv4Addr::BROADCAST), u32::MAX)
            } else {
                (Netmask::V6(128), 128)
            };
            twins.kernel.ask(Request::SetService(Service {
                scheduler: "rr".into(),
                flags: FlagsChange::to(flags),
                timeout: 60,
                netmask,
                persistence_engine: Some("sip".into()),
                ..Service::new(service_id(UDP, vip))
            }))?;
            twins.simulation.make_persistent(index, 60, mask);
            twins.simulation.set_flags(index, flags.bits());
            twins.simulation.tell_calls_apart(index);

            let send = |twins: &Twins, from, to, text: &str| {
                twins.receive(&Packet { payload: text.into(), ..Packet::udp(from, to) }.frame())
            };
            let long = format!("X: {}\r\nCall-ID: {}@h\r\n", "y".repeat(1100), "z".repeat(253));
            let texts = [
                "Call-ID: a1@h\r\n",
                "i : b1@h\r\n",
                "Via: x\r\nCALL-ID:\r\n\t a1@h\r\n",
                "i9: a1@h\r\n",
                "Call-ID: a1@h",
                "Call-ID: a1@\r\n",
                "Call-ID: a1;@h\r\n",
                "Call-ID:\r\na1@h\r\n",
                &long,
                "i:",
                "",
            ];
            for (n, text) in (0..).zip(texts) {
                let text = format!("BYE sip:x SIP/2.0\r\n{text}");
                for client in [30_000, 31_000].map(|first| port(net.client, first + n)) {
                    let (verdict, out) = send(twins, client, vip, &text);
                    ensure!(matches!(verdict, Verdict::Redirect(_) | Verdict::Drop), "{text}: {verdict:?}");
                    if verdict != Verdict::Drop && flags == persistent {
                        let reached = sound(&out).ports().context("ports")?.1;
                        let answer = send(twins, port(net.server, reached), client, &text);
                        ensure!(answer.0 == Verdict::Transmit, "{text}");
                    }
                }
            }
            // Without a way to the client nothing arrives, but the call is known from then on.
            for text in ["Call-ID: c1@h\r\n", "no call\r\n", "Call-ID: c1@h\r\n"] {
                for real in servers {
                    let text = format!("INVITE sip:x SIP/2.0\r\n{text}");
                    send(twins, real, port(net.client, 40_000), &text);
                    send(twins, port(net.client, 41_000 + real.port()), vip, &text);
                }
            }
            twins.compare_service(index, UDP, vip)?;
        }
        let Reply::Connections(listed) = twins.kernel.ask(Request::ListConnections)? else {
            anyhow::bail!("no connections");
        };
        let mut listed: Vec<_> =
            listed.filter_map(|c| Some((c.client.address, c.virtual_server.port, c.call_id?))).collect();
        listed.sort_unstable();
        let of = |text: &str| listed.iter().filter(|(.., call)| call == text).count();
        ensure!([of("a1@h"), of("b1@h"), of("c1@h")].iter().all(|n| *n >= 4), "{listed:?}");
        ensure!(
            listed.iter().all(|(_, port, _)| (5060..5064).contains(port) || *port == u16::MAX),
            "{listed:?}"
        );
        let mut expected: Vec<_> =
            twins.simulation.connections().iter().filter_map(|t| twins.simulation.call_of(t)).collect();
        expected.sort_unstable();
        let mut calls: Vec<_> = listed.into_iter().map(|(.., call)| call).collect();
        calls.sort_unstable();
        ensure!(calls == expected, "{calls:?}, in the simulation {expected:?}");
        ensure!(twins.simulation.events(Event::NoCallId) > 0);
        twins.compare()
    });
}
