//! Each kind of mistake in each key: told with its line, its name and what would be right.

use super::*;

/// Every key there is, each on a line of its own.
const FULL: &str = r#"
other_services = "delete"
auto_reload = true
notify = "/bin/true"

[programs]
user = "root"
capabilities = "keep"

[mail]
server = "mail.example.org"
tls = "starttls"
tls_name = "mail.example.org"
ca = "/etc/ca.pem"
user = "rlvs"
password_file = "/etc/rlvs/password"
from = "rlvs@example.org"
to = "ops@example.org"

[[webhook]]
url = "https://example.org/hook"
ca = "/etc/ca.pem"
authorization = "Bearer zork"

[[service]]
name = "web"
tcp = "192.0.2.10:80"
scheduler = "mh"
scheduler_flags = "mh-port"
persistent = "6m"
netmask = "255.255.255.0"
persistence_engine = "sip"
one_packet = true
forward = "tunnel"
quorum = 1
hysteresis = 1
start = "up"
when_down = "drain"
drain = "5m"
slow_start = "1m"
notify = "/bin/true"

[service.tunnel]
type = "gue"
port = 6080
checksum = "yes"

[service.sorry_server]
address = "192.0.2.99"
forward = "direct"

[service.sorry_server.tunnel]
type = "ipip"

[[service.check]]
type = "tcp"
interval = "5s"
retry = "1s"
timeout = "3s"
jitter = "1s"
rise = 2
fall = 2
connects = 3
address = "192.0.2.98"
port = 81
send = "hello"
expect = "hello"

[[service.check]]
type = "udp"
send_hex = "00ff"
expect_regex = "^a"

[[service.check]]
type = "https"
method = "GET"
path = "/health"
host = "www.example.org"
status = "200-299"
body = "well"
digest = "md5:481e8004a90439c8f16f4ffd47b3a24a"
tls_name = "www.example.org"
ca = "/etc/ca.pem"
certificate = "/etc/own.pem"
key = "/etc/own.key"

[[service.check]]
type = "http"
body_regex = "well"

[[service.check]]
type = "tls"
send = "hello"
expect = "hello"
tls_name = "www.example.org"
ca = "/etc/ca.pem"
certificate = "/etc/own.pem"
key = "/etc/own.key"

[[service.check]]
type = "dns"
name = "example.org"
record = "A"
answer = "192.0.2.1"

[[service.check]]
type = "command"
command = "/bin/true"
output = "well"
weigh = false

[[service.check]]
type = "file"
path = "/run/well"
exists = true
weigh = true

[[service.check]]
type = "ldaps"
name = "cn=admin"
password = "secret"
tls_name = "www.example.org"
ca = "/etc/ca.pem"
certificate = "/etc/own.pem"
key = "/etc/own.key"

[[service.check]]
type = "grpcs"
service = "a.B"
host = "www.example.org"
tls_name = "www.example.org"
ca = "/etc/ca.pem"
certificate = "/etc/own.pem"
key = "/etc/own.key"

[[service.check]]
type = "smtp"
helo = "lb.example.org"

[[service.server]]
address = "192.0.2.21"
weight = 2
upper_threshold = 100
lower_threshold = 50
forward = "direct"
start = "down"
when_down = "drain"
drain = "5m"
slow_start = "1m"

[service.server.tunnel]
type = "gre"
checksum = "remote"

[[service.server.check]]
type = "ping"

[[service]]
mark = 7
family = "ipv6"

[[service]]
udp = "192.0.2.10:53"

[[service]]
sctp = "192.0.2.10:99"

[[vrrp]]
name = "VI_1"
interface = "eth0"
id = 51
addresses = "192.0.2.10/32"
unadvertised = "2001:db8::10/64"
address_interface = "eth1"
version = 2
interval = "1s"
password = "secret"
source = "192.0.2.1"
peers = "192.0.2.2"
priority = 150
preempt = true
preempt_delay = "10s"
pseudo_header = true
debounce = "1s"
notify = "/bin/true"

[[vrrp.track]]
interface = "eth2"
weight = -20

[[vrrp.track]]
weight = -20

[vrrp.track.check]
type = "ping"

[vrrp.announce]
repeat = 5
again = "5s"
refresh = "1m"

[[sync_group]]
name = "G1"
members = "VI_1"
notify = "/bin/true"

[heartbeat]
primary = "192.0.2.1"
backup = "192.0.2.2"
primary_private = "10.0.0.1"
backup_private = "10.0.0.2"
port = 539
keepalive = "2s"
deadtime = "5s"
monitor_links = true
notify = "/bin/true"

[[heartbeat.addresses]]
address = "192.0.2.11/24"
interface = "eth0"
"#;

