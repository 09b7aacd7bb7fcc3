//! What is written can be read, what is read cannot hurt, and both are laid out as the kernel has them.

use std::net::IpAddr;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::netlink::{self, Writer};

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    prop_oneof![
        (any::<u16>(), any::<IpAddr>(), any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceId::Address { protocol: Protocol(protocol), address, port }
        }),
        (family(), any::<NonZeroU32>()).prop_map(|(family, mark)| ServiceId::Mark { family, mark }),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    (service_id(), "[a-z]{0,15}", any::<[u32; 4]>(), proptest::option::of("[a-z]{1,16}")).prop_map(
        |(id, scheduler, [flags, mask, timeout, netmask], persistence_engine)| Service {
            id,
            scheduler,
            flags: FlagsChange {
                flags: ServiceFlags::from_bits_retain(flags),
                mask: ServiceFlags::from_bits_retain(mask),
            },
            timeout,
            netmask: match id.family() {
                Family::Inet => Netmask::V4(netmask.into()),
                Family::Inet6 => Netmask::V6(netmask),
            },
            persistence_engine,
        },
    )
}

fn destination() -> impl Strategy<Value = Destination> {
    (any::<IpAddr>(), any::<u16>(), 0..5u32, any::<i32>(), any::<[u32; 2]>(), 0..3u8, any::<[u16; 2]>())
        .prop_map(|(address, port, method, weight, [upper, lower], kind, [tunnel_port, flags])| Destination {
            id: DestinationId { address, port },
            method: ForwardingMethod::from_flags(method).unwrap(),
            weight,
            upper_threshold: upper,
            lower_threshold: lower,
            tunnel: Tunnel {
                kind: TunnelType::from_number(kind).unwrap(),
                port: tunnel_port,
                flags: TunnelFlags::from_bits_retain(flags),
            },
        })
}

fn daemon() -> impl Strategy<Value = Daemon> {
    (
        1..3u32,
        "[a-z0-9]{0,15}",
        any::<u32>(),
        any::<u16>(),
        any::<Option<IpAddr>>(),
        any::<u16>(),
        any::<u8>(),
    )
        .prop_map(|(role, interface, sync_id, max_length, group, port, ttl)| Daemon {
            role: DaemonRole::from_number(role).unwrap(),
            interface,
            sync_id,
            max_length,
            group,
            port,
            ttl,
        })
}

