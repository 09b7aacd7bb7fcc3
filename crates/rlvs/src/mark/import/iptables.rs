//! What `iptables-save` and `ip6tables-save` print.

use super::chain::{Chains, all_of};
use anyhow::{Result, bail};
use rlvs_ipvs::{Family, MarkRule, Network, Ports};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A rule's words.
struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
}

/// What a rule does with packets.
enum Target {
    /// Set the mark.
    Mark(u32),
    /// End their way through the chain.
    Leave,
    /// Nothing that matters here.
    Nothing,
}

/// Reads the file into `chains`.
///
/// # Errors
///
/// If it is not what these tools print.
pub fn read(text: &str, mut family: Family, chains: &mut Chains) -> Result<()> {
    let (mut table, mut own_chains, mut tables) = (String::new(), BTreeSet::new(), 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            if comment.contains("ip6tables-save") {
                family = Family::Inet6;
            } else if comment.contains("iptables-save") {
                family = Family::Inet;
            }
        } else if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
            tables += 1;
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            if let (Some(name), Some("-")) = (words.next(), words.next()) {
                own_chains.insert((table.clone(), name.to_owned()));
            }
        } else if line == "COMMIT" {
            // Another file may follow: ip6tables-save after iptables-save.
            chains.end();
        } else if let Some(rule) = append(line) {
            let place = format!("line {number} `{line}`");
            let words = split(rule);
            let Some((chain, words)) = words.split_first() else { continue };
            let is_own = |name: &str| own_chains.contains(&(table.clone(), name.to_owned()));
            if table == "mangle" && chain == "PREROUTING" {
                rule_of_prerouting(words, family, is_own, place, chains);
            } else if words.windows(2).any(|pair| pair[0] == "-j" && pair[1] == "MARK") {
                let reason =
                    format!("only PREROUTING of the table mangle is translated, not {chain} of {table}");
                chains.outside(place, reason);
            }
            if chains.is_too_long() {
                bail!("line {number}: it comes to too many mark rules");
            }
        }
    }
    if tables == 0 {
        bail!("this is neither what iptables-save prints nor JSON from `nft -j list ruleset`");
    }
    Ok(())
}

/// What follows `-A`; packet counters may be before it.
fn append(line: &str) -> Option<&str> {
    let rule = match line.strip_prefix('[') {
        Some(counters) => counters.split_once(']')?.1.trim_start(),
        None => line,
    };
    rule.strip_prefix("-A ")
}

fn rule_of_prerouting(
    words: &[String],
    family: Family,
    is_own: impl Fn(&str) -> bool,
    place: String,
    chains: &mut Chains,
) {
    let parsed = parse(words, family, is_own);
    let ends = ["ACCEPT", "DROP", "RETURN", "QUEUE", "NFQUEUE", "REJECT"];
    let target = words.iter().skip_while(|word| *word != "-j" && *word != "-g").nth(1);
    match parsed {
        Ok((_, Target::Nothing)) => {}
        Ok((packets, Target::Mark(mark))) => chains.mark(mark, &packets),
        Ok((packets, Target::Leave)) => chains.leave(&packets),
        Err(reason) if target.is_some_and(|target| ends.contains(&target.as_str())) => {
            chains.leave_somehow(place, &reason);
        }
        Err(reason) => chains.problem(place, reason),
    }
}

/// The packets that the rule matches, and what it does with them; or why that cannot be said.
fn parse(
    words: &[String],
    family: Family,
    is_own: impl Fn(&str) -> bool,
) -> Result<(Vec<MarkRule>, Target), String> {
    let of_family = MarkRule { family: Some(family), ..MarkRule::default() };
    let mut conditions = vec![vec![of_family.clone()]];
    let mut words = Words { rest: words.iter() };
    let (mut target, mut problem) = (Target::Nothing, None);
    while let Some(word) = words.rest.next() {
        let condition = match word.as_str() {
            "-j" => {
                target = words.target(&is_own)?;
                continue;
            }
            "-g" => return Err(format!("it goes to the chain {}, which is not followed", words.value()?)),
            "-m" => match words.value()? {
                "tcp" | "udp" | "sctp" | "multiport" | "comment" => continue,
                other => Err(format!("the match `{other}` cannot be translated")),
            },
            "--comment" => words.value().map(|_| vec![of_family.clone()]),
            "-p" | "--protocol" => words.protocol(),
            "-s" | "--source" => {
                words.network().map(|source| vec![MarkRule { source: Some(source), ..of_family.clone() }])
            }
            "-d" | "--destination" => {
                words.network().map(|to| vec![MarkRule { destination: Some(to), ..of_family.clone() }])
            }
            "-i" | "--in-interface" => words.interface(),
            "--sport" | "--source-port" | "--sports" | "--source-ports" => words.ports(source_ports),
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                words.ports(destination_ports)
            }
            "--ports" => words.ports(source_ports).map(|source| {
                let destination = source.iter().filter_map(|rule| rule.source_ports).map(destination_ports);
                source.iter().cloned().chain(destination).collect()
            }),
            "!" => Err("a condition with `!` cannot be translated".into()),
            other => Err(format!("`{other}` cannot be translated")),
        };
        match condition {
            Ok(alternatives) => conditions.push(alternatives),
            // The target may show that the rule does not matter.
            Err(reason) => problem = problem.or(Some(reason)),
        }
    }
    match (target, problem) {
        (Target::Nothing, _) => Ok((Vec::new(), Target::Nothing)),
        (_, Some(reason)) => Err(reason),
        (target, None) => Ok((all_of(&conditions)?, target)),
    }
}

