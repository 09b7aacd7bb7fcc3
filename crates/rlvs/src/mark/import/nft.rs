//! What `nft -j list ruleset` prints (libnftables-json(5)).

use super::chain::{Chains, all_of};
use anyhow::{Context, Result, bail};
use rlvs_ipvs::{Family, MarkRule, Network, Ports};
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

#[derive(Deserialize)]
struct Ruleset {
    nftables: Vec<Object>,
}

/// What matters of an object; all others have neither.
#[derive(Deserialize)]
struct Object {
    chain: Option<Chain>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    #[serde(default)]
    prio: i64,
}

#[derive(Deserialize)]
struct Rule {
    family: String,
    table: String,
    chain: String,
    handle: u64,
    expr: Vec<Value>,
}

/// What a rule does with packets, as far as it could be read.
#[derive(Default)]
struct Reading {
    conditions: Vec<Vec<MarkRule>>,
    mark: Option<u32>,
    leaves: bool,
    /// It sets a mark, be it readable or not.
    marks: bool,
    problem: Option<String>,
}

/// Reads the rules into `chains`.
///
/// # Errors
///
/// If it is not what nft prints.
pub fn read(text: &str, chains: &mut Chains) -> Result<()> {
    let ruleset: Ruleset =
        serde_json::from_str(text).context("this is no JSON as `nft -j list ruleset` prints it")?;
    let (mut hooked, mut rules) = (Vec::new(), Vec::new());
    for object in ruleset.nftables {
        hooked.extend(object.chain.filter(|chain| chain.hook.as_deref() == Some("prerouting")));
        rules.extend(object.rule);
    }
    // Equal priorities: in the order of the listing.
    hooked.sort_by_key(|chain| chain.prio);
    for rule in &rules {
        let reading = Reading::of(rule);
        if reading.marks && !hooked.iter().any(|chain| chain.has(rule)) {
            let reason = "only chains at the hook prerouting of ip, ip6 and inet are translated";
            chains.outside(place(rule), reason.into());
        }
    }
    for chain in &hooked {
        for rule in rules.iter().filter(|rule| chain.has(rule)) {
            take(Reading::of(rule), rule, chains);
            if chains.is_too_long() {
                bail!("{}: it comes to too many mark rules", place(rule));
            }
        }
        chains.end();
    }
    Ok(())
}

fn place(rule: &Rule) -> String {
    format!("table {} {}, chain {}, rule with handle {}", rule.family, rule.table, rule.chain, rule.handle)
}

fn take(reading: Reading, rule: &Rule, chains: &mut Chains) {
    let Reading { conditions, mark, leaves, marks, problem } = reading;
    if !marks && !leaves {
        return;
    }
    let packets = match problem {
        Some(reason) => Err(reason),
        None => all_of(&conditions),
    };
    match packets {
        Ok(packets) => {
            if let Some(mark) = mark {
                chains.mark(mark, &packets);
            }
            if leaves {
                chains.leave(&packets);
            }
        }
        Err(reason) if marks => chains.problem(place(rule), reason),
        Err(reason) => chains.leave_somehow(place(rule), &reason),
    }
}

impl Chain {
    fn has(&self, rule: &Rule) -> bool {
        ["ip", "ip6", "inet"].contains(&self.family.as_str())
            && (&self.family, &self.table, &self.name) == (&rule.family, &rule.table, &rule.chain)
    }
}

impl Reading {
    fn of(rule: &Rule) -> Reading {
        let mut reading = Reading::default();
        if let Some(family) = ip_version(&rule.family) {
            reading.conditions.push(vec![family]);
        }
        for expression in &rule.expr {
            if let Err(reason) = reading.take(expression) {
                reading.problem.get_or_insert(reason);
            }
        }
        reading
    }

