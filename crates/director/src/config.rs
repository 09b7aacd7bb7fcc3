//! The configuration file, in TOML. Everything has a default.

mod marks;

use crate::settings::{self, SettingError};
use rlvs_ipvs::{MarkRule, Readers};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Interfaces to attach to; none: every Ethernet interface.
    pub interfaces: Vec<String>,
    /// Whether what the director itself sends is switched, too.
    pub local: bool,
    /// Sizes of the tables.
    pub tables: Tables,
    /// The control socket.
    pub control: Control,
    /// `[[mark]]`: mark rules, in their order.
    #[serde(rename = "mark", deserialize_with = "marks::deserialize")]
    pub marks: Vec<MarkRule>,
    /// IPVS's files of `/proc`.
    pub proc: Proc,
    /// Synchronisation with other directors.
    pub sync: Sync,
    /// `[sysctl]`: values of IPVS's sysctls for a data plane that is new, by name.
    pub sysctl: BTreeMap<String, SettingValue>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            interfaces: Vec::new(),
            local: true,
            tables: Tables::default(),
            control: Control::default(),
            marks: Vec::new(),
            proc: Proc::default(),
            sync: Sync::default(),
            sysctl: BTreeMap::new(),
        }
    }
}

/// `[proc]`: where IPVS's files of `/proc` are to be found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proc {
    /// The folder that they are mounted at; empty: nowhere.
    pub mount: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Proc { mount: PathBuf::from("/run/rlvs/proc") }
    }
}

/// `[sync]`: with whom connections are synchronised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sync {
    /// Addresses that synchronisation daemons send to, and alone receive from, in the place of their group.
    pub peers: Vec<IpAddr>,
}

/// A sysctl's value in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// As a number.
    Number(i64),
    /// As sysctl(8) has it; needed where there is more than one number.
    Text(String),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Number(number) => number.fmt(f),
            SettingValue::Text(text) => text.fmt(f),
        }
    }
}

/// `[tables]`: sizes, fixed for the life of the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Entries for IPv4, 64 octets each; a NATed connection takes two. Rounded up to a power of two.
    pub connections: u32,
    /// Entries for IPv6, 128 octets each. Rounded up to a power of two.
    pub connections6: u32,
    /// Virtual services.
    pub services: u32,
    /// Destinations of all services, and deleted ones that connections still name.
    pub destinations: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Tables { connections: 1 << 18, connections6: 1 << 16, services: 1024, destinations: 1 << 14 }
    }
}

/// `[control]`: who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// A group whose members may read; changing takes root or CAP_NET_ADMIN.
    pub readers: Option<u32>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        reason: Box<toml::de::Error>,
    },
    /// A value is out of range.
    #[error("{path}: tables.{name} = {value}: must be {least} to {most}")]
    Range {
        /// The file.
        path: PathBuf,
        /// The key.
        name: &'static str,
        /// Its value.
        value: u32,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// A sysctl is unknown or does not take its value.
    #[error("{path}: sysctl.{name} = {value}: {reason}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key.
        name: String,
        /// Its value.
        value: SettingValue,
        /// What is wrong.
        reason: SettingError,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), reason: source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), reason: Box::new(source) })?;
        let tables = &mut config.tables;
        for (name, value, least, most) in [
            ("connections", tables.connections, 64, 1 << 28),
            ("connections6", tables.connections6, 64, 1 << 28),
            ("services", tables.services, 1, 1 << 16),
            ("destinations", tables.destinations, 1, 1 << 24),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Range { path: path.to_owned(), name, value, least, most });
            }
        }
        tables.connections = tables.connections.next_power_of_two();
        tables.connections6 = tables.connections6.next_power_of_two();
        for (name, value) in &config.sysctl {
            settings::check(name, &value.to_string()).map_err(|reason| ConfigError::Setting {
                path: path.to_owned(),
                name: name.clone(),
                value: value.clone(),
                reason,
            })?;
        }
        Ok(config)
    }

    /// Who may read.
    pub fn readers(&self) -> Readers {
        match self.control.readers {
            Some(group) => Readers::Group(group),
            None => Readers::Privileged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("rlvs.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn sizes_are_rounded_up_to_powers_of_two() {
        assert_eq!(parse("[tables]\nconnections = 1000000").unwrap().tables.connections, 1 << 20);
    }

    #[test]
    fn mistakes_name_the_file_and_the_place() {
        let error = parse("[tables]\nconections = 5").unwrap_err();
        assert!(
            error.contains("rlvs.toml") && error.contains("line 2") && error.contains("conections"),
            "{error}"
        );
        let error = parse("[tables]\nservices = 0").unwrap_err();
        assert_eq!(error, "rlvs.toml: tables.services = 0: must be 1 to 65536");
    }

    #[test]
    fn peers_are_addresses() {
        let peers = parse("[sync]\npeers = [\"10.0.0.1\", \"fd00::1\"]").unwrap().sync.peers;
        assert_eq!(peers, ["10.0.0.1", "fd00::1"].map(|peer| peer.parse::<IpAddr>().unwrap()));
        assert!(parse("[sync]\npeers = [\"director2\"]").unwrap_err().contains("line 2"));
    }

    #[test]
    fn sysctls_are_checked() {
        let good = parse("[sysctl]\ndrop_entry = 1\nsync_threshold = \"1 5\"").unwrap().sysctl;
        assert_eq!(good["drop_entry"].to_string(), "1");
        let error = parse("[sysctl]\ndrop_entry = 4").unwrap_err();
        assert!(error.starts_with("rlvs.toml: sysctl.drop_entry = 4: not a value"), "{error}");
        assert!(parse("[sysctl]\nconntrack = 1").unwrap_err().contains("no such setting"));
    }
}
