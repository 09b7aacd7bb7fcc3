//! What `rlvs explain` says is then what the loaded program does, and asking changes nothing. (That the verdict and the frame
//! are foretold is tried with each packet of all tests here, by [`Twins::receive`].)

use crate::lab::*;
use anyhow::{Context, Result, ensure};
use aya::Pod;
use aya::maps::{Array, Map, PerCpuArray};
use rlvs_director::explain::{Arrival, Explanation, Interfaces, Way, explain};
use rlvs_ipvs::{
    Destination, DestinationId, Errno, Family, FlagsChange, Form, IcmpProblem, MarkRule, Probe, Protocol,
    Request, Service, ServiceFlags, Value,
};
use rlvs_packet::protocol::{SCTP, TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::config::Config;
use rlvs_switch::counters::Counters;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE};
use rlvs_switch::scheduler::hash::TablePart;
use rlvs_switch::scheduler::{Scheduler, locality};
use rlvs_switch::simulation::{CLIENT_MAC, DIRECTOR_MAC, Packet, SERVER_SIDE, icmp_error};
use rlvs_switch::table::{Bucket4, Bucket6};
use rlvs_switch::{Verdict, destination, mark, order, service};
use std::net::SocketAddr;
use std::num::NonZeroU32;

const SLOTS: u32 = 1 << 10;

/// Asks about the packet.
pub fn ask(kernel: &Kernel, packet: &Packet) -> Result<Explanation, Errno> {
    let probe = Probe {
        signal: packet.flags,
        length: packet.frame().len() as u16 - 14,
        hops: packet.hops,
        may_fragment: !packet.dont_fragment,
        ..Probe::new(Protocol(packet.protocol.into()), packet.source, packet.destination)
    };
    ask_about(kernel, &probe)
}

fn ask_about(kernel: &Kernel, probe: &Probe) -> Result<Explanation, Errno> {
    let arrival = Arrival { interface: 1, vlan: 0, macs: [DIRECTOR_MAC, CLIENT_MAC], way: Way::Nowhere };
    let name = |index: u32| if index == SERVER_SIDE { "lan".to_owned() } else { format!("if{index}") };
    let interfaces = Interfaces { name: &name, is_attached: &|_| true };
    explain(&kernel.tables, &kernel.registry, probe, &arrival, &interfaces)
}

/// Asks, and has the packet switched, which must come to the same; the answer.
fn ask_and_see(kernel: &Kernel, packet: &Packet) -> Result<Explanation> {
    let told = ask(kernel, packet)?;
    let (action, frame) = kernel.receive(&packet.frame())?;
    assert_eq!(action, action_of(told.verdict), "{packet:?}: {:#?}", told.findings);
    if told.verdict != Verdict::Drop {
        // Link header and addresses: data and checksums of the packet that is asked about are not those of this one.
        assert_eq!(told.frame.len(), frame.len(), "{packet:?}");
        let addresses = if packet.source.is_ipv4() { 26..34 } else { 22..54 };
        assert_eq!(told.frame[..14], frame[..14], "{packet:?}");
        assert_eq!(told.frame[addresses.clone()], frame[addresses], "{packet:?}");
    }
    Ok(told)
}

/// The findings about a subject, a line each.
fn words(told: &Explanation, subject: &str) -> String {
    let about = told.findings.iter().filter(|finding| finding.subject == subject);
    about.map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// What a finding about a subject says under a name.
fn detail(told: &Explanation, subject: &str, name: &str) -> Option<Value> {
    let finding = told.findings.iter().rfind(|finding| finding.subject == subject)?;
    finding.details.iter().find(|detail| detail.name == name).map(|detail| detail.value.clone())
}

/// All members' numbers: whether it was chosen, whether it takes connections, load and share.
fn members(told: &Explanation) -> Vec<(bool, bool, u64, u64)> {
    let of = |finding: &rlvs_ipvs::Finding, name: &str| {
        finding.details.iter().find(|detail| detail.name == name).map(|detail| match detail.value {
            Value::Number(number) => number,
            Value::Truth(truth) => truth.into(),
            Value::Text(_) => 0,
        })
    };
    let all = told.findings.iter().filter(|finding| finding.subject == "member");
    all.map(|finding| {
        let number = |name| of(finding, name).unwrap();
        (number("chosen") == 1, number("available") == 1, number("load"), number("share"))
    })
    .collect()
}

fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}

