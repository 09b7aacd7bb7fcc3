//! Piranha's textbook set-up, by its own file: a router that has the service's address and the servers' gateway, NAT, a check.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use rlvs_testbed::{Lan, Namespace, Port, binary, load, real_server, wait};
use rustix::process::Signal;

const FILE: &str = "/run/lvs.cf";
/// Loading programs takes its time.
const LIMIT: Duration = Duration::from_secs(120);
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 100));

const LVS_CF: &str = r#"
serial_no = 3
primary = 10.7.0.1
backup_active = 0
service = lvs
network = nat
nat_router = 10.8.0.254 lan:1
nat_nmask = 255.255.255.0
virtual web {
    active = 1
    address = 10.7.0.100 wan:1
    vip_nmask = 255.255.255.0
    port = 80
    send = "GET / HTTP/1.0\r\n\r\n"
    expect = "HTTP/1.* 200"
    timeout = 1
    reentry = 2
    scheduler = rr
    server one {
        address = 10.8.0.9
        active = 1
    }
    server gone {
        address = 10.8.0.10
        active = 1
    }
}
"#;

#[test]
#[ignore = "needs root"]
fn piranhas_file_is_run_as_it_is() -> Result<()> {
    let (outside, inside) = (Lan::new("outside")?, Lan::new("inside")?);
    let (router, client, server) =
        (Namespace::new("router")?, Namespace::new("client")?, Namespace::new("server")?);
    outside.plug(&router, &Port { interface: "wan", addresses: &["10.7.0.1/24"] })?;
    inside.plug(&router, &Port { interface: "lan", addresses: &["10.8.0.1/24"] })?;
    outside.plug(&client, &Port { interface: "eth0", addresses: &["10.7.0.9/24"] })?;
    inside.plug(&server, &Port { interface: "eth0", addresses: &["10.8.0.9/24"] })?;
    server.ip("route add default via 10.8.0.254")?;
    router.sysctl("net.ipv4.ip_forward=1")?;
    let _nginx = real_server::nginx(&server, [10, 8, 0, 9].into(), 80, "one")?;
    router.write(FILE, LVS_CF)?;
    let words = [&binary()?, "run", "--interface", "wan", "--interface", "lan", "--lvs-cf", FILE];
    let mut process = router.spawn(&words)?;
    let shares = wait::until_ok(LIMIT, || load::curl(&client, VIP, 80, 4));
    let shares = shares.map_err(|error| error.context(process.stderr()))?;
    ensure!(shares.get("one") == Some(&4), "{shares:?}");
    let listing = router.output(&[&binary()?, "ipvsadm", "-L", "-n"])?;
    ensure!(listing.contains("10.8.0.9:80") && !listing.contains("10.8.0.10:80"), "{listing}");
    let status = router.output(&["sh", "-c", &format!("{} status; true", binary()?)])?;
    ensure!(status.contains("heartbeat") && status.contains("MASTER"), "{status}");
    process.signal(Signal::TERM)?;
    let status = process.wait(LIMIT)?;
    ensure!(status.success(), "{status}: {}", process.stderr());
    let addresses = router.output(&["ip", "-brief", "address", "show"])?;
    ensure!(!addresses.contains("10.7.0.100") && !addresses.contains("10.8.0.254"), "{addresses}");
    Ok(())
}
