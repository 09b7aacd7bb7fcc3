//! What commands are refused, and what becomes of deleted destinations. The errnos are IPVS's.

use crate::lab::*;
use rlvs_ipvs::{
    Daemon, DaemonRole, Destination, DestinationId, Errno, FlagsChange, ForwardingMethod, Netmask, Reply,
    Request, Service, ServiceFlags, ServiceId, Tunnel, TunnelType,
};
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::SYN;
use rlvs_switch::destination::method::MASQUERADE;
use rlvs_switch::simulation::Packet;
use std::net::SocketAddr;

const SLOTS: u32 = 1 << 10;

fn service(vip: SocketAddr) -> Service {
    Service { scheduler: "rr".into(), ..Service::new(service_id(TCP, vip)) }
}

fn masqueraded(server: SocketAddr) -> Destination {
    let id = DestinationId { address: server.ip(), port: server.port() };
    Destination { method: ForwardingMethod::Masquerade, ..Destination::new(id) }
}

/// The errno that each of these requests is refused with.
fn refusals(kernel: &mut Kernel, cases: impl IntoIterator<Item = (Request, Errno)>) {
    for (request, errno) in cases {
        let shown = format!("{request:?}");
        match kernel.request(request) {
            Err(refused) => assert_eq!(refused, errno, "{shown}"),
            Ok(_) => panic!("not refused: {shown}"),
        }
    }
}

#[test]
fn services_are_refused_with_ipvs_errnos() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        for net in nets() {
            let known = service(net.vip);
            kernel.request(Request::NewService(known.clone())).unwrap();
            let unknown = service(net.server);
            let odd = |service: &Service| Service { scheduler: "nosuch".into(), ..service.clone() };
            refusals(
                kernel,
                [
                    (Request::NewService(known.clone()), Errno::EXIST),
                    // That it is there counts first.
                    (Request::NewService(odd(&known)), Errno::EXIST),
                    (Request::NewService(odd(&unknown)), Errno::NOENT),
                    (Request::SetService(odd(&known)), Errno::NOENT),
                    (Request::SetService(odd(&unknown)), Errno::SRCH),
                    (Request::GetService(unknown.id), Errno::SRCH),
                    (Request::DeleteService(unknown.id), Errno::SRCH),
                    (Request::Zero(Some(unknown.id)), Errno::SRCH),
                ],
            );
        }
        let wrong = |prefix| Service { netmask: Netmask::V6(prefix), ..service(nets()[1].server) };
        refusals(kernel, [0, 129].map(|prefix| (Request::NewService(wrong(prefix)), Errno::INVAL)));
        Ok(())
    });
}

#[test]
fn destinations_are_refused_with_ipvs_errnos() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        for net in nets() {
            let id = service_id(TCP, net.vip);
            kernel.request(Request::NewService(service(net.vip))).unwrap();
            let there = masqueraded(net.server);
            kernel.request(Request::NewDestination(id, Ok(there.clone()))).unwrap();
            let other = masqueraded(net.server_2());
            let gue = Tunnel { kind: TunnelType::Gue, ..Tunnel::default() };
            let multicast = if net.vip.is_ipv4() { at("224.0.0.1:80") } else { at("[ff02::1]:80") };
            let unspecified = if net.vip.is_ipv4() { at("0.0.0.0:80") } else { at("[::]:80") };
            let new = |destination| Request::NewDestination(id, Ok(destination));
            let set = |destination| Request::SetDestination(id, Ok(destination));
            refusals(
                kernel,
                [
                    (new(there.clone()), Errno::EXIST),
                    (set(other.clone()), Errno::NOENT),
                    (Request::DeleteDestination(id, Ok(other.id)), Errno::NOENT),
                    (new(Destination { weight: -1, ..other.clone() }), Errno::RANGE),
                    (set(Destination { weight: -1, ..there.clone() }), Errno::RANGE),
                    (new(Destination { lower_threshold: 1, ..other.clone() }), Errno::RANGE),
                    (
                        set(Destination { upper_threshold: 4, lower_threshold: 5, ..there.clone() }),
                        Errno::RANGE,
                    ),
                    // Whatever the method.
                    (new(Destination { tunnel: gue, ..other.clone() }), Errno::INVAL),
                    (new(masqueraded(multicast)), Errno::INVAL),
                    (new(masqueraded(unspecified)), Errno::INVAL),
                    // An address that it could not have is no destination: that is what counts first.
                    (set(masqueraded(multicast)), Errno::NOENT),
                ],
            );
            let nobody: ServiceId = service_id(TCP, net.server);
            refusals(
                kernel,
                [
                    (Request::NewDestination(nobody, Ok(other.clone())), Errno::SRCH),
                    (Request::NewDestination(nobody, Err(Errno::INVAL)), Errno::SRCH),
                    (Request::SetDestination(nobody, Ok(other.clone())), Errno::SRCH),
                    (Request::DeleteDestination(nobody, Ok(other.id)), Errno::SRCH),
                    (Request::ListDestinations(nobody), Errno::SRCH),
                ],
            );
        }
        refusals(kernel, [(Request::DeleteDaemon(DaemonRole::Master), Errno::SRCH)]);
        Ok(())
    });
}

