use super::*;
use crate::config::{Config, Ends, Expected, Probe, Step, WhenDown};
use rlvs_ipvs::{ForwardingMethod, Netmask, ServiceId};

/// Two web servers by direct routing, and a standby.
const SAMPLE: &str = r#"
serial_no = 12
primary = 192.0.2.2
primary_private = 10.9.9.2
backup = 192.0.2.3
backup_private = 10.9.9.3
backup_active = 1
service = lvs
heartbeat = 1
heartbeat_port = 539
keepalive = 0x6
deadtime = 18
network = direct
debug_level = NONE
monitor_links = 1
syncdaemon = 1
virtual web {
     active = 1
     address = 192.0.2.10 eth0:1
     vip_nmask = 255.255.255.0
     port = 80
     persistent = 300
     pmask = 255.255.255.0
     send = "GET /health HTTP/1.0\r\n\r\n"
     expect = "HTTP/1.* 200"
     use_regex = 0
     load_monitor = none
     scheduler = wrr
     protocol = tcp
     timeout = 6
     reentry = 15
     quiesce_server = 0
     sorry_server = 192.0.2.50
     server web1 {
         address = 192.0.2.21
         active = 1
         weight = 2
     }
     server web2 {
         address = 192.0.2.22
         active = 1
     }
     server spare {
         address = 192.0.2.23
     }
}
"#;

fn translated(text: &str) -> (Config, Vec<Problem>, String) {
    let Translation { text, problems } = translate(text, Path::new("lvs.cf")).unwrap();
    (Config::parse(&text, Path::new("")).unwrap(), problems, text)
}