fn source_ports(ports: Ports) -> MarkRule {
    MarkRule { source_ports: Some(ports), ..MarkRule::default() }
}

fn destination_ports(ports: Ports) -> MarkRule {
    MarkRule { destination_ports: Some(ports), ..MarkRule::default() }
}

impl<'a> Words<'a> {
    fn value(&mut self) -> Result<&'a str, String> {
        self.rest.next().map(String::as_str).ok_or_else(|| "the line is cut off".into())
    }

    fn target(&mut self, is_own: impl Fn(&str) -> bool) -> Result<Target, String> {
        match self.value()? {
            "MARK" => self.mark().map(Target::Mark),
            "ACCEPT" | "DROP" | "RETURN" | "QUEUE" | "NFQUEUE" | "REJECT" => Ok(Target::Leave),
            name if is_own(name) => Err(format!("it goes to the chain {name}, which is not followed")),
            "CONNMARK" if self.rest.clone().any(|word| word == "--restore-mark") => {
                Err("marks of connections cannot be translated".into())
            }
            "CONNMARK" | "LOG" | "NFLOG" | "ULOG" | "TRACE" | "TTL" | "HL" | "TOS" | "DSCP" | "ECN"
            | "TCPMSS" | "TCPOPTSTRIP" | "CLASSIFY" | "CT" | "NOTRACK" | "CHECKSUM" | "AUDIT" | "SECMARK"
            | "CONNSECMARK" | "SET" => {
                self.rest = [].iter();
                Ok(Target::Nothing)
            }
            other => Err(format!("the target {other} cannot be translated")),
        }
    }

    /// The mark that MARK sets: all of it.
    fn mark(&mut self) -> Result<u32, String> {
        let option = self.value()?;
        if option != "--set-mark" && option != "--set-xmark" {
            return Err(format!("`{option}` changes some bits of a mark only"));
        }
        let value = self.value()?;
        let (mark, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
        if MarkRule::parse_mark(mask) != Ok(u32::MAX) {
            return Err(format!("{value} changes some bits of a mark only"));
        }
        MarkRule::parse_mark(mark).map_err(|error| error.to_string())
    }

    fn protocol(&mut self) -> Result<Vec<MarkRule>, String> {
        let word = self.value()?;
        if word == "all" || word == "0" {
            return Ok(vec![MarkRule::default()]);
        }
        let protocol = MarkRule::parse_protocol(word).map_err(|error| error.to_string())?;
        Ok(vec![MarkRule { protocol: Some(protocol), ..MarkRule::default() }])
    }

    fn network(&mut self) -> Result<Network, String> {
        let word = self.value()?;
        let with_mask = || {
            let (address, mask) = word.split_once('/')?;
            let mask: std::net::Ipv4Addr = mask.parse().ok()?;
            let length = mask.to_bits().leading_ones();
            let address: IpAddr = address.parse().ok()?;
            (mask.to_bits().count_ones() == length).then(|| Network::new(address, length as u8)).flatten()
        };
        word.parse()
            .ok()
            .or_else(with_mask)
            .ok_or_else(|| format!("`{word}` is no network with a prefix length"))
    }

    fn interface(&mut self) -> Result<Vec<MarkRule>, String> {
        let name = self.value()?;
        if name.ends_with('+') {
            return Err(format!("`{name}` names many interfaces"));
        }
        Ok(vec![MarkRule { interface: Some(name.into()), ..MarkRule::default() }])
    }

    /// `80`, `80:90`, `:90`, `80:`, several with commas.
    fn ports(&mut self, rule: impl Fn(Ports) -> MarkRule) -> Result<Vec<MarkRule>, String> {
        let word = self.value()?;
        let range = |part: &str| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            let first = if first.is_empty() { Some(0) } else { first.parse().ok() };
            let last = if last.is_empty() { Some(u16::MAX) } else { last.parse().ok() };
            Ports::new(first?, last?).map(&rule)
        };
        word.split(',').map(range).collect::<Option<_>>().ok_or_else(|| format!("`{word}` are no ports"))
    }
}

/// A line's words: quotes hold one together, a backslash takes the next character as it is.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '\\' => word.extend(characters.next()),
            ' ' | '\t' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}