#[test]
fn daemons_are_refused_with_ipvs_errnos_and_known_to_the_next_director() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        let master = Daemon {
            role: DaemonRole::Master,
            interface: "fifteen-octets0".into(),
            sync_id: 7,
            max_length: 0,
            group: None,
            port: 0,
            ttl: 0,
        };
        let mtu = Some(1500);
        let unicast = Daemon { group: Some(nets()[0].server.ip()), ..master.clone() };
        assert_eq!(kernel.registry.start_daemon(&unicast, None), Err(Errno::INVAL));
        assert_eq!(kernel.registry.start_daemon(&master, None), Err(Errno::NODEV));
        assert_eq!(kernel.registry.start_daemon(&master, mtu), Ok(()));
        assert_eq!(kernel.registry.start_daemon(&master, mtu), Err(Errno::EXIST));
        // While one is started, nothing may lead to the other family; nor may one be started while something does.
        let [net, other] = nets();
        let id = service_id(TCP, net.vip);
        kernel.request(Request::NewService(service(net.vip))).unwrap();
        let foreign = Destination { method: ForwardingMethod::Tunnel, ..masqueraded(other.server) };
        refusals(kernel, [(Request::NewDestination(id, Ok(foreign.clone())), Errno::INVAL)]);
        kernel.request(Request::DeleteDaemon(DaemonRole::Master)).unwrap();
        kernel.request(Request::NewDestination(id, Ok(foreign.clone()))).unwrap();
        assert_eq!(kernel.registry.start_daemon(&master, mtu), Err(Errno::INVAL));
        kernel.request(Request::DeleteDestination(id, Ok(foreign.id))).unwrap();

        let group = "ff02::81".parse().ok();
        let backup = Daemon { role: DaemonRole::Backup, group, port: 9000, ttl: 255, ..master.clone() };
        for daemon in [&backup, &master] {
            kernel.registry.start_daemon(daemon, mtu).unwrap();
        }
        let listed = [
            Daemon { max_length: 1472, group: "224.0.0.81".parse().ok(), port: 8848, ttl: 1, ..master },
            Daemon { max_length: 1452, ..backup },
        ];
        match kernel.next_registry()?.handle(Request::ListDaemons) {
            Ok(Reply::Daemons(daemons)) => assert_eq!(daemons, listed),
            other => panic!("{other:?}"),
        }
        Ok(())
    });
}

#[test]
fn the_next_director_knows_services_and_destinations_as_they_were() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        for net in nets() {
            let asked = Service {
                flags: FlagsChange::to(ServiceFlags::SCHED1 | ServiceFlags::SCHED3),
                persistence_engine: Some("sip".into()),
                ..service(net.vip)
            };
            let id = asked.id;
            kernel.request(Request::NewService(asked)).unwrap();
            let limited =
                Destination { weight: 9, upper_threshold: 8, lower_threshold: 5, ..masqueraded(net.server) };
            for destination in [limited, masqueraded(net.server_2())] {
                kernel.request(Request::NewDestination(id, Ok(destination))).unwrap();
            }
            let Ok(Reply::Service(entry)) = kernel.request(Request::GetService(id)) else { panic!("{id:?}") };
            assert_eq!(entry.service.persistence_engine.as_deref(), Some("sip"));
            let listed = kernel.destinations(TCP, net.vip)?;
            let mut next = kernel.next_registry()?;
            assert_eq!(next.destination_entries(&id).unwrap(), listed);
            match next.handle(Request::GetService(id)) {
                Ok(Reply::Service(found)) => assert_eq!(found, entry),
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    });
}

