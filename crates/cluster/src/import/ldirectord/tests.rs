use super::*;
use crate::config::{Config, Probe, Schedule, Service, WhenDown};
use rlvs_ipvs::ForwardingMethod;

/// A file with everything that is common, written for this test.
const SAMPLE: &str = r#"# for all
checktimeout = 3
checkinterval=5
failurecount = 3
autoreload = yes
quiescent=yes
logfile="/var/log/ldirectord.log"
supervised

virtual=192.0.2.10:http
    real=10.0.0.1:80 gate 5
    real=10.0.0.2->10.0.0.4:80 gate "alive.html", "I am (alive|well)" <u:100> <l:50>
    fallback=127.0.0.1:80 gate
    service=http
    request="index.html"
    receive="Test Page"
    virtualhost=www.example.org
    scheduler=rr
    persistent=600
    netmask=255.255.255.0
    protocol=tcp
    checktype=2
virtual=192.0.2.10:53
	real=10.0.0.1:53 masq # the first
	real=10.0.0.2:5353 masq
	request=example.org
	receive=192\.0\.2\.7
	ops=yes
	quiescent=no
	negotiatetimeout=9
virtual6=[2001:db8::1]:443
    real6=[2001:db8::21]:443 ipip
    checktype=connect
virtual=7
    real=10.0.0.1 gate
    service=https
    fallbackcommand="/bin/tell me"
    checktype=external
    checkcommand=/bin/ask
"#;

fn translated(text: &str) -> (Config, Vec<String>, String) {
    let Translation { text, problems } = translate(text, Path::new("l.cf"), hosts).unwrap();
    let config = Config::parse(&text, Path::new("")).unwrap();
    (
        config,
        problems.iter().map(|problem| format!("{}: {}", problem.place.line, problem.what)).collect(),
        text,
    )
}

