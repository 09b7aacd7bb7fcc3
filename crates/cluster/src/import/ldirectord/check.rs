//! What ldirectord does to find out whether a real server serves.

use std::net::IpAddr;
use std::time::Duration;

use super::model::{Address, CheckType, Protocol, Real, Settings, Virtual};
use crate::import::value::Table;

/// Checks, and what of the original they do not do.
pub(super) struct Checks {
    /// Without any the server is always up.
    pub(super) tables: Vec<Table>,
    pub(super) problems: Vec<String>,
}

/// How a real server of a service is checked. `port`: asked, if it is not that of the destination.
pub(super) fn of(service: &Virtual, real: &Real, settings: &Settings, port: Option<u16>) -> Checks {
    let mut problems = Vec::new();
    let negotiated = |problems: &mut _| {
        let table = negotiation(service, real, problems);
        table.map(|table| (table, settings.negotiatetimeout.unwrap_or(30)))
    };
    let limit = settings.checktimeout.unwrap_or(5);
    let check = match &service.checktype {
        CheckType::Negotiate => negotiated(&mut problems),
        CheckType::Mixed(connects) => {
            // To connect over UDP proves nothing.
            let udp = service.protocol() == Protocol::Udp || service.service() == "dns";
            let connects = Some(*connects).filter(|_| !udp);
            negotiated(&mut problems).map(|(table, limit)| (table.with_some("connects", connects), limit))
        }
        CheckType::Connect if service.protocol() == Protocol::Udp => Some((Table::of_type("ping"), limit)),
        CheckType::Connect => Some((Table::of_type("tcp"), limit)),
        CheckType::Ping => Some((Table::of_type("ping"), limit)),
        CheckType::External => external(service, &mut problems).map(|table| (table, limit)),
        CheckType::ExternalPerl => {
            problems.push("a check within ldirectord: make it a program, and let a check of the type \"command\" call it".to_owned());
            Some((Table::of_type("tcp"), limit))
        }
        CheckType::On => None,
        CheckType::Off => Some((Table::of_type("never"), limit)),
    };
    let interval = Duration::from_secs(settings.checkinterval.unwrap_or(10).into());
    // Files that are named like the server, with its port or without, take it out, too.
    let files = settings.maintenancedir.iter().flat_map(|folder| {
        ["%h", "%h:%p"].map(|name| {
            (Table::of_type("file").with("path", format!("{folder}/{name}")).with("exists", false), 1)
        })
    });
    let complete = |(table, limit): (Table, u32)| {
        table
            .with_some("port", port)
            .with("interval", interval)
            .with("retry", interval)
            .with("timeout", Duration::from_secs(limit.into()))
            .with("rise", 1_u32)
            .with("fall", settings.failurecount.unwrap_or(1))
    };
    let in_time = |(table, limit): (Table, u64)| {
        let interval = interval.min(Duration::from_secs(limit));
        table.with("interval", interval).with("rise", 1_u32).with("fall", 1_u32)
    };
    Checks { tables: check.into_iter().map(complete).chain(files.map(in_time)).collect(), problems }
}

/// The program gets the virtual address or mark, its port, the server's address, its port.
fn external(service: &Virtual, problems: &mut Vec<String>) -> Option<Table> {
    let command = service.checkcommand.as_deref().unwrap_or("/bin/true");
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if !command.starts_with('/') {
        problems.push(format!("checkcommand {command}: it takes the absolute path of a program"));
    }
    let (address, port) = match service.address {
        Address::Ip(address, port) => (address.to_string(), port.to_string()),
        // As ldirectord has it for marks.
        Address::Mark(mark) => (mark.to_string(), "0".to_owned()),
    };
    words.extend([address, port, "%h".to_owned(), "%p".to_owned()]);
    Some(Table::of_type("command").with("command", words))
}

