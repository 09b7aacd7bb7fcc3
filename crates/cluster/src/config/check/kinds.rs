//! The kinds of checks, and the keys that each has.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use regex::bytes::Regex;

use super::{
    Dialogue, Digest, Dns, Expected, Grpc, Http, Identity, Ldap, Method, Probe, Record, Step, Tls, Watch,
    command,
};
use crate::config::section::Section;

#[derive(Clone, Copy)]
enum Kind {
    Never,
    Tcp,
    Tls,
    Udp,
    Http,
    Https,
    Dns,
    Ping,
    Command,
    Ldap,
    Ldaps,
    Grpc,
    Grpcs,
    File,
    Smtp,
    /// A conversation that everybody knows: what is sent, and the pattern of the answer, in turn.
    Known(&'static [(&'static [u8], &'static str)]),
}

/// The kinds by their names. Answers of several lines are awaited to the last one, in which a blank follows the number.
const KINDS: [(&str, Kind); 24] = [
    ("tcp", Kind::Tcp),
    ("tls", Kind::Tls),
    ("udp", Kind::Udp),
    ("http", Kind::Http),
    ("https", Kind::Https),
    ("dns", Kind::Dns),
    ("ping", Kind::Ping),
    ("command", Kind::Command),
    ("never", Kind::Never),
    ("ldap", Kind::Ldap),
    ("ldaps", Kind::Ldaps),
    ("grpc", Kind::Grpc),
    ("grpcs", Kind::Grpcs),
    ("file", Kind::File),
    ("smtp", Kind::Smtp),
    // RFC 959.
    ("ftp", Kind::Known(&[(b"", "(?m)^220[ \r]"), (b"QUIT\r\n", "(?m)^221[ \r]")])),
    // RFC 1939.
    ("pop3", Kind::Known(&[(b"", "^\\+OK"), (b"QUIT\r\n", "^\\+OK")])),
    // RFC 3501.
    ("imap", Kind::Known(&[(b"", "^\\* (OK|PREAUTH)"), (b"a LOGOUT\r\n", "(?m)^a OK")])),
    // RFC 3977.
    ("nntp", Kind::Known(&[(b"", "^20[01]"), (b"QUIT\r\n", "^205")])),
    // RFC 4253, 4.2.
    ("ssh", Kind::Known(&[(b"", "(?m)^SSH-2")])),
    // A server that wants a password or loads its data is there, but does not serve.
    ("redis", Kind::Known(&[(b"PING\r\n", "^\\+PONG")])),
    ("memcached", Kind::Known(&[(b"version\r\n", "^VERSION ")])),
    // The greeting: three octets of length, the packet's number, the protocol's version.
    ("mysql", Kind::Known(&[(b"", "(?s-u)^...\\x00\\x0a")])),
    // SSLRequest: its length and its number; the answer is a letter.
    ("postgres", Kind::Known(&[(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "^[SN]")])),
];

/// What the section says that is to be done: the kind's name, if there is such a kind, and what that means, if it is complete.
pub(super) fn probe(section: &Section<'_>) -> Option<(&'static str, Option<Probe>)> {
    let kinds = KINDS.map(|(name, kind)| (name, (name, kind)));
    let Some((name, kind)) = section.choice("type", &kinds) else {
        if !section.has("type") {
            section.mistake("`type` is missing: what kind of check");
        }
        return None;
    };
    Some((name, of_kind(section, kind)))
}

fn of_kind(section: &Section<'_>, kind: Kind) -> Option<Probe> {
    Some(match kind {
        Kind::Never => Probe::Never,
        Kind::Tcp => stream(section, None),
        Kind::Tls => {
            let tls = tls(section);
            Probe::Stream { dialogue: dialogue(section), tls: Some(tls) }
        }
        Kind::Udp => Probe::Datagram(dialogue(section)),
        Kind::Http => Probe::Http(http(section, None)),
        Kind::Https => {
            let tls = tls(section);
            Probe::Http(http(section, Some(tls)))
        }
        Kind::Dns => Probe::Dns(dns(section)),
        Kind::Ping => Probe::Ping,
        Kind::Command => Probe::Command {
            command: command(section, "command").or_else(|| {
                if !section.has("command") {
                    section.mistake("`command` is missing: the program to run");
                }
                None
            })?,
            output: section.text("output").map(|text| text.value.to_owned()),
            weigh: section.flag("weigh").unwrap_or(false),
        },
        Kind::Ldap => Probe::Ldap { bind: ldap(section), tls: None },
        Kind::Ldaps => {
            let tls = tls(section);
            Probe::Ldap { bind: ldap(section), tls: Some(tls) }
        }
        Kind::Grpc => Probe::Grpc(grpc(section, None)),
        Kind::Grpcs => {
            let tls = tls(section);
            Probe::Grpc(grpc(section, Some(tls)))
        }
        Kind::File => Probe::File(file(section)?),
        // RFC 5321.
        Kind::Smtp => {
            let name = section.parsed("helo", "a host's name", host_name);
            let hello = format!("HELO {}\r\n", name.map_or("localhost".to_owned(), |name| name.value));
            known(&[
                (b"", "(?m)^220[ \r]"),
                (hello.as_bytes(), "(?m)^250[ \r]"),
                (b"QUIT\r\n", "(?m)^221[ \r]"),
            ])?
        }
        Kind::Known(steps) => known(steps)?,
    })
}

fn known(steps: &[(&[u8], &str)]) -> Option<Probe> {
    let step = |(send, pattern): &(&[u8], &str)| {
        Some(Step { send: send.to_vec(), expect: Some(Expected::Pattern(Regex::new(pattern).ok()?)) })
    };
    let steps: Option<Vec<_>> = steps.iter().map(step).collect();
    Some(Probe::Stream { dialogue: Dialogue(steps?), tls: None })
}

fn stream(section: &Section<'_>, tls: Option<Tls>) -> Probe {
    let dialogue = dialogue(section);
    if dialogue.0.is_empty() && tls.is_none() { Probe::Connect } else { Probe::Stream { dialogue, tls } }
}

/// `send` and `expect` or `expect_regex`: a conversation of one step.
fn dialogue(section: &Section<'_>) -> Dialogue {
    let text = section.text("send").map(|text| text.value.as_bytes().to_vec());
    let hex = section.parsed("send_hex", "octets of two hexadecimal digits each", octets);
    if let (Some(_), Some(hex)) = (&text, &hex) {
        section.mistake_at(&hex.place, "there are both `send` and `send_hex`");
    }
    let send = text.or(hex.map(|hex| hex.value));
    let expect = expected(section, "expect", "expect_regex");
    if send.is_none() && expect.is_none() {
        return Dialogue::default();
    }
    Dialogue(vec![Step { send: send.unwrap_or_default(), expect }])
}

fn http(section: &Section<'_>, tls: Option<Tls>) -> Http {
    let methods = [("GET", Method::Get), ("HEAD", Method::Head)];
    let method = section.choice("method", &methods).unwrap_or_default();
    let path = section.parsed("path", "a path that begins with a slash, without blanks", |text| {
        (text.starts_with('/') && is_visible(text)).then(|| text.to_owned())
    });
    let status =
        section.all_parsed("status", "a status such as \"200\", or a range such as \"200-299\"", statuses);
    let body = expected(section, "body", "body_regex");
    let digest = section.parsed("digest", "\"md5:\" or \"sha256:\" and hexadecimal digits", digest);
    if (body.is_some() || digest.is_some()) && method == Method::Head {
        section.mistake("an answer to HEAD has no body to look into");
    }
    let any = vec![200..=299];
    Http {
        method,
        path: path.map_or("/".to_owned(), |path| path.value),
        host: host(section),
        status: if status.is_empty() { any } else { status.into_iter().map(|status| status.value).collect() },
        body,
        digest: digest.map(|digest| digest.value),
        tls,
    }
}

fn host(section: &Section<'_>) -> Option<String> {
    section.parsed("host", "a host's name", host_name).map(|host| host.value)
}

fn host_name(text: &str) -> Option<String> {
    (!text.is_empty() && is_visible(text)).then(|| text.to_owned())
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

fn digest(text: &str) -> Option<Digest> {
    let (name, digits) = text.split_once(':')?;
    match name {
        "md5" => octets(digits)?.try_into().ok().map(Digest::Md5),
        "sha256" => octets(digits)?.try_into().ok().map(Digest::Sha256),
        _ => None,
    }
}

/// Octets of two hexadecimal digits each; blanks between them are for readers.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|c| !c.is_ascii_whitespace()).map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && !digits.is_empty())?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn ldap(section: &Section<'_>) -> Ldap {
    let text = |key| {
        let text =
            section.parsed(key, "at most 1,024 octets", |text| (text.len() <= 1024).then(|| text.to_owned()));
        text.map(|text| text.value).unwrap_or_default()
    };
    let (name, password) = (text("name"), text("password"));
    // A name without a password would be nobody, and succeed (RFC 4513, 5.1.2).
    if name.is_empty() != password.is_empty() {
        section.mistake("`name` and `password` go together");
    }
    Ldap { name, password }
}

fn grpc(section: &Section<'_>, tls: Option<Tls>) -> Grpc {
    let service = section.parsed("service", "a service's name of at most 1,024 octets", |text| {
        (text.len() <= 1024).then(|| text.to_owned())
    });
    Grpc { service: service.map(|service| service.value).unwrap_or_default(), host: host(section), tls }
}

fn file(section: &Section<'_>) -> Option<Watch> {
    let path =
        section.parsed("path", "an absolute path", |text| text.starts_with('/').then(|| text.to_owned()));
    if path.is_none() && !section.has("path") {
        section.mistake("`path` is missing: which file");
    }
    let (exists, weigh) = (section.flag("exists").unwrap_or(true), section.flag("weigh").unwrap_or(false));
    if weigh && !exists {
        section.mistake("a file that is not there has no weight");
    }
    Some(Watch { path: path?.value, exists, weigh })
}

fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (*range.start() >= 100 && *range.end() <= 999 && !range.is_empty()).then_some(range)
}