/// The hosts of these tests.
fn hosts(name: &str) -> Vec<IpAddr> {
    let addresses: &[&str] = match name {
        "web.example" => &["2001:db8::10", "192.0.2.10"],
        "a.example" => &["10.0.0.1"],
        "c.example" => &["10.0.0.3"],
        "six.example" => &["2001:db8::21"],
        _ => &[],
    };
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_sample_is_four_services() {
    let (config, problems, text) = translated(SAMPLE);
    assert_eq!((problems, config.auto_reload), (vec![], true), "{text}");
    let [web, dns, tls, marked] = config.services.as_slice() else { panic!("{text}") };

    assert_eq!((web.name.as_str(), web.service.scheduler.as_str()), ("TCP 192.0.2.10:80", "rr"));
    let servers: Vec<_> =
        web.servers.iter().map(|s| (plan::server_name(&s.id()), s.destination.weight)).collect();
    assert_eq!(servers.len(), 4, "{text}");
    assert_eq!((servers[0].0.as_str(), servers[0].1), ("10.0.0.1:80", 5));
    assert_eq!((servers[3].0.as_str(), servers[3].1), ("10.0.0.4:80", 1));
    assert_eq!(
        (web.servers[1].destination.upper_threshold, web.servers[1].destination.lower_threshold),
        (100, 50)
    );
    assert!(web.servers.iter().all(|server| server.when_down == WhenDown::Quiesce));
    let check = &web.servers[0].checks[0];
    let expected = Schedule {
        interval: seconds(5),
        retry: seconds(5),
        timeout: seconds(3),
        jitter: Duration::from_millis(500),
        rise: 1,
        fall: 3,
        connects: 2,
    };
    assert_eq!(check.schedule, expected);
    let [Probe::Http(own), Probe::Http(other)] = [&check.probe, &web.servers[1].checks[0].probe] else {
        panic!()
    };
    assert_eq!((own.path.as_str(), own.host.as_deref()), ("/index.html", Some("www.example.org")));
    assert_eq!(other.path, "/alive.html");
    assert!(
        other.body.as_ref().unwrap().is_in(b"I am well") && !own.body.as_ref().unwrap().is_in(b"I am well")
    );
    assert_eq!(web.sorry_server.as_ref().unwrap().method, ForwardingMethod::DirectRoute);

    assert_eq!((dns.name.as_str(), dns.service.scheduler.as_str()), ("UDP 192.0.2.10:53", "wrr"));
    assert_eq!((dns.servers[1].id().port, dns.servers[1].checks[0].port), (5353, 5353));
    assert_eq!(
        (dns.servers[0].when_down, dns.servers[0].checks[0].schedule.timeout),
        (WhenDown::Remove, seconds(9))
    );
    let Probe::Dns(question) = &dns.servers[0].checks[0].probe else { panic!() };
    assert_eq!((question.name.as_str(), question.answer), ("example.org", Some([192, 0, 2, 7].into())));

    assert_eq!(tls.servers[0].destination.method, ForwardingMethod::Tunnel);
    assert_eq!(tls.servers[0].checks[0].probe, Probe::Connect);

    assert_eq!(marked.name, "FWM 7");
    let Probe::Command { command, .. } = &marked.servers[0].checks[0].probe else { panic!() };
    assert_eq!(command.arguments, ["7", "0", "%h", "%p"]);
    let script = &marked.notify.as_ref().unwrap().arguments[1];
    assert!(script.contains("'SERVICE FWM 7 DOWN'\\ *) /bin/tell me start 7 fwm;;"), "{script}");
}

#[test]
fn each_service_has_a_check() {
    let probes = |port: u16, more: &str| {
        let text = format!("virtual=192.0.2.1:{port}\n    real=10.0.0.1:{port} masq\n{more}");
        let (config, problems, _) = translated(&text);
        let check = config.services[0].servers[0].checks.first().map(|check| check.probe.clone());
        (check, problems)
    };
    let stream = |probe: Option<Probe>| match probe {
        Some(Probe::Stream { dialogue, tls }) => (dialogue.0.len(), tls.is_some()),
        other => panic!("{other:?}"),
    };
    for (port, expected) in [
        (25, (3, false)),
        (587, (3, false)),
        (110, (2, false)),
        (995, (1, true)),
        (143, (2, false)),
        (993, (1, true)),
        (21, (2, false)),
        (119, (2, false)),
        (3306, (1, false)),
        (5432, (1, false)),
    ] {
        let (probe, problems) = probes(port, "");
        assert_eq!((stream(probe), problems.as_slice()), (expected, &[][..]), "{port}");
    }
    assert!(matches!(probes(443, "").0, Some(Probe::Http(page)) if page.tls.is_some()));
    assert_eq!(probes(12345, "").0, None, "nothing is known of it");
    assert_eq!(probes(80, "    checktype=on\n").0, None);
    assert_eq!(probes(80, "    checktype=off\n").0, Some(Probe::Never));
    assert_eq!(probes(80, "    checktype=ping\n").0, Some(Probe::Ping));
    assert_eq!(probes(80, "    checktype=connect\n    protocol=udp\n").0, Some(Probe::Ping));
    let (probe, _) = probes(7, "    service=simpletcp\n    request=\"a\\nb\"\n    receive=\"^b$\"\n");
    assert!(matches!(probe, Some(Probe::Stream { dialogue, .. }) if dialogue.0[0].send == b"a\nb"));
    assert_eq!(probes(21, "    login=\"a\"\n").1, ["2: real=10.0.0.1:21 masq", "3: login = \"a\""]);
    assert_eq!(probes(1521, "").1, ["2: real=10.0.0.1:1521 masq"]);
    let (probe, problems) = probes(389, "    login=\"cn=a\"\n    passwd=\"b\"\n");
    let Some(Probe::Ldap { bind, tls: None }) = probe else { panic!("{probe:?}") };
    assert_eq!((bind.name.as_str(), bind.password.as_str(), problems.len()), ("cn=a", "b", 0));
}

#[test]
fn files_take_servers_out() {
    let (config, problems, text) =
        translated("maintenancedir=/etc/out\nvirtual=192.0.2.1:80\n    real=10.0.0.1:80 masq\n");
    assert_eq!(problems, [""; 0]);
    let [page, files @ ..] = config.services[0].servers[0].checks.as_slice() else { panic!("{text}") };
    assert!(matches!(page.probe, Probe::Http(_)));
    let paths = files.iter().map(|check| match &check.probe {
        Probe::File(watch) if !watch.exists => (watch.path.as_str(), check.port, check.schedule.fall),
        other => panic!("{other:?}"),
    });
    assert_eq!(paths.collect::<Vec<_>>(), [("/etc/out/%h", 80, 1), ("/etc/out/%h:%p", 80, 1)]);
}

#[test]
fn a_port_that_direct_routing_cannot_change_is_asked_all_the_same() {
    let (config, problems, _) = translated("virtual=192.0.2.1:80\n    real=10.0.0.1:8080 gate\n");
    let server = &config.services[0].servers[0];
    assert_eq!((server.id().port, server.checks[0].port), (80, 8080));
    assert_eq!(problems, ["2: real=10.0.0.1:8080 gate: only masq changes the port"]);
}

#[test]
fn a_host_s_name_costs_its_line_only() {
    let (config, problems, _) = translated(
        "virtual=www.example.org:80\n    real=10.0.0.1:80 masq\n\
         virtual=192.0.2.1:80\n    real=web-1:80 masq\n    real=10.0.0.2:80 masq\n    fallback=spare:80\n",
    );
    let [service] = config.services.as_slice() else { panic!("{config:?}") };
    assert_eq!((service.servers.len(), &service.sorry_server), (1, &None));
    let lines: Vec<_> = problems.iter().map(|problem| problem.split(',').next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "1: the line names the host www.example.org",
            "4: the line names the host web-1",
            "6: the line names the host spare"
        ]
    );
}

