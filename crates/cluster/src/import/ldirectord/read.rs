//! Reads an `ldirectord.cf` as ldirectord does, but goes on after a fault to tell them all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::model::{
    Address, CheckType, Fallback, File, Method, Other, Protocol, Real, SERVICES, Settings, Virtual,
};
use crate::import::LookUp;
use crate::import::range::{between, number};

/// What has a meaning and no counterpart, and may be said for the whole file only, or anywhere.
const GLOBAL: [&str; 3] = ["callback", "execute", "logfile"];
const ANYWHERE: [&str; 9] = [
    "checkcount",
    "cleanstop",
    "emailalert",
    "emailalertfrom",
    "emailalertfreq",
    "emailalertstatus",
    "readdquiescent",
    "smtp",
    "supervised",
];
/// The same, for virtual services only.
const VIRTUAL: [&str; 7] = ["login", "passwd", "database", "secret", "monitorfile", "servicename", "comment"];

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// ldirectord would not take it, either.
    Wrong(String),
    /// It names a host, whose address only a name server knows.
    HostName(String),
}

impl<T: Into<String>> From<T> for Fault {
    fn from(what: T) -> Self {
        Self::Wrong(what.into())
    }
}

/// Reads a text.
///
/// # Errors
/// All faults, with their lines; at least one.
pub(super) fn read(text: &str, look_up: LookUp) -> Result<File, Vec<(usize, String)>> {
    let mut file = File::default();
    let mut faults = Vec::new();
    // None: no block is open. Some(false): one that could not be read.
    let mut open = None;
    for (line, content) in (1..).zip(text.lines()) {
        let content = without_comment(content).trim_end();
        let indented = content.starts_with('\t') || content.starts_with("    ");
        let Some((name, value)) = directive(content) else {
            // The one directive that may stand alone.
            if !["", "supervised"].contains(&content.trim()) {
                faults.push((line, "`NAME = VALUE` is expected".to_owned()));
            }
            continue;
        };
        let mut value = value.to_owned();
        let mut result = take(&mut file, &mut open, line, indented, name, &value);
        // A range names two hosts.
        while let Err(Fault::HostName(host)) = &result {
            let Some(known) = with_address(name, &value, host, look_up) else { break };
            value = known;
            result = take(&mut file, &mut open, line, indented, name, &value);
        }
        match result {
            Ok(()) => {}
            Err(Fault::Wrong(what)) => faults.push((line, what)),
            Err(Fault::HostName(name)) => file.names.push((line, name)),
        }
    }
    if faults.is_empty() { Ok(file) } else { Err(faults) }
}

/// Takes a directive. `open`: whether a block is, and could be read.
fn take(
    file: &mut File,
    open: &mut Option<bool>,
    line: usize,
    indented: bool,
    name: &str,
    value: &str,
) -> Result<(), Fault> {
    match (indented, name, *open) {
        (false, "virtual" | "virtual6", _) => match virtual_(line, name, value) {
            Ok(service) => {
                file.virtuals.push(service);
                *open = Some(true);
                Ok(())
            }
            Err(fault) => {
                *open = Some(false);
                Err(fault)
            }
        },
        (false, ..) => {
            *open = None;
            global(file, line, name, value)
        }
        (true, _, Some(true)) => match file.virtuals.last_mut() {
            Some(service) => of_virtual(service, line, name, value),
            None => Ok(()),
        },
        // Of a service that could not be read.
        (true, _, Some(false)) => Ok(()),
        (true, _, None) => Err("an indented line belongs to a `virtual`, and there is none".into()),
    }
}

/// The value with an address in the place of a host's name, of the family that the directive is for.
fn with_address(directive: &str, value: &str, host: &str, look_up: LookUp) -> Option<String> {
    let is_v6 = directive.ends_with('6');
    let address = look_up(host).into_iter().find(|address| address.is_ipv6() == is_v6)?;
    // Names stand in the first word, the one that is told last.
    let end = value.find(char::is_whitespace).unwrap_or(value.len());
    let at = value[..end].rfind(host)?;
    let after = &value[at + host.len()..];
    let bare = !is_v6 || value[..at].ends_with('[') || !after.starts_with(':');
    let address = if bare { address.to_string() } else { format!("[{address}]") };
    Some(format!("{}{address}{after}", &value[..at]))
}

/// `name = value`, the value in quotation marks or not.
pub(super) fn directive(content: &str) -> Option<(&str, &str)> {
    let (name, value) = content.trim().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim_start());
    let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    good.then_some((name, value))
}

/// Comments begin at the beginning of a line or after a blank, not in quotation marks.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut before) = (false, ' ');
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted && before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