    /// Reads a part of a rule.
    fn take(&mut self, expression: &Value) -> Result<(), String> {
        let Some((kind, content)) = expression.as_object().and_then(|object| object.iter().next()) else {
            return Err(format!("`{expression}` cannot be translated"));
        };
        match kind.as_str() {
            "match" if self.mark.is_some() => Err("a condition after the mark was set".into()),
            "match" => condition(content).map(|alternatives| self.conditions.push(alternatives)),
            "mangle" if is_mark(&content["key"]) => {
                self.marks = true;
                let mark = content["value"].as_u64().and_then(|mark| u32::try_from(mark).ok());
                self.mark = Some(mark.ok_or_else(|| format!("the mark is computed: {}", content["value"]))?);
                Ok(())
            }
            "accept" | "drop" | "return" | "reject" | "queue" => {
                self.leaves = true;
                Ok(())
            }
            "jump" | "goto" => {
                // What is in the other chain may set marks.
                self.marks = true;
                Err(format!("it goes to the chain {}, which is not followed", content["target"]))
            }
            "vmap" => {
                self.leaves = true;
                Err("a map of verdicts cannot be translated".into())
            }
            "xt" => {
                self.marks |= content["name"] == "MARK" || content["name"] == "CONNMARK";
                Err("it is a rule of iptables: import what iptables-save prints".into())
            }
            "counter" | "log" | "comment" | "notrack" | "ct helper" | "mangle" => Ok(()),
            other => Err(format!("`{other}` cannot be translated")),
        }
    }
}

fn is_mark(key: &Value) -> bool {
    key["meta"]["key"] == "mark"
}

/// A rule for packets of one version: `ip`, `ip6`; `None`: of both.
fn ip_version(family: &str) -> Option<MarkRule> {
    let family = match family {
        "ip" | "ipv4" => Family::Inet,
        "ip6" | "ipv6" => Family::Inet6,
        _ => return None,
    };
    Some(MarkRule { family: Some(family), ..MarkRule::default() })
}

/// A condition's alternatives.
fn condition(content: &Value) -> Result<Vec<MarkRule>, String> {
    let (left, right) = (&content["left"], &content["right"]);
    if content["op"] != "==" {
        return Err(format!("a condition with {} cannot be translated", content["op"]));
    }
    let values = match right["set"].as_array() {
        Some(values) => values.iter().collect(),
        None => vec![right],
    };
    values.into_iter().map(|value| alternative(left, value)).collect()
}

fn alternative(left: &Value, value: &Value) -> Result<MarkRule, String> {
    let unknown = || format!("the condition {left} = {value} cannot be translated");
    let word = value.as_str();
    if let Some(key) = left["meta"]["key"].as_str() {
        return match key {
            "iifname" | "iif" => {
                let name = word.filter(|name| !name.ends_with('*')).ok_or_else(unknown)?;
                Ok(MarkRule { interface: Some(name.into()), ..MarkRule::default() })
            }
            "l4proto" => protocol(value).ok_or_else(unknown),
            "nfproto" | "protocol" => word.and_then(ip_version).ok_or_else(unknown),
            _ => Err(unknown()),
        };
    }
    let payload = &left["payload"];
    let (Some(header), Some(field)) = (payload["protocol"].as_str(), payload["field"].as_str()) else {
        return Err(unknown());
    };
    let of_header = match header {
        "ip" | "ip6" => ip_version(header),
        "th" => Some(MarkRule::default()),
        _ => protocol(&payload["protocol"]),
    };
    let mut rule = of_header.ok_or_else(unknown)?;
    match (header, field) {
        ("ip" | "ip6", "saddr") => rule.source = Some(network(value).ok_or_else(unknown)?),
        ("ip" | "ip6", "daddr") => rule.destination = Some(network(value).ok_or_else(unknown)?),
        ("ip", "protocol") | ("ip6", "nexthdr") => {
            rule.protocol = protocol(value).ok_or_else(unknown)?.protocol;
        }
        (_, "sport") => rule.source_ports = Some(ports(value).ok_or_else(unknown)?),
        (_, "dport") => rule.destination_ports = Some(ports(value).ok_or_else(unknown)?),
        _ => return Err(unknown()),
    }
    Ok(rule)
}

fn protocol(value: &Value) -> Option<MarkRule> {
    let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(MarkRule { protocol: Some(MarkRule::parse_protocol(&word).ok()?), ..MarkRule::default() })
}

fn network(value: &Value) -> Option<Network> {
    if let Some(word) = value.as_str() {
        return word.parse().ok();
    }
    let prefix = &value["prefix"];
    let address: IpAddr = prefix["addr"].as_str()?.parse().ok()?;
    Network::new(address, prefix["len"].as_u64()?.try_into().ok()?)
}

fn ports(value: &Value) -> Option<Ports> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    match value["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => Ports::new(port(first)?, port(last)?),
        Some(_) => None,
        None => port(value).and_then(|port| Ports::new(port, port)),
    }
}
