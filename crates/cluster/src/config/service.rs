//! `[[service]]`, with its real servers.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use rlvs_ipvs::{
    Destination, DestinationId, Family, FlagsChange, ForwardingMethod, MAX_TIMEOUT, Netmask, Protocol,
    ServiceFlags, ServiceId, Tunnel, TunnelFlags, TunnelType,
};

use super::check::{self, Command};
use super::section::{Placed, Section};
use super::value::endpoint;
use super::{Server, Service, Start, WhenDown};
use crate::plan;

const ADDRESS: &str = "an address such as \"192.0.2.1:80\" or \"[2001:db8::1]:80\"";
const FORWARD: [(&str, ForwardingMethod); 3] = [
    ("nat", ForwardingMethod::Masquerade),
    ("direct", ForwardingMethod::DirectRoute),
    ("tunnel", ForwardingMethod::Tunnel),
];
const WHEN_DOWN: [(&str, WhenDown); 5] = [
    ("remove", WhenDown::Remove),
    ("quiesce", WhenDown::Quiesce),
    ("drain", WhenDown::Drain),
    ("reset", WhenDown::Reset),
    ("move", WhenDown::Move),
];
const START: [(&str, Start); 3] = [("as-found", Start::AsFound), ("up", Start::Up), ("down", Start::Down)];

/// What a service sets for all of its servers.
struct Defaults {
    id: ServiceId,
    method: ForwardingMethod,
    tunnel: Tunnel,
    checks: Vec<check::Check>,
    start: Start,
    when_down: WhenDown,
    drain: Duration,
    slow_start: Duration,
}

/// All services of the file.
pub(super) fn all(file: &Section<'_>, notify: Option<&Command>) -> Vec<Service> {
    let mut services = Vec::new();
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    for section in file.sections("service") {
        let read = read(&section, notify);
        if let Some(service) = read {
            if !ids.insert(service.service.id) {
                section.mistake(format!(
                    "{} stands here a second time",
                    plan::service_name(&service.service.id)
                ));
            } else if !names.insert(service.name.clone()) {
                section.mistake(format!("there is another service of the name \"{}\"", service.name));
            }
            services.push(service);
        }
        section.finish();
    }
    services
}

/// Reads all of a section, so that all mistakes are found, even if there is no service in the end.
fn read(section: &Section<'_>, notify: Option<&Command>) -> Option<Service> {
    let id = identity(section);
    let name = section.name("name");
    let own_notify = check::command(section, "notify");
    let quorum = section.number("quorum", 1..=i64::from(i32::MAX));
    let hysteresis = section.integer("hysteresis", 0..=0x00ff_ffff_u32).unwrap_or(0);
    let service = service(section, id);
    // Mistakes in servers are told even if nobody knows which service they belong to.
    let id = id.unwrap_or(ServiceId::Mark { family: Family::Inet, mark: NonZeroU32::MIN });
    let defaults = Defaults {
        id,
        method: section.choice("forward", &FORWARD).unwrap_or(ForwardingMethod::Masquerade),
        tunnel: tunnel(section).unwrap_or_default(),
        checks: check::all(section, check_port(id)),
        start: section.choice("start", &START).unwrap_or_default(),
        when_down: section.choice("when_down", &WHEN_DOWN).unwrap_or_default(),
        drain: long(section, "drain").unwrap_or_default(),
        slow_start: long(section, "slow_start").unwrap_or_default(),
    };
    let servers = servers(section, &defaults);
    let sorry_server = section.section("sorry_server").and_then(|section| {
        let destination = destination(&section, &defaults);
        section.finish();
        destination
    });
    if let Some(sorry) = &sorry_server
        && servers.iter().any(|server| server.id() == sorry.id)
    {
        section.mistake("the sorry server is one of the servers, too");
    }
    let total: u64 = servers.iter().map(|server| u64::from(server.destination.weight.unsigned_abs())).sum();
    let needed = quorum.as_ref().map_or(1, |quorum| quorum.value);
    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
    if let Some(quorum) = quorum
        && u64::from(needed) + u64::from(hysteresis) > total
    {
        let reason =
            format!("quorum and hysteresis are {needed} and {hysteresis}, all weights together {total}");
        section.mistake_at(&quorum.place, reason);
    }
    let service = service?;
    Some(Service {
        name: name.unwrap_or_else(|| plan::service_name(&service.id)),
        service,
        servers,
        sorry_server,
        quorum: needed,
        hysteresis,
        notify: own_notify.or_else(|| notify.cloned()),
    })
}

