//! Command lines and what comes of them; the complaints as heard from Debian's ipvsadm 1.31.

use std::num::NonZeroU32;

use rlvs_ipvs::{
    DaemonRole, Family, FlagsChange, ForwardingMethod, Netmask, Protocol, Service, ServiceFlags, ServiceId,
    Timeouts, TunnelFlags, TunnelType,
};

use super::action::{Action, Format, List, Listed};
use super::failure::Failure;
use super::parse::parse;

/// Words are parted at blanks; '' stands for an empty one.
fn run(line: &str) -> Result<Action, Failure> {
    let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(|w| w.replace("''", "")).collect();
    parse("ipvsadm", &words)
}

fn service(line: &str) -> Service {
    match run(line) {
        Ok(Action::AddService(service) | Action::EditService(service)) => service,
        other => panic!("{line}: {other:?}"),
    }
}

fn destination(line: &str) -> rlvs_ipvs::Destination {
    match run(line) {
        Ok(Action::AddServer(_, destination) | Action::EditServer(_, destination)) => destination,
        other => panic!("{line}: {other:?}"),
    }
}

fn web(address: [u8; 4], port: u16) -> ServiceId {
    ServiceId::Address { protocol: Protocol::TCP, address: address.into(), port }
}

#[test]
fn complaints() {
    let try_help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    let illegal_service = "illegal virtual server address[:port] specified";
    let illegal_server = "illegal real server address[:port] specified";
    let zero_port = "Zero port specified for non-persistent service";
    let cases = [
        // No command, or two.
        ("-n", 255, try_help),
        ("-qL", 255, try_help),
        ("--nosuch", 255, try_help),
        ("--add-servic -t 1.2.3.4:80", 255, try_help),
        ("garbage", 255, try_help),
        ("-- -L", 255, try_help),
        ("--set=1 2 3", 255, try_help),
        ("--start-daemon", 255, try_help),
        ("-L -L", 2, "invalid option `-L'"),
        ("-S -n -S", 2, "invalid option `-S'"),
        ("-A -h", 2, "invalid option `-h'"),
        ("-AD", 2, "invalid option `-AD'"),
        ("--list --list", 2, "invalid option `--list'"),
        ("--add-service --start-daemon master", 2, "invalid option `master'"),
        // Words.
        ("-A --tcp 1.2.3.4:80", 255, "--tcp: unknown option"),
        ("-L --nosuch=5", 255, "--nosuch=5: unknown option"),
        ("-L -nq", 255, "-nq: unknown option"),
        ("-A -t", 255, "-t: missing argument"),
        ("-L --numeric=1", 255, "--numeric=1: option does not take an argument"),
        ("-L -n=1", 255, "-n=1: option does not take an argument"),
        ("-A -t 1.2.3.4:80 extra", 2, "unexpected argument extra"),
        ("-L -- foo", 2, "unexpected argument foo"),
        ("-L -", 2, "unexpected argument -"),
        ("garbage -L", 2, "unexpected argument garbage"),
        // What goes together.
        ("-A", 2, "You need to supply the 'service-address' option for the 'add-service' command"),
        ("-a -t 1.2.3.4:80", 2, "You need to supply the 'real-server' option for the 'add-server' command"),
        ("-D -t 1.2.3.4:80 -s rr", 2, "Illegal 'scheduler' option with the 'delete-service' command"),
        ("-C -n", 2, "Illegal 'numeric' option with the 'flush' command"),
        (
            "-d -t 1.2.3.4:80 -r 1.1.1.1 -m",
            2,
            "Illegal 'forwarding-method' option with the 'delete-server' command",
        ),
        ("--set 1 2 3 -n", 2, "Illegal 'numeric' option with the 'set' command"),
        ("-S --exact", 2, "Illegal 'exact' option with the 'save' command"),
        ("-L --mcast-interface eth0", 2, "Illegal 'mcast-interface' option with the 'list' command"),
        (
            "--stop-daemon master --mcast-ttl 2",
            2,
            "Illegal 'mcast-ttl' option with the 'stop-daemon' command",
        ),
        ("-L -c --stats", 2, "options conflicts in the list command"),
        ("-L --timeout --persistent-conn", 2, "options conflicts in the list command"),
        (
            "-L -t 1.2.3.4:80 -c",
            2,
            "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        ),
        (
            "-L -c --timeout --stats",
            2,
            "The option 'timeout' conflicts with the 'connection' option in the 'list' command",
        ),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -g -m", 2, "multiple 'forwarding-method' options specified"),
        ("-A -t 1.2.3.4:80 -f 1", 2, "multiple 'service-address' options specified"),
        ("-A -t 1.2.3.4:80 -t nosuch", 2, "multiple 'service-address' options specified"),
        ("-L -n -n", 2, "multiple 'numeric' options specified"),
        // Services.
        ("-A -t 1.2.3.4", 2, zero_port),
        ("-A -t fe80::1:80", 2, zero_port),
        ("-A -t 1.2.3.4 -o", 2, zero_port),
        ("-A -t [::1]", 2, illegal_service),
        ("-A -t 80", 2, illegal_service),
        ("-A -t 1.2.3.4:65536", 2, illegal_service),
        ("-A -t 1.2.3.4:", 2, illegal_service),
        ("-A --tcp-service=", 2, illegal_service),
        ("-A -f 0", 2, "invalid fwmark value `0' specified"),
        ("-A -f 4294967296", 2, "invalid fwmark value `4294967296' specified"),
        ("-A -f 0x10", 2, "invalid fwmark value `0x10' specified"),
        ("-A -6 -f 1", 2, "-6 used before -f\n"),
        ("-A -t 1.2.3.4:80 -6", 2, "-6 used before -f\n"),
        ("-A -t 1.2.3.4:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services"),
        ("-A -t 1.2.3.4:80 -s rr -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
        ("-A -t 1.2.3.4:80 -b zork", 2, "invalid scheduler flag `zork'"),
        ("-A -t 1.2.3.4:80 -p rr", 2, "invalid timeout value `rr' specified"),
        ("-A -pt 1.2.3.4:80", 2, "invalid timeout value `t' specified"),
        ("-A -t 1.2.3.4:80 -p 0", 2, "invalid timeout value `0' specified"),
        ("-A -t 1.2.3.4:80 -p 2678401", 2, "invalid timeout value `2678401' specified"),
        ("-A -t 1.2.3.4:80 -p -1", 255, "-1: unknown option"),
        ("-A -t 1.2.3.4:80 -M zork", 2, "illegal virtual server persistent mask specified"),
        ("-A -M zork -t [::1]:80", 2, "illegal virtual server persistent mask specified"),
        ("-A -t [::1]:80 -M 129", 2, "illegal ipv6 netmask specified"),
        // Real servers.
        ("-a -t 1.2.3.4:80 -r 1.1.1.1:x", 2, illegal_server),
        ("-a -t 1.2.3.4:80 -r ''", 2, illegal_server),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -w -1", 2, "illegal weight specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -w 2147483648", 2, "illegal weight specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -x abc", 2, "illegal u_threshold specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -y -5", 2, "illegal l_threshold specified"),
        (
            "-a -t [::1]:80 -r 10.0.0.1 -m --tun-csum",
            2,
            "Different address family is allowed only for tunneling servers",
        ),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 --tun-csum", 2, "Tunnel options conflict with forward method"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type IPIP", 2, "illegal tunnel type specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-port 0", 2, "illegal tunnel port specified"),
        (
            "-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type gue --tun-csum",
            2,
            "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        ),
        (
            "-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-csum --tun-nocsum",
            2,
            "Illegal 'tun-nocsum' option with the 'ipip' tunnel type",
        ),
        (
            "-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type gre --tun-remcsum",
            2,
            "Illegal 'tun-remcsum' option with the 'gre' tunnel type",
        ),
        (
            "-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type gre --tun-csum --tun-nocsum",
            2,
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        ),
        // Daemons and timeouts.
        ("--start-daemon foo", 2, "illegal start-daemon parameter specified"),
        ("--stop-daemon foo", 2, "illegal start_daemon specified"),
        ("--start-daemon master --syncid 256", 2, "illegal syncid specified"),
        ("--start-daemon master --mcast-ttl 0", 2, "illegal mcast-ttl specified"),
        ("--start-daemon master --mcast-ttl 256", 2, "illegal mcast-ttl specified"),
        ("--start-daemon master --mcast-port 0", 2, "illegal mcast-port specified"),
        ("--start-daemon master --sync-maxlen 65508", 2, "illegal sync-maxlen specified"),
        ("--start-daemon master --mcast-group 10.0.0.1", 2, "invalid IPv4 mcast-group `10.0.0.1'"),
        ("--start-daemon master --mcast-group fe80::51", 2, "invalid IPv6 mcast-group `fe80::51'"),
        ("--set 1 2", 2, "--set option requires 3 timeout values"),
        ("--set 1 2 3 4", 2, "unexpected argument 4"),
        ("--set 1 x 3", 2, "invalid timeout value `x' specified"),
        ("--set 1 2 2678401", 2, "invalid timeout value `2678401' specified"),
        ("--set -1 2 3", 255, "-1: unknown option"),
    ];
    for (line, status, text) in cases {
        match run(line) {
            Err(failure) => {
                assert_eq!((failure.status(), failure.to_string()), (status, text.into()), "{line}")
            }
            Ok(action) => panic!("{line}: {action:?}"),
        }
    }
}

#[test]
fn services_and_their_defaults() {
    let plain = service("-A -t 1.2.3.4:80");
    assert_eq!(plain, Service::new(web([1, 2, 3, 4], 80)));
    assert_eq!(plain.scheduler, "wlc");
    assert_eq!(plain.netmask, Netmask::V4([255; 4].into()));
    for same in [
        "-At 1.2.3.4:http",
        "-At1.2.3.4:80",
        "-A -t=1.2.3.4:80",
        "-A --tcp-service=1.2.3.4:80",
        "-A -t 1.2.3.4:80 -s ''",
    ] {
        assert_eq!(service(same), plain, "{same}");
    }
    assert_eq!(service("-E -t 1.2.3.4:80"), plain, "an edit puts back what it does not say");
    assert_eq!(service("-A -t 1.2.3.4:80 -s averyveryverylongname").scheduler, "averyveryverylo");
    assert_eq!(service("-A -f 1 -o").flags, FlagsChange::to(ServiceFlags::ONE_PACKET));
    assert_eq!(
        service("-A -t 1.2.3.4:80 -b sh-port,sh-fallback,flag-3 -s sh").flags.flags,
        ServiceFlags::from_bits_retain(0x38)
    );
    let mark = |family, mark| ServiceId::Mark { family, mark: NonZeroU32::new(mark).unwrap() };
    assert_eq!(service("-A -f 4294967295").id, mark(Family::Inet, u32::MAX));
    assert_eq!(service("-A -f 1 -6 -6").id, mark(Family::Inet6, 1));
    assert_eq!(service("-A -f 1 -6").netmask, Netmask::V6(128));
}

#[test]
fn persistence() {
    for (line, timeout) in [
        ("-A -t 1.2.3.4 -p", 360),
        ("-A -t 1.2.3.4 -p -s rr", 360),
        ("-A -t 1.2.3.4 -p100", 100),
        ("-A -t 1.2.3.4 -p=100", 100),
        ("-A -t 1.2.3.4 -p 2678400", 2_678_400),
        ("-A -t 1.2.3.4 --persistent=100", 100),
        ("-A -t 1.2.3.4 --persistent 100", 100),
    ] {
        let service = service(line);
        assert_eq!(service.timeout, timeout, "{line}");
        assert_eq!(service.flags, FlagsChange::to(ServiceFlags::PERSISTENT), "{line}");
    }
    let mask = |line| service(line).netmask;
    assert_eq!(mask("-A -t 1.2.3.4:80 -p -M 255.255.255.0"), Netmask::V4([255, 255, 255, 0].into()));
    assert_eq!(mask("-A -M 24 -t 1.2.3.4:80 -p"), Netmask::V4([0, 0, 0, 24].into()));
    for line in ["-A -t [::1]:80 -p -M 64", "-A -f 1 -6 -M 64 -p"] {
        assert_eq!(mask(line), Netmask::V6(64), "{line}");
    }
    for forgotten in ["-A -M 64 -t [::1]:80 -p", "-A -f 1 -M 64 -6 -p"] {
        assert_eq!(mask(forgotten), Netmask::V6(128), "{forgotten}");
    }
    assert_eq!(service("-A -u 1.2.3.4:80 -p --pe sip").persistence_engine.as_deref(), Some("sip"));
    assert_eq!(service("-A -u 1.2.3.4:80 --pe ''").persistence_engine, None);
}

#[test]
fn ports_of_real_servers() {
    let cases = [
        ("-a -t 1.2.3.4:80 -r 1.1.1.1:8080", 80),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1:8080 -i", 80),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1:8080 -m", 8080),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -m", 80),
        ("-a -r 1.1.1.1 -t 1.2.3.4:80 -m", 80),
        ("-a -r 1.1.1.1:https -t 1.2.3.4:80 -m", 443),
        ("-a -f 1 -r 1.1.1.1", 0),
        ("-a -f 1 -r 1.1.1.1 -m", 0),
        ("-a -f 1 -r 1.1.1.1:http", 80),
    ];
    for (line, port) in cases {
        assert_eq!(destination(line).id.port, port, "{line}");
    }
    let Ok(Action::DeleteServer(_, id)) = run("-d -t 1.2.3.4:80 -r 1.1.1.1:8080") else { panic!() };
    assert_eq!(id.port, 8080, "a deletion does not know the method");
}

#[test]
fn real_servers() {
    let plain = destination("-a -t 1.2.3.4:80 -r 1.1.1.1");
    assert_eq!((plain.method, plain.weight), (ForwardingMethod::DirectRoute, 1));
    let full = destination("-e -t 1.2.3.4:80 -r 1.1.1.1 -m -w 010 -x 100 -y 50");
    assert_eq!((full.method, full.weight), (ForwardingMethod::Masquerade, 10));
    assert_eq!((full.upper_threshold, full.lower_threshold), (100, 50));
    let gue = destination("-a -t [::1]:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-remcsum");
    assert_eq!(
        (gue.tunnel.kind, gue.tunnel.port, gue.tunnel.flags),
        (TunnelType::Gue, 6080, TunnelFlags::REMOTE_CHECKSUM)
    );
}

#[test]
fn listings() {
    let all = |format, numeric| {
        Action::List(List {
            what: Listed::Services { only: None, format, exact: false, sorted: true },
            numeric,
        })
    };
    let cases = [
        ("", all(Format::Plain, false)),
        ("-L", all(Format::Plain, false)),
        ("-ln", all(Format::Plain, true)),
        ("-L --stats --rate --sort --sort", all(Format::Stats, false)),
        ("-L --thresholds --tun-info", all(Format::Thresholds, false)),
        ("-L --syncid 1", all(Format::Plain, false)),
        (
            "-Lnt 1.2.3.4:80 --nosort --exact",
            Action::List(List {
                what: Listed::Services {
                    only: Some(web([1, 2, 3, 4], 80)),
                    format: Format::Plain,
                    exact: true,
                    sorted: false,
                },
                numeric: true,
            }),
        ),
        (
            "-L -c --persistent-conn",
            Action::List(List { what: Listed::Connections { engine: true }, numeric: false }),
        ),
        ("-L --timeout", Action::List(List { what: Listed::Timeouts, numeric: false })),
        ("-L --daemon --exact", Action::List(List { what: Listed::Daemons, numeric: false })),
    ];
    for (line, action) in cases {
        assert_eq!(run(line).unwrap(), action, "{line}");
    }
}

#[test]
fn the_director_as_a_whole() {
    assert_eq!(run("1 --set 2 0").unwrap(), Action::SetTimeouts(Timeouts { tcp: 1, tcp_fin: 2, udp: 0 }));
    assert_eq!(run("-Z").unwrap(), Action::Zero(None));
    assert_eq!(run("-Z -t 1.2.3.4:80").unwrap(), Action::Zero(Some(web([1, 2, 3, 4], 80))));
    assert_eq!(run("--stop-daemon backup --syncid 5").unwrap(), Action::StopDaemon(DaemonRole::Backup));
    let Ok(Action::StartDaemon(daemon)) = run("--start-daemon=master --mcast-group ff02::51") else {
        panic!()
    };
    assert_eq!((daemon.interface.as_str(), daemon.sync_id), ("eth0", 0));
    assert_eq!(daemon.group, "ff02::51".parse().ok());
    assert_eq!(run("-h -x").unwrap(), Action::Help);
    assert_eq!(run("-v garbage").unwrap(), Action::Version);
}
