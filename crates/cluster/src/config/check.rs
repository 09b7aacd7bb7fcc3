//! `check`: how a real server is asked whether it serves.

mod kinds;

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::Regex;

use super::section::Section;
pub(super) use kinds::tls_name;

/// A check of one real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its kind in the file, such as `http`.
    pub kind: &'static str,
    /// What is done.
    pub probe: Probe,
    /// The address asked, if not the server's own.
    pub address: Option<IpAddr>,
    /// The port asked; 0 if the probe needs none.
    pub port: u16,
    /// When.
    pub schedule: Schedule,
    /// The port was named in the file: it is not that of the server.
    own_port: bool,
}

/// When a check is made, and how many of its results count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the end of a check to the next one.
    pub interval: Duration,
    /// The same while results contradict what the server is taken for.
    pub retry: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Each pause is longer by a random time up to this.
    pub jitter: Duration,
    /// Successes in a row that bring a server back.
    pub rise: u32,
    /// Failures in a row that take it out.
    pub fall: u32,
    /// After each success, so many checks only connect over TCP. When that fails, the next one is whole again.
    pub connects: u32,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing, and fails: the server is out of service.
    Never,
    /// Opens a TCP connection.
    Connect,
    /// Makes an HTTP request.
    Http(Http),
    /// Talks over TCP, or TLS.
    Stream {
        /// What is said.
        dialogue: Dialogue,
        /// Over TLS.
        tls: Option<Tls>,
    },
    /// Sends datagrams. Without anything expected, no ICMP error is a success.
    Datagram(Dialogue),
    /// Binds to an LDAP server.
    Ldap {
        /// As whom.
        bind: Ldap,
        /// Over TLS.
        tls: Option<Tls>,
    },
    /// Asks a gRPC server for its health.
    Grpc(Grpc),
    /// Looks at a file of this machine.
    File(Watch),
    /// Asks a DNS server over UDP.
    Dns(Dns),
    /// Sends an ICMP echo request.
    Ping,
    /// Runs a program.
    Command {
        /// The program; `%h` and `%p` in its words stand for address and port.
        command: Command,
        /// What it must print, less the final newline; if not given, its exit status decides.
        output: Option<String>,
        /// Exit status n of 2 or more is success with weight n - 2.
        weigh: bool,
    },
}

/// An HTTP request and the answer that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// GET or HEAD.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// The header Host; if not given, the server's address.
    pub host: Option<String>,
    /// Wanted statuses.
    pub status: Vec<RangeInclusive<u16>>,
    /// What the body must contain.
    pub body: Option<Expected>,
    /// What its digest must be.
    pub digest: Option<Digest>,
    /// HTTPS.
    pub tls: Option<Tls>,
}

/// Request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: no body.
    Head,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The name asked for by SNI and expected in the certificate; if not given, the server's address.
    pub name: Option<String>,
    /// The authorities trusted, in PEM. Without them any certificate will do.
    pub authorities: Option<PathBuf>,
    /// Who the client is.
    pub identity: Option<Identity>,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The digest of a body, of its first mebioctet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// As keepalived's genhash makes it.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl fmt::Display for Digest {
    /// As the file has it, such as `md5:d41d8cd98f00b204e9800998ecf8427e`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, octets) = match self {
            Self::Md5(octets) => ("md5", octets.as_slice()),
            Self::Sha256(octets) => ("sha256", octets.as_slice()),
        };
        write!(f, "{name}:")?;
        octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A simple bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// A distinguished name; empty for nobody.
    pub name: String,
    /// Its password.
    pub password: String,
}

/// A question of gRPC's health checking protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// The service asked about; empty for the server as a whole.
    pub service: String,
    /// The pseudo-header `:authority`; if not given, the server's address.
    pub host: Option<String>,
    /// Over TLS.
    pub tls: Option<Tls>,
}

/// A file that says whether a server is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its path; `%h` and `%p` in it stand for address and port.
    pub path: String,
    /// There must be one, or there must be none.
    pub exists: bool,
    /// Its content is the server's weight.
    pub weigh: bool,
}

/// Steps of a conversation, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue(pub Vec<Step>);

/// A step of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Sent first; nothing if empty.
    pub send: Vec<u8>,
    /// Then waited for.
    pub expect: Option<Expected>,
}

/// What an answer must contain.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This text.
    Text(String),
    /// Something that matches.
    Pattern(Regex),
}

impl Expected {
    /// Whether an answer contains it.
    pub fn is_in(&self, answer: &[u8]) -> bool {
        match self {
            Self::Text(text) => {
                text.is_empty() || answer.windows(text.len()).any(|part| part == text.as_bytes())
            }
            Self::Pattern(pattern) => pattern.is_match(answer),
        }
    }
}

