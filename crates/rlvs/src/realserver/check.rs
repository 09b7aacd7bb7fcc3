//! `rlvs realserver check`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::decapsulation::Decapsulation;
use super::host::{Assigned, Host, Link, Netlink, full_length};
use super::state::{self, State};
use super::tunnel::{self, Tunnel};
use super::{require_root, sysctl};
use rlvs_director::namespace;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Right(String),
    Wrong {
        what: String,
        fix: String,
    },
    /// Neither: worth knowing.
    Note(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Right(what) => write!(f, "ok     {what}"),
            Finding::Wrong { what, fix } => write!(f, "WRONG  {what}\n       fix: {fix}"),
            Finding::Note(what) => write!(f, "note   {what}"),
        }
    }
}

/// Prints what is right and wrong on this host for these VIPs and those of `add`. Returns whether all is right.
pub(super) async fn check(vips: &[IpAddr], tunnel: bool, interfaces: &[String]) -> Result<bool> {
    let state = state::peek()?;
    let host = Netlink::open()?.look().await?;
    let vips: BTreeSet<IpAddr> = state.vips.keys().chain(vips).copied().collect();
    ensure!(
        !vips.is_empty(),
        "no VIP was added in this network namespace ({}): name those to check with --vip",
        namespace::name()?
    );
    let names: Vec<&str> = if interfaces.is_empty() {
        state.interfaces.iter().map(String::as_str).collect()
    } else {
        interfaces.iter().map(String::as_str).collect()
    };
    let facing = host.facing(names)?;

    let mut findings = Vec::new();
    for vip in &vips {
        findings.extend(address(&host, *vip));
    }
    if vips.iter().any(IpAddr::is_ipv4) {
        for link in &facing {
            let name = &link.interface.name;
            let ignore = sysctl::effective(name, "arp_ignore")?;
            let announce = sysctl::effective(name, "arp_announce")?;
            findings.extend(arp(name, ignore, announce));
        }
    }
    if tunnel || state.tunnels() {
        // To anybody else the kernel shows no programs, and all would look wrong.
        require_root()?;
        findings.extend(unwrapping(&host, &state, &vips, tunnel, &facing).await?);
    }
    for finding in &findings {
        println!("{finding}");
    }
    Ok(!findings.iter().any(|finding| matches!(finding, Finding::Wrong { .. })))
}

/// Whether the VIP is where it should be, and nowhere else.
fn address(host: &Host, vip: IpAddr) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owned = false;
    for (link, Assigned { prefix, .. }) in host.holders(vip) {
        let name = &link.interface.name;
        let remove = format!("ip address del {vip}/{prefix} dev {name}");
        findings.push(if prefix != full_length(vip) && name == "lo" {
            let what = format!("{vip} is on lo with prefix length {prefix}: its whole network is local");
            Finding::Wrong { what, fix: format!("{remove}; rlvs realserver add --vip {vip}") }
        } else if link.interface.resolves && name != "lo" {
            let what = format!("{vip} is on {name}, which answers for it in place of the director");
            Finding::Wrong { what, fix: remove }
        } else {
            owned = true;
            Finding::Right(format!("{vip} is on {name}"))
        });
    }
    if !owned {
        let what = format!("{vip} is no address of this host: its packets are not taken");
        findings.push(Finding::Wrong { what, fix: format!("rlvs realserver add --vip {vip}") });
    }
    findings
}

/// Whether an interface keeps VIPs out of ARP; the values are the effective ones.
fn arp(interface: &str, ignore: u8, announce: u8) -> [Finding; 2] {
    let set = |key, value| {
        format!("sysctl -w net.ipv4.conf.all.{key}={value} net.ipv4.conf.{interface}.{key}={value}")
    };
    let ignores = if sysctl::ignores_arp_for_others(ignore) {
        Finding::Right(format!("arp_ignore is {ignore} on {interface}: no answers for a VIP on lo"))
    } else {
        let what =
            format!("arp_ignore is {ignore} on {interface}, not 1 or 2: it may answer ARP for the VIP");
        Finding::Wrong { what, fix: set("arp_ignore", 1) }
    };
    let announces = if sysctl::announces_own_only(announce) {
        Finding::Right(format!("arp_announce is {announce} on {interface}: no requests from a VIP"))
    } else {
        let what =
            format!("arp_announce is {announce} on {interface}, not 2: its ARP requests may name the VIP");
        Finding::Wrong { what, fix: set("arp_announce", 2) }
    };
    [ignores, announces]
}

