//! Mark rules, published so that the switch sees the old list or the new one.

use super::members::GRACE;
use super::{Registry, keys};
use rlvs_ipvs::{Errno, Family, MarkRule, MarkRuleEntry, MarkRuleId, Network, Ports, Protocol};
use rlvs_switch::config::UNPRIVILEGED_PORT_START;
use rlvs_switch::ftp;
use rlvs_switch::mark::{self, LISTS, NO_INTERFACE, Prefix, RULES_MAX, Rule, family_bit};
use rlvs_switch::order;
use rlvs_switch::service::ServiceKey;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// Where the kernel says which ports are privileged, in the network namespace of whoever reads.
const PORT_START: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// The mark rules, and what they depend on.
#[derive(Default)]
pub(super) struct Marks {
    rules: Vec<Kept>,
    /// Indices of the interfaces that there are, by name.
    interfaces: BTreeMap<String, u32>,
    /// When a list was last retired.
    retired: Option<Instant>,
}

#[derive(Clone)]
struct Kept {
    rule: MarkRule,
    /// From the configuration file.
    configured: bool,
    /// The index that the switch compares.
    interface: Option<u32>,
}

impl Registry {
    pub(super) fn add_mark_rule(&mut self, rule: MarkRule, before: Option<u32>) -> Result<(), Errno> {
        let rule = rule.checked().map_err(|_| Errno::INVAL)?;
        let rules = &self.marks.rules;
        if rules.iter().any(|kept| kept.rule == rule) {
            return Err(Errno::EXIST);
        }
        if rules.len() >= RULES_MAX as usize {
            tracing::warn!("refused mark rule `{rule}`: there are {RULES_MAX}, the most that there can be");
            return Err(Errno::NOSPC);
        }
        let place = match before {
            None => rules.len(),
            Some(number) => place(number).filter(|place| *place < rules.len()).ok_or(Errno::RANGE)?,
        };
        let kept = self.marks.keep(rule, false);
        self.marks.rules.insert(place, kept);
        self.publish_marks();
        Ok(())
    }

    pub(super) fn delete_mark_rule(&mut self, id: MarkRuleId) -> Result<(), Errno> {
        let place = match id {
            MarkRuleId::Number(number) => place(number).filter(|place| *place < self.marks.rules.len()),
            MarkRuleId::Rule(rule) => {
                let rule = rule.checked().map_err(|_| Errno::INVAL)?;
                self.marks.rules.iter().position(|kept| kept.rule == rule)
            }
        };
        self.marks.rules.remove(place.ok_or(Errno::NOENT)?);
        self.publish_marks();
        Ok(())
    }

    pub(super) fn mark_rules(&self) -> Vec<MarkRuleEntry> {
        let entry = |(number, kept): (u32, &Kept)| MarkRuleEntry {
            number,
            configured: kept.configured,
            rule: kept.rule.clone(),
        };
        (1..).zip(&self.marks.rules).map(entry).collect()
    }

    /// Makes these the rules of the configuration file: they come first, and take the place of those that an earlier
    /// file had. Rules that were added by command stay behind them.
    pub fn configure_marks(&mut self, rules: &[MarkRule]) {
        let configured: Vec<Kept> = rules.iter().map(|rule| self.marks.keep(rule.clone(), true)).collect();
        let by_command =
            self.marks.rules.iter().filter(|kept| !kept.configured && !rules.contains(&kept.rule));
        let mut all: Vec<Kept> = configured.into_iter().chain(by_command.cloned()).collect();
        let same = |(new, old): (&Kept, &Kept)| new.rule == old.rule && new.configured == old.configured;
        if all.len() == self.marks.rules.len() && all.iter().zip(&self.marks.rules).all(same) {
            return;
        }
        if all.len() > RULES_MAX as usize {
            tracing::warn!("more than {RULES_MAX} mark rules: those added by command last are forgotten");
            all.truncate(RULES_MAX as usize);
        }
        self.marks.rules = all;
        self.publish_marks();
    }

