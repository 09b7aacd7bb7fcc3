//! Checks of real servers, in a network namespace.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_cluster::Config;
use rlvs_cluster::nanny::probe::Target;
use rlvs_testbed::{Namespace, real_server};

const LIMIT: Duration = Duration::from_secs(20);
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What a check of a server on this host finds: nothing, or the words of its failure.
fn ask(host: &Namespace, port: u16, keys: &str) -> Result<Result<(), String>> {
    let text = format!(
        "[[service]]\nmark = 1\n[[service.server]]\naddress = \"127.0.0.1\"\n[service.check]\nport = 1\n{keys}"
    );
    let config = Config::parse(&text, Path::new("test"))?;
    let probe = config.services[0].servers[0].checks[0].probe.clone();
    host.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let target = Target { address: ADDRESS, port };
        let asked = async { tokio::time::timeout(LIMIT, target.probe(&probe)).await };
        let result = runtime.block_on(asked).context("still not done")?;
        Ok(result.map(drop).map_err(|failure| failure.to_string()))
    })
}

/// A self-signed certificate of www.example.org, and its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/www.example.org.pem");

/// etcd has gRPC's own health service, which says SERVING of the server and knows no other services.
#[test]
#[ignore = "needs root"]
fn a_grpc_server_is_asked_for_its_health() -> Result<()> {
    let host = Namespace::new("grpc")?;
    host.ip("link set lo up")?;
    let _plain = real_server::etcd(&host, ADDRESS, 2379, &[])?;
    // etcd takes each block of this file for a certificate.
    let text = std::fs::read_to_string(CERTIFICATE)?;
    let (certificate, _key) = text.split_once("-----BEGIN PRIVATE").context("no key")?;
    host.write("/run/ca.pem", certificate)?;
    let tls = ["--cert-file", CERTIFICATE, "--key-file", CERTIFICATE, "--trusted-ca-file", "/run/ca.pem"];
    let _secret = real_server::etcd(&host, ADDRESS, 2381, &[&tls[..], &["--client-cert-auth"]].concat())?;
    let unknown = |port, keys: &str| ask(&host, port, &format!("service = \"zork\"\n{keys}"));
    let own = format!(
        "type = \"grpcs\"\ntls_name = \"www.example.org\"\nca = \"{CERTIFICATE}\"\n\
         certificate = \"{CERTIFICATE}\"\nkey = \"{CERTIFICATE}\""
    );
    for (port, keys) in [(2379, "type = \"grpc\""), (2381, own.as_str())] {
        ensure!(ask(&host, port, keys)? == Ok(()), "{keys}: {:?}", ask(&host, port, keys)?);
        let found = unknown(port, keys)?;
        ensure!(found == Err("gRPC says 5 (unknown service)".into()), "{keys}: {found:?}");
    }
    for (port, keys) in [(2379, own.as_str()), (2381, "type = \"grpcs\""), (2381, "type = \"grpc\"")] {
        let found = ask(&host, port, keys)?;
        ensure!(found.is_err(), "{port}, {keys}: {found:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn servers_of_the_distribution_are_up() -> Result<()> {
    let host = Namespace::new("servers")?;
    host.ip("link set lo up")?;
    let _nginx = real_server::nginx(&host, ADDRESS, 80, "rs1")?;
    let _vsftpd = real_server::vsftpd(&host, ADDRESS, "content")?;
    let _dnsmasq = real_server::dnsmasq(&host, ADDRESS, "rs1")?;
    for (port, keys) in [
        (80, "type = \"http\"\nbody = \"rs1\""),
        (21, "type = \"ftp\""),
        (53, "type = \"dns\"\nname = \"whoami.test\"\nrecord = \"TXT\""),
        (0, "type = \"ping\""),
    ] {
        let found = ask(&host, port, keys)?;
        ensure!(found.is_ok(), "{keys}: {found:?}");
    }
    // None of them is what it is not.
    for (port, keys) in [
        (80, "type = \"ldap\""),
        (80, "type = \"redis\""),
        (80, "type = \"http\"\nbody = \"rs2\""),
        (21, "type = \"tls\""),
    ] {
        let found = ask(&host, port, keys)?;
        ensure!(found.is_err(), "{keys}: {found:?}");
    }
    Ok(())
}