/// Texts that may be anything.
const FREE: [&str; 11] = [
    "body",
    "body_regex",
    "expect",
    "expect_regex",
    "name",
    "output",
    "password",
    "persistence_engine",
    "scheduler",
    "send",
    "service",
];

/// A line `key = value`, and its number.
struct Line {
    number: usize,
    key: &'static str,
    value: &'static str,
}

fn lines() -> Vec<Line> {
    let pair = |(number, line): (usize, &'static str)| {
        let (key, value) = line.split_once(" = ")?;
        Some(Line { number, key, value })
    };
    (1..).zip(FULL.lines()).filter_map(pair).collect()
}

/// The mistakes of [`FULL`] with another line, or several, in the place of one.
fn mistakes(number: usize, replacement: &str) -> Vec<Mistake> {
    let replaced = |(at, line)| if at == number { replacement } else { line };
    let text: Vec<_> = (1..).zip(FULL.lines()).map(replaced).collect();
    match Config::parse(&text.join("\n"), Path::new("c.toml")) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Mistakes(mistakes)) => mistakes,
        Err(error) => panic!("{error}"),
    }
}

/// There is a mistake in this line that names the key.
fn is_told(number: usize, key: &str, replacement: &str) -> bool {
    let named = format!("`{key}`");
    mistakes(number, replacement)
        .iter()
        .any(|mistake| mistake.line == number && mistake.reason.contains(&named))
}

#[test]
fn the_full_file_is_right_and_has_every_key() {
    let right = Config::parse(FULL, Path::new("c.toml"));
    assert!(right.is_ok(), "{}", right.unwrap_err());
    let mut sections: Vec<(usize, &str)> =
        (1..).zip(FULL.lines()).filter(|(_, line)| line.starts_with('[')).collect();
    sections.insert(0, (1, ""));
    for (number, header) in sections {
        let mistakes = mistakes(number, &format!("{header}\nzzzzzzzz = 1"));
        let found = mistakes.iter().find(|mistake| mistake.reason == "unknown key `zzzzzzzz`");
        let found = found.unwrap_or_else(|| panic!("{header}: {mistakes:?}"));
        assert_eq!(found.line, number + 1);
        let known = found.help.as_ref().unwrap().strip_prefix("here can be: ").unwrap();
        for key in known.split(", ") {
            let there = lines().iter().any(|line| line.key == key)
                || FULL.lines().any(|line| line.trim_matches(['[', ']']).rsplit('.').next() == Some(key));
            assert!(there, "{header} can have `{key}`, which the full file lacks");
        }
    }
}

#[test]
fn a_slip_in_a_key_is_told_with_the_right_one() {
    for Line { number, key, value } in lines() {
        let found = mistakes(number, &format!("{key}x = {value}"));
        let slip = format!("unknown key `{key}x`");
        let Some(found) = found.iter().find(|mistake| mistake.reason == slip) else {
            // Of a check without a kind, nobody knows the keys.
            assert!(found.iter().any(|mistake| mistake.reason.starts_with("`type` is missing")), "{found:?}");
            continue;
        };
        assert_eq!((found.line, found.help.as_deref()), (number, Some(&*format!("did you mean `{key}`?"))));
    }
}

#[test]
fn a_key_may_stand_once_only() {
    for Line { number, key, value } in lines() {
        let found = mistakes(number, &format!("{key} = {value}\n{key} = {value}"));
        assert!(
            found
                .iter()
                .any(|mistake| mistake.line == number + 1 && mistake.reason.contains("duplicate key")),
            "{key}: {found:?}"
        );
    }
}

#[test]
fn a_value_of_the_wrong_type_is_told() {
    for Line { number, key, .. } in lines() {
        for wrong in ["2026-11-22", "1.5", "{ zork = 1 }"] {
            assert!(is_told(number, key, &format!("{key} = {wrong}")), "{key} = {wrong}");
        }
    }
}

#[test]
fn a_value_that_makes_no_sense_is_told() {
    let mut free = Vec::new();
    for Line { number, key, value } in lines() {
        let is_duration = value::duration(value.trim_matches('"')).is_ok();
        let wrong = match value {
            "true" | "false" => "\"yes\"",
            number if number.parse::<i64>().is_ok() => "99999999999999",
            _ if is_duration => {
                assert!(is_told(number, key, &format!("{key} = \"5 parsecs\"")), "{key}");
                "\"99999h\""
            }
            _ => "\"\\u0007 \"",
        };
        let found = mistakes(number, &format!("{key} = {wrong}"));
        if !found.iter().any(|mistake| mistake.line == number) {
            assert!(wrong.contains("u0007"), "{key} = {wrong}");
            free.push(key);
        }
    }
    free.sort_unstable();
    free.dedup();
    assert_eq!(free, FREE);
}