/// One of `tcp`, `udp`, `sctp` with address and port, or `mark`.
fn identity(section: &Section<'_>) -> Option<ServiceId> {
    let mut found = Vec::new();
    for (key, protocol) in [("tcp", Protocol::TCP), ("udp", Protocol::UDP), ("sctp", Protocol::SCTP)] {
        let Some(Placed { value: (address, port), place }) = section.parsed(key, ADDRESS, endpoint) else {
            continue;
        };
        let port = port.unwrap_or_else(|| {
            section.mistake_at(&place, format!("`{key}` needs a port; port 0 stands for all ports"));
            0
        });
        found.push(ServiceId::Address { protocol, address, port });
    }
    let family = section.choice("family", &[("ipv4", Family::Inet), ("ipv6", Family::Inet6)]);
    if let Some(mark) = section.integer("mark", 1..=u32::MAX).and_then(NonZeroU32::new) {
        found.push(ServiceId::Mark { family: family.unwrap_or(Family::Inet), mark });
    } else if family.is_some() {
        section.mistake("`family` is for services of a mark only; an address has its own");
    }
    // A value that cannot be read has been told about already.
    let given = ["tcp", "udp", "sctp", "mark"].into_iter().filter(|key| section.has(key)).count();
    if given != 1 {
        section.mistake("a service has exactly one of `tcp`, `udp`, `sctp` and `mark`");
    }
    found.pop().filter(|_| given == 1)
}

fn service(section: &Section<'_>, id: Option<ServiceId>) -> Option<rlvs_ipvs::Service> {
    let family = id.map(|id| id.family());
    let scheduler = section.text("scheduler");
    if let Some(name) = &scheduler
        && (name.value.is_empty() || name.value.len() > 15)
    {
        section.mistake_at(&name.place, "a scheduler's name has 1 to 15 letters, such as \"wlc\"");
    }
    let mut flags = ServiceFlags::empty();
    let scheduler = scheduler.map_or("wlc", |name| name.value).to_owned();
    for word in section.texts("scheduler_flags") {
        match scheduler_flag(&scheduler, word.value) {
            Some(flag) => flags |= flag,
            None => section.mistake_at(&word.place, format!("{scheduler} has no flag \"{}\"", word.value)),
        }
    }
    flags.set(ServiceFlags::ONE_PACKET, section.flag("one_packet").unwrap_or(false));
    let longest = Duration::from_secs(MAX_TIMEOUT.into());
    let persistent = section.duration("persistent", Duration::from_secs(1)..=longest);
    flags.set(ServiceFlags::PERSISTENT, persistent.is_some());
    let netmask = section.parsed(
        "netmask",
        "a mask such as \"255.255.255.0\", or for IPv6 a length such as \"64\"",
        |text| match family {
            Some(Family::Inet6) => {
                text.parse().ok().filter(|length| (1..=128).contains(length)).map(Netmask::V6)
            }
            _ => text.parse::<Ipv4Addr>().ok().map(Netmask::V4),
        },
    );
    let engine = section.text("persistence_engine");
    for (key, place) in [
        ("netmask", netmask.as_ref().map(|netmask| &netmask.place)),
        ("persistence_engine", engine.as_ref().map(|engine| &engine.place)),
    ] {
        if let Some(place) = place
            && persistent.is_none()
        {
            section.mistake_at(place, format!("`{key}` is for services with `persistent` only"));
        }
    }
    if let Some(ServiceId::Address { port: 0, .. }) = id
        && persistent.is_none()
    {
        section.mistake("a service for all ports (port 0) must be `persistent`");
    }
    let id = id?;
    Some(rlvs_ipvs::Service {
        id,
        scheduler,
        flags: FlagsChange::to(flags),
        // As a request takes it: whole seconds.
        timeout: persistent.map_or(0, |timeout| u32::try_from(timeout.as_secs()).unwrap_or(MAX_TIMEOUT)),
        netmask: netmask.map_or(Netmask::whole(id.family()), |netmask| netmask.value),
        persistence_engine: engine.map(|engine| engine.value.to_owned()),
    })
}

fn scheduler_flag(scheduler: &str, word: &str) -> Option<ServiceFlags> {
    match (word, scheduler) {
        ("flag-1", _) | ("sh-fallback", "sh") | ("mh-fallback", "mh") => Some(ServiceFlags::SCHED1),
        ("flag-2", _) | ("sh-port", "sh") | ("mh-port", "mh") => Some(ServiceFlags::SCHED2),
        ("flag-3", _) => Some(ServiceFlags::SCHED3),
        _ => None,
    }
}