/// `LINE: what is wrong`.
fn faults(text: &str) -> Vec<String> {
    match translate(text, Path::new("lvs.cf")) {
        Err(ImportError::Malformed(problems)) => {
            let line = |problem: &Problem| {
                let what = problem.what.split(':').next().unwrap_or_default();
                format!("{}: {what}", problem.place.line)
            };
            problems.iter().map(line).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sample_is_one_service_with_two_servers() {
    let file = read::read(SAMPLE).unwrap();
    assert_eq!((file.keepalive, file.deadtime, file.backup_active), (6, 18, true));
    let (config, problems, text) = translated(SAMPLE);
    let [service] = config.services.as_slice() else { panic!("{text}") };
    assert_eq!((service.name.as_str(), service.service.scheduler.as_str()), ("web", "wrr"));
    assert_eq!(
        (service.service.timeout, service.service.netmask),
        (300, Netmask::V4([255, 255, 255, 0].into()))
    );
    let weights: Vec<_> = service.servers.iter().map(|server| server.destination.weight).collect();
    assert_eq!(weights, [2, 1]);
    assert_eq!(service.servers[0].destination.method, ForwardingMethod::DirectRoute);
    assert_eq!(service.servers[0].id().port, 80, "the service's");
    assert_eq!(service.servers[0].when_down, WhenDown::Remove);
    assert_eq!(service.servers[0].slow_start, Duration::from_secs(100));
    let sorry = service.sorry_server.as_ref().unwrap();
    assert_eq!((crate::plan::server_name(&sorry.id), sorry.weight), ("192.0.2.50:80".to_owned(), 1));
    let check = &service.servers[0].checks[0];
    assert_eq!(
        (check.schedule.interval, check.schedule.timeout),
        (Duration::from_secs(6), Duration::from_secs(6))
    );
    assert_eq!((check.schedule.rise, check.schedule.fall), (3, 1));
    let Probe::Stream { dialogue, tls: None } = &check.probe else { panic!("{check:?}") };
    let [Step { send, expect: Some(expect) }] = dialogue.0.as_slice() else { panic!("{dialogue:?}") };
    assert_eq!(send, b"GET /health HTTP/1.0\r\n\r\n");
    assert!(matches!(expect, Expected::Pattern(_)));
    let told: Vec<_> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told, ["syncdaemon = 1"]);
    assert!(text.contains("# lvs.cf:17: virtual web\n[[service]]\n"), "{text}");
}

#[test]
fn a_star_is_any_octet_and_the_text_is_the_beginning() {
    let matches = |expect: &str, is_regex, answer: &[u8]| {
        regex::bytes::Regex::new(&pattern(expect, is_regex)).unwrap().is_match(answer)
    };
    assert!(matches("HTTP/1.* 200", false, b"HTTP/1.1 200 OK"));
    assert!(matches("a*b", false, b"a\nb") && matches("a*b", false, b"a\xffb"));
    assert!(!matches("HTTP/1.* 200", false, b"HTTP/1.1 404"));
    assert!(!matches("HTTP", false, b" HTTP"), "not at the beginning");
    assert!(!matches("a.b", false, b"axb"), "a dot is a dot");
    assert!(matches("a.b", true, b"xxaxb"));
    assert_eq!(unescaped(r#"a\r\n\t\\\"\'\d\"#), "a\r\n\t\\\"'\\d\\");
}

#[test]
fn what_has_no_keys_has_defaults() {
    let (config, problems, text) = translated(
        "virtual a {\nactive = 1\naddress = 192.0.2.1 eth0\nserver s {\naddress = 10.0.0.1\nactive = 1\nport = 8080\n}\n}",
    );
    let [service] = config.services.as_slice() else { panic!("{text}") };
    let [server] = service.servers.as_slice() else { panic!("{text}") };
    assert_eq!(
        (service.service.scheduler.as_str(), server.destination.method),
        ("wlc", ForwardingMethod::Masquerade)
    );
    assert_eq!((server.id().port, server.checks[0].port), (8080, 8080));
    assert_eq!((server.checks[0].schedule.rise, server.checks[0].schedule.fall), (18, 1));
    assert!(matches!(server.checks[0].probe, Probe::Stream { .. }), "port 80 is asked for a page");
    let told: Vec<_> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told, ["the virtual addresses: there is no `primary`"]);
}

#[test]
fn the_heartbeat_is_the_same_on_both_machines() {
    let (config, ..) = translated(SAMPLE);
    let heartbeat = config.heartbeat.unwrap();
    let ends =
        |primary: [u8; 4], backup: [u8; 4]| Ends { primary: primary.into(), backup: Some(backup.into()) };
    assert_eq!(heartbeat.public, ends([192, 0, 2, 2], [192, 0, 2, 3]));
    assert_eq!(heartbeat.private, Some(ends([10, 9, 9, 2], [10, 9, 9, 3])));
    assert_eq!((heartbeat.port, heartbeat.keepalive.as_secs(), heartbeat.deadtime.as_secs()), (539, 6, 18));
    assert!(heartbeat.monitor_links);
    let [vip] = heartbeat.addresses.as_slice() else { panic!("{heartbeat:?}") };
    assert_eq!((vip.address, vip.prefix, vip.interface.as_str()), ([192, 0, 2, 10].into(), 24, "eth0"));
}

#[test]
fn without_a_backup_there_is_no_heartbeat() {
    for off in ["backup_active = 0", "heartbeat = 0"] {
        let on = off.replace('0', "1");
        let (config, ..) = translated(&SAMPLE.replace(&on, off));
        let heartbeat = config.heartbeat.unwrap();
        assert_eq!((heartbeat.public.backup, heartbeat.private), (None, None), "{off}");
        assert_eq!(heartbeat.addresses.len(), 1);
    }
}

#[test]
fn nat_has_a_shared_gateway_and_programs_are_called() {
    let more = "network = nat\nnat_router = 10.0.0.254 eth1:1\nnat_nmask = 255.255.0.0\nactive_cmd = \"/bin/up now\"\n";
    let (config, ..) = translated(&SAMPLE.replace("network = direct\n", more));
    let heartbeat = config.heartbeat.unwrap();
    let gateway = &heartbeat.addresses[1];
    assert_eq!(
        (gateway.address, gateway.prefix, gateway.interface.as_str()),
        ([10, 0, 0, 254].into(), 16, "eth1")
    );
    let script = &heartbeat.notify.unwrap().arguments[1];
    assert!(script.contains(r"'INSTANCE heartbeat MASTER'\ *) /bin/sh -c '/bin/up now';;"), "{script}");
}

#[test]
fn other_kinds_of_services() {
    let (config, _, text) = translated(
        "network = tunnel\nvirtual dns {\nactive = 1\naddress = 192.0.2.1 eth0\nport = 53\nprotocol = udp\n\
         pmask = 255.255.255.255\nquiesce_server = 1\nsend_program = \"/bin/ask %h\"\nexpect = \"OK\"\n\
         server s {\naddress = 10.0.0.1\nactive = 1\nport = 54\n}\n}\n\
         virtual marked {\nactive = 1\nfwmark = 7\nport = 443\nserver s {\naddress = 10.0.0.1\nactive = 1\n}\n}\n\
         virtual off {\naddress = 192.0.2.1 eth0\nport = 81\n}",
    );
    let [dns, marked] = config.services.as_slice() else { panic!("{text}") };
    assert_eq!(dns.service.netmask, Netmask::V4([255; 4].into()));
    assert!(!text.contains("netmask"), "{text}");
    assert_eq!(dns.servers[0].when_down, WhenDown::Quiesce);
    assert_eq!(dns.servers[0].id().port, 53, "a tunnel does not change it");
    let Probe::Command { command, output, weigh: false } = &dns.servers[0].checks[0].probe else { panic!() };
    assert_eq!((command.arguments.as_slice(), output.as_deref()), (&["%h".to_owned()][..], Some("OK")));
    assert!(matches!(marked.service.id, ServiceId::Mark { mark, .. } if mark.get() == 7));
    assert_eq!((marked.servers[0].id().port, marked.servers[0].checks[0].port), (0, 443));
    assert!(matches!(marked.servers[0].checks[0].probe, Probe::Connect));
}

#[test]
fn faults_are_those_of_piranha() {
    assert_eq!(faults("foo = 1\n"), ["1: unknown command"]);
    assert_eq!(faults("backup_active = yes\n"), ["1: boolean expected"]);
    assert_eq!(faults("backup_active = 2\n"), ["1: boolean expected"]);
    assert_eq!(faults("rsh_command = \"ssh\n"), ["1: quotation mismatch"]);
    assert_eq!(faults("virtual a {\n active = 1\n"), ["2: unexpected end of file"]);
    assert_eq!(faults("keepalive = six\n"), ["1: integer expected"]);
    assert_eq!(faults("keepalive = 08\n"), ["1: integer expected"]);
    assert_eq!(faults("keepalive=6\nkeepalive 6 7\n"), ["1: unknown command", "2: equal sign expected"]);
    assert_eq!(faults("keepalive =\nkeepalive = 1 2"), ["1: missing arguments", "2: unexpected arguments"]);
    assert_eq!(
        faults("primary = web\nnetwork = ipip\n"),
        [
            "1: invalid host name or IP address; names are not looked up, write the address",
            "2: invalid argument"
        ]
    );
    assert_eq!(faults("nat_nmask = 255.0.255.0\n"), ["1: bad subnet mask"]);
    assert_eq!(faults("virtual a\n}\n"), ["1: list expected", "2: unknown command"]);
    assert_eq!(faults("# nothing\n\n"), ["2: empty configuration"]);
    assert_eq!(faults("failover a {\nactive = 1\nfoo = 1\n}\n"), ["3: unknown command"]);
}

#[test]
fn numbers_are_decimal_hexadecimal_or_octal() {
    for (text, number) in [("6", 6), ("0x6", 6), ("0X1f", 31), ("010", 8), ("0", 0)] {
        assert_eq!(read::read(&format!("keepalive = {text}")).unwrap().keepalive, number, "{text}");
    }
    for text in ["0x", "+6", "6s", "0x+1", "0+7", "--1"] {
        assert_eq!(faults(&format!("keepalive = {text}")), ["1: integer expected"], "{text}");
    }
    assert_eq!(faults("keepalive = -1"), ["1: invalid argument"]);
}
