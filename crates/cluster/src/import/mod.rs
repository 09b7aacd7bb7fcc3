//! Configurations of Piranha, keepalived and ldirectord, translated into ours.
//!
//! Each format has a folder: what the original reads is read as it reads it, into a model of its own, and what our file
//! can say of it is written down. The rest is told, each with its place. A [`draft`] is what all write into: it sees to it
//! that our own reader takes what comes out.

mod draft;
mod hooks;
mod keepalived;
mod ldirectord;
mod lvs_cf;
mod range;
mod value;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Piranha's `lvs.cf`.
    LvsCf,
    /// `keepalived.conf`.
    Keepalived,
    /// `ldirectord.cf`.
    Ldirectord,
}

/// Words that lines of a `keepalived.conf` begin with, and of no other.
const KEEPALIVED: [&str; 8] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "virtual_server",
    "virtual_server_group",
    "real_server",
    "include",
];

impl Format {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Self); 3] =
        [("lvs.cf", Self::LvsCf), ("keepalived", Self::Keepalived), ("ldirectord", Self::Ldirectord)];

    /// Whose a text is, by its words.
    pub fn guess(text: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["virtual" | "failover", _, "{"] | ["serial_no" | "primary", "=", ..] => Some(Self::LvsCf),
                [word, ..] if KEEPALIVED.contains(&word.trim_end_matches('{')) => Some(Self::Keepalived),
                _ => ldirectord::is_beginning(line).then_some(Self::Ldirectord),
            }
        })
    }
}

/// There is no format of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no format of this name")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::NAMES.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| format).ok_or(UnknownFormat)
    }
}

/// What came of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// A file that [`Config::parse`](crate::Config::parse) takes.
    pub text: String,
    /// What it does not say, in the order of the original.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a configuration, or that could not be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Counted from 1.
    pub line: usize,
}

/// A configuration that cannot be translated at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        reason: io::Error,
    },
    /// The program that it is for would refuse it; at least one reason.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Malformed(Vec<Problem>),
}

/// Addresses of a name; none if there is no such name, or nobody to ask.
pub type LookUp = fn(&str) -> Vec<IpAddr>;

/// Asks whom the machine's other programs ask: its file of hosts, then name servers.
pub fn look_up(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs().into_iter().flatten();
    found.map(|address| address.ip()).collect()
}

/// Translates a text. `path` is where it was read from: for messages, and for files that it names. `machine` is whose
/// lines of keepalived's count that begin with `@`; by default the first part of this host's name. `look_up` finds the hosts that
/// ldirectord's file names.
///
/// # Errors
/// [`ImportError`]
pub fn translate(
    format: Format,
    text: &str,
    path: &Path,
    machine: Option<&str>,
    look_up: LookUp,
) -> Result<Translation, ImportError> {
    match format {
        Format::LvsCf => lvs_cf::translate(text, path),
        Format::Keepalived => {
            let host = rustix::system::uname();
            let host = host.nodename().to_string_lossy();
            let machine = machine.or_else(|| host.split('.').next()).unwrap_or_default();
            keepalived::translate(text, path, machine)
        }
        Format::Ldirectord => ldirectord::translate(text, path, look_up),
    }
}

/// Reads a file. Its comments may be in any encoding.
///
/// # Errors
/// [`ImportError::Read`]
pub fn read(path: &Path) -> Result<String, ImportError> {
    let octets = std::fs::read(path).map_err(|reason| ImportError::Read { path: path.to_owned(), reason })?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for Problem {
    /// As mistakes in our own file are told, but for the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
fn endpoint(address: impl Into<IpAddr>, port: u16) -> String {
    SocketAddr::new(address.into(), port).to_string()
}