/// What is told must hang together: the chosen member is the one that the frame goes to, and has the best number.
pub fn follows(told: &Explanation, scheduler: Scheduler) {
    let name = scheduler.name();
    assert!(words(told, "scheduler").starts_with(&format!("{name}: ")), "{:#?}", told.findings);
    let members = members(told);
    assert!(members.len() > 1);
    let chosen = members.iter().find(|(chosen, ..)| *chosen);
    assert_eq!(chosen.is_some(), matches!(told.verdict, Verdict::Redirect(_)), "{:#?}", told.findings);
    let Some((_, available, load, share)) = chosen else {
        assert!(words(told, "chosen").starts_with("nobody"), "{:#?}", told.findings);
        return;
    };
    assert!(available, "{:#?}", told.findings);
    // The last octets of address and MAC are the same.
    let address = words(told, "chosen").split(',').next().unwrap().parse::<SocketAddr>().unwrap();
    assert_eq!(mac_of(address.ip()), told.frame[..6], "{:#?}", told.findings);
    if matches!(name, "lc" | "wlc" | "sed") {
        let is_less = |(_, available, l, s): &&(bool, bool, u64, u64)| *available && l * share < load * s;
        assert_eq!(members.iter().find(is_less), None, "{:#?}", told.findings);
    }
}

#[test]
fn each_way_of_a_packet_is_told_and_nothing_changes_by_it() {
    run(SLOTS, |twins| {
        each_way_of_a_packet_is_told(twins)?;
        asking_changes_nothing(twins)
    });
}

