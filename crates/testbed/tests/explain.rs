//! `rlvs explain`, beside what then happens.

use anyhow::{Result, ensure};
use rlvs_testbed::{Cluster, Family, Method, load, rlvs, with_port};

/// The server that is told is the one that answers, and asking does not change whose turn it is.
#[test]
#[ignore = "needs root"]
fn the_server_that_is_told_answers() -> Result<()> {
    for (method, family) in [(Method::Nat, Family::V4), (Method::Dr, Family::V6)] {
        let mut cluster = Cluster::start(method, family, 2)?;
        cluster.serve_http(2)?;
        let client = with_port(family.client(), 40_000);
        let question = format!("tcp {client} {}", cluster.service(80));
        for _ in 0..3 {
            let told = explain(&cluster, &question)?;
            ensure!(told == explain(&cluster, &question)?, "{told}");
            let line = told.lines().find(|line| line.starts_with("chosen")).unwrap_or_default();
            let shares = load::curl(&cluster.net.client, family.vip(), 80, 1)?;
            let number = (1..=2).find(|number| line.ends_with(&cluster.server(*number, 80)));
            ensure!(number.is_some_and(|n| shares.contains_key(&format!("rs{n}"))), "{told}{shares:?}");
            ensure!(told.contains(", received by wan\n"), "{told}");
            let verdict = told.lines().find(|line| line.starts_with("verdict")).unwrap_or_default();
            ensure!(verdict.contains("sent by lan to ") || method == Method::Dr, "{told}");
        }
    }
    Ok(())
}

/// Packets that are not for the director, connections, replies, refusals; JSON; and words that make no sense.
#[test]
#[ignore = "needs root"]
fn what_cannot_be_switched_is_told_why() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    cluster.serve_http(1)?;
    for (question, subject, words) in [
        ("tcp 192.168.0.100:4000 192.168.0.1:81", "service", "none: there is no TCP 192.168.0.1:81"),
        ("tcp 192.168.0.100:4000 192.168.0.1:80 --flags ack", "service", "opens no connection"),
        ("tcp 192.168.0.100:4000 192.168.0.1:80 --hops 1", "verdict", "as ICMP 192.168.0.1 192.168.0.100"),
        ("tcp 192.168.0.100:4000 192.168.0.1:80 -l 1501", "verdict", "\"too big for 1500 octets\""),
        ("udp 192.168.0.100:4000 192.168.0.1:53 -i lan", "packet", "received by lan"),
        (
            "sctp 192.168.0.100:4000 192.168.0.1:53",
            "packet",
            "SCTP 192.168.0.100:4000 -> 192.168.0.1:53, INIT",
        ),
        ("tcp 172.16.0.1:80 192.168.0.100:4000 --flags syn|ack", "connection", "none is known"),
        ("udp 192.168.0.100:4000 192.168.0.1:53 --fragment early", "connection", "until then this one waits"),
        (
            "tcp 192.168.0.1:80 192.168.0.100:4000 --icmp too-big",
            "service",
            "an ICMP error opens no connection",
        ),
        ("udp 192.168.0.100:4000 192.168.0.1:53 --mark 7", "service", "there is no mark 7 (IPv4)"),
    ] {
        let told = explain(&cluster, question)?;
        let line = told.lines().find(|line| line.starts_with(subject)).unwrap_or_default();
        ensure!(line.contains(words), "{question}: {told}");
    }
    cluster.ipvsadm("-e -t 192.168.0.1:80 -r 172.16.0.1 -m -w 0")?;
    let json = explain(&cluster, "tcp 192.168.0.100:4000 192.168.0.1:80 --json")?;
    ensure!(json.contains("\"available\": false") && json.contains("quiesced"), "{json}");
    ensure!(json.contains("\"events\": \"NoDestination\""), "{json}");
    for (question, words) in [
        ("tcp 192.168.0.100:4000 192.168.0.1:80 -i nowhere", "there is no Ethernet interface nowhere"),
        ("tcp 192.168.0.100 192.168.0.1:80", "it must be an address and a port"),
        ("tcp 192.168.0.100:4000 192.168.0.1:80 --flags fun", "`fun` is no flag of TCP"),
    ] {
        let error = explain(&cluster, question).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(error.contains(words), "{question}: {error}");
    }
    cluster.stop_director()?;
    let error = explain(&cluster, "tcp 192.168.0.100:4000 192.168.0.1:80").err();
    ensure!(error.is_some_and(|error| format!("{error:#}").contains("rlvs run")));
    Ok(())
}

fn explain(cluster: &Cluster, question: &str) -> Result<String> {
    rlvs(&cluster.net.director, &format!("explain {question}"))
}