fn request() -> impl Strategy<Value = Request> {
    let timeout = 0..=MAX_TIMEOUT;
    prop_oneof![
        service().prop_map(Request::NewService),
        service().prop_map(Request::SetService),
        service_id().prop_map(Request::DeleteService),
        service_id().prop_map(Request::GetService),
        (service_id(), destination()).prop_map(|(s, d)| Request::NewDestination(s, Ok(d))),
        (service_id(), destination()).prop_map(|(s, d)| Request::SetDestination(s, Ok(d))),
        (service_id(), destination()).prop_map(|(s, d)| Request::DeleteDestination(s, Ok(d.id))),
        (service_id(), destination(), 1..3u8).prop_map(|(s, d, ending)| {
            Request::EndDestination(s, d.id, Ending::from_number(ending).unwrap())
        }),
        service_id().prop_map(Request::ListDestinations),
        daemon().prop_map(Request::NewDaemon),
        Just(Request::DeleteDaemon(DaemonRole::Backup)),
        (timeout.clone(), timeout.clone(), timeout)
            .prop_map(|(tcp, tcp_fin, udp)| Request::SetTimeouts(Timeouts { tcp, tcp_fin, udp })),
        proptest::option::of(service_id()).prop_map(Request::Zero),
        proptest::sample::select(vec![
            Request::ListServices,
            Request::ListDaemons,
            Request::GetTimeouts,
            Request::GetInfo,
            Request::Flush,
            Request::ListConnections,
            Request::GetFacts,
            Request::ListSettings,
            Request::ListEvents,
            Request::GetTotals,
        ]),
        "[a-z_]{0,30}".prop_map(Request::GetSetting),
        setting().prop_map(Request::SetSetting),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    ("[a-z_]{0,30}", "[0-9\t-]{0,30}").prop_map(|(name, value)| Setting { name, value })
}

fn stats() -> impl Strategy<Value = Stats> {
    any::<[u64; 10]>().prop_map(|[a, b, c, d, e, f, g, h, i, j]| Stats {
        connections: a,
        in_packets: b,
        out_packets: c,
        in_bytes: d,
        out_bytes: e,
        connections_rate: f,
        in_packets_rate: g,
        out_packets_rate: h,
        in_bytes_rate: i,
        out_bytes_rate: j,
    })
}

fn connection() -> impl Strategy<Value = Connection> {
    let pair = |family| match family {
        Family::Inet => any::<[std::net::Ipv4Addr; 2]>().prop_map(|a| a.map(Into::into)).boxed(),
        Family::Inet6 => any::<[std::net::Ipv6Addr; 2]>().prop_map(|a| a.map(Into::into)).boxed(),
    };
    let call_id = proptest::option::of("[!-~]{1,255}");
    let numbers = any::<(u8, u8, u32, u32)>();
    (family().prop_flat_map(pair), any::<IpAddr>(), any::<[u16; 3]>(), numbers, call_id).prop_map(
        |([client, virtual_server], destination, [a, b, c], (protocol, state, flags, expires), call_id)| {
            Connection {
                protocol: Protocol(protocol.into()),
                state,
                flags,
                expires,
                client: Endpoint { address: client, port: a },
                virtual_server: Endpoint { address: virtual_server, port: b },
                destination: Endpoint { address: destination, port: c },
                call_id,
            }
        },
    )
}

/// What a client reads of a reply's items.
fn round_trip(request: &Request, item: &Item) -> Result<Item, Errno> {
    let mut w = Writer::default();
    encode_item(&mut w, item, 0, 1);
    let datagram = w.take();
    let message = netlink::messages(&datagram).next().ok_or(Errno::BADMSG)?;
    decode_item(request, message.generic().ok_or(Errno::BADMSG)?.1)
}

proptest! {
    #[test]
    fn requests_survive_the_wire(request in request()) {
        let datagram = encode(&request, request.family().id(), 7);
        prop_assert_eq!(decode(&datagram), Some(Ok(Call::Request(request))));
    }

    #[test]
    fn services_survive_the_wire(service in service(), stats in stats()) {
        let item = Item::Service(ServiceEntry { service, stats });
        prop_assert_eq!(round_trip(&Request::ListServices, &item), Ok(item));
    }

    #[test]
    fn destinations_survive_the_wire(
        id in service_id(), destination in destination(), gauges in any::<[u32; 3]>(), stats in stats()
    ) {
        let [active, inactive, persistent] = gauges;
        let item = Item::Destination(DestinationEntry { destination, active, inactive, persistent, stats });
        prop_assert_eq!(round_trip(&Request::ListDestinations(id), &item), Ok(item));
    }

    #[test]
    fn daemons_survive_the_wire(daemon in daemon()) {
        let item = Item::Daemon(daemon);
        prop_assert_eq!(round_trip(&Request::ListDaemons, &item), Ok(item));
    }

    #[test]
    fn connections_survive_the_wire(connections in proptest::collection::vec(connection(), 0..9)) {
        let item = Item::Connections(connections);
        prop_assert_eq!(round_trip(&Request::ListConnections, &item), Ok(item));
    }

    #[test]
    fn facts_survive_the_wire(name in "[a-z.]{0,30}", value in "[^\0]{0,30}") {
        let item = Item::Fact(Fact { name, value });
        prop_assert_eq!(round_trip(&Request::GetFacts, &item), Ok(item));
    }

    #[test]
    fn settings_events_and_totals_survive_the_wire(
        setting in setting(), count in any::<u64>(), stats in stats(),
        cpus in proptest::collection::vec(any::<[u64; 5]>(), 0..5),
    ) {
        let item = Item::Setting(setting);
        prop_assert_eq!(round_trip(&Request::ListSettings, &item), Ok(item.clone()));
        prop_assert_eq!(round_trip(&Request::GetSetting("x".into()), &item), Ok(item));
        let item = Item::Event(EventCount { name: "TableFull".into(), words: "dropped: full".into(), count });
        prop_assert_eq!(round_trip(&Request::ListEvents, &item), Ok(item));
        let item = Item::Totals(Totals { stats, cpus });
        prop_assert_eq!(round_trip(&Request::GetTotals, &item), Ok(item));
    }

    #[test]
    fn any_octets_are_harmless(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&datagram);
    }

    #[test]
    fn damaged_messages_are_harmless(
        request in request(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut datagram = encode(&request, request.family().id(), 7);
        for (at, value) in damage {
            let at = at.index(datagram.len());
            datagram[at] = value;
        }
        datagram.truncate(cut.index(datagram.len() + 1));
        read_everything(&datagram);
    }
}

/// Reads octets as each kind of message; all that counts is that it comes back.
fn read_everything(datagram: &[u8]) {
    for message in netlink::messages(datagram) {
        let _ = decode_message(&message);
        let _ = message.status();
    }
    let id = ServiceId::Mark { family: Family::Inet6, mark: NonZeroU32::MIN };
    for request in [
        Request::ListServices,
        Request::ListDestinations(id),
        Request::ListDaemons,
        Request::GetTimeouts,
        Request::GetInfo,
        Request::ListConnections,
        Request::GetFacts,
        Request::ListSettings,
        Request::ListEvents,
        Request::GetTotals,
    ] {
        let _ = decode_item(&request, datagram);
        let mut nested = Writer::default();
        nested.put(1, datagram);
        nested.put(2, datagram);
        nested.put(3, datagram);
        let _ = decode_item(&request, &nested.take());
    }
    let _ = decode_family_id(datagram);
}

/// Attribute numbers of a nest, in order.
fn order(nest: &[u8]) -> Vec<u16> {
    netlink::attributes(nest).map(|a| a.kind).collect()
}

#[test]
fn replies_have_the_kernels_order() {
    let mut w = Writer::default();
    let id = ServiceId::Address { protocol: Protocol::TCP, address: [10, 0, 0, 1].into(), port: 80 };
    let mut entry = ServiceEntry { service: Service::new(id), stats: Stats::default() };
    service::encode_entry(&mut w, &entry);
    assert_eq!(order(&w.take()), [1, 2, 3, 4, 6, 7, 8, 9, 10, 12]);
    entry.service.id = ServiceId::Mark { family: Family::Inet, mark: NonZeroU32::MIN };
    entry.service.persistence_engine = Some("sip".into());
    service::encode_entry(&mut w, &entry);
    assert_eq!(order(&w.take()), [1, 5, 6, 11, 7, 8, 9, 10, 12]);

    let destination = Destination::new(DestinationId { address: [10, 0, 0, 2].into(), port: 80 });
    let entry =
        DestinationEntry { destination, active: 0, inactive: 0, persistent: 0, stats: Stats::default() };
    destination::encode_entry(&mut w, &entry);
    assert_eq!(order(&w.take()), [1, 2, 3, 4, 13, 14, 15, 5, 6, 7, 8, 9, 11, 10, 12]);
}

/// A request to `IPVS` with these attributes.
fn ipvs(command: u8, flags: u16, attributes: impl FnOnce(&mut Writer)) -> Result<Call, Errno> {
    let mut w = Writer::default();
    w.message(FamilyName::Ipvs.id(), netlink::REQUEST | flags, 1, |w| {
        w.generic(command);
        attributes(w);
    });
    decode(&w.take()).expect("a message")
}

#[test]
fn malformed_requests_get_ipvs_errors() {
    use numbers::{command, dest, service as s, top};
    let address = |w: &mut Writer, family: u16| {
        w.put(s::AF, &family.to_ne_bytes());
        w.put(s::PROTOCOL, &6u16.to_ne_bytes());
        w.put(s::ADDR, &[10, 0, 0, 1]);
        w.put(s::PORT, &80u16.to_be_bytes());
    };
    assert_eq!(ipvs(command::NEW_SERVICE, 0, |_| ()), Err(Errno::INVAL), "no service");
    let id_only = ipvs(command::NEW_SERVICE, 0, |w| w.nest(top::SERVICE, |w| address(w, 2)));
    assert_eq!(id_only, Err(Errno::INVAL), "identity only");
    let strange = ipvs(command::DEL_SERVICE, 0, |w| w.nest(top::SERVICE, |w| address(w, 3)));
    assert_eq!(strange, Err(Errno::AFNOSUPPORT));
    let no_port =
        ipvs(command::DEL_SERVICE, 0, |w| w.nest(top::SERVICE, |w| w.put(s::AF, &2u16.to_ne_bytes())));
    assert_eq!(no_port, Err(Errno::INVAL));

    let id = ServiceId::Address { protocol: Protocol::TCP, address: [10, 0, 0, 1].into(), port: 80 };
    let short = ipvs(command::DEL_SERVICE, 0, |w| w.nest(top::SERVICE, |w| address(w, 2)));
    assert_eq!(short, Ok(Call::Request(Request::DeleteService(id))), "four octets of address are enough");
    let no_dest = ipvs(command::NEW_DEST, 0, |w| w.nest(top::SERVICE, |w| address(w, 2)));
    assert_eq!(no_dest, Ok(Call::Request(Request::NewDestination(id, Err(Errno::INVAL)))));
    let strange_dest = ipvs(command::DEL_DEST, 0, |w| {
        w.nest(top::SERVICE, |w| address(w, 2));
        w.nest(top::DEST, |w| {
            w.put(dest::ADDR, &[0; 16]);
            w.put(dest::PORT, &[0; 2]);
            w.put(dest::ADDR_FAMILY, &5u16.to_ne_bytes());
        });
    });
    assert_eq!(strange_dest, Ok(Call::Request(Request::DeleteDestination(id, Err(Errno::AFNOSUPPORT)))));

    let mark0 = ipvs(command::GET_SERVICE, 0, |w| {
        w.nest(top::SERVICE, |w| {
            w.put(s::AF, &10u16.to_ne_bytes());
            w.put(s::FWMARK, &0u32.to_ne_bytes());
        });
    });
    let wildcard = ServiceId::Address { protocol: Protocol::TCP, address: [0u8; 16].into(), port: 0 };
    assert_eq!(mark0, Ok(Call::Request(Request::GetService(wildcard))), "mark 0 is TCP, address 0, port 0");

    assert_eq!(ipvs(command::GET_DEST, netlink::DUMP, |_| ()), Ok(Call::EmptyDump));
    assert_eq!(ipvs(command::GET_DEST, 0, |_| ()), Err(Errno::OPNOTSUPP));
    assert_eq!(ipvs(command::GET_INFO, netlink::DUMP, |_| ()), Err(Errno::OPNOTSUPP));
    assert_eq!(ipvs(command::SET_INFO, 0, |_| ()), Err(Errno::OPNOTSUPP));
    let negative = ipvs(command::SET_CONFIG, 0, |w| w.put(top::TIMEOUT_UDP, &(-1i32).to_ne_bytes()));
    assert_eq!(negative, Err(Errno::INVAL));
}

#[test]
fn families_are_found_by_name() {
    for family in FamilyName::ALL {
        let query = encode_family_query(family, 1);
        assert_eq!(decode(&query), Some(Ok(Call::Family(family))));
        let mut w = Writer::default();
        encode_answer(&mut w, family, 1);
        let answer = w.take();
        let message = netlink::messages(&answer).next().expect("a message");
        assert_eq!(decode_family_id(message.generic().expect("a header").1), Some(family.id()));
    }
    let mut w = Writer::default();
    w.message(CONTROL_FAMILY, netlink::REQUEST, 1, |w| {
        w.generic(numbers::control::GET_FAMILY);
        w.put_text(numbers::control::FAMILY_NAME, "NOSUCH");
    });
    assert_eq!(decode(&w.take()), Some(Err(Errno::NOENT)));
}

#[test]
fn narrow_statistics_serve_old_kernels() {
    let stats = Stats { connections: 1 << 32 | 5, in_bytes: 1 << 40, ..Stats::default() };
    let mut w = Writer::default();
    stats::encode_narrow(&mut w, &stats);
    let nest = w.take();
    let narrow = netlink::Attribute { kind: 10, value: &nest };
    let read = stats::decode(Some(narrow), None);
    assert_eq!(read, Stats { connections: 5, ..stats });
}