fn each_way_of_a_packet_is_told(twins: &mut Twins) -> Result<()> {
    for net in nets() {
        let family = Family::of(net.vip.ip());
        let direct = |port: u16| server(DIRECT_ROUTE, with_port(net.server, port));
        // Connections, NAT, and what comes back.
        twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
        let kernel = &twins.kernel;
        let packet = |flags| Packet::tcp(net.client, net.vip, flags);
        let said = |packet: &Packet, subject: &str, what: &str| -> Result<()> {
            let told = ask_and_see(kernel, packet)?;
            ensure!(words(&told, subject).contains(what), "{subject}, {what}: {:#?}", told.findings);
            Ok(())
        };
        said(&packet(ACK), "service", "opens no connection")?;
        said(
            &packet(SYN),
            "destination",
            &format!("{} by NAT; by lan to 02:00:00:00:01:01, MTU 1500", net.server),
        )?;
        said(&packet(SYN), "connection", "SYN_RECV, expires in")?;
        let reply = Packet::tcp(net.server, net.client, SYN | ACK);
        said(&reply, "connection", "the packet is a reply")?;
        said(&packet(ACK), "verdict", &format!("TCP {} {}", net.client, net.server))?;
        said(&packet(ACK), "connection", "ESTABLISHED")?;
        said(
            &Packet { hops: 1, ..packet(ACK) },
            "verdict",
            "hop limit reached (time exceeded sent): \"time exceeded\"",
        )?;
        let long = Packet { payload: vec![0; 1600], ..packet(ACK) };
        said(&long, "verdict", "larger than the next hop's MTU (too big sent): \"too big for 1500 octets\"")?;
        said(&packet(FIN | ACK), "verdict", "sent by lan")?;
        said(&packet(RST), "verdict", "sent by lan")?;
        said(&packet(SYN), "connection", "given up")?;
        // No service.
        let other = Packet::udp(net.client, net.vip);
        said(&other, "service", &format!("none: there is no UDP {}", net.vip))?;
        said(&other, "verdict", "passed to this machine's kernel: it belongs to no connection")?;

        // Nobody to serve: quiesced, overloaded.
        let vip = with_port(net.vip, 81);
        twins.add_service(UDP, vip, &[direct(53).weight(0)])?;
        let told = ask_and_see(&twins.kernel, &Packet::udp(net.client, vip))?;
        ensure!(words(&told, "member").contains("weight 0, active 0, inactive 0: quiesced"));
        ensure!(words(&told, "chosen") == "nobody: all destinations are quiesced or overloaded");
        let refusal = if net.vip.is_ipv4() { "as ICMP " } else { "as ICMPv6 " };
        let refusal = format!("{refusal}{} {}", net.vip.ip(), net.client.ip());
        ensure!(words(&told, "verdict").ends_with(&refusal), "{:#?}", told.findings);
        let id = service_id(UDP, vip);
        let limited = DestinationId { address: net.server.ip(), port: 53 };
        let limited = Destination { upper_threshold: 1, ..Destination::new(limited) };
        twins.kernel.ask(Request::SetDestination(id, Ok(limited)))?;
        let first = ask_and_see(&twins.kernel, &Packet::udp(net.client, vip))?;
        ensure!(words(&first, "member").starts_with("> "), "{:#?}", first.findings);
        let second = ask_and_see(&twins.kernel, &Packet::udp(with_port(net.client, 9), vip))?;
        ensure!(words(&second, "member").contains("inactive 1: overloaded"), "{:#?}", second.findings);

        // Persistence.
        let id = service_id(TCP, with_port(net.vip, 82));
        let vip = with_port(net.vip, 82);
        twins.add_service(TCP, vip, &[direct(82), server(DIRECT_ROUTE, net.server_2())])?;
        let flags = FlagsChange::to(ServiceFlags::PERSISTENT);
        let persistent = Service { scheduler: "rr".into(), flags, timeout: 360, ..Service::new(id) };
        twins.kernel.ask(Request::SetService(persistent))?;
        let first = ask_and_see(&twins.kernel, &Packet::tcp(net.client, vip, SYN))?;
        ensure!(words(&first, "service").contains("persistent for 360 s"), "{:#?}", first.findings);
        ensure!(words(&first, "template").starts_with("none that can be used"));
        let chosen = words(&first, "chosen");
        let again = ask_and_see(&twins.kernel, &Packet::tcp(with_port(net.client, 9), vip, SYN))?;
        ensure!(words(&again, "template").contains(&chosen), "{chosen}: {:#?}", again.findings);
        ensure!(words(&again, "chosen").is_empty());

        // Marks.
        let seven = NonZeroU32::new(7).context("mark")?;
        twins.add_mark_service(seven, family, &[direct(0)])?;
        for (number, mark) in [(5000, 9), (5001, 7)] {
            let destination_ports = number.to_string().parse().ok();
            let rule = MarkRule { mark, family: Some(family), destination_ports, ..MarkRule::default() };
            twins.kernel.ask(Request::NewMarkRule { rule, before: None })?;
        }
        let marked = ask_and_see(&twins.kernel, &Packet::udp(net.client, with_port(net.vip, 5001)))?;
        ensure!(words(&marked, "mark").starts_with("7, by rule "), "{:#?}", marked.findings);
        ensure!(words(&marked, "service").contains("found by the packet's mark"));
        let unmarked = ask_and_see(&twins.kernel, &Packet::udp(net.client, with_port(net.vip, 5002)))?;
        ensure!(words(&unmarked, "mark") == "no rule gives the packet a mark");

        // The lots are drawn anew for each packet.
        let vip = with_port(net.vip, 83);
        let servers = [direct(83), server(DIRECT_ROUTE, net.server_2())];
        twins.add_scheduled(Scheduler::PowerOfTwo, ServiceFlags::empty(), TCP, vip, &servers)?;
        for n in 0..9 {
            let told = ask(&twins.kernel, &Packet::tcp(with_port(net.client, 2000 + n), vip, SYN))?;
            follows(&told, Scheduler::PowerOfTwo);
            ensure!(words(&told, "chosen").contains("this time"), "{:#?}", told.findings);
        }

        // A standby.
        let config = twins.kernel.tables.settings();
        for on in [1, 0] {
            config.settings.backup_only.store(on, order::PLAIN);
            config.daemons[1].started.store(on, order::PLAIN);
            let packet = Packet::tcp(with_port(net.client, 7), net.vip, SYN);
            let told = ask_and_see(&twins.kernel, &packet)?;
            ensure!(words(&told, "verdict").contains("backup_only") == (on == 1), "{:#?}", told.findings);
        }

        // Tunnels, and SCTP.
        for (port, kind, method) in
            [(90, 0, "an IPIP tunnel"), (91, GUE, "a GUE tunnel to port 6080"), (92, GRE, "a GRE tunnel")]
        {
            let vip = with_port(net.vip, port);
            let flags = if kind == 0 { 0 } else { CHECKSUM };
            let servers = [server_behind(kind, flags, with_port(net.server, port))];
            twins.add_service(SCTP, vip, &servers)?;
            let told = ask_and_see(&twins.kernel, &Packet::sctp(net.client, vip, 1))?;
            ensure!(detail(&told, "destination", "method") == Some(method.into()), "{:#?}", told.findings);
        }
    }
    Ok(())
}