async fn unwrapping(
    host: &Host,
    state: &State,
    vips: &BTreeSet<IpAddr>,
    all_tunnelled: bool,
    facing: &[&Link],
) -> Result<Vec<Finding>> {
    let is_tunnelled =
        |vip: &&IpAddr| all_tunnelled || state.vips.get(*vip).is_some_and(|record| record.tunnel);
    let tunnelled: Vec<IpAddr> = vips.iter().filter(is_tunnelled).copied().collect();
    let own = host.own(|address| vips.contains(address));
    let mut findings = Vec::new();
    let with_v4 = tunnelled.iter().any(IpAddr::is_ipv4);
    match Decapsulation::running(host)? {
        Some(program) => {
            findings.extend(program_findings(host, &program, &own, &tunnelled, facing)?);
            for link in facing.iter().filter(|_| with_v4) {
                let name = &link.interface.name;
                findings.push(reverse_path(name, sysctl::effective(name, "rp_filter")?, None));
            }
        }
        None if !state.unwrapping.is_empty() => findings.push(Finding::Wrong {
            what: "nobody unwraps tunnelled packets: the XDP program that 'add' attached is gone".to_owned(),
            fix: "rlvs realserver add --tunnel, as before".to_owned(),
        }),
        None => {
            for tunnel in tunnel::needed(&own, &tunnelled) {
                findings.push(device(host, tunnel).await?);
                if let Ok(link) = host.link(tunnel.device())
                    && tunnel.takes_v4()
                    && with_v4
                {
                    let filter = sysctl::effective(tunnel.device(), "rp_filter")?;
                    let bare = !link.addresses.iter().any(|own| own.address.is_ipv4());
                    let missing = tunnelled.iter().find(|vip| vip.is_ipv4() && bare);
                    findings.push(reverse_path(tunnel.device(), filter, missing));
                }
            }
        }
    }
    Ok(findings)
}

/// Whether the XDP program is everywhere, and knows everything.
fn program_findings(
    host: &Host,
    program: &Decapsulation,
    own: &[IpAddr],
    vips: &[IpAddr],
    facing: &[&Link],
) -> Result<Vec<Finding>> {
    let again = |vip: &IpAddr| format!("rlvs realserver add --tunnel --vip {vip}");
    let first = vips.first().map(again).unwrap_or_default();
    let mut findings = Vec::new();
    for link in facing {
        let carrier = host.carrier(link);
        let name = &carrier.interface.name;
        findings.push(match carrier.xdp {
            Some(attached) if attached.program == program.id() => Finding::Right(format!(
                "the XDP program on {name} ({}) unwraps tunnelled packets",
                attached.mode
            )),
            Some(attached) => Finding::Wrong {
                what: format!(
                    "{name} runs another XDP program (id {}): no unwrapping there",
                    attached.program
                ),
                fix: format!("ip link set {name} xdp off; {first} --interface {name}"),
            },
            None => Finding::Wrong {
                what: format!("no XDP program on {name}: no unwrapping there"),
                fix: format!("{first} --interface {name}"),
            },
        });
    }
    for vip in vips {
        findings.push(if program.has_vip(*vip)? {
            Finding::Right(format!("packets for {vip} are unwrapped"))
        } else {
            Finding::Wrong { what: format!("packets for {vip} are not unwrapped"), fix: again(vip) }
        });
    }
    for port in program.ports()? {
        findings.push(Finding::Right(format!("GUE packets to port {port} are unwrapped")));
    }
    let taken = program.own()?;
    for address in own.iter().filter(|address| !taken.contains(address)) {
        findings.push(Finding::Wrong {
            what: format!("packets tunnelled to {address}, an address of this host, are not unwrapped"),
            fix: first.clone(),
        });
    }
    let outcomes = program.outcomes()?;
    findings.extend(outcomes.iter().map(|(what, count)| Finding::Note(format!("{count} packets {what}"))));
    Ok(findings)
}

