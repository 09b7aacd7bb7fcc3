//! `rlvs explain`: what the switch would do with a packet now, and why.

use anyhow::{Result, bail};
use clap::Args;
use rlvs_ipvs::{Client, ClientError, Errno, Finding, Probe, Protocol, SOCKET_NAME, Value};
use serde_json::{Map, json};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Say what the switch would do with a packet now, and why. Nothing changes by it.
#[derive(Debug, Args)]
pub struct Explain {
    /// tcp, udp or sctp.
    #[arg(value_parser = protocol)]
    protocol: Protocol,
    /// Address and port of the sender: 192.0.2.7:40000, [2001:db8::7]:40000.
    #[arg(value_parser = end)]
    source: SocketAddr,
    /// Address and port of the receiver.
    #[arg(value_parser = end)]
    destination: SocketAddr,
    /// Interface that it comes in by; if not told, the one that leads to the sender.
    #[arg(short, long)]
    interface: Option<String>,
    /// TCP's flags, as in `syn|ack`, or SCTP's chunk; if not told, those of a packet that opens a connection.
    #[arg(short, long)]
    flags: Option<String>,
    /// Octets of the packet from its IP header on; if not told, its headers alone.
    #[arg(short, long, default_value_t = 0, hide_default_value = true)]
    length: u16,
    /// TTL or hop limit.
    #[arg(long, default_value_t = 64)]
    hops: u8,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(options: Explain) -> Result<ExitCode> {
    let probe = options.probe()?;
    let interface = probe.interface.clone();
    let mut client = Client::connect_rlvs(SOCKET_NAME).await?;
    let findings = match (client.explain(probe).await, interface) {
        (Err(ClientError::Refused(Errno::NODEV)), Some(name)) => {
            bail!("there is no Ethernet interface {name} here; `ip link` lists those that there are")
        }
        (Err(ClientError::Refused(Errno::NODEV)), None) => {
            bail!(
                "no interface leads to the sender; name the one that the packet comes in by: --interface NAME"
            )
        }
        (Err(ClientError::Refused(Errno::OPNOTSUPP)), _) => {
            bail!(
                "the director that runs is an older one that cannot explain; stop it and start this one: rlvs run"
            )
        }
        (findings, _) => findings?,
    };
    if options.json {
        println!("{:#}", as_json(&findings));
    } else {
        print!("{}", as_text(&findings));
    }
    Ok(ExitCode::SUCCESS)
}

impl Explain {
    fn probe(&self) -> Result<Probe> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            bail!(
                "{} and {} are of different IP versions; no packet has both",
                self.source.ip(),
                self.destination.ip()
            );
        }
        let signal = match &self.flags {
            Some(words) => Probe::parse_signal(self.protocol, words)?,
            None => Probe::opening_signal(self.protocol),
        };
        Ok(Probe {
            protocol: self.protocol,
            source: self.source,
            destination: self.destination,
            signal,
            length: self.length,
            hops: self.hops,
            interface: self.interface.clone(),
        })
    }
}

fn protocol(word: &str) -> Result<Protocol, String> {
    let known = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    let found = known.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(word));
    found.ok_or_else(|| "it can be tcp, udp or sctp".into())
}

fn end(word: &str) -> Result<SocketAddr, String> {
    word.parse()
        .map_err(|_| "it must be an address and a port: 192.0.2.7:40000 or [2001:db8::7]:40000".into())
}

/// A line for each finding; what is about the same stands below each other.
fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { subject, text: words, .. } in findings {
        let subject = if subject == "member" { "" } else { subject };
        text += &format!("{subject:<12}{words}\n");
    }
    text
}

fn as_json(findings: &[Finding]) -> serde_json::Value {
    let object = |finding: &Finding| {
        let mut object = Map::from_iter([
            ("subject".to_owned(), json!(finding.subject)),
            ("text".to_owned(), json!(finding.text.trim_start())),
        ]);
        object.extend(finding.details.iter().map(|detail| {
            let value = match &detail.value {
                Value::Number(number) => json!(number),
                Value::Truth(truth) => json!(truth),
                Value::Text(text) => json!(text),
            };
            (detail.name.clone(), value)
        }));
        serde_json::Value::Object(object)
    };
    findings.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rlvs_ipvs::Detail;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        explain: Explain,
    }

    fn parse(words: &str) -> Result<Probe, String> {
        let words = ["explain"].into_iter().chain(words.split(' '));
        let parsed = Words::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.explain.probe().map_err(|error| error.to_string())
    }

    #[test]
    fn words_become_the_packet_that_opens_a_connection() {
        let probe = parse("tcp 192.0.2.7:40000 10.0.0.1:80").unwrap();
        assert_eq!((probe.protocol, probe.signal, probe.hops, probe.length), (Protocol::TCP, 2, 64, 0));
        let probe = parse("SCTP [2001:db8::7]:1 [fd00::1]:2 --flags cookie-echo -i eth0 --hops 1").unwrap();
        assert_eq!((probe.signal, probe.interface.as_deref(), probe.hops), (10, Some("eth0"), 1));
        assert_eq!(parse("tcp 192.0.2.7:1 10.0.0.1:2 --flags fin|ack").unwrap().signal, 0x11);
    }

    #[test]
    fn wrong_words_are_told_what_would_be_right() {
        for (words, told) in [
            ("icmp 192.0.2.7:1 10.0.0.1:2", "it can be tcp, udp or sctp"),
            ("tcp 192.0.2.7 10.0.0.1:2", "it must be an address and a port: 192.0.2.7:40000"),
            ("tcp 2001:db8::1:1 [fd00::1]:2", "[2001:db8::7]:40000"),
            ("tcp 192.0.2.7:1 [fd00::1]:2", "192.0.2.7 and fd00::1 are of different IP versions"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --flags fun", "`fun` is no flag of TCP"),
            ("udp 192.0.2.7:1 10.0.0.1:2 --flags syn", "UDP packets have no flags"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --length 70000", "70000"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(told), "{words}: {error}");
        }
    }

    #[test]
    fn findings_are_lines_or_objects() {
        let finding = |subject: &str, text: &str, value: Value| Finding {
            subject: subject.into(),
            text: text.into(),
            details: vec![Detail { name: "value".into(), value }],
        };
        let findings =
            [finding("scheduler", "rr", "rr".into()), finding("member", "> 10.0.0.2:80", true.into())];
        assert_eq!(as_text(&findings), "scheduler   rr\n            > 10.0.0.2:80\n");
        assert_eq!(
            as_json(&findings).to_string(),
            r#"[{"subject":"scheduler","text":"rr","value":"rr"},{"subject":"member","text":"> 10.0.0.2:80","value":true}]"#
        );
    }
}
