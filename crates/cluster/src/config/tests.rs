use std::time::Duration;

use rlvs_ipvs::{Family, ForwardingMethod, Netmask, Protocol, ServiceFlags, ServiceId, TunnelType};

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("c.toml"))
}

/// The mistakes, a line each, and the help behind.
fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Mistakes(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_asks_for_nothing() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn everything_has_a_default() {
    let config = parse(
        r#"
        [[service]]
        tcp = "192.0.2.10:80"
        [[service.server]]
        address = "10.0.0.1"
        "#,
    )
    .unwrap();
    let [service] = config.services.as_slice() else { panic!("{config:?}") };
    assert_eq!(service.name, "TCP 192.0.2.10:80");
    assert_eq!(
        service.service,
        rlvs_ipvs::Service::new(ServiceId::Address {
            protocol: Protocol::TCP,
            address: [192, 0, 2, 10].into(),
            port: 80
        })
    );
    assert_eq!((service.quorum, service.hysteresis, &service.sorry_server), (1, 0, &None));
    let [server] = service.servers.as_slice() else { panic!("{service:?}") };
    assert_eq!((server.destination.id.port, server.destination.weight), (80, 1));
    assert_eq!(server.destination.method, ForwardingMethod::Masquerade);
    assert_eq!((server.start, server.when_down), (Start::AsFound, WhenDown::Remove));
    assert!(server.checks.is_empty());
}

#[test]
fn all_keys_are_read() {
    let config = parse(
        r#"
        other_services = "delete"
        notify = "/usr/local/bin/tell me"

        [[service]]
        name = "web"
        tcp = "[2001:db8::10]:80"
        scheduler = "mh"
        scheduler_flags = ["mh-port", "mh-fallback"]
        persistent = "6m"
        netmask = "64"
        forward = "tunnel"
        tunnel = { type = "gue", port = 6080, checksum = "yes" }
        quorum = 2
        hysteresis = 1
        start = "up"
        when_down = "quiesce"
        sorry_server = { address = "2001:db8::99", forward = "direct" }

        [service.check]
        type = "http"
        path = "/health?deep=1"
        host = "www.example.org"
        status = ["200-299", "404"]
        body_regex = "^o+k"
        interval = "500ms"
        timeout = "250ms"
        rise = 3
        fall = 4

        [[service.server]]
        address = "10.0.0.1"
        weight = 3
        upper_threshold = 100
        lower_threshold = 50

        [[service.server]]
        address = "2001:db8::2"
        forward = "direct"
        start = "down"
        when_down = "remove"
        check = [{ type = "ping" }, { type = "tcp", port = 81, address = "::1" }]

        [[service]]
        mark = 7
        family = "ipv6"
        one_packet = true
        scheduler = "rr"
        "#,
    )
    .unwrap();
    assert_eq!(config.others, Others::Delete);
    let [web, mark] = config.services.as_slice() else { panic!("{config:?}") };
    let service = &web.service;
    assert_eq!((service.scheduler.as_str(), service.timeout, service.netmask), ("mh", 360, Netmask::V6(64)));
    let flags = ServiceFlags::PERSISTENT | ServiceFlags::SCHED1 | ServiceFlags::SCHED2;
    assert_eq!(service.flags.apply(ServiceFlags::empty()), flags);
    assert_eq!((web.quorum, web.hysteresis), (2, 1));
    let sorry = web.sorry_server.as_ref().unwrap();
    assert_eq!((sorry.id.port, sorry.method), (80, ForwardingMethod::DirectRoute));

    let [one, two] = web.servers.as_slice() else { panic!("{web:?}") };
    assert_eq!((one.destination.upper_threshold, one.destination.lower_threshold), (100, 50));
    assert_eq!((one.destination.tunnel.kind, one.destination.tunnel.port), (TunnelType::Gue, 6080));
    assert_eq!((one.start, one.when_down, one.destination.weight), (Start::Up, WhenDown::Quiesce, 3));
    let [check] = one.checks.as_slice() else { panic!("{one:?}") };
    let Probe::Http(http) = &check.probe else { panic!("{check:?}") };
    assert_eq!((http.path.as_str(), http.host.as_deref()), ("/health?deep=1", Some("www.example.org")));
    assert_eq!(http.status, [200..=299, 404..=404]);
    assert!(http.body.as_ref().unwrap().is_in(b"ook") && !http.body.as_ref().unwrap().is_in(b"not ok"));
    let schedule = &check.schedule;
    assert_eq!((schedule.rise, schedule.fall, schedule.interval), (3, 4, Duration::from_millis(500)));
    assert_eq!((schedule.retry, schedule.jitter), (Duration::from_millis(500), Duration::from_millis(50)));

    assert_eq!(
        (two.destination.method, two.destination.tunnel.kind),
        (ForwardingMethod::DirectRoute, TunnelType::Ipip)
    );
    assert_eq!((two.start, two.when_down), (Start::Down, WhenDown::Remove));
    let [ping, tcp] = two.checks.as_slice() else { panic!("{two:?}") };
    assert_eq!((&ping.probe, &tcp.probe, tcp.port), (&Probe::Ping, &Probe::Connect, 81));
    assert_eq!(tcp.address, Some("::1".parse().unwrap()));

    assert_eq!(mark.service.id.family(), Family::Inet6);
    assert_eq!(mark.service.flags.apply(ServiceFlags::empty()), ServiceFlags::ONE_PACKET);
    assert_eq!(mark.notify.as_ref().unwrap().arguments, ["me"]);
}

#[test]
fn a_server_is_checked_at_its_own_port() {
    let config = parse(
        r#"
        [[service]]
        tcp = "192.0.2.10:80"
        check = [{ type = "tcp" }, { type = "tcp", port = 9 }, { type = "redis" }]
        [[service.server]]
        address = "10.0.0.1:8080"
        "#,
    )
    .unwrap();
    let ports: Vec<_> = config.services[0].servers[0].checks.iter().map(|check| check.port).collect();
    assert_eq!(ports, [8080, 9, 8080]);
}

#[test]
fn mistakes_are_told_all_at_once_each_with_its_place() {
    let text = "[[service]]\ntcp = \"192.0.2.10:80\"\nshceduler = \"rr\"\nquorum = 0\n\n\
                [[service.server]]\nadress = \"10.0.0.1\"\n[[service.server]]\naddress = \"10.0.0.1:http\"\n\
                zork = 1\n";
    let expected = [
        "c.toml:3:1: unknown key `shceduler`\n  help: did you mean `scheduler`?",
        "c.toml:4:10: `quorum` is 0, must be 1 to 2147483647",
        "c.toml:6:1: `address` is missing: where the server is",
        "c.toml:7:1: unknown key `adress`\n  help: did you mean `address`?",
        "c.toml:9:11: `address` is \"10.0.0.1:http\", must be an address such as \"192.0.2.1:80\" or \
         \"[2001:db8::1]:80\"",
        "c.toml:10:1: unknown key `zork`\n  help: here can be: forward, tunnel, address, weight, upper_threshold, \
         lower_threshold, check, start, when_down, drain, slow_start",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let found = mistakes("# a comment\n[[service]]\ntcp = 192.0.2.10:80\n");
    assert!(found[0].starts_with("c.toml:3:"), "{found:?}");
}

#[test]
fn impossible_services_are_refused() {
    let service = "[[service]]\ntcp = \"192.0.2.10:80\"\n";
    for (lines, reason) in [
        ("udp = \"192.0.2.10:80\"", "exactly one of"),
        ("tcp = \"192.0.2.10\"", "needs a port"),
        ("netmask = \"255.0.0.0\"", "with `persistent` only"),
        ("family = \"ipv6\"", "services of a mark only"),
        ("scheduler = \"rr\"\nscheduler_flags = \"sh-port\"", "rr has no flag"),
        ("scheduler = \"\"", "1 to 15"),
        ("persistent = 300", "needs a unit"),
        ("persistent = \"10 s\"", "a number and a unit"),
        ("forward = \"dr\"", "can be \"nat\", \"direct\", \"tunnel\""),
        ("tunnel = { type = \"gue\" }", "has a `port`"),
        ("tunnel = { checksum = \"yes\" }", "IPIP has no checksum"),
        ("server = [{ address = \"10.0.0.1\" }, { address = \"10.0.0.1:80\" }]", "a second time"),
        ("server = [{ address = \"2001:db8::1\" }]", "only tunnels lead"),
        ("server = [{ address = \"10.0.0.1:81\", forward = \"direct\" }]", "only NAT changes the port"),
        ("server = [{ address = \"0.0.0.0\" }]", "no server can have"),
        ("server = [{ address = \"10.0.0.1\", weight = -1 }]", "must be 0 to"),
        ("server = [{ address = \"10.0.0.1\", lower_threshold = 5 }]", "greater than"),
        (
            "server = [{ address = \"10.0.0.1\" }]\nsorry_server = { address = \"10.0.0.1\" }",
            "one of the servers",
        ),
        ("quorum = 2\nserver = [{ address = \"10.0.0.1\" }]", "all weights together 1"),
        ("[[service]]\ntcp = \"192.0.2.10:80\"", "a second time"),
        ("name = \"a\"\n[[service]]\nname = \"a\"\nudp = \"192.0.2.10:80\"", "another service of the name"),
        ("notify = \"tell\"", "absolute path"),
    ] {
        let text = match lines.strip_prefix("tcp = \"192.0.2.10\"") {
            Some(_) => format!("[[service]]\n{lines}"),
            None => format!("{service}{lines}"),
        };
        let found = mistakes(&text);
        assert!(found.iter().any(|mistake| mistake.contains(reason)), "{lines}: {found:?}");
    }
}

#[test]
fn impossible_checks_are_refused() {
    for (keys, reason) in [
        ("interval = \"1s\"", "`type` is missing"),
        ("type = \"htpp\"", "can be \"tcp\""),
        ("type = \"http\", path = \"health\"", "begins with a slash"),
        ("type = \"http\", path = \"/a b\"", "begins with a slash"),
        ("type = \"http\", status = \"2xx\"", "a status such as"),
        ("type = \"http\", status = 200", "list of texts"),
        ("type = \"http\", body_regex = \"(\"", "no regular expression: unclosed group"),
        ("type = \"http\", body = \"a\", body_regex = \"a\"", "both"),
        ("type = \"http\", method = \"HEAD\", body = \"a\"", "no body"),
        ("type = \"tcp\", path = \"/\"", "unknown key `path`"),
        ("type = \"https\", tls_name = \"-\"", "a host's name"),
        ("type = \"https\", ca = \"ca.pem\"", "absolute path"),
        ("type = \"dns\", name = \"a..b\"", "a domain name"),
        ("type = \"dns\", answer = \"10.0.0.1\"", "must be \"A\""),
        ("type = \"command\"", "the program to run"),
        ("type = \"command\", command = \"true\"", "absolute path"),
        ("type = \"tcp\", interval = \"1s\", retry = \"2s\"", "longer than `interval`"),
        ("type = \"tcp\", interval = \"1ms\"", "must be 50ms to 3600s"),
        ("type = \"tcp\", rise = 0", "must be 1 to 1000"),
        ("type = \"dns\", connects = 2", "`connects` is for"),
        ("type = \"tcp\", port = 65536", "must be 1 to 65535"),
    ] {
        let found = mistakes(&format!("[[service]]\ntcp = \"192.0.2.10:80\"\ncheck = {{ {keys} }}\n"));
        assert!(found.iter().any(|mistake| mistake.contains(reason)), "{keys}: {found:?}");
    }
    let found = mistakes("[[service]]\nmark = 1\ncheck = { type = \"tcp\" }\n");
    assert!(found[0].contains("the check needs `port`"), "{found:?}");
    assert!(parse("[[service]]\nmark = 1\ncheck = { type = \"ping\" }\n").is_ok());
}

#[test]
fn virtual_routers_are_read() {
    let config = parse(
        r#"
        [[vrrp]]
        name = "VI_1"
        interface = "eth0"
        id = 51
        addresses = ["192.0.2.10/24", "192.0.2.11"]
        unadvertised = "2001:db8::10/64"
        address_interface = "eth1"
        password = "secret"
        track = [{ interface = "eth2", weight = -20 }, { check = { type = "tcp", port = 80 } }]
        announce = { repeat = 3, again = "0s", refresh = "1m" }

        [[vrrp]]
        name = "VI_2"
        interface = "eth0"
        id = 51
        addresses = "2001:db8::1"
        priority = 255
        interval = "250ms"
        preempt = false
        preempt_delay = "10s"
        peers = ["2001:db8::99"]
        source = "2001:db8::98"

        [[sync_group]]
        name = "G1"
        members = ["VI_1", "VI_2"]
        notify = "/bin/true"
        "#,
    )
    .unwrap();
    let [one, two] = config.instances.as_slice() else { panic!("{config:?}") };
    assert_eq!(
        (one.version, one.family, one.priority, one.interval),
        (Version::V2, Family::Inet, 100, Duration::from_secs(1))
    );
    let vip = |address: &str, prefix, advertised| Vip {
        address: address.parse().unwrap(),
        prefix,
        interface: "eth1".into(),
        advertised,
    };
    let vips = [vip("192.0.2.10", 24, true), vip("192.0.2.11", 32, true), vip("2001:db8::10", 64, false)];
    assert_eq!(one.addresses, vips);
    assert_eq!(one.advertised().count(), 2);
    assert_eq!((one.password, one.preempt), (Some(*b"secret\0\0"), true));
    assert!(matches!(&one.tracked[1].what, Watched::Check(check) if check.port == 80), "{:?}", one.tracked);
    assert_eq!(one.tracked.iter().map(|tracked| tracked.weight).collect::<Vec<_>>(), [-20, 0]);
    assert_eq!(
        (one.announce.repeat, one.announce.again, one.announce.refresh),
        (3, Duration::ZERO, Duration::from_secs(60))
    );
    assert_eq!(
        (two.version, two.family, two.priority, two.preempt),
        (Version::V3, Family::Inet6, 255, false)
    );
    assert_eq!((two.interval, two.preempt_delay), (Duration::from_millis(250), Duration::from_secs(10)));
    assert_eq!((two.peers.len(), two.source), (1, Some("2001:db8::98".parse().unwrap())));
    assert_eq!(config.groups[0].members, ["VI_1", "VI_2"]);
}

#[test]
fn impossible_virtual_routers_are_refused() {
    let router = "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\n";
    for (lines, reason) in [
        ("addresses = \"192.0.2.1\"", "`id` is missing"),
        ("id = 0\naddresses = \"192.0.2.1\"", "must be 1 to 255"),
        ("id = 1", "`addresses` is missing"),
        ("id = 1\naddresses = \"192.0.2.1/33\"", "an address such as"),
        ("id = 1\naddresses = [\"192.0.2.1\", \"2001:db8::1\"]", "a virtual router each"),
        ("id = 1\naddresses = [\"192.0.2.1\", \"192.0.2.1\"]", "named twice"),
        ("id = 1\nversion = 2\naddresses = \"2001:db8::1\"", "needs `version = 3`"),
        ("id = 1\ninterval = \"1.5s\"\naddresses = \"192.0.2.1\"", "a multiple of 1000 ms"),
        ("id = 1\nversion = 3\ninterval = \"41s\"\naddresses = \"192.0.2.1\"", "must be 10ms to 40.95s"),
        ("id = 1\nversion = 3\npassword = \"a\"\naddresses = \"192.0.2.1\"", "has no passwords"),
        ("id = 1\npassword = \"123456789\"\naddresses = \"192.0.2.1\"", "1 to 8 octets"),
        ("id = 1\ntrack = [{ weight = 1 }]", "either `interface` or `check`"),
        ("id = 1\ntrack = [{ check = { type = \"tcp\" } }]", "the check needs `port`"),
        ("id = 1\npeers = \"2001:db8::1\"\naddresses = \"192.0.2.1\"", "the other IP version"),
        (
            "id = 1\naddresses = \"192.0.2.1\"\n[[sync_group]]\nname = \"g\"\nmembers = \"b\"",
            "no virtual router \"b\"",
        ),
        ("id = 1\naddresses = \"192.0.2.1\"\n[[sync_group]]\nmembers = \"a\"", "`name` is missing"),
        (
            "id = 1\naddresses = \"192.0.2.1\"\n[[vrrp]]\nname = \"b\"\ninterface = \"eth0\"\nid = 1\naddresses = \"192.0.2.2\"",
            "has the id 1 twice",
        ),
    ] {
        let found = mistakes(&format!("{router}{lines}\n"));
        assert!(found.iter().any(|mistake| mistake.contains(reason)), "{lines}: {found:?}");
    }
}

proptest::proptest! {
    /// Whatever stands in a file, it is read or refused.
    #[test]
    fn no_file_does_harm(from in 0..EXAMPLE.len(), to in 0..EXAMPLE.len(), instead in "[\\\\\"'\\[\\]{}=,.:a-z0-9\n -]{0,9}") {
        let (from, to) = (from.min(to), from.max(to));
        let text = format!("{}{instead}{}", &EXAMPLE[..from], &EXAMPLE[to..]);
        if let Err(ConfigError::Mistakes(mistakes)) = parse(&text) {
            proptest::prop_assert!(!mistakes.is_empty());
        }
    }
}

const EXAMPLE: &str = r#"other_services = "keep"
[[service]]
name = "web"
tcp = "192.0.2.10:80"
persistent = "6m"
netmask = "255.255.255.0"
quorum = 1
check = { type = "https", status = ["200", "300-399"], body_regex = "a+", tls_name = "a.example", interval = "1s" }
sorry_server = { address = "10.0.0.9" }
server = [{ address = "10.0.0.1:81", weight = 2 }, { address = "fd00::1", forward = "tunnel", tunnel = { type = "gue", port = 6080 } }]
[[service]]
mark = 7
check = { type = "command", command = "/bin/true %h" }
[[vrrp]]
name = "VI_1"
interface = "eth0"
id = 51
addresses = ["192.0.2.10/24"]
track = [{ interface = "eth1", weight = -20 }]
[[sync_group]]
name = "G1"
members = ["VI_1"]
"#;

#[test]
fn the_example_is_good() {
    parse(EXAMPLE).unwrap();
}

#[test]
fn draining_needs_a_time() {
    let text = "[[service]]\nmark = 1\nwhen_down = \"drain\"\nslow_start = \"1m\"\nserver = [{ address = \"10.0.0.1\" }]\n";
    let error = Config::parse(text, Path::new("c.toml")).unwrap_err().to_string();
    assert_eq!(error, "c.toml:5:11: `when_down` is \"drain\": `drain` must say how long that may take");
    let text = text.replace("}]", ", drain = \"2m\" }]");
    let server = Config::parse(&text, Path::new("c.toml")).unwrap().services.remove(0).servers.remove(0);
    assert_eq!((server.drain, server.slow_start), (Duration::from_secs(120), Duration::from_secs(60)));
}

#[test]
fn a_heartbeat_is_read() {
    let text = r#"
        [heartbeat]
        primary = "192.0.2.2"
        backup = "192.0.2.3"
        keepalive = "500ms"
        addresses = [{ address = "192.0.2.10/24", interface = "eth0" }, { address = "2001:db8::1", interface = "eth1" }]
    "#;
    let heartbeat = parse(text).unwrap().heartbeat.unwrap();
    assert_eq!((heartbeat.port, heartbeat.private, heartbeat.monitor_links), (539, None, false));
    assert_eq!(
        (heartbeat.keepalive, heartbeat.deadtime),
        (Duration::from_millis(500), Duration::from_secs(5))
    );
    let prefixes: Vec<_> = heartbeat.addresses.iter().map(|vip| vip.prefix).collect();
    assert_eq!(prefixes, [24, 128]);
    for (from, to, reason) in [
        ("primary = \"192.0.2.2\"", "", "`primary` is missing"),
        ("192.0.2.2", "fe80::1", "an IPv4 address"),
        ("keepalive", "primary_private = \"10.0.0.1\"\nkeepalive", "or none of them"),
        ("500ms", "5s", "longer than `keepalive`"),
        ("192.0.2.10/24", "192.0.2.10/33", "an address such as"),
        ("2001:db8::1\", interface = \"eth1", "192.0.2.10\", interface = \"eth0", "named twice"),
        (", interface = \"eth1\"", "", "is missing"),
        ("backup =", "standby =", "unknown key `standby`"),
    ] {
        let found = mistakes(&text.replacen(from, to, 1));
        assert!(found.iter().any(|mistake| mistake.contains(reason)), "{to}: {found:?}");
    }
}

#[test]
fn programs_are_run_as_the_file_says() {
    let text = "[programs]\nuser = \"root\"\ncapabilities = \"keep\"\n[[service]]\nmark = 1\nnotify = \"/bin/true\"\n\
                check = { type = \"command\", command = \"/bin/true\" }\nserver = [{ address = \"10.0.0.1\" }]\n";
    let service = Config::parse(text, Path::new("c.toml")).unwrap().services.remove(0);
    let Probe::Command { command, .. } = &service.servers[0].checks[0].probe else { panic!("{service:?}") };
    for program in [command, service.notify.as_ref().unwrap()] {
        assert_eq!(program.run_as.user.as_ref().unwrap().user, 0);
        assert!(program.run_as.keep_capabilities);
    }
    let error = Config::parse(&text.replace("root", "no such user"), Path::new("c.toml")).unwrap_err();
    assert_eq!(error.to_string(), "c.toml:2:8: `user` is \"no such user\", must be a user of this machine");
}