    /// Says which interfaces there are now, by name and index: rules that name one follow it.
    pub fn set_interfaces(&mut self, interfaces: BTreeMap<String, u32>) {
        let marks = &mut self.marks;
        marks.interfaces = interfaces;
        let first = self.tables.settings().marks.current() * RULES_MAX;
        for (place, kept) in (first..).zip(&mut marks.rules) {
            let interface = index_of(&marks.interfaces, &kept.rule);
            if interface != kept.interface
                && let Some(entry) = self.tables.mark_rules.get(place)
            {
                kept.interface = interface;
                entry.interface.store(interface.unwrap_or(NO_INTERFACE), order::PUBLISH);
            }
        }
    }

    /// Reads the rules from the tables.
    pub(super) fn adopt_marks(&mut self) {
        let lists = &self.tables.settings().marks;
        let current = lists.current();
        let first = current * RULES_MAX;
        let entries = (first..first + lists.length(current).min(RULES_MAX))
            .filter_map(|place| self.tables.mark_rules.get(place));
        self.marks.rules = entries.map(adopt).collect();
    }

    fn publish_marks(&mut self) {
        if let Some(rest) = self.marks.retired.and_then(|since| GRACE.checked_sub(since.elapsed())) {
            std::thread::sleep(rest);
        }
        let lists = &self.tables.settings().marks;
        let next = (lists.current() + 1) % LISTS;
        for (place, kept) in (next * RULES_MAX..).zip(&self.marks.rules) {
            if let Some(entry) = self.tables.mark_rules.get(place) {
                write(entry, kept);
            }
        }
        lists.publish(next, self.marks.rules.len() as u32);
        self.marks.retired = Some(Instant::now());
        self.set_look_ups();
    }

    /// Tells the switch which look-ups can succeed, if a service that came or went is found by one of these.
    pub(super) fn set_look_ups_for(&self, service: &ServiceKey) {
        if service.port == 0 || service.port.to_ne_bytes() == ftp::CONTROL {
            self.set_look_ups();
        }
    }

    /// Tells the switch which look-ups of services can succeed.
    pub(super) fn set_look_ups(&self) {
        let settings = self.tables.settings();
        let start = std::fs::read_to_string(PORT_START).ok().and_then(|text| text.trim().parse().ok());
        settings.unprivileged_port_start.store(start.unwrap_or(UNPRIVILEGED_PORT_START), order::PLAIN);
        let services = self.by_id.keys().filter_map(keys::key);
        let callers = self.callers.keys().map(keys::from_octets);
        settings.set_look_ups(services.chain(callers), !self.marks.rules.is_empty());
    }
}

impl Marks {
    fn keep(&self, rule: MarkRule, configured: bool) -> Kept {
        Kept { interface: index_of(&self.interfaces, &rule), rule, configured }
    }
}

/// The index of the interface that a rule names; `None` if it names none, or one that is not there.
fn index_of(interfaces: &BTreeMap<String, u32>, rule: &MarkRule) -> Option<u32> {
    rule.interface.as_ref().and_then(|name| interfaces.get(name)).copied()
}

/// Where the rule of a number is.
fn place(number: u32) -> Option<usize> {
    number.checked_sub(1).map(|place| place as usize)
}

fn write(entry: &mark::MarkRule, kept: &Kept) {
    let rule = &kept.rule;
    let ports = |ports: Option<Ports>| ports.map_or((0, u16::MAX), |ports| (ports.first, ports.last));
    entry.store(&Rule {
        mark: rule.mark,
        families: match rule.family {
            Some(Family::Inet) => family_bit(4),
            Some(Family::Inet6) => family_bit(6),
            None => family_bit(4) | family_bit(6),
        },
        // A checked rule's protocol fits.
        protocol: rule.protocol.map(|protocol| protocol.0 as u8),
        interface: rule.interface.as_ref().map(|_| kept.interface.unwrap_or(NO_INTERFACE)),
        source: rule.source.map(prefix).unwrap_or_default(),
        destination: rule.destination.map(prefix).unwrap_or_default(),
        source_ports: ports(rule.source_ports),
        destination_ports: ports(rule.destination_ports),
    });
    entry.configured.store(kept.configured.into(), order::PLAIN);
    let mut name = [0; 16];
    for (octet, of_name) in name.iter_mut().zip(rule.interface.iter().flat_map(|name| name.bytes())) {
        *octet = of_name;
    }
    for (cell, octets) in entry.interface_name.iter().zip(name.as_chunks::<4>().0) {
        cell.store(u32::from_ne_bytes(*octets), order::PLAIN);
    }
}

