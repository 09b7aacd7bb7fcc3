//! Lines captured from ipvsadm 1.31.

use std::num::NonZeroU32;

use rlvs_ipvs::{Destination, DestinationId, FlagsChange};

use super::*;

fn service_of(id: ServiceId, scheduler: &str, flags: u32, timeout: u32) -> ServiceEntry {
    let flags = FlagsChange::to(ServiceFlags::from_bits_retain(flags));
    let service = Service { scheduler: scheduler.into(), flags, timeout, ..Service::new(id) };
    ServiceEntry { service, stats: Stats::default() }
}

fn at(protocol: Protocol, address: &str, port: u16) -> ServiceId {
    ServiceId::Address { protocol, address: address.parse().unwrap(), port }
}

fn marked(family: Family, mark: u32) -> ServiceId {
    ServiceId::Mark { family, mark: NonZeroU32::new(mark).unwrap() }
}

fn destination_of(address: &str, port: u16, method: ForwardingMethod) -> DestinationEntry {
    let id = DestinationId { address: address.parse().unwrap(), port };
    let destination = Destination { method, ..Destination::new(id) };
    DestinationEntry { destination, active: 5, inactive: 6, persistent: 99, stats: Stats::default() }
}

fn service_line(entry: &ServiceEntry, format: Format) -> String {
    service(entry, format, false, &mut Namer::new(true))
}

fn destination_line(entry: &DestinationEntry, format: Format, exact: bool) -> String {
    destination(&at(Protocol::TCP, "10.0.0.1", 80), entry, format, exact, &mut Namer::new(true))
}

#[test]
fn titles_with_their_trailing_blanks() {
    let plain_second = "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";
    let tunnel_second =
        "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n";
    let second = "  -> RemoteAddress:Port\n";
    let cases = [
        (Format::Plain, "Prot LocalAddress:Port Scheduler Flags\n", plain_second),
        (Format::TunInfo, "Prot LocalAddress:Port Scheduler Flags\n", tunnel_second),
        (
            Format::Stats,
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
            second,
        ),
        (
            Format::Rate,
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
            second,
        ),
        (
            Format::Thresholds,
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
            second,
        ),
        (
            Format::PersistentConn,
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
            second,
        ),
    ];
    for (format, first, second) in cases {
        assert_eq!(titles(format), format!("{first}{second}"));
    }
    let info = Info { version: rlvs_ipvs::VERSION, table_size: 4096 };
    assert_eq!(version(&info), "IP Virtual Server version 1.2.1 (size=4096)\n");
}

#[test]
fn services_with_their_flags() {
    let mut masked = service_of(at(Protocol::TCP, "10.0.0.1", 443), "sh", 0x19, 300);
    masked.service.netmask = Netmask::V4([255, 255, 255, 0].into());
    let mut sip = service_of(at(Protocol::UDP, "2001:db8::1", 5060), "wlc", 1, 300);
    sip.service.netmask = Netmask::V6(64);
    sip.service.persistence_engine = Some("sip".into());
    let cases = [
        (service_of(at(Protocol::TCP, "207.175.44.110", 80), "rr", 2, 0), "TCP  207.175.44.110:80 rr\n"),
        (
            service_of(at(Protocol::TCP, "10.0.0.1", 0), "wrr", 0x29, 60),
            "TCP  10.0.0.1:0 wrr (flag-1,flag-3) persistent 60\n",
        ),
        (masked, "TCP  10.0.0.1:443 sh (sh-fallback,sh-port) persistent 300 mask 255.255.255.0\n"),
        (service_of(at(Protocol::UDP, "10.0.0.53", 53), "wlc", 4, 0), "UDP  10.0.0.53:53 wlc ops\n"),
        (service_of(at(Protocol::SCTP, "10.0.0.9", 5060), "rr", 0, 0), "SCTP 10.0.0.9:5060 rr\n"),
        (service_of(marked(Family::Inet, 7), "mh", 0x11, 360), "FWM  7 mh (mh-port) persistent 360\n"),
        (service_of(marked(Family::Inet6, 5), "wrr", 0, 0), "FWM  5 IPv6 wrr\n"),
        (service_of(marked(Family::Inet, u32::MAX), "rr", 0, 0), "FWM  -1 rr\n"),
        (sip, "UDP  [2001:db8::1]:5060 wlc persistent 300 mask 64 pe sip\n"),
    ];
    for (entry, line) in cases {
        assert_eq!(service_line(&entry, Format::Plain), line);
    }
}

