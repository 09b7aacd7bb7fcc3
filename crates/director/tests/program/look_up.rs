//! Services of marks, for FTP's ports and for all ports: the registry's rules and the simulation's must come to the same.

use crate::lab::*;
use anyhow::{Context, Result, ensure};
use rlvs_ipvs::{Errno, Family, MarkRule, MarkRuleEntry, MarkRuleId, Reply, Request, ServiceId};
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::mark::{Prefix, RULES_MAX, Rule};
use rlvs_switch::simulation::Packet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

const SLOTS: u32 = 1 << 10;
const MARK: NonZeroU32 = NonZeroU32::MIN;

fn family(net: Net) -> Family {
    Family::of(net.vip.ip())
}

fn port(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}

/// Adds rules to the kernel's director; `rules` are the same for the simulation.
fn set_rules(twins: &mut Twins, words: &[MarkRule], rules: &[Rule]) -> Result<()> {
    for rule in words {
        twins.kernel.ask(Request::NewMarkRule { rule: rule.clone(), before: None })?;
    }
    twins.simulation.set_mark_rules(rules);
    Ok(())
}

fn listed(twins: &mut Twins) -> Result<Vec<MarkRuleEntry>> {
    match twins.kernel.ask(Request::ListMarkRules)? {
        Reply::MarkRules(rules) => Ok(rules),
        other => anyhow::bail!("{other:?}"),
    }
}

#[test]
fn marks_group_addresses_ports_and_protocols() {
    run(SLOTS, |twins| {
        for net in nets() {
            let servers = [
                server(MASQUERADE, port(net.server, 0)),
                server(DIRECT_ROUTE, port(net.server_2(), 0)),
                server(TUNNEL, port(net.server, 1)),
            ];
            twins.add_mark_service(MARK, family(net), &servers)?;
        }
        let mut words = Vec::new();
        let mut rules = Vec::new();
        for net in nets() {
            let host = if net.vip.is_ipv4() { 32 } else { 128 };
            words.push(MarkRule {
                mark: MARK.get(),
                destination: rlvs_ipvs::Network::new(net.vip.ip(), host),
                destination_ports: "80-443".parse().ok(),
                ..MarkRule::default()
            });
            rules.push(Rule {
                mark: MARK.get(),
                families: if net.vip.is_ipv4() { 1 } else { 2 },
                destination: host_prefix(net.vip.ip()),
                destination_ports: (80, 443),
                ..Rule::default()
            });
        }
        set_rules(twins, &words, &rules)?;
        for net in nets() {
            for client in 20_000..20_009 {
                for vip in [80, 443].map(|n| port(net.vip, n)) {
                    twins.to_server(&Packet::tcp(port(net.client, client), vip, SYN));
                    twins.to_server(&Packet::udp(port(net.client, client), vip));
                }
                for vip in [79, 444].map(|n| port(net.vip, n)) {
                    let other = Packet::tcp(port(net.client, client), vip, SYN).frame();
                    ensure!(twins.receive(&other).0 == Verdict::Pass);
                }
            }
        }
        twins.compare()
    });
}

/// A host's address as the simulation's rules have it.
fn host_prefix(address: IpAddr) -> Prefix {
    let word = |octets: &[u8]| u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]);
    match address {
        IpAddr::V4(address) => {
            Prefix { address: [word(&address.octets()), 0, 0, 0], mask: [u32::MAX, 0, 0, 0] }
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            Prefix { address: std::array::from_fn(|i| word(&octets[4 * i..])), mask: [u32::MAX; 4] }
        }
    }
}

#[test]
fn ftp_and_services_for_all_ports() {
    run(SLOTS, |twins| {
        for net in nets() {
            twins.add_service(TCP, port(net.vip, 21), &[server(MASQUERADE, net.server)])?;
            for n in [20, 22, 1023, 1024, 65_535] {
                let data = Packet::tcp(net.client, port(net.vip, n), SYN).frame();
                ensure!(twins.receive(&data).0 == Verdict::Pass, "{n}");
            }
            for protocol in [TCP, UDP] {
                twins.add_service(protocol, port(net.vip, 0), &[server(MASQUERADE, net.server)])?;
            }
            for (n, expected) in [(20, Verdict::Pass), (22, Verdict::Transmit), (1024, Verdict::Pass)] {
                let other = Packet::tcp(net.client, port(net.vip, n), SYN).frame();
                ensure!(twins.receive(&other).0 == expected, "{n}");
            }
            let datagram = Packet::udp(net.client, port(net.vip, 1024)).frame();
            ensure!(twins.receive(&datagram).0 == Verdict::Transmit);
        }
        twins.compare()
    });
}