/// The reverse of [`write`].
fn adopt(entry: &mark::MarkRule) -> Kept {
    let rule = entry.load();
    let name: Vec<u8> =
        entry.interface_name.iter().flat_map(|word| word.load(order::PLAIN).to_ne_bytes()).collect();
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
    let family = if rule.families == family_bit(4) {
        Some(Family::Inet)
    } else if rule.families == family_bit(6) {
        Some(Family::Inet6)
    } else {
        None
    };
    let network = |prefix: Prefix| {
        let length = prefix.mask.iter().map(|word| word.count_ones()).sum::<u32>() as u8;
        let address = keys::address(if family == Some(Family::Inet6) { 6 } else { 4 }, prefix.address);
        Network::new(address, length).filter(|_| length != 0)
    };
    let ports =
        |(first, last)| Ports::new(first, last).filter(|ports| *ports != Ports { first: 0, last: u16::MAX });
    Kept {
        rule: MarkRule {
            mark: rule.mark,
            family,
            protocol: rule.protocol.map(|protocol| Protocol(protocol.into())),
            source: network(rule.source),
            destination: network(rule.destination),
            source_ports: ports(rule.source_ports),
            destination_ports: ports(rule.destination_ports),
            interface: (!name.is_empty()).then_some(name),
        },
        configured: entry.configured.load(order::PLAIN) != 0,
        interface: rule.interface.filter(|index| *index != NO_INTERFACE),
    }
}

fn prefix(network: Network) -> Prefix {
    let mask: IpAddr = match network.address() {
        IpAddr::V4(_) => {
            let rest = 32 - u32::from(network.length());
            std::net::Ipv4Addr::from_bits(u32::MAX.checked_shl(rest).unwrap_or(0)).into()
        }
        IpAddr::V6(_) => {
            let rest = 128 - u32::from(network.length());
            std::net::Ipv6Addr::from_bits(u128::MAX.checked_shl(rest).unwrap_or(0)).into()
        }
    };
    Prefix { address: keys::words(network.address()), mask: keys::words(mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rule: MarkRule, interface: Option<u32>) -> Kept {
        Kept { rule: rule.checked().unwrap(), configured: true, interface }
    }

    #[test]
    fn the_next_director_reads_what_this_one_wrote() {
        for (source, destination) in [
            ("10.1.2.3/32", "0.0.0.0/0"),
            ("10.0.0.0/9", "192.0.2.0/31"),
            ("2001:db8::/33", "2001:db8::1/128"),
            ("::/0", "fe80::/10"),
        ] {
            for (name, index) in [(None, None), (Some("eth0"), Some(7)), (Some("fifteen-octets-"), None)] {
                let before = kept(
                    MarkRule {
                        mark: 0xffff_fff0,
                        protocol: Some(Protocol::SCTP),
                        source: source.parse().ok(),
                        destination: destination.parse().ok(),
                        source_ports: Ports::new(0, 1023),
                        destination_ports: Ports::new(65535, 65535),
                        interface: name.map(String::from),
                        ..MarkRule::default()
                    },
                    index,
                );
                let entry = mark::MarkRule::default();
                write(&entry, &before);
                let after = adopt(&entry);
                assert_eq!(
                    (after.rule, after.configured, after.interface),
                    (before.rule, true, before.interface)
                );
            }
        }
    }

    #[test]
    fn a_rule_for_all_packets_has_no_masks() {
        let entry = mark::MarkRule::default();
        write(&entry, &kept(MarkRule { mark: 3, ..MarkRule::default() }, None));
        assert_eq!(entry.load(), Rule { mark: 3, ..Rule::default() });
    }

    #[test]
    fn an_interface_that_is_not_there_matches_nothing() {
        let entry = mark::MarkRule::default();
        write(&entry, &kept(MarkRule { interface: Some("eth9".into()), ..MarkRule::default() }, None));
        assert_eq!(entry.load().interface, Some(NO_INTERFACE));
    }
}