#[test]
fn only_tunnels_lead_to_the_other_family() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        for (net, other) in nets().into_iter().zip(nets().into_iter().rev()) {
            let id = service_id(TCP, net.vip);
            kernel.request(Request::NewService(service(net.vip))).unwrap();
            let by = |method| Destination { method, ..masqueraded(other.server) };
            for method in [ForwardingMethod::Masquerade, ForwardingMethod::DirectRoute] {
                refusals(kernel, [(Request::NewDestination(id, Ok(by(method))), Errno::INVAL)]);
            }
            kernel.request(Request::NewDestination(id, Ok(by(ForwardingMethod::Tunnel)))).unwrap();
            refusals(
                kernel,
                [(Request::SetDestination(id, Ok(by(ForwardingMethod::Masquerade))), Errno::INVAL)],
            );
        }
        Ok(())
    });
}

#[test]
fn a_deleted_destination_comes_back_with_its_connections_and_counters() {
    run(SLOTS, |twins| {
        for net in nets() {
            twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
            twins.to_server(&Packet::tcp(net.client, net.vip, SYN));
            let kernel = &mut twins.kernel;
            let (id, destination) = (service_id(TCP, net.vip), masqueraded(net.server));
            kernel.request(Request::DeleteDestination(id, Ok(destination.id))).unwrap();
            assert_eq!(kernel.destinations(TCP, net.vip)?.len(), 0);
            let total = |kernel: &mut Kernel| match kernel.request(Request::GetService(id)).unwrap() {
                Reply::Service(entry) => entry.stats.connections,
                other => panic!("{other:?}"),
            };
            assert_eq!(total(kernel), 1, "what a deleted destination counted stays with its service");
            let numbers = |kernel: &mut Kernel, weight| {
                let destination = Destination { weight, ..destination.clone() };
                kernel.request(Request::NewDestination(id, Ok(destination))).unwrap();
                let [entry] = &kernel.destinations(TCP, net.vip).unwrap()[..] else {
                    panic!("one destination")
                };
                (entry.destination.weight, entry.inactive + entry.active, entry.stats.connections)
            };
            assert_eq!(numbers(kernel, 7), (7, 1, 1));
            assert_eq!(total(kernel), 1, "counted once");
            // Of a service of the same name but not the same service it keeps its connections only.
            kernel.request(Request::DeleteService(id)).unwrap();
            kernel.request(Request::NewService(service(net.vip))).unwrap();
            assert_eq!(numbers(kernel, 1), (1, 1, 0));
            assert_eq!(total(kernel), 0);
        }
        Ok(())
    });
}

#[test]
fn an_edit_keeps_connections_and_an_unlimited_destination_is_not_overloaded() {
    run(SLOTS, |twins| {
        for net in nets() {
            let full = Destination { upper_threshold: 1, ..masqueraded(net.server) };
            twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
            let id = service_id(TCP, net.vip);
            twins.kernel.request(Request::SetDestination(id, Ok(full.clone()))).unwrap();
            let other = SocketAddr::new(net.client.ip(), 30000);
            let taken = |twins: &Twins, client| {
                let frame = Packet::tcp(client, net.vip, SYN).frame();
                let (_, out) = twins.kernel.receive(&frame).unwrap();
                out != frame
            };
            assert!(taken(twins, net.client));
            let counted =
                |twins: &Twins| twins.kernel.destinations(TCP, net.vip).unwrap()[0].stats.connections;
            assert_eq!(counted(twins), 1);
            taken(twins, other);
            assert_eq!(counted(twins), 1, "it is full");
            // A lower limit does not change that, a higher one does.
            twins.kernel.request(Request::SetDestination(id, Ok(full.clone()))).unwrap();
            taken(twins, other);
            assert_eq!(counted(twins), 1, "it is still full");
            let more = Destination { upper_threshold: 2, ..full };
            twins.kernel.request(Request::SetDestination(id, Ok(more))).unwrap();
            taken(twins, other);
            assert_eq!(counted(twins), 2);
        }
        Ok(())
    });
}

#[test]
fn an_edit_changes_the_flags_of_its_mask() {
    run(SLOTS, |twins| {
        let kernel = &mut twins.kernel;
        for net in nets() {
            let both = ServiceFlags::PERSISTENT | ServiceFlags::ONE_PACKET;
            let known = Service { flags: FlagsChange::to(both), timeout: 300, ..service(net.vip) };
            kernel.request(Request::NewService(known.clone())).unwrap();
            let change = FlagsChange { flags: ServiceFlags::empty(), mask: ServiceFlags::PERSISTENT };
            kernel.request(Request::SetService(Service { flags: change, ..known.clone() })).unwrap();
            let Reply::Service(entry) = kernel.ask(Request::GetService(known.id))? else {
                panic!("no service")
            };
            assert_eq!(entry.service.flags.flags & both, ServiceFlags::ONE_PACKET);
        }
        Ok(())
    });
}
