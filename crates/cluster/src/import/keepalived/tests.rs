use super::*;
use crate::config::{Config, Instance, Probe, Recipient, Service, Start, Version, Watched, WhenDown};
use rlvs_ipvs::{ForwardingMethod, Netmask, ServiceFlags};
use std::time::Duration;

/// The configuration, and what could not be translated as `LINE: what`.
fn translated(text: &str) -> (Config, Vec<String>) {
    let Translation { text, problems } = translate(text, Path::new("/etc/k.conf"), "main").unwrap();
    let config = Config::parse(&text, Path::new("")).unwrap();
    (config, problems.iter().map(|problem| format!("{}: {}", problem.place.line, problem.what)).collect())
}

/// All is translated into one service.
fn service(text: &str) -> Service {
    let (mut config, problems) = translated(text);
    assert_eq!(problems, [""; 0]);
    assert_eq!(config.services.len(), 1);
    config.services.remove(0)
}

fn instance(text: &str) -> Instance {
    let (mut config, problems) = translated(text);
    assert_eq!(problems, [""; 0]);
    config.instances.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A virtual server with a real server of this content.
fn checked(checkers: &str) -> String {
    format!(
        "virtual_server 192.0.2.10 80 {{\n protocol TCP\n real_server 10.0.0.1 8080 {{\n {checkers}\n }}\n}}"
    )
}

#[test]
fn mail_goes_where_keepalived_would_send_it() {
    let mail = "global_defs {\n notification_email {\n ops\n a@example.org\n }\n notification_email_from b@example.org\n \
                smtp_server 2001:db8::25 26\n smtp_connect_timeout 30\n smtp_alert\n}\n";
    let Translation { text, problems } = translate(mail, Path::new("k.conf"), "id").unwrap();
    assert_eq!(problems, []);
    let recipients = Config::parse(&text, Path::new("")).unwrap().recipients;
    let [Recipient::Mail(mail)] = recipients.as_slice() else { panic!("{text}") };
    assert_eq!((mail.host.as_str(), mail.port, mail.from.as_str()), ("2001:db8::25", 26, "b@example.org"));
    assert_eq!(mail.to, ["ops@localhost", "a@example.org"]);
}

#[test]
fn scripts_that_only_connect_become_checks_and_servers_of_marks_are_asked_at_their_ports() {
    let text = "vrrp_script s {\n script \"</dev/tcp/127.0.0.1/80\"\n interval 2\n}\n\
                vrrp_instance A {\n interface eth0\n virtual_router_id 1\n smtp_alert\n virtual_ipaddress {\n 192.0.2.1\n \
                192.0.2.1 label eth0:1\n }\n track_script {\n s\n }\n}\n\
                virtual_server fwmark 5 {\n lvs_method NAT\n real_server 10.0.0.1 81 {\n TCP_CHECK {\n }\n \
                SMTP_CHECK {\n connect_port 25\n helo_name a.example\n }\n }\n}\n";
    let Translation { text, problems } = translate(text, Path::new("k.conf"), "id").unwrap();
    assert_eq!(problems, [], "{text}");
    let config = Config::parse(&text, Path::new("")).unwrap();
    assert_eq!(config.instances[0].addresses.len(), 1, "{text}");
    assert!(text.contains(r#"type = "tcp", address = "127.0.0.1", port = 80"#), "{text}");
    let checks = &config.services[0].servers[0].checks;
    assert_eq!(checks.iter().map(|check| check.port).collect::<Vec<_>>(), [81, 25]);
    assert!(text.contains(r#"helo = "a.example""#), "{text}");
}

#[test]
fn a_virtual_server_with_everything() {
    let service = service(
        "virtual_server 192.0.2.10 80 {\n delay_loop 6\n lvs_sched mh\n mh-port\n lvs_method DR\n protocol TCP\n \
         persistence_timeout 50\n persistence_granularity 255.255.255.0\n quorum 2\n hysteresis 1\n alpha\n \
         inhibit_on_failure\n sorry_server 10.0.0.9 80\n sorry_server_lvs_method NAT\n quorum_up \"/bin/q up\"\n \
         real_server 10.0.0.1 80 {\n weight 3\n uthreshold 100\n lthreshold 50\n TCP_CHECK {\n connect_timeout 3\n \
         retry 2\n delay_before_retry 2\n }\n }\n real_server 10.0.0.2 80 {\n lvs_method TUN type gue port 6080\n \
         inhibit_on_failure off\n PING_CHECK { }\n notify_down \"/bin/d 'a b'\"\n }\n}",
    );
    let kernel = &service.service;
    assert_eq!((kernel.scheduler.as_str(), kernel.timeout), ("mh", 50));
    assert_eq!(kernel.netmask, Netmask::V4([255, 255, 255, 0].into()));
    let flags = kernel.flags.apply(ServiceFlags::empty());
    assert!(flags.contains(ServiceFlags::SCHED2 | ServiceFlags::PERSISTENT));
    assert_eq!((service.quorum, service.hysteresis), (2, 1));
    let sorry = service.sorry_server.as_ref().unwrap();
    assert_eq!((sorry.method, sorry.id.port), (ForwardingMethod::Masquerade, 80));
    let [one, two] = service.servers.as_slice() else { panic!() };
    assert_eq!((one.start, one.when_down), (Start::Down, WhenDown::Quiesce));
    assert_eq!(
        (one.destination.weight, one.destination.upper_threshold, one.destination.lower_threshold),
        (3, 100, 50)
    );
    assert_eq!(one.destination.method, ForwardingMethod::DirectRoute);
    let schedule = &one.checks[0].schedule;
    assert_eq!((schedule.interval, schedule.retry, schedule.timeout), (seconds(6), seconds(2), seconds(3)));
    assert_eq!((schedule.rise, schedule.fall), (1, 3));
    assert_eq!((two.destination.method, two.destination.tunnel.port), (ForwardingMethod::Tunnel, 6080));
    assert_eq!((two.when_down, &two.checks[0].probe), (WhenDown::Remove, &Probe::Ping));
    let script = &service.notify.as_ref().unwrap().arguments[1];
    for case in
        ["'SERVICE TCP 192.0.2.10:80 UP'", "'SERVER TCP 192.0.2.10:80 10.0.0.2:80 DOWN'", "/bin/d 'a b';;"]
    {
        assert!(script.contains(case), "{script}");
    }
}

#[test]
fn what_is_not_said_is_keepalived_s_default() {
    let service = service(&checked("TCP_CHECK { }"));
    let [server] = service.servers.as_slice() else { panic!() };
    assert_eq!(
        (service.service.scheduler.as_str(), server.destination.method),
        ("wlc", ForwardingMethod::Masquerade)
    );
    assert_eq!((server.start, server.id().port, server.checks[0].port), (Start::Up, 8080, 8080));
    let schedule = &server.checks[0].schedule;
    assert_eq!((schedule.interval, schedule.retry, schedule.timeout), (seconds(60), seconds(1), seconds(5)));
    assert_eq!((schedule.rise, schedule.fall), (1, 2));
}

#[test]
fn each_checker_has_a_counterpart() {
    let probes = |text: &str| {
        let service = service(&checked(text));
        service.servers[0].checks.clone()
    };
    let checks = probes(
        "HTTP_GET {\n virtualhost a.example\n url {\n path /one\n status_code 200 301-302\n }\n url {\n path /two\n \
         virtualhost b.example\n regex \"a+\"\n regex_options caseless\n }\n connect_port 81\n }",
    );
    let [Probe::Http(one), Probe::Http(two)] = [&checks[0].probe, &checks[1].probe] else { panic!() };
    assert_eq!((one.path.as_str(), one.host.as_deref(), one.status.len()), ("/one", Some("a.example"), 2));
    assert_eq!((two.host.as_deref(), checks[1].port), (Some("b.example"), 81));
    assert!(two.body.as_ref().unwrap().is_in(b"xAAx"));
    assert_eq!((checks[0].schedule.retry, checks[0].schedule.fall), (seconds(3), 2));

    let checks = probes("SSL_GET {\n enable_sni\n virtualhost a.example\n url {\n path /\n }\n }");
    let Probe::Http(page) = &checks[0].probe else { panic!() };
    assert_eq!(page.tls.as_ref().unwrap().name.as_deref(), Some("a.example"));

    let checks = probes("SMTP_CHECK {\n host {\n connect_ip 10.0.0.5\n connect_port 25\n }\n host { }\n }");
    assert_eq!((checks[0].address, checks[0].port, checks[1].port), (Some([10, 0, 0, 5].into()), 25, 8080));

    let checks = probes("DNS_CHECK {\n type A\n name example.org\n delay_loop 10\n }");
    assert_eq!((checks[0].schedule.retry, checks[0].schedule.fall), (seconds(10), 4));

    let checks =
        probes("MISC_CHECK {\n misc_path \"/bin/ask 10.0.0.1 'x y'\"\n misc_timeout 7\n misc_dynamic\n }");
    let Probe::Command { command, weigh: true, .. } = &checks[0].probe else { panic!() };
    assert_eq!(command.arguments, ["10.0.0.1", "x y"]);
    assert_eq!((checks[0].schedule.timeout, checks[0].schedule.fall), (seconds(7), 1));

    let checks = probes("SSL_GET {\n url {\n path /\n digest 9b3a0c85a887a256d6939da88aabd8cd\n }\n }");
    assert!(matches!(&checks[0].probe, Probe::Http(page) if page.digest.is_some()));

    let checks = probes("UDP_CHECK {\n payload 70696e670a\n require_reply 706fXX\n }\n TCP_CHECK { }");
    let Probe::Datagram(dialogue) = &checks[0].probe else { panic!() };
    assert_eq!(dialogue.0[0].send, b"ping\n");
    assert!(dialogue.0[0].expect.as_ref().unwrap().is_in(b"pong"));
    assert_eq!(checks.len(), 2);
}

#[test]
fn checks_over_tls_show_a_certificate() {
    let service = service(&format!(
        "SSL {{\n certificate /etc/c.pem\n key /etc/k.pem\n}}\n{}",
        checked("SSL_GET {\n url {\n path /\n }\n }")
    ));
    let Probe::Http(page) = &service.servers[0].checks[0].probe else { panic!() };
    let identity = page.tls.as_ref().unwrap().identity.as_ref().unwrap();
    assert_eq!(
        (identity.certificate.as_path(), identity.key.as_path()),
        (Path::new("/etc/c.pem"), Path::new("/etc/k.pem"))
    );
}

#[test]
fn a_group_is_many_services() {
    let (config, problems) = translated(
        "virtual_server group web {\n protocol TCP\n lvs_method DR\n real_server 10.0.0.1 80 {\n TCP_CHECK {\n }\n }\n}\n\
         virtual_server_group web {\n 192.0.2.1-2 80\n fwmark 7\n 192.0.2.3 443\n}",
    );
    let names: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["TCP 192.0.2.1:80", "TCP 192.0.2.2:80", "FWM 7", "TCP 192.0.2.3:443"]);
    let ports: Vec<_> =
        config.services.iter().map(|s| (s.servers[0].id().port, s.servers[0].checks[0].port)).collect();
    assert_eq!(ports, [(80, 80), (80, 80), (0, 80), (443, 80)]);
    assert_eq!(problems, [""; 0]);
}

#[test]
fn an_instance_with_everything() {
    let instance = instance(
        "interface_up_down_delays {\n eth0 0.3\n}\nglobal_defs {\n router_id here\n vrrp_version 3\n vrrp_garp_master_refresh 60\n}\n\
         vrrp_script well {\n script \"/bin/well 1\"\n interval 2\n weight -20\n fall 3\n}\n\
         vrrp_instance VI_1 {\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 150\n advert_int 0.2\n \
         nopreempt\n unicast_src_ip 192.0.2.2\n unicast_peer {\n 192.0.2.3\n 192.0.2.4\n }\n authentication {\n \
         auth_type PASS\n auth_pass ignored\n }\n virtual_ipaddress {\n 192.0.2.100/24 dev eth1 label eth1:1\n \
         192.0.2.101 brd 192.0.2.255 dev eth1\n }\n virtual_ipaddress_excluded {\n 2001:db8::1/64 dev eth1\n }\n \
         track_interface {\n eth2\n eth3 weight 5\n }\n track_script {\n well\n }\n garp_master_delay 1\n \
         notify \"/bin/tell me\"\n}",
    );
    assert_eq!((instance.name.as_str(), instance.interface.as_str(), instance.id), ("VI_1", "eth0", 51));
    assert_eq!(
        (instance.version, instance.priority, instance.interval),
        (Version::V3, 155, Duration::from_millis(200))
    );
    assert!(!instance.preempt);
    assert_eq!(instance.debounce, Duration::from_millis(300));
    assert_eq!(instance.source, Some([192, 0, 2, 2].into()));
    assert_eq!((instance.peers.len(), instance.password), (2, None));
    let vips: Vec<_> =
        instance.addresses.iter().map(|vip| (vip.prefix, vip.interface.as_str(), vip.advertised)).collect();
    assert_eq!(vips, [(24, "eth1", true), (32, "eth1", true), (64, "eth1", false)]);
    let weights: Vec<_> = instance.tracked.iter().map(|tracked| tracked.weight).collect();
    assert_eq!(weights, [0, -5, -20]);
    let Watched::Check(check) = &instance.tracked[2].what else { panic!() };
    assert_eq!(
        (check.schedule.interval, check.schedule.timeout, check.schedule.fall),
        (seconds(2), seconds(2), 3)
    );
    assert_eq!(
        (instance.announce.repeat, instance.announce.again, instance.announce.refresh),
        (5, seconds(1), seconds(60))
    );
    assert_eq!(instance.notify.unwrap().arguments, ["me"]);
}

#[test]
fn versions_states_and_passwords() {
    let text = |more: &str| {
        format!(
            "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{ 192.0.2.1 }}\n {more}\n}}"
        )
    };
    let own = instance(&text(
        "state MASTER\n nopreempt\n authentication {\n auth_type PASS\n auth_pass much_too_long\n }",
    ));
    assert!(own.preempt, "a first master always preempts");
    assert_eq!((own.version, own.password, own.priority), (Version::V2, Some(*b"much_too"), 100));
    let six = instance(
        "vrrp_instance A {\n interface eth0\n virtual_router_id 1\n version 2\n virtual_ipaddress { fe80::9 }\n}",
    );
    assert_eq!(six.version, Version::V3);
    let told = instance(&text("notify_master /bin/up\n notify_stop \"/bin/off now\""));
    let script = told.notify.unwrap().arguments[1].clone();
    assert_eq!(
        script,
        "case \"$*\" in 'INSTANCE A MASTER'|'INSTANCE A MASTER'\\ *) /bin/up;; 'INSTANCE A STOP'|'INSTANCE A STOP'\\ *) /bin/off now;; esac"
    );
}

#[test]
fn a_sync_group_shares_what_is_tracked() {
    let instance = |name: &str, id| {
        format!(
            "vrrp_instance {name} {{\n interface eth{id}\n virtual_router_id {id}\n virtual_ipaddress {{ 192.0.2.{id} }}\n track_script {{ s weight 9 }}\n}}\n"
        )
    };
    let (config, problems) = translated(&format!(
        "vrrp_sync_group G {{\n group {{\n A\n B\n }}\n track_interface {{ eth9 weight -7 }}\n notify_fault /bin/f\n}}\n\
         vrrp_script s {{ script /bin/s }}\n{}{}",
        instance("A", 1),
        instance("B", 2)
    ));
    assert_eq!(problems, [""; 0]);
    assert_eq!(config.groups[0].members, ["A", "B"]);
    assert!(config.groups[0].notify.is_some());
    for instance in &config.instances {
        // A member's own script is a fault, as keepalived makes it one.
        assert_eq!(instance.tracked.iter().map(|tracked| tracked.weight).collect::<Vec<_>>(), [0, -7]);
    }
}

#[test]
fn what_has_no_counterpart_is_named_with_its_line() {
    let (config, problems) = translated(
        "global_defs {\n notification_email {\n a@example.org\n }\n}\nstatic_routes {\n 10.0.0.0/8 via 192.0.2.254\n}\n\
         vrrp_instance A {\n interface eth0\n virtual_router_id 1\n use_vmac\n virtual_ipaddress {\n 192.0.2.1 dev eth1\n \
         192.0.2.2\n }\n track_file {\n f weight 3\n }\n}\nvirtual_server 192.0.2.10 80 {\n real_server 10.0.0.1 80 {\n \
         FILE_CHECK {\n track_file f\n }\n notify_up /bin/up user\n strange thing\n }\n quorum 5\n}",
    );
    assert_eq!((config.instances.len(), config.services.len()), (1, 1));
    assert_eq!(
        problems,
        [
            "2: `notification_email`",
            "6: `static_routes`",
            "12: `use_vmac`",
            "14: `192.0.2.1 dev eth1`",
            "18: `track_file f weight 3`",
            "21: `virtual_server 192.0.2.10 80` has no protocol",
            "21: virtual_server 192.0.2.10 80: a quorum of 5",
            "23: `FILE_CHECK`",
            "26: `notify_up /bin/up user`",
            "27: `strange thing`: an unknown keyword",
        ]
    );
}

#[test]
fn files_are_included() {
    let folder = std::env::temp_dir().join(format!("rlvs-import-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let server = |n: u8| format!("virtual_server 192.0.2.{n} 80 {{\n protocol TCP\n}}\n");
    for n in [2, 1] {
        std::fs::write(folder.join(format!("conf.d/{n}.conf")), server(n)).unwrap();
    }
    std::fs::write(folder.join("all.conf"), "include conf.d/*.conf\ninclude none.conf\n").unwrap();
    let main = folder.join("main.conf");
    let result = translate("include all.conf\ninclude main.conf", &main, "main");
    std::fs::write(&main, "include main.conf\n").unwrap();
    let circle = translate("include main.conf", &main, "main").unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let Translation { text, problems } = result.unwrap();
    let config = Config::parse(&text, Path::new("")).unwrap();
    let names: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["TCP 192.0.2.1:80", "TCP 192.0.2.2:80"]);
    assert!(
        text.contains(&format!("# {}:1: virtual_server", folder.join("conf.d/1.conf").display())),
        "{text}"
    );
    let places: Vec<_> = problems.iter().map(|problem| problem.place.to_string()).collect();
    let place = |file: &str, line| format!("{}:{line}", folder.join(file).display());
    assert_eq!(places, [place("all.conf", 2), place("main.conf", 2)]);
    assert_eq!(circle.problems.len(), 1, "{circle:?}");
}
