//! On what the tools print (iptables 1.8.9, nftables 1.0.6), and packet by packet against netfilter's way of going
//! through chains.

use super::*;
use proptest::prelude::*;

fn words(text: &str) -> (Vec<String>, Vec<String>) {
    let (rules, problems) = translate(text, Family::Inet).unwrap();
    (rules.iter().map(MarkRule::to_string).collect(), problems.iter().map(Problem::to_string).collect())
}

fn assert_problems(problems: &[String], expected: &[&str]) {
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, part) in problems.iter().zip(expected) {
        assert!(problem.contains(part), "{problem}: no {part}");
    }
}

#[test]
fn iptables_save() {
    let (rules, problems) = words(include_str!("tests/iptables-save.txt"));
    assert_eq!(
        rules,
        [
            // Last in the file.
            "--protocol tcp --destination 2001:db8::1/128 --destination-port 80 --mark 1",
            // Accepted before anything is marked.
            "--source 10.9.0.0/16 --mark 0",
            "--ipv4 --protocol udp --source-port 53 --mark 4",
            "--ipv4 --protocol udp --source-port 123 --mark 4",
            "--ipv4 --protocol udp --destination-port 53 --mark 4",
            "--ipv4 --protocol udp --destination-port 123 --mark 4",
            "--protocol udp --source 198.51.100.0/24 --source-port 0-1023 --interface eth0 --mark 3",
            "--protocol tcp --destination 192.0.2.2/32 --destination-port 21 --mark 2",
            "--protocol tcp --destination 192.0.2.2/32 --destination-port 50000-51000 --mark 2",
            "--protocol tcp --destination 192.0.2.1/32 --destination-port 443 --mark 1",
            "--protocol tcp --destination 192.0.2.1/32 --destination-port 80 --mark 1",
        ]
    );
    assert_problems(
        &problems,
        &[
            "line 15 `-A PREROUTING -m conntrack --ctstate NEW -j MARK --set-xmark 0x5/0xffffffff`: the match `conntrack`",
            "line 16",
            "changes some bits of a mark only",
            "goes to the chain OWN",
            "`eth+` names many interfaces",
            "`icmp` is no protocol",
            "marks of connections",
            "not OUTPUT of mangle",
            "not OWN of mangle",
        ],
    );
    assert!(problems[1].contains("`!`"), "{problems:#?}");
}

#[test]
fn nft_list_ruleset() {
    let (rules, problems) = words(include_str!("tests/nft.json"));
    assert_eq!(
        rules,
        [
            // The chain of the higher priority comes later, and its mark is the last.
            "--protocol udp --destination-port 5353 --mark 10",
            "--source 10.9.0.0/16 --mark 0",
            // Its packets are accepted: what sets marks after it does not see them.
            "--protocol tcp --destination-port 53 --interface eth0 --mark 3",
            "--protocol udp --destination-port 53 --interface eth0 --mark 3",
            "--protocol tcp --destination 192.0.2.8/30 --mark 5",
            "--protocol tcp --destination 192.0.2.16/32 --mark 5",
            "--ipv6 --protocol udp --source-port 1000-2000 --mark 4",
            "--protocol tcp --destination 2001:db8::1/128 --destination-port 80 --mark 2",
            "--protocol tcp --destination 192.0.2.1/32 --destination-port 80 --mark 1",
            "--protocol tcp --destination 192.0.2.1/32 --destination-port 443 --mark 1",
            "--protocol tcp --destination 192.0.2.1/32 --destination-port 8000-8099 --mark 1",
        ]
    );
    assert_problems(
        &problems,
        &[
            "table inet lvs, chain in, rule with handle 23: only chains at the hook prerouting",
            "handle 16: a condition with \"!=\"",
            "handle 17: a condition with \"in\"",
            "handle 18: the condition",
            "handle 19: the mark is computed",
            "handle 20: it goes to the chain \"sub\"",
            "handle 21: the condition",
        ],
    );
}

/// A rule of iptables shows in nft's listing, but not what it does.
#[test]
fn rules_of_iptables_in_nfts_listing_are_told() {
    let text = r#"{"nftables": [
        {"chain": {"family": "ip", "table": "mangle", "name": "PREROUTING", "hook": "prerouting", "prio": -150}},
        {"rule": {"family": "ip", "table": "mangle", "chain": "PREROUTING", "handle": 3,
                  "expr": [{"counter": null}, {"xt": {"type": "target", "name": "MARK"}}]}}]}"#;
    let (rules, problems) = words(text);
    assert_eq!(rules, Vec::<String>::new());
    assert_problems(&problems, &["import what iptables-save prints"]);
}

/// A verdict that cannot be translated matters if a mark is set after it, and only then.
#[test]
fn verdicts_before_marks_are_told() {
    let drop = "-A PREROUTING -m conntrack --ctstate INVALID -j DROP\n";
    let mark = "-A PREROUTING -p tcp -j MARK --set-mark 1\n";
    let (rules, problems) = words(&format!("*mangle\n{drop}{mark}COMMIT\n"));
    assert_eq!(rules, ["--ipv4 --protocol tcp --mark 1"]);
    assert_problems(
        &problems,
        &["line 2 `-A PREROUTING -m conntrack --ctstate INVALID -j DROP`: packets leave"],
    );
    let (rules, problems) = words(&format!("*mangle\n{mark}{drop}COMMIT\n"));
    assert_eq!((rules.len(), problems.len()), (1, 0));
}