fn asking_changes_nothing(twins: &mut Twins) -> Result<()> {
    for net in nets() {
        for (port, scheduler) in (100..).zip(Scheduler::ALL) {
            let servers = [server(MASQUERADE, net.server), server(TUNNEL, net.server_2())];
            let vip = with_port(net.vip, port);
            twins.add_scheduled(scheduler, ServiceFlags::empty(), TCP, vip, &servers)?;
        }
        let vip = with_port(net.vip, 79);
        let flags = FlagsChange::to(ServiceFlags::PERSISTENT);
        let persistent = Service { flags, timeout: 60, ..Service::new(service_id(UDP, vip)) };
        twins.kernel.ask(Request::NewService(persistent))?;
        let known = Packet::tcp(net.client, with_port(net.vip, 101), SYN);
        twins.kernel.receive(&known.frame())?;
        let config = twins.kernel.tables.settings();
        config.settings.drop_rate.store(2, order::PLAIN);
        config.samples.store(9, order::PLAIN);

        let before = memory(&twins.kernel)?;
        for flags in [SYN, ACK, RST] {
            for port in 99..116 {
                ask(&twins.kernel, &Packet::tcp(net.client, with_port(net.vip, port), flags))?;
            }
            ask(
                &twins.kernel,
                &Packet { hops: 1, ..Packet::tcp(net.client, with_port(net.vip, 101), flags) },
            )?;
        }
        ask(&twins.kernel, &Packet::udp(net.client, vip))?;
        ask(&twins.kernel, &Packet::tcp(net.server, net.client, ACK))?;
        for ((name, before), (_, after)) in before.into_iter().zip(memory(&twins.kernel)?) {
            ensure!(before == after, "{name} has changed");
        }
    }
    Ok(())
}

/// All shared memory, map by map.
fn memory(kernel: &Kernel) -> Result<Vec<(&'static str, Vec<u8>)>> {
    Ok(vec![
        ("CONFIG", array::<{ size_of::<Config>() }>(kernel, "CONFIG")?),
        ("SERVICES", array::<{ size_of::<service::Service>() }>(kernel, "SERVICES")?),
        ("MEMBERS", array::<4>(kernel, "MEMBERS")?),
        ("RANKS", array::<128>(kernel, "RANKS")?),
        ("DESTINATIONS", array::<{ size_of::<destination::Destination>() }>(kernel, "DESTINATIONS")?),
        ("COUNTERS", array::<{ size_of::<Counters>() }>(kernel, "COUNTERS")?),
        ("CONNECTIONS4", array::<{ size_of::<Bucket4>() }>(kernel, "CONNECTIONS4")?),
        ("CONNECTIONS6", array::<{ size_of::<Bucket6>() }>(kernel, "CONNECTIONS6")?),
        ("LOCALITY", array::<{ size_of::<locality::Bucket>() }>(kernel, "LOCALITY")?),
        ("STRIPE_LOCKS", array::<4>(kernel, "STRIPE_LOCKS")?),
        ("EVENTS", per_cpu::<8>(kernel, "EVENTS")?),
        ("MARK_RULES", array::<{ size_of::<mark::MarkRule>() }>(kernel, "MARK_RULES")?),
        ("HASH_TABLES", array::<{ size_of::<TablePart>() }>(kernel, "HASH_TABLES")?),
    ])
}

fn array<const OCTETS: usize>(kernel: &Kernel, name: &str) -> Result<Vec<u8>>
where
    [u8; OCTETS]: Pod,
{
    let map: Array<_, [u8; OCTETS]> = Map::Array(kernel.map(name)?).try_into().context(name.to_owned())?;
    let elements: Result<Vec<_>, _> = map.iter().collect();
    Ok(elements?.concat())
}

fn per_cpu<const OCTETS: usize>(kernel: &Kernel, name: &str) -> Result<Vec<u8>>
where
    [u8; OCTETS]: Pod,
{
    let map: PerCpuArray<_, [u8; OCTETS]> =
        Map::PerCpuArray(kernel.map(name)?).try_into().context(name.to_owned())?;
    let elements: Result<Vec<_>, _> = map.iter().collect();
    Ok(elements?.iter().flat_map(|cpus| cpus.concat()).collect())
}