impl PartialEq for Expected {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Pattern(one), Self::Pattern(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Expected {}

/// A DNS question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name asked for, without the final dot.
    pub name: String,
    /// What is asked about it.
    pub record: Record,
    /// An address that must be in the answer.
    pub answer: Option<IpAddr>,
}

/// Types of resource records (RFC 1035, 3.2.2; RFC 3596).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Record {
    /// IPv4 addresses.
    A = 1,
    /// Name servers.
    Ns = 2,
    /// Start of authority.
    #[default]
    Soa = 6,
    /// Mail servers.
    Mx = 15,
    /// Text.
    Txt = 16,
    /// IPv6 addresses.
    Aaaa = 28,
}

/// A program and its arguments; no shell is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// An absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// As whom.
    pub run_as: RunAs,
}

/// What a program may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunAs {
    /// Who it is, if not who this process is.
    pub user: Option<Account>,
    /// It has the capabilities that this process has. Otherwise it has none, and cannot get any.
    pub keep_capabilities: bool,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// The number of the user's own group.
    pub group: u32,
    /// The numbers of all groups.
    pub groups: Vec<u32>,
}

/// The checks of a section. `port` is asked where a check names none.
pub(super) fn all(section: &Section<'_>, port: Option<u16>) -> Vec<Check> {
    let mut checks = Vec::new();
    for section in section.sections("check") {
        // Without knowing the kind there is no knowing which keys it has.
        if let Some(check) = one(&section, port) {
            checks.extend(check);
            section.finish();
        }
    }
    checks
}

/// The checks of a service for a server with a port of its own.
pub(super) fn at(checks: &[Check], port: Option<u16>) -> Vec<Check> {
    let moved = |check: &Check| {
        let port = port.filter(|_| !check.own_port && check.port != 0);
        Check { port: port.unwrap_or(check.port), ..check.clone() }
    };
    checks.iter().map(moved).collect()
}

/// A program: its words as a list, or as one text that is split at blanks.
pub(super) fn command(section: &Section<'_>, key: &'static str) -> Option<Command> {
    let texts = section.texts(key);
    let place = texts.first()?.place.clone();
    let mut words: Vec<String> = match texts.as_slice() {
        [one] => one.value.split_whitespace().map(str::to_owned).collect(),
        several => several.iter().map(|word| word.value.to_owned()).collect(),
    };
    if !words.first().is_some_and(|program| program.starts_with('/')) {
        section.mistake_at(&place, format!("`{key}` must begin with the absolute path of a program"));
        return None;
    }
    let program = PathBuf::from(words.remove(0));
    Some(Command { program, arguments: words, run_as: RunAs::default() })
}

/// None if its kind is unknown; no check if it has mistakes otherwise.
fn one(section: &Section<'_>, port: Option<u16>) -> Option<Option<Check>> {
    let schedule = schedule(section);
    let address = section.standard("address", "an address without a port").map(|address| address.value);
    let own = section.integer("port", 1..=u16::MAX);
    let (kind, probe) = kinds::probe(section)?;
    let Some(probe) = probe else { return Some(None) };
    let needs_port = !matches!(probe, Probe::Never | Probe::Ping | Probe::File(_) | Probe::Command { .. });
    let port = own.or(port);
    if schedule.connects > 0
        && !matches!(probe, Probe::Http(_) | Probe::Stream { .. } | Probe::Ldap { .. } | Probe::Grpc(_))
    {
        section.mistake("`connects` is for checks that talk over TCP");
    }
    if needs_port && port.is_none() {
        section.mistake("neither service nor server have a port: the check needs `port`");
    }
    Some(Some(Check { kind, probe, address, port: port.unwrap_or(0), schedule, own_port: own.is_some() }))
}

fn schedule(section: &Section<'_>) -> Schedule {
    let milliseconds = Duration::from_millis;
    let hour = milliseconds(3_600_000);
    let interval = section.duration("interval", milliseconds(50)..=hour).unwrap_or(milliseconds(5_000));
    let schedule = Schedule {
        interval,
        retry: section
            .duration("retry", milliseconds(50)..=hour)
            .unwrap_or(interval.min(milliseconds(1_000))),
        timeout: section.duration("timeout", milliseconds(10)..=hour).unwrap_or(milliseconds(3_000)),
        jitter: section.duration("jitter", milliseconds(0)..=hour).unwrap_or(interval / 10),
        rise: section.integer("rise", 1..=1_000_u32).unwrap_or(2),
        fall: section.integer("fall", 1..=1_000_u32).unwrap_or(2),
        connects: section.integer("connects", 0..=1_000_000_u32).unwrap_or(0),
    };
    if schedule.retry > schedule.interval {
        section.mistake("`retry` is longer than `interval`");
    }
    schedule
}
