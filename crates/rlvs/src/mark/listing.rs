//! The rules for people, and for programs.

use rlvs_ipvs::{Family, MarkRuleEntry};
use serde::Serialize;
use std::io::{self, Write};

/// A rule as JSON; what it leaves open is null.
#[derive(Serialize)]
struct Rule<'a> {
    number: u32,
    mark: u32,
    family: Option<&'static str>,
    protocol: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    source_port: Option<String>,
    destination_port: Option<String>,
    interface: Option<&'a str>,
    /// It comes from the configuration file.
    configured: bool,
}

/// Prints the rules.
pub fn print(rules: &[MarkRuleEntry], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &rules.iter().map(Rule::from).collect::<Vec<_>>())?;
        return writeln!(out);
    }
    for entry in rules {
        let origin = if entry.configured { "  (configuration file)" } else { "" };
        writeln!(out, "{:>4}  {}{origin}", entry.number, entry.rule)?;
    }
    Ok(())
}

impl<'a> From<&'a MarkRuleEntry> for Rule<'a> {
    fn from(entry: &'a MarkRuleEntry) -> Self {
        let rule = &entry.rule;
        Rule {
            number: entry.number,
            mark: rule.mark,
            family: rule.family.map(|family| if family == Family::Inet { "ipv4" } else { "ipv6" }),
            protocol: rule.protocol.map(|protocol| protocol.to_string().to_lowercase()),
            source: rule.source.map(|network| network.to_string()),
            destination: rule.destination.map(|network| network.to_string()),
            source_port: rule.source_ports.map(|ports| ports.to_string()),
            destination_port: rule.destination_ports.map(|ports| ports.to_string()),
            interface: rule.interface.as_deref(),
            configured: entry.configured,
        }
    }
}
