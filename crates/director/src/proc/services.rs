//! `net/ip_vs`: services and destinations.

use rlvs_ipvs::{
    DestinationEntry, Errno, ForwardingMethod, Info, Netmask, Protocol, Reply, Request, Service,
    ServiceEntry, ServiceFlags, ServiceId,
};
use std::net::IpAddr;

/// The whole file; `ask` puts a request to the director.
pub(super) fn listing(ask: impl Fn(Request) -> Result<Reply, Errno>) -> Result<String, Errno> {
    let Reply::Info(info) = ask(Request::GetInfo)? else { return Err(Errno::IO) };
    let Reply::Services(mut services) = ask(Request::ListServices)? else { return Err(Errno::IO) };
    services.sort_by_key(|entry| matches!(entry.service.id, ServiceId::Mark { .. }));
    let mut text = head(&info);
    for ServiceEntry { service, .. } in services {
        // A service that was deleted meanwhile is left out.
        let Ok(Reply::Destinations(destinations)) = ask(Request::ListDestinations(service.id)) else {
            continue;
        };
        text += &service_line(&service);
        text.extend(destinations.iter().map(destination_line));
    }
    Ok(text)
}

fn head(info: &Info) -> String {
    let [_, major, minor, patch] = info.version.to_be_bytes();
    format!(
        "IP Virtual Server version {major}.{minor}.{patch} (size={})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
           -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
        info.table_size
    )
}

fn service_line(service: &Service) -> String {
    let flags = service.flags.apply(ServiceFlags::empty());
    let scheduler = if service.scheduler.is_empty() { "none" } else { &service.scheduler };
    let ops = if flags.contains(ServiceFlags::ONE_PACKET) { "ops " } else { "" };
    let mut line = match service.id {
        ServiceId::Address { protocol, address: address @ IpAddr::V4(_), port } => {
            format!("{}  {}:{port:04X} {scheduler} {ops} ", protocol_name(protocol), in_hex(address))
        }
        ServiceId::Address { protocol, address: address @ IpAddr::V6(_), port } => {
            format!("{}  [{}]:{port:04X} {scheduler} ", protocol_name(protocol), in_hex(address))
        }
        ServiceId::Mark { mark, .. } => format!("FWM  {mark:08X} {scheduler} {ops}"),
    };
    if flags.contains(ServiceFlags::PERSISTENT) {
        let netmask = match service.netmask {
            Netmask::V4(mask) => u32::from(mask),
            // IPVS holds a prefix length in host order, and shows it as if it were in network order.
            Netmask::V6(prefix) => u32::from_be(prefix),
        };
        // In ticks of the user's clock: those of a kernel's own are nobody's business here.
        let ticks = u64::from(service.timeout) * rustix::param::clock_ticks_per_second();
        line += &format!("persistent {ticks} {netmask:08X}");
    }
    line + "\n"
}

fn destination_line(entry: &DestinationEntry) -> String {
    let id = &entry.destination.id;
    let address = match id.address {
        IpAddr::V4(_) => in_hex(id.address),
        IpAddr::V6(_) => format!("[{}]", in_hex(id.address)),
    };
    let method = match entry.destination.method {
        ForwardingMethod::Local => "Local",
        ForwardingMethod::Tunnel => "Tunnel",
        ForwardingMethod::DirectRoute => "Route",
        _ => "Masq",
    };
    format!(
        "  -> {address}:{:04X}      {method:<7} {:<6} {:<10} {:<10}\n",
        id.port, entry.destination.weight, entry.active, entry.inactive
    )
}

/// A protocol as IPVS names it.
pub(super) fn protocol_name(protocol: Protocol) -> String {
    match protocol.0 {
        0 => "IP".into(),
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "ICMPv6".into(),
        132 => "SCTP".into(),
        number => format!("IP_{number}"),
    }
}

/// An address in hexadecimal digits, IPv6 with colons.
pub(super) fn in_hex(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", u32::from(address)),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:04x}")).join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_ipvs::{Destination, DestinationId, FlagsChange, Stats, VERSION};
    use std::num::NonZeroU32;

    fn service(id: ServiceId, scheduler: &str, flags: ServiceFlags, netmask: Netmask) -> Service {
        let flags = FlagsChange::to(flags);
        Service { id, scheduler: scheduler.into(), flags, timeout: 10, netmask, persistence_engine: None }
    }

    fn at(protocol: Protocol, address: &str, port: u16) -> ServiceId {
        ServiceId::Address { protocol, address: address.parse().unwrap(), port }
    }

    fn destination(address: &str, port: u16, method: ForwardingMethod, weight: i32) -> DestinationEntry {
        DestinationEntry {
            destination: Destination {
                id: DestinationId { address: address.parse().unwrap(), port },
                method,
                weight,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: Default::default(),
            },
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: Stats::default(),
        }
    }

    /// Lines as recorded from Linux.
    #[test]
    fn lines_are_ipvss() {
        let all = Netmask::V4([255; 4].into());
        let plain = |id, scheduler, flags| service_line(&service(id, scheduler, flags, all));
        let none = ServiceFlags::empty();
        assert_eq!(plain(at(Protocol::TCP, "10.1.0.200", 80), "rr", none), "TCP  0A0100C8:0050 rr  \n");
        assert_eq!(
            plain(at(Protocol::UDP, "10.1.0.200", 53), "wrr", ServiceFlags::ONE_PACKET),
            "UDP  0A0100C8:0035 wrr ops  \n"
        );
        let mark = ServiceId::Mark { family: rlvs_ipvs::Family::Inet, mark: NonZeroU32::new(26).unwrap() };
        assert_eq!(plain(mark, "sh", none), "FWM  0000001A sh \n");
        let six = service(at(Protocol::TCP, "fd01::200", 80), "lc", none, Netmask::V6(128));
        assert_eq!(service_line(&six), "TCP  [fd01:0000:0000:0000:0000:0000:0000:0200]:0050 lc \n");
        let net = Netmask::V4([255, 255, 255, 0].into());
        let kept = service(at(Protocol::TCP, "10.1.0.200", 53), "wrr", ServiceFlags::PERSISTENT, net);
        assert_eq!(service_line(&kept), "TCP  0A0100C8:0035 wrr  persistent 1000 FFFFFF00\n");

        assert_eq!(
            destination_line(&destination("10.2.0.2", 8080, ForwardingMethod::Tunnel, 1)),
            "  -> 0A020002:1F90      Tunnel  1      0          0         \n"
        );
        assert_eq!(
            destination_line(&destination("fd02::1", 80, ForwardingMethod::Masquerade, 1)),
            "  -> [fd02:0000:0000:0000:0000:0000:0000:0001]:0050      Masq    1      0          0         \n"
        );
    }

    #[test]
    fn an_empty_director_has_the_head_alone() {
        let text = listing(|request| {
            Ok(match request {
                Request::GetInfo => Reply::Info(Info { version: VERSION, table_size: 4096 }),
                _ => Reply::Services(Vec::new()),
            })
        });
        assert_eq!(
            text.unwrap(),
            "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
        );
    }
}