fn servers(service: &Section<'_>, defaults: &Defaults) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    for section in service.sections("server") {
        let destination = destination(&section, defaults);
        let weight = section.integer("weight", 0..=i32::MAX).unwrap_or(1);
        let upper_threshold = section.integer("upper_threshold", 0..=u32::MAX).unwrap_or(0);
        let lower_threshold = section.integer("lower_threshold", 0..=u32::MAX).unwrap_or(0);
        if lower_threshold > upper_threshold {
            section.mistake("`lower_threshold` is greater than `upper_threshold`");
        }
        let port = destination.as_ref().map(|destination| destination.id.port).filter(|port| *port != 0);
        let own = check::all(&section, port.or(check_port(defaults.id)));
        let start = section.choice("start", &START).unwrap_or(defaults.start);
        let when_down = section.choice("when_down", &WHEN_DOWN).unwrap_or(defaults.when_down);
        let drain = long(&section, "drain").unwrap_or(defaults.drain);
        if when_down == WhenDown::Drain && drain.is_zero() {
            section.mistake("`when_down` is \"drain\": `drain` must say how long that may take");
        }
        let slow_start = long(&section, "slow_start").unwrap_or(defaults.slow_start);
        let server = destination.map(|destination| Server {
            destination: Destination { weight, upper_threshold, lower_threshold, ..destination },
            checks: if section.has("check") { own } else { check::at(&defaults.checks, port) },
            start,
            when_down,
            drain,
            slow_start,
        });
        if let Some(server) = server {
            if servers.iter().any(|other| other.id() == server.id()) {
                section.mistake(format!("{} stands here a second time", plan::server_name(&server.id())));
            }
            servers.push(server);
        }
        section.finish();
    }
    servers
}

fn long(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    section.duration(key, Duration::ZERO..=Duration::from_secs(24 * 3_600))
}

/// What a server and a sorry server have in common; weight 1.
fn destination(section: &Section<'_>, defaults: &Defaults) -> Option<Destination> {
    let method = section.choice("forward", &FORWARD).unwrap_or(defaults.method);
    let own_tunnel = tunnel(section);
    let tunnel = if method == ForwardingMethod::Tunnel {
        own_tunnel.unwrap_or(defaults.tunnel)
    } else {
        Tunnel::default()
    };
    let Some(Placed { value: (address, port), place }) = section.parsed("address", ADDRESS, endpoint) else {
        if !section.has("address") {
            section.mistake("`address` is missing: where the server is");
        }
        return None;
    };
    let same_family = Family::of(address) == defaults.id.family();
    if !same_family && method != ForwardingMethod::Tunnel {
        section.mistake_at(&place, "only tunnels lead from IPv4 to IPv6 and from IPv6 to IPv4");
    }
    let service_port = match defaults.id {
        ServiceId::Address { port, .. } => port,
        ServiceId::Mark { .. } => 0,
    };
    let port = port.unwrap_or(service_port);
    if port != service_port && method != ForwardingMethod::Masquerade {
        section.mistake_at(
            &place,
            format!("only NAT changes the port; leave it out, or make it {service_port}"),
        );
    }
    if unusable(address) {
        section.mistake_at(&place, "no server can have this address");
    }
    Some(Destination { method, tunnel, ..Destination::new(DestinationId { address, port }) })
}

/// `tunnel = { type = "gue", port = 6080, checksum = "yes" }`.
fn tunnel(section: &Section<'_>) -> Option<Tunnel> {
    let section = section.section("tunnel")?;
    let kinds = [("ipip", TunnelType::Ipip), ("gue", TunnelType::Gue), ("gre", TunnelType::Gre)];
    let kind = section.choice("type", &kinds).unwrap_or_default();
    let port = section.integer("port", 1..=u16::MAX);
    if (kind == TunnelType::Gue) != port.is_some() {
        section.mistake("a tunnel of the type \"gue\" has a `port`, others have none");
    }
    let checksums = [
        ("no", TunnelFlags::empty()),
        ("yes", TunnelFlags::CHECKSUM),
        ("remote", TunnelFlags::REMOTE_CHECKSUM),
    ];
    let flags = section.choice("checksum", &checksums).unwrap_or_default();
    if kind == TunnelType::Ipip && !flags.is_empty() {
        section.mistake("IPIP has no checksum; \"gue\" and \"gre\" have");
    }
    section.finish();
    Some(Tunnel { kind, port: port.unwrap_or(0), flags })
}

/// The port that a server without one is checked at.
fn check_port(id: ServiceId) -> Option<u16> {
    match id {
        ServiceId::Address { port, .. } if port != 0 => Some(port),
        _ => None,
    }
}

fn unusable(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast() || address == IpAddr::from(Ipv4Addr::BROADCAST)
}