#[test]
fn hosts_are_looked_up_in_the_family_that_the_line_is_for() {
    let (config, problems, text) = translated(
        "virtual=web.example:80\n    real=a.example->c.example:80 masq 2\n    fallback=c.example:81 masq\n\
         virtual6=web.example:http\n    real6=six.example:8080 masq\n    real6=a.example:80 masq\n",
    );
    assert_eq!(problems, ["6: the line names the host a.example, and is left out"], "{text}");
    let [web, six] = config.services.as_slice() else { panic!("{text}") };
    let servers = |service: &Service| -> Vec<_> {
        service.servers.iter().map(|server| plan::server_name(&server.id())).collect()
    };
    assert_eq!(web.name, "TCP 192.0.2.10:80");
    assert_eq!(servers(web), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!(web.sorry_server.as_ref().unwrap().id.port, 81);
    assert_eq!(
        (six.name.as_str(), servers(six)),
        ("TCP [2001:db8::10]:80", vec!["[2001:db8::21]:8080".to_owned()])
    );
}

#[test]
fn what_ldirectord_would_refuse_is_refused() {
    for (text, expected) in [
        ("checktimeout=none\n", "1: none is no number of at least 1"),
        ("bogus=1\n", "1: unknown directive `bogus`"),
        ("virtual=192.0.2.1\n", "1: a port is expected behind the address"),
        ("virtual=10.0.0.300:80\n", "1: 10.0.0.300 is no address"),
        ("    real=10.0.0.1:80 gate\n", "1: an indented line belongs to a `virtual`, and there is none"),
        ("virtual=192.0.2.1:80\nreal=10.0.0.1:80 gate\n", "2: unknown directive `real`"),
        ("virtual=1\n    real=10.0.0.1:80 nat\n", "2: gate, masq or ipip is expected, not nat"),
        (
            "virtual=1\n    real=10.0.0.9->10.0.0.1:80 gate\n",
            "2: a range goes from an address to a higher one, and is not too large",
        ),
        ("virtual=1\n    checktype=0\n", "2: unknown checktype"),
        ("virtual=1\n    protocol=tcp\n", "2: protocol is tcp or udp, and fwm with a mark only"),
        ("quiescent=maybe\n", "1: yes or no is expected"),
        ("nonsense\n", "1: `NAME = VALUE` is expected"),
    ] {
        let Err(ImportError::Malformed(problems)) = translate(text, Path::new("l.cf"), hosts) else {
            panic!("{text}")
        };
        let told: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.place.line, p.what)).collect();
        assert_eq!(told, [expected], "{text}");
    }
}