#[test]
fn the_last_of_the_most_rules_is_reached() {
    run(SLOTS, |twins| {
        for net in nets() {
            twins.add_mark_service(MARK, family(net), &[server(MASQUERADE, port(net.server, 0))])?;
        }
        let other = |n: u16| MarkRule {
            mark: 9,
            destination_ports: rlvs_ipvs::Ports::new(n + 1, n + 1),
            ..MarkRule::default()
        };
        let last = MarkRule { mark: MARK.get(), ..MarkRule::default() };
        let mut words: Vec<MarkRule> = (1000..999 + RULES_MAX as u16).map(other).collect();
        words.push(last);
        let mut rules = vec![Rule { destination_ports: (1, 1), ..Rule::default() }; RULES_MAX as usize - 1];
        rules.push(Rule { mark: MARK.get(), ..Rule::default() });
        set_rules(twins, &words, &rules)?;
        for net in nets() {
            twins.to_server(&Packet::tcp(net.client, net.vip, SYN));
        }
        let more = Request::NewMarkRule { rule: other(1), before: None };
        ensure!(refusal(twins, more) == Some(Errno::NOSPC));
        twins.compare()
    });
}

fn refusal(twins: &mut Twins, request: Request) -> Option<Errno> {
    twins.kernel.request(request).err()
}

/// Rules in their order, those of the file first; the next director finds them and the services.
#[test]
fn rules_are_kept_in_order_and_adopted() {
    run(SLOTS, |twins| {
        let net = nets()[0];
        twins.add_mark_service(MARK, family(net), &[server(MASQUERADE, port(net.server, 0))])?;
        let rule = |words: u16| MarkRule {
            mark: MARK.get(),
            destination_ports: rlvs_ipvs::Ports::new(words, words),
            ..MarkRule::default()
        };
        let on_lo = MarkRule { interface: Some("lo".into()), ..rule(80) };
        set_rules(twins, &[rule(1), on_lo.clone()], &[])?;
        twins.kernel.ask(Request::NewMarkRule { rule: rule(2), before: Some(1) })?;
        let beyond = Request::NewMarkRule { rule: rule(3), before: Some(4) };
        ensure!(refusal(twins, beyond) == Some(Errno::RANGE));
        let again = Request::NewMarkRule { rule: rule(1), before: None };
        ensure!(refusal(twins, again) == Some(Errno::EXIST));
        twins.kernel.registry.configure_marks(&[rule(7), rule(1)]);

        let expected = [rule(7), rule(1), rule(2), on_lo.clone()];
        let rules = |entries: Vec<MarkRuleEntry>| -> Vec<MarkRule> {
            entries.into_iter().map(|entry| entry.rule).collect()
        };
        ensure!(rules(listed(twins)?) == expected);
        // Nothing has said which index `lo` has; then the next director does.
        let to_80 = Packet::tcp(net.client, net.vip, SYN).frame();
        ensure!(twins.kernel.receive(&to_80)?.0 == 2);
        twins.kernel.registry = twins.kernel.next_registry()?;
        ensure!(rules(listed(twins)?) == expected);
        twins.kernel.registry.set_interfaces(BTreeMap::from([("lo".into(), 1)]));
        ensure!(twins.kernel.receive(&to_80)?.0 == 4);

        // Another file takes the place of the one before.
        twins.kernel.registry.configure_marks(&[]);
        ensure!(rules(listed(twins)?) == [rule(2), on_lo.clone()]);
        twins.kernel.ask(Request::DeleteMarkRule(MarkRuleId::Rule(on_lo)))?;
        let gone = Request::DeleteMarkRule(MarkRuleId::Number(2));
        ensure!(refusal(twins, gone) == Some(Errno::NOENT));
        twins.kernel.ask(Request::DeleteMarkRule(MarkRuleId::Number(1)))?;
        ensure!(listed(twins)?.is_empty());

        let id = ServiceId::Mark { mark: MARK, family: family(net) };
        let Reply::Service(entry) = twins.kernel.ask(Request::GetService(id))? else {
            anyhow::bail!("no service")
        };
        ensure!(entry.service.id == id && entry.stats.connections == 1);
        twins.kernel.ask(Request::DeleteService(id)).context("deleting")?;
        ensure!(refusal(twins, Request::GetService(id)) == Some(Errno::SRCH));
        Ok(())
    });
}
