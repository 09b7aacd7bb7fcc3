//! `cache_bypass`: packets of a mark without a destination.

use crate::lab::*;
use anyhow::ensure;
use rlvs_director::explain::Way;
use rlvs_ipvs::{Family, ForwardingMethod, MarkRule, Reply, Request};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::mark::Rule;
use rlvs_switch::simulation::Packet;
use rlvs_switch::{Memory, Verdict, order};
use std::num::NonZeroU32;
use std::process::Command;

const MARK: NonZeroU32 = NonZeroU32::MIN;

#[test]
fn what_nobody_takes_goes_on_unless_it_is_for_the_director() {
    run(1 << 10, |twins| {
        // A way for one family's packets, whose next station is not known: the kernel is to find it. None for the other's.
        for words in [&["link", "set", "lo", "up"][..], &["route", "add", "10.1.0.0/16", "dev", "lo"]] {
            ensure!(Command::new("ip").args(words).status()?.success(), "ip {words:?}");
        }
        // Else the kernel says no more than that it forwards nothing.
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{setting}"), "1")?;
        }
        for net in nets() {
            twins.add_mark_service(MARK, Family::of(net.vip.ip()), &[])?;
        }
        twins.kernel.ask(Request::NewMarkRule {
            rule: MarkRule { mark: MARK.get(), ..MarkRule::default() },
            before: None,
        })?;
        twins.simulation.set_mark_rules(&[Rule { mark: MARK.get(), ..Rule::default() }]);
        twins.simulation.add_own_address(nets()[1].vip.ip());
        for on in [0, 1] {
            for settings in [Some(twins.kernel.tables.settings()), twins.simulation.config()] {
                settings.unwrap().settings.cache_bypass.store(on, order::PLAIN);
            }
            for net in nets() {
                twins.kernel.way = if net.vip.is_ipv4() { Way::Unresolved } else { Way::Nowhere };
                let packets = [
                    Packet::tcp(net.client, net.vip, SYN),
                    Packet::tcp(net.client, net.vip, ACK),
                    Packet::udp(net.client, net.vip),
                ];
                for packet in packets {
                    let (verdict, _) = twins.receive(&packet.frame());
                    let refused = on == 0 || net.vip.is_ipv6();
                    let expected =
                        if refused && packet.flags != ACK { Verdict::Transmit } else { Verdict::Pass };
                    ensure!(verdict == expected, "{on}, {packet:?}: {verdict:?}");
                }
            }
        }
        let Reply::Connections(listed) = twins.kernel.ask(Request::ListConnections)? else {
            anyhow::bail!("no connections");
        };
        let listed: Vec<_> =
            listed.map(|c| (c.flags, c.destination.address.to_string(), c.state_name())).collect();
        let bypass = ForwardingMethod::Bypass as u32;
        ensure!(listed.len() == 2, "{listed:?}");
        ensure!(listed.contains(&(bypass, "0.0.0.0".into(), "ESTABLISHED")), "{listed:?}");
        ensure!(listed.contains(&(bypass, "0.0.0.0".into(), "UDP")), "{listed:?}");
        twins.compare()
    });
}
