//! What the director would do with a packet: the question and the answer.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use super::Protocol;

/// A packet that somebody asks about. It need not have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// TCP, UDP, SCTP, AH or ESP.
    pub protocol: Protocol,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver, of the sender's family.
    pub destination: SocketAddr,
    /// TCP's flags; the type of SCTP's first chunk.
    pub signal: u8,
    /// Octets from the IP header on; less than what the headers take means: no more than those.
    pub length: u16,
    /// TTL or hop limit.
    pub hops: u8,
    /// Name of the interface that it comes in by; `None`: the one by which the kernel would send to its sender.
    pub interface: Option<String>,
    /// The mark that it carries already; `None`: mark rules decide.
    pub mark: Option<NonZeroU32>,
    /// What TCP or UDP carries.
    pub payload: Vec<u8>,
    /// With IPv4, whether it may be fragmented.
    pub may_fragment: bool,
    /// What of it comes.
    pub form: Form,
}

/// What of a packet comes to the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    #[default]
    Whole,
    /// Its first fragment.
    FirstFragment,
    /// Another fragment, after the first.
    LaterFragment,
    /// Another fragment, before the first.
    EarlyFragment,
    /// An ICMP error about it, to its sender, from this address of the same family.
    Error(IcmpProblem, IpAddr),
}

/// What an ICMP error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpProblem {
    /// Nobody serves the port.
    PortUnreachable,
    /// There is no way to the host.
    HostUnreachable,
    /// The packet is too large for a link on its way.
    TooBig,
    /// The packet ran out of hops.
    TimeExceeded,
}

impl IcmpProblem {
    /// All of them, with their names.
    pub const ALL: [(&str, IcmpProblem); 4] = [
        ("port-unreachable", IcmpProblem::PortUnreachable),
        ("host-unreachable", IcmpProblem::HostUnreachable),
        ("too-big", IcmpProblem::TooBig),
        ("time-exceeded", IcmpProblem::TimeExceeded),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, problem)| *problem == self).map_or("", |(name, _)| name)
    }
}

/// Names of TCP's flags (RFC 9293, 3.1), the lowest bit first.
const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// Names and types of SCTP's chunks (RFC 9260, 3.2) that open, change or end an association, and of data.
const CHUNKS: [(&str, u8); 10] = [
    ("data", 0),
    ("init", 1),
    ("init-ack", 2),
    ("abort", 6),
    ("shutdown", 7),
    ("shutdown-ack", 8),
    ("error", 9),
    ("cookie-echo", 10),
    ("cookie-ack", 11),
    ("shutdown-complete", 14),
];

impl Probe {
    /// The whole packet that opens a connection of this protocol, with nothing in it.
    pub fn new(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Probe {
        Probe {
            protocol,
            source,
            destination,
            signal: Self::opening_signal(protocol),
            length: 0,
            hops: 64,
            interface: None,
            mark: None,
            payload: Vec::new(),
            may_fragment: false,
            form: Form::Whole,
        }
    }

    /// Who sends what comes, and to whom: of an ICMP error, not the packet's sender.
    pub fn ends(&self) -> [IpAddr; 2] {
        match self.form {
            Form::Error(_, from) => [from, self.source.ip()],
            _ => [self.source.ip(), self.destination.ip()],
        }
    }

    /// The signal of a packet of this protocol that opens a connection: SYN, INIT; a datagram has none.
    pub fn opening_signal(protocol: Protocol) -> u8 {
        match protocol {
            Protocol::TCP => 2,
            Protocol::SCTP => 1,
            _ => 0,
        }
    }

    /// The signal in words: TCP's flags, separated by `|` or commas; SCTP's chunk.
    ///
    /// # Errors
    /// The word that is none, with all that there are.
    pub fn parse_signal(protocol: Protocol, words: &str) -> Result<u8, SignalError> {
        match protocol {
            Protocol::TCP => words.split(['|', ',']).map(str::trim).try_fold(0, |flags, word| {
                let bit = TCP_FLAGS.iter().position(|name| name.eq_ignore_ascii_case(word));
                bit.map(|bit| flags | 1 << bit).ok_or_else(|| SignalError::Flag(word.into()))
            }),
            Protocol::SCTP => {
                let chunk = CHUNKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(words.trim()));
                chunk.map(|(_, kind)| *kind).ok_or_else(|| SignalError::Chunk(words.into()))
            }
            _ => Err(SignalError::None(protocol)),
        }
    }

    /// The reverse of [`Self::parse_signal`], in capitals; `None` for what has no flags.
    pub fn signal_words(&self) -> Option<String> {
        match self.protocol {
            Protocol::TCP => {
                let set = (0..8).filter(|bit| self.signal >> bit & 1 != 0);
                let names: Vec<&str> = set.map(|bit| TCP_FLAGS[bit]).collect();
                Some(if names.is_empty() { "no flags".into() } else { names.join("|").to_uppercase() })
            }
            Protocol::SCTP => {
                let chunk = CHUNKS.iter().find(|(_, kind)| *kind == self.signal);
                Some(chunk.map_or_else(|| format!("chunk {}", self.signal), |(name, _)| name.to_uppercase()))
            }
            _ => None,
        }
    }
}

/// Words that are no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Not a flag of TCP.
    #[error("`{0}` is no flag of TCP; it can be {flags}, several separated by `|` or a comma", flags = TCP_FLAGS.join(", "))]
    Flag(String),
    /// Not a chunk of SCTP.
    #[error("`{0}` is no chunk of SCTP that matters here; it can be {chunks}", chunks = CHUNKS.map(|(name, _)| name).join(", "))]
    Chunk(String),
    /// The protocol has no flags.
    #[error("{0} packets have no flags")]
    None(Protocol),
}

/// A part of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: "service", "scheduler"...
    pub subject: String,
    /// The finding in words.
    pub text: String,
    /// The same for programs.
    pub details: Vec<Detail>,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A value of one of several kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Yes or no.
    Truth(bool),
    /// A word, an address, a name.
    Text(String),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_words_and_back() {
        let probe = |protocol, signal| Probe {
            signal,
            ..Probe::new(protocol, "192.0.2.1:1024".parse().unwrap(), "10.0.0.1:80".parse().unwrap())
        };
        for flags in 1..=255 {
            let words = probe(Protocol::TCP, flags).signal_words().unwrap();
            assert_eq!(Probe::parse_signal(Protocol::TCP, &words), Ok(flags), "{words}");
        }
        for (name, kind) in CHUNKS {
            assert_eq!(Probe::parse_signal(Protocol::SCTP, name), Ok(kind));
            assert_eq!(probe(Protocol::SCTP, kind).signal_words(), Some(name.to_uppercase()));
        }
        assert_eq!(Probe::parse_signal(Protocol::TCP, "SYN, ack"), Ok(0x12));
        assert_eq!(probe(Protocol::UDP, 0).signal_words(), None);
    }

    #[test]
    fn what_is_no_signal_is_told_what_can_be_one() {
        let error = |protocol, words| Probe::parse_signal(protocol, words).unwrap_err().to_string();
        assert_eq!(
            error(Protocol::TCP, "syn|fun"),
            "`fun` is no flag of TCP; it can be fin, syn, rst, psh, ack, urg, ece, cwr, several separated by `|` or a comma"
        );
        assert!(error(Protocol::SCTP, "syn").contains("it can be data, init, init-ack"));
        assert_eq!(error(Protocol::UDP, "syn"), "UDP packets have no flags");
    }
}