#[test]
fn destinations_in_every_format() {
    let mut d = destination_of("192.168.10.2", 80, ForwardingMethod::DirectRoute);
    d.destination.weight = 2;
    d.destination.upper_threshold = 1000;
    d.destination.lower_threshold = 100;
    let cases = [
        (Format::Plain, "  -> 192.168.10.2:80              Route   2      5          6         \n"),
        (
            Format::Thresholds,
            "  -> 192.168.10.2:80              1000       100        5          6         \n",
        ),
        (
            Format::PersistentConn,
            "  -> 192.168.10.2:80              2         99          5          6         \n",
        ),
        (
            Format::TunInfo,
            "  -> 192.168.10.2:80              Route   n/a           2      5          6         \n",
        ),
    ];
    for (format, line) in cases {
        assert_eq!(destination_line(&d, format, false), line);
    }
    let long = destination_of("2001:db8:1234:5678:9abc:def0:1234:5678", 80, ForwardingMethod::Masquerade);
    assert_eq!(
        destination_line(&long, Format::Plain, false),
        "  -> [2001:db8:1234:5678:9abc:def0:1234:5678]:80 Masq    1      5          6         \n"
    );
}

#[test]
fn ports_of_a_mark_are_numbers() {
    let d = destination_of("fd00::1", 25, ForwardingMethod::Masquerade);
    let mark = marked(Family::Inet6, 5);
    let mut namer = Namer::new(false);
    assert!(destination(&mark, &d, Format::Plain, false, &mut namer).contains(":25 "));
    assert!(
        destination(&at(Protocol::TCP, "::1", 25), &d, Format::Plain, false, &mut namer).contains(":smtp ")
    );
}

#[test]
fn tunnels_by_kind_and_checksum() {
    let with = |kind, port, flags| Tunnel { kind, port, flags };
    let cases = [
        (with(TunnelType::Ipip, 0, TunnelFlags::empty()), "ipip"),
        (with(TunnelType::Gue, 6080, TunnelFlags::CHECKSUM), "gue:6080:+c"),
        (with(TunnelType::Gue, 6080, TunnelFlags::REMOTE_CHECKSUM), "gue:6080:r+c"),
        (with(TunnelType::Gre, 0, TunnelFlags::empty()), "gre:-c"),
    ];
    for (settings, text) in cases {
        assert_eq!(tunnel(ForwardingMethod::Tunnel, &settings), text);
    }
}

#[test]
fn figures_shrink_to_their_columns() {
    let mut entry = service_of(at(Protocol::TCP, "207.175.44.110", 80), "rr", 0, 0);
    entry.stats = Stats {
        connections: 12345,
        in_packets: 99_999_999,
        out_packets: 100_000_000,
        in_bytes: 999_999_999,
        out_bytes: 123_456_789_012_345,
        connections_rate: 10,
        in_packets_rate: 20,
        out_packets_rate: 30,
        in_bytes_rate: 40,
        out_bytes_rate: 1_234_567_890,
    };
    assert_eq!(
        service_line(&entry, Format::Stats),
        "TCP  207.175.44.110:80               12345 99999999  100000K  999999K     123T\n"
    );
    assert_eq!(
        service_line(&entry, Format::Rate),
        "TCP  207.175.44.110:80                  10       20       30       40    1234M\n"
    );
    let mut d = destination_of("192.168.10.1", 8080, ForwardingMethod::Masquerade);
    d.stats = Stats {
        connections_rate: 123_456_789,
        in_packets_rate: 1,
        out_packets_rate: 1,
        in_bytes_rate: 99_999_999,
        out_bytes_rate: 100_000_000,
        ..Stats::default()
    };
    assert_eq!(
        destination_line(&d, Format::Rate, false),
        "  -> 192.168.10.1:8080            123456789        1        1 99999999  100000K\n"
    );
    let cases = [
        (99_999_999, " 99999999"),
        (100_000_000, "  100000K"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (100_000_000_000_000, "     100T"),
        (u64::MAX, "18446744T"),
    ];
    for (value, text) in cases {
        assert_eq!(large(value, false), text);
    }
    assert_eq!(large(123_456_789_012, true), " 123456789012");
    assert_eq!(large(7, true), "        7");
}

#[test]
fn daemons_tell_what_is_reported() {
    let mut d = Daemon {
        role: DaemonRole::Master,
        interface: "eth0".into(),
        sync_id: 1,
        max_length: 1472,
        group: "224.0.0.81".parse().ok(),
        port: 8848,
        ttl: 1,
    };
    let full = "master sync daemon (mcast=eth0, syncid=1, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n";
    assert_eq!(daemon(&d), full);
    d = Daemon { role: DaemonRole::Backup, max_length: 0, group: None, port: 0, ttl: 0, ..d };
    assert_eq!(daemon(&d), "backup sync daemon (mcast=eth0, syncid=1)\n");
    assert_eq!(
        timeouts(&Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }),
        "Timeout (tcp tcpfin udp): 900 120 300\n"
    );
}

#[test]
fn connection_titles_widen_for_the_engine() {
    assert_eq!(
        connection_titles(false),
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
    );
    assert_eq!(
        connection_titles(true),
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination        pe name          pe_data\n"
    );
}
