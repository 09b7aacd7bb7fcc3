//! Packets that leave in fragments.

use crate::lab::*;
use anyhow::{Context, Result};
use aya::maps::{Map, MapData, RingBuf};
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::SYN;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::fragment::LargePacket;
use rlvs_switch::simulation::{Large, Packet, Server};
use rlvs_switch::{Memory, Verdict, order};
use zerocopy::FromBytes;

const SLOTS: u32 = 1 << 10;

#[test]
fn the_director_gets_them_ready_to_leave() {
    run(SLOTS, |twins| {
        let mut ring = RingBuf::try_from(Map::RingBuf(twins.kernel.map("LARGE_PACKETS")?))?;
        let [net, other] = nets();
        let mut ways = vec![server(MASQUERADE, net.server), server(DIRECT_ROUTE, net.server)];
        for address in [net.server, other.server] {
            ways.extend(
                [(IPIP, 0), (GUE, CHECKSUM), (GRE, 0)]
                    .map(|(kind, flags)| server_behind(kind, flags, address)),
            );
        }
        for (port, server) in (80..).zip(ways) {
            let mut vip = net.vip;
            vip.set_port(port);
            for protocol in [TCP, UDP] {
                twins.add_service(protocol, vip, &[Server { mtu: 1000, ..server.clone() }])?;
                let payload = vec![3; 1200];
                let packet =
                    Packet { protocol, payload, dont_fragment: false, ..Packet::tcp(net.client, vip, SYN) };
                // The one that opens the connection, one that belongs to it, one with a tag, a first fragment.
                let tagged = Packet { vlan: Some(5), padding: 2, ..packet.clone() };
                let fragment = Packet { payload: vec![3; 1500], ..packet.clone() }.fragments(1200);
                for frame in [packet.frame(), packet.frame(), tagged.frame(), fragment[0].clone()] {
                    assert_eq!(twins.receive(&frame).0, Verdict::Drop);
                    let expected = twins.simulation.large().pop();
                    assert!(expected.is_some() && next(&mut ring)? == expected, "port {port}");
                }
            }
        }
        for config in [twins.kernel.tables.settings(), twins.simulation.config().context("settings")?] {
            config.settings.pmtu_disc.store(0, order::PLAIN);
        }
        for port in 80..88 {
            let mut vip = net.vip;
            vip.set_port(port);
            let packet = Packet { payload: vec![3; 1200], ..Packet::udp(net.client, vip) };
            let verdict = if port < 82 { Verdict::Transmit } else { Verdict::Drop };
            assert_eq!(twins.receive(&packet.frame()).0, verdict, "port {port}");
            assert_eq!(next(&mut ring)?, twins.simulation.large().pop());
        }
        twins.compare()
    });
}

#[test]
fn as_many_wait_as_there_is_room_for() {
    run(SLOTS, |twins| {
        let [net, _] = nets();
        twins.add_service(UDP, net.vip, &[Server { mtu: 1000, ..server(MASQUERADE, net.server) }])?;
        let packet =
            Packet { payload: vec![3; 1200], dont_fragment: false, ..Packet::udp(net.client, net.vip) };
        for _ in 0..300 {
            twins.kernel.receive(&packet.frame())?;
        }
        let (sent, dropped) =
            (twins.kernel.events(Event::Fragmented)?, twins.kernel.events(Event::NotFragmented)?);
        assert_eq!(sent + dropped, 300);
        assert!((200..290).contains(&sent), "{sent}");
        let mut ring = RingBuf::try_from(Map::RingBuf(twins.kernel.map("LARGE_PACKETS")?))?;
        let mut taken = 0;
        while next(&mut ring)?.is_some() {
            taken += 1;
        }
        assert_eq!(taken, sent);
        Ok(())
    });
}

/// What waits for the director next.
fn next(ring: &mut RingBuf<MapData>) -> Result<Option<Large>> {
    let Some(item) = ring.next() else { return Ok(None) };
    let (large, _) = LargePacket::ref_from_prefix(&item).map_err(|_| anyhow::anyhow!("too short"))?;
    Ok(Some(Large {
        interface: large.interface,
        mtu: large.mtu,
        is_own: large.is_own != 0,
        frame: large.frame.get(..large.length as usize).context("length")?.to_vec(),
    }))
}