async fn device(host: &Host, tunnel: Tunnel) -> Result<Finding> {
    let Ok(link) = host.link(tunnel.device()) else {
        return Ok(Finding::Wrong {
            what: format!("nobody unwraps tunnelled packets: no tunnel device {tunnel}, no XDP program"),
            fix: "rlvs realserver add --tunnel --vip ADDR".to_owned(),
        });
    };
    if !link.interface.up {
        let what = format!("tunnel device {tunnel} is down");
        return Ok(Finding::Wrong { what, fix: format!("ip link set {tunnel} up") });
    }
    if tunnel::takes_any(&Netlink::open()?, tunnel).await? == Some(false) {
        let what = format!("tunnel device {tunnel} takes one family only");
        return Ok(Finding::Wrong { what, fix: format!("ip -6 tunnel change {tunnel} mode any") });
    }
    Ok(Finding::Right(format!("tunnel device {tunnel} is up")))
}

/// Whether unwrapped packets are let in where they arrive; the value is the effective one. `missing` is an address
/// to give to the interface if it has none: the kernel then lets nothing in unless the filter is off.
fn reverse_path(interface: &str, filter: u8, missing: Option<&IpAddr>) -> Finding {
    if sysctl::filters_strictly(filter) {
        Finding::Wrong {
            what: format!(
                "rp_filter is 1 on {interface}: unwrapped packets are dropped where the answer goes elsewhere"
            ),
            fix: format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=2"),
        }
    } else if let Some(vip) = missing.filter(|_| filter != 0) {
        Finding::Wrong {
            what: format!(
                "rp_filter is {filter} on {interface}, which has no address: unwrapped packets are dropped"
            ),
            fix: format!("ip address add {vip}/32 dev {interface}"),
        }
    } else {
        Finding::Right(format!("rp_filter is {filter} on {interface}: unwrapped packets are let in"))
    }
}

#[cfg(test)]
mod tests {
    use rlvs_director::egress::{Interface, Medium};

    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    fn link(name: &str, medium: Medium, addresses: &[(IpAddr, u8)]) -> Link {
        let addresses = addresses.iter().map(|(address, prefix)| Assigned {
            address: *address,
            prefix: *prefix,
            global: true,
        });
        Link {
            interface: Interface {
                index: 1,
                name: name.to_owned(),
                kind: None,
                medium,
                mac: [0; 6],
                mtu: 1500,
                up: true,
                resolves: medium == Medium::Ethernet,
                controller: None,
                vlan: None,
            },
            addresses: addresses.collect(),
            xdp: None,
        }
    }

    fn wrongs(findings: &[Finding]) -> Vec<&str> {
        let wrong = findings.iter().filter_map(|finding| match finding {
            Finding::Wrong { what, .. } => Some(what.as_str()),
            Finding::Right(_) | Finding::Note(_) => None,
        });
        wrong.collect()
    }

    #[test]
    fn the_vip_belongs_on_lo_alone() {
        let lo = |prefix| link("lo", Medium::Loopback, &[(VIP, prefix)]);
        let eth0 = |own: &[(IpAddr, u8)]| link("eth0", Medium::Ethernet, own);
        assert_eq!(wrongs(&address(&Host { links: vec![lo(32), eth0(&[])] }, VIP)), [""; 0]);
        let found = address(&Host { links: vec![lo(32), eth0(&[(VIP, 24)])] }, VIP);
        assert!(wrongs(&found)[0].contains("in place of the director"), "{found:?}");
        let found = address(&Host { links: vec![lo(24)] }, VIP);
        assert!(wrongs(&found)[0].contains("whole network"), "{found:?}");
        let found = address(&Host { links: vec![] }, VIP);
        assert!(wrongs(&found)[0].contains("no address of this host"), "{found:?}");
    }

    #[test]
    fn arp_and_reverse_path_settings() {
        assert_eq!(wrongs(&arp("eth0", 1, 2)), [""; 0]);
        assert_eq!(wrongs(&arp("eth0", 0, 2)).len(), 1);
        assert_eq!(wrongs(&arp("eth0", 8, 0)).len(), 2);
        assert_eq!(wrongs(&[reverse_path("eth0", 0, None), reverse_path("eth0", 2, None)]), [""; 0]);
        assert_eq!(wrongs(&[reverse_path("eth0", 1, None)]).len(), 1);
        assert_eq!(wrongs(&[reverse_path("tunl0", 0, Some(&VIP))]), [""; 0]);
        assert_eq!(wrongs(&[reverse_path("tunl0", 2, Some(&VIP))]).len(), 1);
    }
}
