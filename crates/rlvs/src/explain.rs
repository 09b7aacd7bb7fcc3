//! `rlvs explain`: what the switch would do with a packet now, and why.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rlvs_ipvs::{
    Client, ClientError, Errno, Finding, Form, IcmpProblem, Probe, Protocol, SOCKET_NAME, Value,
};
use serde_json::{Map, json};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::process::ExitCode;

/// Say what the switch would do with a packet now, and why. Nothing changes by it.
#[derive(Debug, Args)]
pub struct Explain {
    /// tcp, udp, sctp, ah or esp.
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
    /// The firewall mark that it carries already, instead of what mark rules give it.
    #[arg(short, long)]
    mark: Option<NonZeroU32>,
    /// What it carries, such as a message of SIP or a command of FTP: a text, or @FILE.
    #[arg(short, long, value_name = "TEXT|@FILE")]
    payload: Option<String>,
    /// IPv4: without "don't fragment".
    #[arg(long)]
    may_fragment: bool,
    /// Only a fragment of it comes: its first one; a later one after that, or before it.
    #[arg(long, value_enum, value_name = "WHICH")]
    fragment: Option<Fragment>,
    /// What comes is an ICMP error about it, to its source: port-unreachable, host-unreachable, too-big, time-exceeded.
    #[arg(long, value_name = "PROBLEM", value_parser = problem, conflicts_with = "fragment")]
    icmp: Option<IcmpProblem>,
    /// Who sends that error; if not told, the packet's destination.
    #[arg(long, value_name = "ADDRESS", requires = "icmp")]
    from: Option<IpAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which fragment.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fragment {
    First,
    Later,
    Early,
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
        let form = match (self.icmp, self.fragment) {
            (Some(problem), _) => Form::Error(problem, self.from.unwrap_or(self.destination.ip())),
            (None, Some(Fragment::First)) => Form::FirstFragment,
            (None, Some(Fragment::Later)) => Form::LaterFragment,
            (None, Some(Fragment::Early)) => Form::EarlyFragment,
            (None, None) => Form::Whole,
        };
        if let Some(from) = self.from
            && from.is_ipv4() != self.source.is_ipv4()
        {
            bail!("{from} and {} are of different IP versions; no packet has both", self.source.ip());
        }
        let is_secured = [Protocol::AH, Protocol::ESP].contains(&self.protocol);
        if is_secured && [self.source, self.destination].iter().any(|end| end.port() != IKE_PORT) {
            bail!(
                "packets of IPsec have no ports; they go where UDP from and to port {IKE_PORT} goes: write that port"
            );
        }
        Ok(Probe {
            signal,
            length: self.length,
            hops: self.hops,
            interface: self.interface.clone(),
            mark: self.mark,
            payload: self.payload()?,
            may_fragment: self.may_fragment,
            form,
            ..Probe::new(self.protocol, self.source, self.destination)
        })
    }

    fn payload(&self) -> Result<Vec<u8>> {
        let octets = match &self.payload {
            None => Vec::new(),
            Some(words) => match words.strip_prefix('@') {
                Some(file) => std::fs::read(file).with_context(|| format!("cannot read {file}"))?,
                None => words.clone().into_bytes(),
            },
        };
        if !octets.is_empty() && ![Protocol::TCP, Protocol::UDP].contains(&self.protocol) {
            bail!("only packets of TCP and UDP can be asked about with a payload");
        }
        if octets.len() > PAYLOAD_MAX {
            bail!(
                "the payload has {} octets; a packet that is asked about carries at most {PAYLOAD_MAX}",
                octets.len()
            );
        }
        Ok(octets)
    }
}

/// Port of the Internet Key Exchange (RFC 7296).
const IKE_PORT: u16 = 500;

/// Octets that a packet may carry: more than fit into any frame that the switch sees.
const PAYLOAD_MAX: usize = 9000;

fn problem(word: &str) -> Result<IcmpProblem, String> {
    let found = IcmpProblem::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let names = IcmpProblem::ALL.map(|(name, _)| name).join(", ");
    found.map(|(_, problem)| *problem).ok_or_else(|| format!("it can be {names}"))
}

fn protocol(word: &str) -> Result<Protocol, String> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::TCP),
        "udp" => Ok(Protocol::UDP),
        "sctp" => Ok(Protocol::SCTP),
        "ah" => Ok(Protocol::AH),
        "esp" => Ok(Protocol::ESP),
        "icmp" => Err("errors are asked about by `--icmp PROBLEM` and the packet that they quote".into()),
        _ => Err("it can be tcp, udp, sctp, ah or esp".into()),
    }
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
        let form = |words: &str| parse(&format!("udp 192.0.2.7:1 10.0.0.1:2 {words}")).unwrap().form;
        assert_eq!(form("--fragment early"), Form::EarlyFragment);
        let [server, router] = ["10.0.0.1", "10.9.9.9"].map(|address| address.parse().unwrap());
        assert_eq!(form("--icmp too-big"), Form::Error(IcmpProblem::TooBig, server));
        assert_eq!(form("--icmp too-big --from 10.9.9.9"), Form::Error(IcmpProblem::TooBig, router));
        let probe = parse("udp 192.0.2.7:1 10.0.0.1:2 --mark 7 --payload hello --may-fragment").unwrap();
        assert_eq!(
            (probe.mark, &probe.payload[..], probe.may_fragment),
            (NonZeroU32::new(7), &b"hello"[..], true)
        );
        assert_eq!(parse("ESP 192.0.2.7:500 10.0.0.1:500").unwrap().protocol, Protocol::ESP);
    }

    #[test]
    fn wrong_words_are_told_what_would_be_right() {
        for (words, told) in [
            ("igmp 192.0.2.7:1 10.0.0.1:2", "it can be tcp, udp, sctp, ah or esp"),
            ("icmp 192.0.2.7:1 10.0.0.1:2", "--icmp PROBLEM"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --icmp redirect", "it can be port-unreachable, host-unreachable"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --icmp too-big --from fd00::1", "different IP versions"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --icmp too-big --fragment first", "cannot be used with"),
            ("tcp 192.0.2.7:1 10.0.0.1:2 --from 10.0.0.9", "--icmp"),
            ("esp 192.0.2.7:1 10.0.0.1:2", "they go where UDP from and to port 500 goes"),
            ("sctp 192.0.2.7:1 10.0.0.1:2 --payload x", "only packets of TCP and UDP"),
            ("udp 192.0.2.7:1 10.0.0.1:2 --payload @/nowhere", "cannot read /nowhere"),
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
