//! What the switch sends, read by Wireshark: tunnels, and the checksums that were not computed over the data.

use anyhow::{Context, Result, ensure};
use rlvs_packet::protocol::{SCTP, UDP};
use rlvs_packet::sctp::chunk::INIT;
use rlvs_switch::Verdict;
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, Server, Simulation};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// tshark's word for a checksum that holds.
const GOOD: &str = "1";

#[test]
#[ignore = "needs root"]
fn tunnels_are_what_wireshark_takes_them_for() -> Result<()> {
    let (mut frames, mut expected) = (Vec::new(), Vec::new());
    for (inner, from) in ADDRESSES.iter().enumerate() {
        for (outer, to) in ADDRESSES.iter().enumerate() {
            for (kind, flags) in [(IPIP, 0), (GUE, CHECKSUM), (GRE, 0), (GRE, CHECKSUM)] {
                // With a checksum of its own, and without, where IPv4 allows that.
                for checksum in [true, inner == 1] {
                    let server = Server::tunnel_of(kind, flags, to.server()?);
                    let request = Packet { checksum, ..from.request(UDP)? };
                    frames.push(sent(UDP, &server, &request)?);
                    let ip = |family: usize| ["ip", "ipv6"][family];
                    let between = match kind {
                        // Wireshark does not know GUE.
                        GUE => "udp:data".to_owned(),
                        GRE => format!("gre:{}:udp:data", ip(inner)),
                        _ => format!("{}:udp:data", ip(inner)),
                    };
                    expected.push((format!("eth:ethertype:{}:{between}", ip(outer)), kind, flags));
                }
            }
        }
    }
    let lines = dissect(&frames, ["frame.protocols", "udp.checksum.status", "gre.checksum.status"])?;
    ensure!(lines.len() == expected.len(), "{lines:#?}");
    for ([protocols, udp, gre], (chain, kind, flags)) in lines.iter().zip(&expected) {
        ensure!(protocols == chain, "{protocols} is not {chain}");
        ensure!(*kind != GUE || udp == GOOD, "GUE's checksum: {udp}");
        ensure!(*kind != GRE || *flags != CHECKSUM || gre == GOOD, "GRE's checksum: {gre}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_checksum_of_a_translated_sctp_packet_holds() -> Result<()> {
    let mut frames = Vec::new();
    for addresses in ADDRESSES {
        for length in [0, 1, 100, 1400] {
            let request = Packet { payload: vec![7; length], ..addresses.request(SCTP)? };
            frames.push(sent(SCTP, &Server::nat(addresses.server()?), &request)?);
        }
    }
    for [port, status] in dissect(&frames, ["sctp.dstport", "sctp.checksum.status"])? {
        ensure!(port == "8080" && status == GOOD, "port {port}, checksum {status}");
    }
    Ok(())
}

/// Example addresses of a family.
struct Addresses {
    client: &'static str,
    vip: &'static str,
    server: &'static str,
}

const ADDRESSES: [Addresses; 2] = [
    Addresses { client: "10.9.0.7:20000", vip: "10.1.0.200:9", server: "10.2.0.1:8080" },
    Addresses { client: "[fd09::7]:20000", vip: "[fd01::200]:9", server: "[fd02::1]:8080" },
];

impl Addresses {
    fn request(&self, protocol: u8) -> Result<Packet> {
        let payload = vec![0xa5; 333];
        let (client, vip) = (self.client.parse()?, self.vip.parse()?);
        Ok(Packet { protocol, payload, ..Packet::tcp(client, vip, INIT) })
    }

    fn server(&self) -> Result<SocketAddr> {
        Ok(self.server.parse()?)
    }
}

/// What a director with this one server makes of a packet.
fn sent(protocol: u8, server: &Server, packet: &Packet) -> Result<Vec<u8>> {
    let mut simulation = Simulation::new(1 << 8, 1);
    let service = simulation.add_service(protocol, packet.destination, Scheduler::RoundRobin);
    simulation.add_destination(service, server);
    let (verdict, frame) = simulation.receive(&packet.frame());
    ensure!(matches!(verdict, Verdict::Redirect(_)), "{verdict:?}: {packet:?}");
    Ok(frame)
}

/// These fields of each frame, in tshark's words; of fields that occur several times the last one.
fn dissect<const FIELDS: usize>(frames: &[Vec<u8>], fields: [&str; FIELDS]) -> Result<Vec<[String; FIELDS]>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", "-", "-T", "fields", "-E", "occurrence=l"]);
    for check in ["ip.check_checksum:TRUE", "udp.check_checksum:TRUE", "sctp.checksum:crc-32c"] {
        tshark.args(["-o", check]);
    }
    for field in fields {
        tshark.args(["-e", field]);
    }
    let mut tshark = tshark.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    tshark.stdin.take().context("no way to tshark")?.write_all(&capture(frames))?;
    let output = tshark.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark: {complaint}");
    let lines = String::from_utf8(output.stdout)?;
    let read = |line: &str| {
        let words: Vec<String> = line.split('\t').map(str::to_owned).collect();
        words.try_into().map_err(|words| anyhow::anyhow!("tshark: {words:?}"))
    };
    lines.lines().map(read).collect()
}

/// The frames as a capture file (draft-ietf-opsawg-pcap), of Ethernet.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut capture = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1u32] {
        capture.extend(word.to_le_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [0, 0, length, length] {
            capture.extend(word.to_le_bytes());
        }
        capture.extend(frame);
    }
    capture
}