fn global(file: &mut File, line: usize, name: &str, value: &str) -> Result<(), Fault> {
    if setting(&mut file.settings, name, value)? {
        return Ok(());
    }
    match name {
        "fork" => _ = flag(value)?,
        "autoreload" => file.autoreload = flag(value)?.then_some(line),
        "maintenancedir" => file.settings.maintenancedir = Some(unquoted(value).to_owned()),
        _ if GLOBAL.contains(&name) || ANYWHERE.contains(&name) => file.others.push(other(line, name, value)),
        _ => return Err(format!("unknown directive `{name}`").into()),
    }
    Ok(())
}

/// Whether it is such a directive.
fn setting(settings: &mut Settings, name: &str, value: &str) -> Result<bool, Fault> {
    match name {
        "checktimeout" => settings.checktimeout = Some(positive(value)?),
        "negotiatetimeout" => settings.negotiatetimeout = Some(positive(value)?),
        "checkinterval" => settings.checkinterval = Some(positive(value)?),
        "failurecount" => settings.failurecount = Some(positive(value)?),
        "fallback" | "fallback6" => settings.fallback = Some(fallback(value)?),
        "fallbackcommand" => settings.fallbackcommand = Some(unquoted(value).to_owned()),
        "quiescent" => settings.quiescent = Some(flag(value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn virtual_(line: usize, name: &str, value: &str) -> Result<Virtual, Fault> {
    let is_v6 = name == "virtual6";
    if let Ok(mark) = value.parse::<u32>() {
        let mark = Some(mark).filter(|mark| *mark != 0).ok_or("a mark is at least 1")?;
        return Ok(Virtual::new(line, value, Address::Mark(mark), is_v6));
    }
    let (address, port) = endpoint(value)?;
    let port = port.ok_or("a port is expected behind the address")?;
    Ok(Virtual::new(line, value, Address::Ip(address, port), address.is_ipv6()))
}

fn of_virtual(service: &mut Virtual, line: usize, name: &str, value: &str) -> Result<(), Fault> {
    if setting(&mut service.settings, name, value)? {
        return Ok(());
    }
    match name {
        "real" | "real6" => service.reals.push(real(line, value)?),
        "checktype" => service.checktype = check_type(value)?,
        "service" => service.service = Some(service_name(unquoted(value))?),
        "checkcommand" => service.checkcommand = Some(unquoted(value).to_owned()),
        "checkport" => service.checkport = Some(port(value)?),
        "request" => service.request = Some(unquoted(value).to_owned()),
        "receive" => service.receive = Some(unquoted(value).to_owned()),
        "httpmethod" => {
            service.head = match unquoted(value).to_ascii_uppercase().as_str() {
                "GET" => false,
                "HEAD" => true,
                _ => return Err("httpmethod is GET or HEAD".into()),
            };
        }
        "virtualhost" => service.virtualhost = Some(unquoted(value).to_owned()),
        "scheduler" => service.scheduler = Some(unquoted(value).to_owned()),
        "persistent" => service.persistent = Some(positive(value)?),
        "netmask" => {
            let mask = unquoted(value);
            let good =
                mask.parse::<Ipv4Addr>().is_ok() || mask.parse::<u8>().is_ok_and(|length| length <= 128);
            service.netmask = good.then(|| mask.to_owned());
            if !good {
                return Err("a mask is expected, or for IPv6 a length".into());
            }
        }
        "protocol" => {
            let protocol = match (unquoted(value), &service.address) {
                ("tcp", Address::Ip(..)) => Protocol::Tcp,
                ("udp", Address::Ip(..)) => Protocol::Udp,
                ("fwm", Address::Mark(_)) => Protocol::Mark,
                _ => return Err("protocol is tcp or udp, and fwm with a mark only".into()),
            };
            service.protocol = Some(protocol);
        }
        "ops" => service.ops = flag(value)?,
        _ if VIRTUAL.contains(&name) || ANYWHERE.contains(&name) => {
            service.others.push(other(line, name, value));
        }
        _ => return Err(format!("unknown directive `{name}`, or not for a virtual service").into()),
    }
    Ok(())
}

/// `ADDR[->ADDR][:port] gate|masq|ipip [weight] ["request", "receive"] [<l:N>] [<u:N>]`.
fn real(line: usize, value: &str) -> Result<Real, Fault> {
    let (words, texts) = match value.split_once('"') {
        Some((words, texts)) => (words, Some(texts)),
        None => (value, None),
    };
    let (request, receive, more) = match texts {
        Some(texts) => {
            let parts: Vec<_> = texts.splitn(4, '"').collect();
            match parts.as_slice() {
                [request, between, receive, more] if between.trim().trim_matches(',').trim().is_empty() => {
                    (Some((*request).to_owned()), Some((*receive).to_owned()), *more)
                }
                _ => return Err("two texts are expected: \"REQUEST\", \"RECEIVE\"".into()),
            }
        }
        None => (None, None, ""),
    };
    let mut words = words.split_whitespace().chain(more.split_whitespace());
    let place = words.next().ok_or("an address is expected")?;
    let (first, last) = match place.split_once("->") {
        Some((first, last)) => (first, Some(last)),
        None => (place, None),
    };
    let (addresses, port) = match last {
        Some(last) => {
            let (last, port) = endpoint(last)?;
            let (first, _) = endpoint(first)?;
            let all = (first.is_ipv4() == last.is_ipv4())
                .then(|| between(number(first), number(last), first.is_ipv6()))
                .flatten();
            (all.ok_or("a range goes from an address to a higher one, and is not too large")?, port)
        }
        None => endpoint(first).map(|(address, port)| (vec![address], port))?,
    };
    let method = method(words.next().ok_or("gate, masq or ipip is expected")?)?;
    let text = value.to_owned();
    let mut real =
        Real { line, text, addresses, port, method, weight: 1, lower: None, upper: None, request, receive };
    for word in words {
        let threshold = |kind| word.strip_prefix(kind).and_then(|word| word.strip_suffix('>'));
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
        if let Some(lower) = threshold("<l:") {
            real.lower = Some(number(lower)?);
        } else if let Some(upper) = threshold("<u:") {
            real.upper = Some(number(upper)?);
        } else {
            real.weight = number(word)?;
        }
    }
    Ok(real)
}

/// `host[:port] [gate|masq|ipip]`.
fn fallback(value: &str) -> Result<Fallback, Fault> {
    let mut words = unquoted(value).split_whitespace();
    let (address, port) = endpoint(words.next().unwrap_or_default())?;
    let method = words.next().map_or(Ok(Method::Gate), method)?;
    Ok(Fallback { address, port, method })
}

fn method(word: &str) -> Result<Method, Fault> {
    match word {
        "gate" => Ok(Method::Gate),
        "masq" => Ok(Method::Masq),
        "ipip" => Ok(Method::Ipip),
        _ => Err(format!("gate, masq or ipip is expected, not {word}").into()),
    }
}

fn check_type(value: &str) -> Result<CheckType, Fault> {
    Ok(match unquoted(value) {
        "negotiate" => CheckType::Negotiate,
        "connect" => CheckType::Connect,
        "ping" => CheckType::Ping,
        "external" => CheckType::External,
        "external-perl" => CheckType::ExternalPerl,
        "on" => CheckType::On,
        "off" => CheckType::Off,
        number => CheckType::Mixed(positive(number).map_err(|_| "unknown checktype".to_owned())?),
    })
}

fn service_name(name: &str) -> Result<String, Fault> {
    let own = ["simpletcp", "none"];
    let known = own.contains(&name) || SERVICES.iter().take(19).any(|(known, _)| *known == name);
    if known { Ok(name.to_owned()) } else { Err(format!("unknown service `{name}`").into()) }
}

/// An address, and a port by its number or a name; IPv6 in brackets if there is a port.
fn endpoint(text: &str) -> Result<(IpAddr, Option<u16>), Fault> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok((address, None));
    }
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Ok((both.ip(), Some(both.port())));
    }
    let (address, name) = text.rsplit_once(':').unwrap_or((text, ""));
    let bare = address.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| match is_host(address) {
        true => Fault::HostName(address.to_owned()),
        false => format!("{address} is no address").into(),
    })?;
    Ok((address, Some(port(name)?)))
}

/// Letters, digits, hyphens and dots (RFC 1123, 2.1), and more than digits and dots.
fn is_host(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    text.chars().all(good) && text.contains(|c: char| c.is_ascii_alphabetic())
}

fn port(text: &str) -> Result<u16, Fault> {
    let text = unquoted(text);
    let named = || SERVICES.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    let port = text.parse().ok().filter(|port| *port != 0).or_else(named);
    port.ok_or_else(|| format!("{text} is no port; write its number").into())
}

fn positive(value: &str) -> Result<u32, Fault> {
    let number = unquoted(value).parse().ok().filter(|number| *number != 0);
    number.ok_or_else(|| format!("{value} is no number of at least 1").into())
}

fn flag(value: &str) -> Result<bool, Fault> {
    match unquoted(value) {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no is expected".into()),
    }
}

fn unquoted(value: &str) -> &str {
    let marks = ['"', '\''];
    let inner = |mark| value.strip_prefix(mark).and_then(|value: &str| value.strip_suffix(mark));
    marks.into_iter().find_map(inner).unwrap_or(value)
}

fn other(line: usize, name: &str, value: &str) -> Other {
    Other { line, name: name.to_owned(), value: value.to_owned() }
}