/// Fragments, ICMP errors, IPsec, marks, payloads.
#[test]
fn no_kind_of_packet_is_beyond_it() {
    run(SLOTS, |twins| {
        for net in nets() {
            let family = Family::of(net.vip.ip());
            twins.add_service(UDP, net.vip, &[server(MASQUERADE, net.server)])?;
            twins.to_server(&Packet::udp(net.client, net.vip));
            let probe = Probe { length: 1400, ..Probe::new(Protocol::UDP, net.client, net.vip) };
            let about = |form| Probe { form, ..probe.clone() };
            let says = |twins: &Twins, probe: &Probe, subject: &str, what: &str| -> Result<Explanation> {
                let told = ask_about(&twins.kernel, probe).map_err(|errno| anyhow::anyhow!("{errno}"))?;
                ensure!(words(&told, subject).contains(what), "{subject}, {what}: {:#?}", told.findings);
                Ok(told)
            };

            let sent =
                format!("sent by lan to 02:00:00:00:01:01 as {}", if net.vip.is_ipv4() { "UDP" } else { "" });
            for form in [Form::FirstFragment, Form::LaterFragment] {
                says(twins, &about(form), "connection", "known, the packet is a request")?;
                says(twins, &about(form), "verdict", &sent)?;
            }
            let early = says(twins, &about(Form::EarlyFragment), "connection", "until then this one waits")?;
            ensure!(early.verdict == Verdict::Pass);
            let unknown = Probe::new(Protocol::UDP, with_port(net.client, 9), net.vip);
            let later = Probe { form: Form::LaterFragment, ..unknown.clone() };
            says(twins, &later, "service", "a fragment other than the first opens no connection")?;

            // From a router on the way of what the server answered, seen by the client's port.
            let answer = Probe::new(Protocol::UDP, net.vip, net.client);
            let router = if net.vip.is_ipv4() { "10.77.0.1" } else { "fd77::1" }.parse()?;
            for (name, problem) in IcmpProblem::ALL {
                let probe = Probe { form: Form::Error(problem, router), ..answer.clone() };
                let told =
                    says(twins, &probe, "packet", &format!("ICMP error {name} from {router} about UDP"))?;
                ensure!(
                    words(&told, "connection").contains("the packet is a request"),
                    "{:#?}",
                    told.findings
                );
                ensure!(words(&told, "verdict").starts_with("sent by lan"), "{:#?}", told.findings);
                let quote = &Packet::udp(net.vip, net.client).frame()[14..];
                let kind = if net.vip.is_ipv4() { (3, 4) } else { (2, 0) };
                let error = icmp_error(router, net.vip.ip(), kind, 1280, quote);
                ensure!(twins.kernel.receive(&error)?.0 == action_of(told.verdict));
            }
            let probe = Probe { form: Form::Error(IcmpProblem::TooBig, router), ..unknown };
            says(twins, &probe, "service", "an ICMP error opens no connection")?;

            let [client, ike] = [net.client, net.vip].map(|end| with_port(end, 500));
            twins.add_service(UDP, ike, &[server(MASQUERADE, with_port(net.server, 500))])?;
            twins.to_server(&Packet::udp(client, ike));
            says(
                twins,
                &Probe::new(Protocol::ESP, client, ike),
                "connection",
                "known, the packet is a request",
            )?;

            let seven = NonZeroU32::new(7).context("mark")?;
            twins.add_mark_service(seven, family, &[server(DIRECT_ROUTE, net.server)])?;
            let marked = Probe::new(Protocol::UDP, net.client, with_port(net.vip, 4000));
            says(twins, &marked, "service", "none: there is no UDP")?;
            let marked = Probe { mark: Some(seven), ..marked };
            says(twins, &marked, "mark", "7, which the packet carries already")?;
            says(twins, &marked, "service", "found by the packet's mark")?;

            let vip = with_port(net.vip, 5060);
            let engine = Service {
                flags: FlagsChange::to(ServiceFlags::PERSISTENT),
                scheduler: "rr".into(),
                timeout: 60,
                persistence_engine: Some("sip".into()),
                ..Service::new(service_id(UDP, vip))
            };
            twins.add_service(UDP, vip, &[server(DIRECT_ROUTE, with_port(net.server, 5060))])?;
            twins.kernel.ask(Request::SetService(engine))?;
            let payload = b"INVITE sip:a SIP/2.0\r\nCall-ID: 77@home\r\n\r\n".to_vec();
            let call = Probe { payload, ..Probe::new(Protocol::UDP, net.client, vip) };
            says(twins, &call, "call", "77@home")?;
            says(twins, &call, "verdict", "sent by lan")?;
            says(twins, &Probe { payload: Vec::new(), ..call }, "call", "the packet has no Call-ID")?;

            let large = Probe { length: 1600, may_fragment: true, ..about(Form::Whole) };
            let what = if net.vip.is_ipv4() { "sent: in fragments" } else { "too big for 1500" };
            says(twins, &large, "verdict", what)?;
        }
        Ok(())
    });
}