#[test]
fn what_neither_tool_prints_is_refused() {
    for text in ["", "hello", "{\"a\": 1}", "{", "Chain PREROUTING (policy ACCEPT)"] {
        assert!(translate(text, Family::Inet).is_err(), "{text}");
    }
}

#[test]
fn too_many_rules_are_refused() {
    let text: String =
        (0..1100).map(|i| format!("-A PREROUTING -p tcp --dport {i} -j MARK --set-mark 1\n")).collect();
    let error = translate(&format!("*mangle\n{text}COMMIT\n"), Family::Inet).unwrap_err().to_string();
    assert!(error.contains("1100 mark rules"), "{error}");
}

/// What rules look at, in a world so small that packets meet rules.
#[derive(Clone, Debug)]
struct Packet {
    host: u8,
    port: u16,
    udp: bool,
}

/// A rule of a chain: at most one of each condition; a mark, or a verdict.
type NetfilterRule = (Option<(u8, u8)>, Option<(u16, u16)>, Option<bool>, Option<u32>);

fn matches(rule: &NetfilterRule, packet: &Packet) -> bool {
    let (network, ports, udp, _) = rule;
    network.is_none_or(|(host, length)| (host ^ packet.host) >> (8 - length) == 0)
        && ports.is_none_or(|(first, last)| (first..=last).contains(&packet.port))
        && udp.is_none_or(|udp| udp == packet.udp)
}

fn line((network, ports, udp, mark): &NetfilterRule) -> String {
    let mut line = "-A PREROUTING".to_string();
    if let Some((host, length)) = network {
        line += &format!(" -d 192.0.2.{host}/{}", 24 + length);
    }
    if let Some(udp) = udp {
        line += if *udp { " -p udp" } else { " -p tcp" };
    }
    if let Some((first, last)) = ports {
        line += &format!(" --dport {first}:{last}");
    }
    match mark {
        Some(mark) => line + &format!(" -j MARK --set-xmark {mark:#x}/0xffffffff\n"),
        None => line + " -j ACCEPT\n",
    }
}

/// The last rule that sets the mark counts, until a verdict.
fn mark_by_netfilter(rules: &[NetfilterRule], packet: &Packet) -> u32 {
    let mut mark = 0;
    for rule in rules.iter().filter(|rule| matches(rule, packet)) {
        match rule.3 {
            Some(set) => mark = set,
            None => break,
        }
    }
    mark
}

/// The first rule that matches counts.
fn mark_by_rules(rules: &[MarkRule], packet: &Packet) -> u32 {
    let address = format!("192.0.2.{}/32", packet.host).parse::<rlvs_ipvs::Network>().unwrap();
    let is_of = |rule: &&MarkRule| {
        rule.destination.is_none_or(|network| network.intersection(address) == Some(address))
            && rule.destination_ports.is_none_or(|ports| (ports.first..=ports.last).contains(&packet.port))
            && rule.protocol.is_none_or(|protocol| (protocol == rlvs_ipvs::Protocol::UDP) == packet.udp)
    };
    rules.iter().find(is_of).map_or(0, |rule| rule.mark)
}

proptest! {
    #[test]
    fn every_packet_gets_the_mark_that_netfilter_gives_it(
        rules in proptest::collection::vec(
            (
                proptest::option::of((0u8..8, 4u8..9)),
                proptest::option::of((0u16..5, 0u16..5).prop_map(|(a, b)| (a.min(b), a.max(b)))),
                any::<Option<bool>>(),
                proptest::option::weighted(0.7, 0u32..4),
            ),
            0..9,
        ),
    ) {
        let text = rules.iter().map(line).collect::<String>();
        let (translated, problems) = translate(&format!("*mangle\n{text}COMMIT\n"), Family::Inet).unwrap();
        prop_assert_eq!(problems, vec![]);
        for host in 0..8 {
            for port in 0..6 {
                for udp in [false, true] {
                    let packet = Packet { host, port, udp };
                    prop_assert_eq!(mark_by_rules(&translated, &packet), mark_by_netfilter(&rules, &packet), "{:?}", packet);
                }
            }
        }
    }
}

/// What the tools print, with pieces moved, left out and replaced.
fn spoilt(text: &'static str) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(""),
        Just("!"),
        Just("0"),
        Just("65536"),
        Just("-1"),
        Just("0xffffffff/0x0"),
        Just("::/0"),
        Just("\""),
        Just("null"),
        Just("[]"),
        Just("{}"),
        Just("-j"),
        Just("goto"),
        Just("MARK"),
        Just("--or-mark"),
        Just("\n"),
    ];
    let words: Vec<&str> = text.split(' ').collect();
    prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), word, 0..4u8), 0..6)
        .prop_map(move |changes| {
            let mut words = words.clone();
            for (place, other, word, how) in changes {
                let (place, other) = (place.index(words.len()), other.index(words.len()));
                match how {
                    0 => words.swap(place, other),
                    1 => words[place] = words[other],
                    2 => words[place] = word,
                    _ => words.truncate(place.max(words.len() / 2) + 1),
                }
            }
            words.join(" ")
        })
}

proptest! {
    #[test]
    fn any_text_is_rules_and_problems_or_a_complaint(
        text in prop_oneof![
            spoilt(include_str!("tests/iptables-save.txt")),
            spoilt(include_str!("tests/nft.json")),
            ".{0,200}",
        ],
        six: bool,
    ) {
        let _rules = translate(&text, if six { Family::Inet6 } else { Family::Inet });
    }
}