/// What is asked of the service, by the server's own request and pattern, or the service's.
fn negotiation(service: &Virtual, real: &Real, problems: &mut Vec<String>) -> Option<Table> {
    let text = |own: &Option<String>, general: &Option<String>| {
        own.clone().or_else(|| general.clone()).filter(|text| !text.is_empty())
    };
    let request = text(&real.request, &service.request);
    let receive = text(&real.receive, &service.receive);
    let greeted = |kind: &str, problems: &mut Vec<String>| {
        let more = [(&request, "request"), (&receive, "receive")];
        let more = more.into_iter().filter(|(text, _)| text.is_some()).map(|(_, name)| name);
        let given = more.chain(service.others.iter().map(|other| other.name.as_str()));
        let given: Vec<_> = given
            .filter(|name| ["request", "receive", "login", "passwd", "database"].contains(name))
            .collect();
        if !given.is_empty() {
            let given = given.join(", ");
            problems.push(format!("{given}: the check \"{kind}\" only looks at how the server greets"));
        }
        Some(Table::of_type(kind))
    };
    let unknown = |kind: &str, problems: &mut Vec<String>| {
        let name = service.service();
        problems.push(format!("service {name}: the check \"{kind}\" does not speak it; a \"command\" can"));
        Some(Table::of_type(kind))
    };
    match service.service() {
        "none" => None,
        name @ ("http" | "https") => {
            let path = request.map(|path| if path.starts_with('/') { path } else { format!("/{path}") });
            let check = Table::of_type(name)
                .with_some("path", path)
                .with_some("host", service.virtualhost.clone())
                .with_some("method", service.head.then_some("HEAD"));
            if receive.is_some() && service.head {
                problems.push("receive: an answer to HEAD has no body to look into".to_owned());
            }
            Some(check.with_some("body_regex", receive.filter(|_| !service.head)))
        }
        "smtp" | "submission" => greeted("smtp", problems),
        "pop" | "pop3" => greeted("pop3", problems),
        "imap" => greeted("imap", problems),
        "nntp" => greeted("nntp", problems),
        "ftp" => greeted("ftp", problems),
        "mysql" => greeted("mysql", problems),
        "pgsql" => greeted("postgres", problems),
        "pops" => Some(Table::of_type("tls").with("expect_regex", "^\\+OK")),
        "imaps" => Some(Table::of_type("tls").with("expect_regex", "^\\* (OK|PREAUTH)")),
        "dns" | "domain" => Some(dns(request, receive, problems)),
        "simpletcp" => {
            let send = request.map(|request| request.replace("\\n", "\n"));
            let pattern = receive.map(|pattern| format!("(?m){pattern}"));
            Some(Table::of_type("tcp").with_some("send", send).with_some("expect_regex", pattern))
        }
        "radius" => unknown("udp", problems),
        name @ ("ldap" | "ldaps") => {
            if request.is_some() || receive.is_some() {
                problems.push("request, receive: the check binds, and searches nothing".to_owned());
            }
            let value = |name: &str| {
                service
                    .others
                    .iter()
                    .find(|other| other.name == name)
                    .map(|other| other.value.trim_matches('"'))
            };
            Some(
                Table::of_type(name).with_some("name", value("login")).with_some("password", value("passwd")),
            )
        }
        "sip" if service.protocol() == Protocol::Udp => unknown("udp", problems),
        _ => unknown("tcp", problems),
    }
}

fn dns(request: Option<String>, receive: Option<String>, problems: &mut Vec<String>) -> Table {
    let address = receive.as_deref().and_then(|text| text.replace('\\', "").parse::<IpAddr>().ok());
    if receive.is_some() && address.is_none() {
        problems.push("receive: only an address can be looked for in an answer; it is left out".to_owned());
    }
    let record = if address.is_some_and(|address| address.is_ipv6()) { "AAAA" } else { "A" };
    Table::of_type("dns")
        .with_some("name", request)
        .with("record", record)
        .with_some("answer", address.map(|address| address.to_string()))
}
