//! Services of firewall marks: addresses and ports in one group.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use rlvs_testbed::load::{self, Shares};

use rlvs_testbed::{Cluster, Family, Method, Process, real_server, rlvs, wait};

/// Two addresses and two ports take turns through the same servers, and go on doing so with the next director.
#[test]
#[ignore = "needs root"]
fn a_mark_groups_addresses_and_ports() -> Result<()> {
    for (method, family) in [(Method::Nat, Family::V4), (Method::Nat, Family::V6), (Method::Dr, Family::V4)] {
        let mut cluster = Cluster::start(method, family, 2)?;
        let (service, second) = match family {
            Family::V4 => ("-f 7", "192.168.0.2/32"),
            Family::V6 => ("-f 7 -6", "2001:db8::2/128"),
        };
        let vips = [family.vip(), family.on_client_network(2)];
        cluster.net.director.ip(&format!("addr add {second} dev wan"))?;
        if method == Method::Dr {
            for server in &cluster.net.servers {
                server.ip(&format!("addr add {second} dev lo"))?;
            }
        }
        let _servers = serve(&cluster, &vips)?;
        cluster.ipvsadm(&format!("-A {service} -s rr"))?;
        for number in 1..=2 {
            cluster.ipvsadm(&format!("-a {service} -r {} {}", family.server(number), method.option()))?;
        }
        let [first, other] = vips;
        mark(&cluster, &format!("add -p tcp -d {first} --destination-port 80-81 --mark 7"))?;
        mark(&cluster, &format!("add -p tcp -d {other} --destination-port 80 -i wan --mark 0x7"))?;

        in_turn(&cluster, &vips)?;
        cluster.crash_director()?;
        in_turn(&cluster, &vips)?;
        cluster.start_director()?;
        in_turn(&cluster, &vips)?;
        let listing = cluster.listing()?;
        ensure!(listing.contains("FWM  7"), "{listing}");
        let rules = mark(&cluster, "list")?;
        ensure!(rules.lines().count() == 2 && rules.contains("--interface wan --mark 7"), "{rules}");

        // Nobody's any more: this machine itself, where nothing listens.
        mark(&cluster, "delete 1")?;
        ensure!(load::curl(&cluster.net.client, first, 80, 1).is_err());
        mark(&cluster, &format!("delete -p tcp -d {other} --destination-port 80 -i wan --mark 7"))?;
        ensure!(load::curl(&cluster.net.client, other, 80, 1).is_err());
        ensure!(mark(&cluster, "list --json")?.trim() == "[]");
    }
    Ok(())
}

/// The cache's case: requests for servers elsewhere are to go by servers here, and without these go where they were going.
#[test]
#[ignore = "needs root"]
fn without_servers_packets_go_where_they_were_going() -> Result<()> {
    for family in Family::ALL {
        let mut cluster = Cluster::start(Method::Nat, family, 1)?;
        cluster.serve_http(0)?;
        let elsewhere = family.server(1);
        let (service, gateway) = match family {
            Family::V4 => ("-f 7", "route add 172.16.0.0/24 via 192.168.0.254"),
            Family::V6 => ("-f 7 -6", "-6 route add 2001:db8:16::/64 via 2001:db8::fe"),
        };
        cluster.net.client.ip(gateway)?;
        cluster.ipvsadm(&format!("-A {service} -s rr"))?;
        mark(&cluster, &format!("add -p tcp -d {elsewhere} --destination-port 80 --mark 7"))?;
        let client = &cluster.net.client;
        ensure!(load::curl(client, elsewhere, 80, 1).is_err(), "{family:?}: nobody is there for the mark");
        rlvs(&cluster.net.director, "sysctl -w cache_bypass=1")?;
        ensure!(load::curl(client, elsewhere, 80, 3)? == Shares::from([("rs1".into(), 3)]), "{family:?}");
        let connections = cluster.ipvsadm("-L -n -c")?;
        let of_three = connections.lines().filter(|line| line.starts_with("TCP")).count();
        ensure!(of_three == 3, "{family:?}: {connections}");
    }
    Ok(())
}

/// A rule follows the interface that has its name.
#[test]
#[ignore = "needs root"]
fn a_rule_follows_its_interface() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    cluster.serve_http(0)?;
    cluster.ipvsadm("-D -t 192.168.0.1:80")?;
    cluster.ipvsadm("-A -f 7 -s rr")?;
    cluster.ipvsadm("-a -f 7 -r 172.16.0.1 -m")?;
    mark(&cluster, "add -i lan --mark 7")?;
    mark(&cluster, "add -i outside --mark 7")?;
    let (client, vip) = (&cluster.net.client, cluster.family.vip());
    ensure!(load::curl(client, vip, 80, 1).is_err(), "no packet of the client comes by one of these");
    cluster.net.director.ip("link set wan down\nlink set wan name outside\nlink set outside up")?;
    wait::until(Duration::from_secs(20), || Ok(load::curl(client, vip, 80, 1).ok()))?;
    Ok(())
}

/// What iptables-save prints is translated and added.
#[test]
#[ignore = "needs root"]
fn rules_of_iptables_are_imported() -> Result<()> {
    let cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    let file = std::env::temp_dir().join(format!("rlvs-marks-{}", std::process::id()));
    let rule = "-A PREROUTING -d 192.168.0.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x7/0xffffffff";
    std::fs::write(&file, format!("*mangle\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"))?;
    let import = format!("import {} --add", file.display());
    let twice = [mark(&cluster, &import), mark(&cluster, &import)];
    let not_all = std::fs::write(&file, format!("*mangle\n{rule}\n{rule} -m nothing\nCOMMIT\n"));
    let refused = mark(&cluster, &import);
    std::fs::remove_file(&file)?;
    not_all?;
    for imported in twice {
        imported?;
    }
    let error = format!("{:#}", refused.unwrap_err());
    ensure!(error.contains("line 3") && error.contains("nothing was added"), "{error}");
    let rules = mark(&cluster, "list")?;
    ensure!(
        rules.trim() == "1  --protocol tcp --destination 192.168.0.1/32 --destination-port 80 --mark 7",
        "{rules}"
    );
    Ok(())
}

fn mark(cluster: &Cluster, words: &str) -> Result<String> {
    rlvs(&cluster.net.director, &format!("mark {words}"))
}

/// nginx on both ports of all that the servers are reached at.
fn serve(cluster: &Cluster, vips: &[IpAddr]) -> Result<Vec<Process>> {
    let mut programs = Vec::new();
    for (host, number) in cluster.net.servers.iter().zip(1..) {
        let own = [cluster.net.listen_address(cluster.family, number)];
        let addresses = if cluster.net.method() == Method::Nat { &own[..] } else { vips };
        for address in addresses {
            for port in [80, 81] {
                programs.push(real_server::nginx(host, *address, port, &format!("rs{number}"))?);
            }
        }
    }
    Ok(programs)
}

/// Six connections, two to each address and port: three to each server, if they take turns over all of them.
fn in_turn(cluster: &Cluster, [first, other]: &[IpAddr; 2]) -> Result<()> {
    let mut all = Shares::new();
    for (address, port, times) in [(first, 80, 1), (first, 81, 2), (other, 80, 1), (other, 80, 2)] {
        for (name, share) in load::curl(&cluster.net.client, *address, port, times)? {
            *all.entry(name).or_default() += share;
        }
    }
    ensure!(all == Shares::from(["rs1", "rs2"].map(|name| (name.into(), 3))), "{all:?}");
    Ok(())
}
