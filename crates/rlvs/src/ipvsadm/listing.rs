//! Lines of `-L`, column for column as ipvsadm prints them, trailing blanks included.

use rlvs_ipvs::{
    Daemon, DaemonRole, DestinationEntry, Family, ForwardingMethod, Info, Netmask, Protocol, Service,
    ServiceEntry, ServiceFlags, ServiceId, Stats, Timeouts, Tunnel, TunnelFlags, TunnelType,
};

use super::action::Format;
use super::address::Namer;
use super::scheduler_flags;

/// Columns of address and port, after which an IPv4 one is cut.
const ADDRESS_WIDTH: usize = 28;
/// Longest address and port of any family.
const ADDRESS_LONGEST: usize = 60;

/// The line above a full list.
pub fn version(info: &Info) -> String {
    let [_, major, minor, patch] = info.version.to_be_bytes();
    format!("IP Virtual Server version {major}.{minor}.{patch} (size={})\n", info.table_size)
}

/// The two title lines.
pub fn titles(format: Format) -> String {
    let address = "Prot LocalAddress:Port";
    let first = match format {
        Format::Plain | Format::TunInfo => format!("{address} Scheduler Flags"),
        Format::Stats => figures_title(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
        Format::Rate => figures_title(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
        Format::Thresholds => format!(
            "{address:<33} {:<10} {:<10} {:<10} {:<10}",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        Format::PersistentConn => format!(
            "{address:<33} {:<9} {:<11} {:<10} {:<10}",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
    };
    let second = match format {
        Format::Plain => "           Forward Weight ActiveConn InActConn",
        Format::TunInfo => "           Forward TunnelInfo    Weight ActiveConn InActConn",
        _ => "",
    };
    format!("{first}\n  -> RemoteAddress:Port{second}\n")
}

/// The line of a service.
pub fn service(entry: &ServiceEntry, format: Format, exact: bool, namer: &mut Namer) -> String {
    let name = service_name(&entry.service.id, namer);
    match format {
        Format::Stats => format!("{name:<33}{}\n", counters(&entry.stats, exact)),
        Format::Rate => {
            let s = &entry.stats;
            let rates = [
                s.connections_rate,
                s.in_packets_rate,
                s.out_packets_rate,
                s.in_bytes_rate,
                s.out_bytes_rate,
            ];
            format!("{name:<33}{}\n", rates.map(|value| large(value, exact)).concat())
        }
        _ => format!("{name} {}\n", scheduling(&entry.service)),
    }
}

/// The line of a destination of a service.
pub fn destination(
    service: &ServiceId,
    entry: &DestinationEntry,
    format: Format,
    exact: bool,
    namer: &mut Namer,
) -> String {
    let d = &entry.destination;
    let address = address(d.id.address, d.id.port, protocol(service), namer);
    let connections = format!("{:<10} {:<10}", entry.active, entry.inactive);
    let method = d.method.to_string();
    let rest = match format {
        Format::Plain => format!(" {method:<7} {:<6} {connections}", d.weight),
        Format::Stats => counters(&entry.stats, exact),
        Format::Rate => format!(
            " {:>8} {:>8} {:>8}{}{}",
            entry.stats.connections_rate,
            entry.stats.in_packets_rate,
            entry.stats.out_packets_rate,
            large(entry.stats.in_bytes_rate, exact),
            large(entry.stats.out_bytes_rate, exact),
        ),
        Format::Thresholds => format!(" {:<10} {:<10} {connections}", d.upper_threshold, d.lower_threshold),
        Format::PersistentConn => format!(" {:<9} {:<11} {connections}", d.weight, entry.persistent),
        Format::TunInfo => {
            format!(" {method:<7} {:<13} {:<6} {connections}", tunnel(d.method, &d.tunnel), d.weight)
        }
    };
    format!("  -> {address:<ADDRESS_WIDTH$}{rest}\n")
}

/// The line of `-L --timeout`.
pub fn timeouts(t: &Timeouts) -> String {
    format!("Timeout (tcp tcpfin udp): {} {} {}\n", t.tcp, t.tcp_fin, t.udp)
}

/// The line of a sync daemon. What old kernels do not report is left out.
pub fn daemon(d: &Daemon) -> String {
    let role = match d.role {
        DaemonRole::Master => "master",
        DaemonRole::Backup => "backup",
    };
    let mut line = format!("{role} sync daemon (mcast={}, syncid={}", d.interface, d.sync_id);
    if d.max_length != 0 {
        line += &format!(", maxlen={}", d.max_length);
    }
    if let Some(group) = d.group {
        line += &format!(", group={group}");
    }
    if d.port != 0 {
        line += &format!(", port={}", d.port);
    }
    if d.ttl != 0 {
        line += &format!(", ttl={}", d.ttl);
    }
    line + ")\n"
}

/// Protocol by which the ports of a service and its destinations are named. IPVS does not tell one for a mark, so
/// that the ports of its destinations stay numbers.
pub fn protocol(service: &ServiceId) -> Protocol {
    match service {
        ServiceId::Address { protocol, .. } => *protocol,
        ServiceId::Mark { .. } => Protocol::IP,
    }
}

/// The mask of a persistent service, unless it is the whole address.
pub fn mask(service: &Service) -> Option<String> {
    if service.netmask == Netmask::whole(service.id.family()) {
        return None;
    }
    Some(match service.netmask {
        Netmask::V4(mask) => mask.to_string(),
        Netmask::V6(prefix) => prefix.to_string(),
    })
}

fn service_name(id: &ServiceId, namer: &mut Namer) -> String {
    match id {
        // A mark above 2^31 - 1 shows as a negative number, as scripts that read ipvsadm's listing know it.
        ServiceId::Mark { family: Family::Inet, mark } => format!("FWM  {}", mark.get().cast_signed()),
        ServiceId::Mark { family: Family::Inet6, mark } => format!("FWM  {} IPv6", mark.get().cast_signed()),
        ServiceId::Address { protocol, address: ip, port } => {
            let name = match *protocol {
                Protocol::TCP => "TCP",
                Protocol::UDP => "UDP",
                Protocol::SCTP => "SCTP",
                _ => "?",
            };
            format!("{name:<4} {}", address(*ip, *port, *protocol, namer))
        }
    }
}

/// An address and port, cut as ipvsadm does.
fn address(address: std::net::IpAddr, port: u16, protocol: Protocol, namer: &mut Namer) -> String {
    let mut text = namer.endpoint(address, port, protocol);
    let longest = if address.is_ipv4() { ADDRESS_WIDTH } else { ADDRESS_LONGEST };
    text.truncate(text.floor_char_boundary(longest));
    text
}

fn scheduling(service: &Service) -> String {
    let mut text = service.scheduler.clone();
    let set = service.flags.flags;
    if let Some(flags) = scheduler_flags::written(set, &service.scheduler) {
        text += &format!(" ({flags})");
    }
    if set.contains(ServiceFlags::PERSISTENT) {
        text += &format!(" persistent {}", service.timeout);
        if let Some(mask) = mask(service) {
            text += &format!(" mask {mask}");
        }
        if let Some(engine) = &service.persistence_engine {
            text += &format!(" pe {engine}");
        }
    }
    if set.contains(ServiceFlags::ONE_PACKET) {
        text += " ops";
    }
    text
}

fn tunnel(method: ForwardingMethod, tunnel: &Tunnel) -> String {
    let checksum = if tunnel.flags.contains(TunnelFlags::REMOTE_CHECKSUM) {
        "r+c"
    } else if tunnel.flags.contains(TunnelFlags::CHECKSUM) {
        "+c"
    } else {
        "-c"
    };
    match (method, tunnel.kind) {
        (ForwardingMethod::Tunnel, TunnelType::Ipip) => "ipip".into(),
        (ForwardingMethod::Tunnel, TunnelType::Gue) => format!("gue:{}:{checksum}", tunnel.port),
        (ForwardingMethod::Tunnel, TunnelType::Gre) => format!("gre:{checksum}"),
        _ => "n/a".into(),
    }
}

fn figures_title(titles: [&str; 5]) -> String {
    let [a, b, c, d, e] = titles;
    format!("{:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}", "Prot LocalAddress:Port")
}

fn counters(s: &Stats, exact: bool) -> String {
    [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes]
        .map(|value| large(value, exact))
        .concat()
}

/// A number in nine columns, or `exact`ly in as many as it takes and a blank.
fn large(value: u64, exact: bool) -> String {
    const K: u64 = 1_000;
    const M: u64 = 1_000 * K;
    const G: u64 = 1_000 * M;
    const T: u64 = 1_000 * G;
    if exact {
        return format!(" {value:>8}");
    }
    let (shown, suffix) = match value {
        v if v < 100 * M => return format!("{value:>9}"),
        v if v < G => (v / K, 'K'),
        v if v < 100 * G => (v / M, 'M'),
        v if v < 100 * T => (v / G, 'G'),
        v => (v / T, 'T'),
    };
    format!("{shown:>8}{suffix}")
}

/// What the connection listing shows of an entry.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLine<'a> {
    /// Protocol, as the director spells it.
    pub protocol: &'a str,
    /// State, as the director spells it.
    pub state: &'a str,
    /// Seconds to expiry.
    pub expires: u32,
    /// Client, virtual service, real server, as text.
    pub endpoints: &'a [String; 3],
    /// Persistence engine and what it knows.
    pub engine: Option<(&'a str, &'a str)>,
}

/// The titles of `-L -c`.
pub fn connection_titles(engine: bool) -> String {
    let common = format!("pro expire {:<11} {:<18} {:<18}", "state", "source", "virtual");
    let rest = if engine {
        format!("{:<18} {:<16} pe_data", "destination", "pe name")
    } else {
        "destination".to_string()
    };
    format!("IPVS connection entries\n{common} {rest}\n")
}

/// The line of a connection.
pub fn connection(line: &ConnectionLine<'_>) -> String {
    let expires = format!("{:02}:{:02}", line.expires / 60, line.expires % 60);
    let [client, virtual_server, destination] = line.endpoints;
    let (protocol, state) = (line.protocol, line.state);
    let common = format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {virtual_server:<18}");
    match line.engine {
        // The titles leave 18 columns for the real server, ipvsadm's rows 16.
        Some((engine, data)) => format!("{common} {destination:<16} {engine:<18} {data}\n"),
        None => format!("{common} {destination}\n"),
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
