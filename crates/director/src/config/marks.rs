//! `[[mark]]`: mark rules in the configuration file.

use rlvs_ipvs::{MarkRule, MarkRuleError, Network, Ports, Protocol};
use rlvs_switch::mark::RULES_MAX;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::str::FromStr;

/// A rule as it is written; only the mark is needed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "mark")]
    mark: u32,
    family: Option<IpVersion>,
    #[serde(default, deserialize_with = "protocol")]
    protocol: Option<Protocol>,
    #[serde(default, deserialize_with = "word")]
    source: Option<Network>,
    #[serde(default, deserialize_with = "word")]
    destination: Option<Network>,
    #[serde(default, deserialize_with = "ports")]
    source_port: Option<Ports>,
    #[serde(default, deserialize_with = "ports")]
    destination_port: Option<Ports>,
    interface: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum IpVersion {
    IPv4,
    IPv6,
}

/// A number, or a word.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u32),
    Word(String),
}

/// Reads all entries, which must make sense one by one and differ.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<MarkRule>, D::Error> {
    let rules: Vec<MarkRule> = Vec::<Rule>::deserialize(from)?.into_iter().map(|rule| rule.0).collect();
    if rules.len() > RULES_MAX as usize {
        return Err(D::Error::custom(format_args!("more than {RULES_MAX} rules")));
    }
    for (place, rule) in rules.iter().enumerate() {
        if rules[..place].contains(rule) {
            return Err(D::Error::custom(format_args!("the rule `{rule}` is there twice")));
        }
    }
    Ok(rules)
}

/// A checked entry: a mistake is reported with its line.
struct Rule(MarkRule);

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let entry = Entry::deserialize(from)?;
        let rule = MarkRule {
            mark: entry.mark,
            family: entry.family.map(|version| match version {
                IpVersion::IPv4 => rlvs_ipvs::Family::Inet,
                IpVersion::IPv6 => rlvs_ipvs::Family::Inet6,
            }),
            protocol: entry.protocol,
            source: entry.source,
            destination: entry.destination,
            source_ports: entry.source_port,
            destination_ports: entry.destination_port,
            interface: entry.interface,
        };
        rule.checked().map(Rule).map_err(D::Error::custom)
    }
}

fn mark<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match Scalar::deserialize(from)? {
        Scalar::Number(mark) => Ok(mark),
        Scalar::Word(word) => MarkRule::parse_mark(&word).map_err(D::Error::custom),
    }
}

fn protocol<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Protocol>, D::Error> {
    let word = String::deserialize(from)?;
    MarkRule::parse_protocol(&word).map(Some).map_err(D::Error::custom)
}

fn ports<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ports>, D::Error> {
    let word = match Scalar::deserialize(from)? {
        Scalar::Number(port) => port.to_string(),
        Scalar::Word(word) => word,
    };
    word.parse().map(Some).map_err(D::Error::custom)
}

fn word<'de, T: FromStr<Err = MarkRuleError>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<Vec<MarkRule>, String> {
        Config::parse(text, Path::new("rlvs.toml")).map(|config| config.marks).map_err(|e| e.to_string())
    }

    #[test]
    fn an_entry_is_a_rule() {
        let rules = parse(
            "[[mark]]\nmark = 0x10\n\n[[mark]]\nmark = \"0x11\"\nfamily = \"ipv6\"\nprotocol = \"udp\"\n\
             destination_port = 53\n\n[[mark]]\nmark = 3\nsource = \"10.0.0.0/8\"\ndestination = \"192.0.2.1\"\n\
             source_port = \"1024-65535\"\ninterface = \"eth0\"\n",
        );
        let words: Vec<String> = rules.unwrap().iter().map(MarkRule::to_string).collect();
        assert_eq!(
            words,
            [
                "--mark 16",
                "--ipv6 --protocol udp --destination-port 53 --mark 17",
                "--source 10.0.0.0/8 --destination 192.0.2.1/32 --source-port 1024-65535 --interface eth0 --mark 3",
            ]
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        for (entry, what) in [
            ("destination = \"10.0.0/8\"", "no network"),
            ("protocol = \"icmp\"", "no protocol"),
            ("destination_port = 70000", "no port"),
            ("destination_port = \"90-80\"", "no port"),
            ("family = \"ipv6\"\nsource = \"10.0.0.0/8\"", "IPv4 and IPv6"),
            ("interface = \"a/b\"", "no name"),
            ("port = 80", "unknown field"),
        ] {
            let error = parse(&format!("[[mark]]\nmark = 1\n{entry}\n")).unwrap_err();
            assert!(error.contains(what) && error.contains("line"), "{error}");
        }
        let error = parse("[[mark]]\nsource = \"10.0.0.0/8\"\n").unwrap_err();
        assert!(error.contains("missing field `mark`"), "{error}");
        let error = parse("[[mark]]\nmark = 1\n[[mark]]\nmark = 0x1\n").unwrap_err();
        assert!(error.contains("twice"), "{error}");
    }
}