/// `tls_name`: whom a certificate must be for.
pub(in crate::config) fn tls_name(section: &Section<'_>) -> Option<String> {
    let name = section.parsed("tls_name", "a host's name or an address", |text| {
        rustls::pki_types::ServerName::try_from(text).ok().map(|_| text.to_owned())
    });
    name.map(|name| name.value)
}

fn tls(section: &Section<'_>) -> Tls {
    let path = |key| {
        let path = section.parsed(key, "the absolute path of a file in PEM", |text| {
            text.starts_with('/').then(|| PathBuf::from(text))
        });
        path.map(|path| path.value)
    };
    let identity = match (path("certificate"), path("key")) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => {
            section.mistake("a client has both `certificate` and `key`, or neither");
            None
        }
    };
    Tls { name: tls_name(section), authorities: path("ca"), identity }
}

fn dns(section: &Section<'_>) -> Dns {
    let records = [
        ("A", Record::A),
        ("AAAA", Record::Aaaa),
        ("MX", Record::Mx),
        ("NS", Record::Ns),
        ("SOA", Record::Soa),
        ("TXT", Record::Txt),
    ];
    let name = section.parsed("name", "a domain name", |text| {
        let name = text.strip_suffix('.').unwrap_or(text);
        let good = |label: &str| (1..=63).contains(&label.len()) && label.is_ascii();
        (name.len() <= 253 && (name.is_empty() || name.split('.').all(good))).then(|| name.to_owned())
    });
    let answer = section.standard("answer", "an address").map(|answer| answer.value);
    let record = section.choice("record", &records).unwrap_or_default();
    if answer.is_some() && !matches!(record, Record::A | Record::Aaaa) {
        section.mistake("`answer` is an address: the `record` asked for must be \"A\" or \"AAAA\"");
    }
    Dns { name: name.map_or(String::new(), |name| name.value), record, answer }
}

fn expected(section: &Section<'_>, text: &'static str, pattern: &'static str) -> Option<Expected> {
    let plain = section.text(text).map(|text| Expected::Text(text.value.to_owned()));
    let given = section.text(pattern);
    let pattern = given.and_then(|given| match Regex::new(given.value) {
        Ok(regex) => Some(Expected::Pattern(regex)),
        Err(error) => {
            // Of the several lines, the last says what is wrong; the others show where.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            section.mistake_at(&given.place, format!("`{pattern}` is no regular expression: {reason}"));
            None
        }
    });
    if plain.is_some() && pattern.is_some() {
        section.mistake(format!("there are both `{text}` and the same as a regular expression"));
    }
    plain.or(pattern)
}
