//! The program in the kernel, packet in, packet out (BPF_PROG_TEST_RUN).
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

use aya::programs::{TestRun, TestRunOptions};

use super::*;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

const OWN_V4: &str = "10.0.0.2";
const OWN_V6: &str = "2001:db8:1::2";
const VIP_V4: &str = "192.0.2.10";
const VIP_V6: &str = "2001:db8::10";
const CLIENT_V4: &str = "198.51.100.7";
const CLIENT_V6: &str = "2001:db8:ffff::7";

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const IPIP: u8 = 4;
const IPV6: u8 = 41;
const UDP: u8 = 17;
const GRE: u8 = 47;
const GUE_PORT: u16 = 6080;

#[test]
fn all_four_pairs_of_families_with_and_without_a_tag() {
    let mut program = Program::load();
    for (outer, inner) in [(OWN_V4, VIP_V4), (OWN_V4, VIP_V6), (OWN_V6, VIP_V4), (OWN_V6, VIP_V6)] {
        for tag in [None, Some(100)] {
            let packet = from_client(inner);
            let frame = ethernet(tag, &wrapped(outer, &packet));
            assert_eq!(
                program.run(&frame),
                (XDP_PASS, ethernet(tag, &packet)),
                "{inner} in {outer}, tag {tag:?}"
            );
        }
    }
    program.assert_counted("unwrapped", 8);
}

#[test]
fn gue_and_gre_in_all_four_pairs_of_families_with_and_without_a_tag() {
    let mut program = Program::load();
    for (outer, inner) in [(OWN_V4, VIP_V4), (OWN_V4, VIP_V6), (OWN_V6, VIP_V4), (OWN_V6, VIP_V6)] {
        for tag in [None, Some(100)] {
            let packet = from_client(inner);
            for wrapped in [gue(outer, [0; 4], &packet), gre(outer, 0, &packet), gre(outer, 0x8000, &packet)]
            {
                let passed = (XDP_PASS, ethernet(tag, &packet));
                assert_eq!(program.run(&ethernet(tag, &wrapped)), passed, "{inner} in {outer}, tag {tag:?}");
            }
        }
    }
    program.assert_counted("unwrapped", 24);
}

#[test]
fn gue_and_gre_that_no_director_sends_pass_untouched() {
    let mut program = Program::load();
    let packet = from_client(VIP_V4);
    let foreign = [
        // Variant 1, a message of control, an extension, a content of TCP.
        gue(OWN_V4, [0x40, 0, 0, 0], &packet),
        gue(OWN_V4, [0x20, 0, 0, 0], &packet),
        gue(OWN_V4, [0x01, 0, 0, 0], &packet),
        gue(OWN_V4, [0, 2, 0, 0], &packet),
        // A key, a sequence number, version 1.
        gre(OWN_V4, 0x2000, &packet),
        gre(OWN_V6, 0x1000, &packet),
        gre(OWN_V4, 1, &packet),
    ];
    for packet in &foreign {
        let frame = ethernet(None, packet);
        assert_eq!(program.run(&frame), (XDP_PASS, frame.clone()));
    }
    program.assert_counted("no director sends", foreign.len() as u64);

    let mut other_port = gue(OWN_V4, [0; 4], &packet);
    other_port[23] += 1;
    let mut first_fragment = gue(OWN_V4, [0; 4], &packet);
    first_fragment[6] = 0x20;
    let mut later_fragment = gue(OWN_V4, [0; 4], &packet);
    later_fragment[7] = 1;
    let cut_off = gue(OWN_V6, [0; 4], &packet)[..50].to_vec();
    for packet in [other_port, first_fragment, later_fragment, cut_off] {
        let frame = ethernet(None, &packet);
        assert_eq!(program.run(&frame), (XDP_PASS, frame.clone()));
    }
    program.assert_counted("fragments", 1);
    program.assert_counted("malformed", 1);
    program.assert_counted("unwrapped", 0);
}

#[test]
fn options_of_the_outer_header_go_too() {
    let mut program = Program::load();
    let packet = from_client(VIP_V4);
    let mut outer = wrapped(OWN_V4, &packet);
    outer[0] = 0x46;
    outer.splice(20..20, [1, 1, 1, 1]);
    assert_eq!(program.run(&ethernet(None, &outer)), (XDP_PASS, ethernet(None, &packet)));
    let mut outer = gue(OWN_V4, [0; 4], &packet);
    outer[0] = 0x4f;
    outer.splice(20..20, [1; 40]);
    assert_eq!(program.run(&ethernet(None, &outer)), (XDP_PASS, ethernet(None, &packet)));
}

#[test]
fn all_else_passes_untouched() {
    let mut program = Program::load();
    let untunnelled = from_client(VIP_V4);
    let elsewhere = wrapped("10.0.0.3", &untunnelled);
    let no_vip = wrapped(OWN_V4, &from_client("192.0.2.11"));
    let mut fragment = wrapped(OWN_V4, &untunnelled);
    fragment[6] = 0x20;
    let mut wrong_version = wrapped(OWN_V4, &untunnelled);
    wrong_version[20] = 0x65;
    let cut_off = wrapped(OWN_V6, &untunnelled)[..50].to_vec();
    for (packet, counted) in [
        (untunnelled, None),
        (elsewhere, Some("not this host's")),
        (no_vip, Some("no VIP")),
        (fragment, Some("fragments")),
        (wrong_version, Some("malformed")),
        (cut_off, Some("malformed")),
    ] {
        let frame = ethernet(None, &packet);
        assert_eq!(program.run(&frame), (XDP_PASS, frame.clone()), "{counted:?}");
        if let Some(word) = counted {
            program.assert_counted(word, 1 + u64::from(packet.len() == 50));
        }
    }
    program.assert_counted("unwrapped", 0);
    let arp = ethernet(None, &[0; 28]);
    assert_eq!(program.run(&arp), (XDP_PASS, arp.clone()));
}

#[test]
fn any_address_can_be_taken_for_own() {
    let mut program = Program::load();
    program.maps.set_own(&[IpAddr::from([0; 16])]).unwrap();
    let packet = from_client(VIP_V4);
    let frame = ethernet(None, &wrapped("10.77.0.1", &packet));
    assert_eq!(program.run(&frame), (XDP_PASS, ethernet(None, &packet)));
}

#[test]
fn a_mark_of_congestion_is_handed_on() {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    let mut program = Program::load();
    for (outer, inner) in [(OWN_V4, VIP_V4), (OWN_V4, VIP_V6), (OWN_V6, VIP_V4), (OWN_V6, VIP_V6)] {
        let capable = with_ecn(&from_client(inner), ECT_0);
        let frame = ethernet(None, &with_ecn(&wrapped(outer, &capable), CE));
        let marked = ethernet(None, &with_ecn(&capable, CE));
        assert_eq!(program.run(&frame), (XDP_PASS, marked), "{inner} in {outer}");

        let incapable = from_client(inner);
        let frame = ethernet(None, &with_ecn(&wrapped(outer, &incapable), CE));
        assert_eq!(program.run(&frame).0, XDP_DROP, "{inner} in {outer}");
    }
    program.assert_counted("congestion", 4);
}

#[test]
fn a_vip_can_be_given_up() {
    let mut program = Program::load();
    program.maps.remove_vip(ip(VIP_V4)).unwrap();
    program.maps.remove_vip(ip("192.0.2.99")).unwrap();
    let frame = ethernet(None, &wrapped(OWN_V4, &from_client(VIP_V4)));
    assert_eq!(program.run(&frame), (XDP_PASS, frame.clone()));
}

/// The loaded program, with the addresses above in its maps.
struct Program {
    object: aya::Ebpf,
    maps: Decapsulation,
}

impl Program {
    fn load() -> Self {
        assert!(!DECAPSULATE.is_empty(), "the XDP objects are missing: cargo xtask build");
        let mut object = aya::Ebpf::load(DECAPSULATE).unwrap();
        let program: &mut Xdp = object.program_mut(PROGRAM).unwrap().try_into().unwrap();
        program.load().unwrap();
        let mut maps = Decapsulation::open(program.info().unwrap().id()).unwrap().unwrap();
        maps.set_own(&[ip(OWN_V4), ip(OWN_V6)]).unwrap();
        maps.add_vip(ip(VIP_V4)).unwrap();
        maps.add_vip(ip(VIP_V6)).unwrap();
        maps.add_port(GUE_PORT).unwrap();
        Program { object, maps }
    }

    /// The verdict, and the frame after it.
    fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let program: &mut Xdp = self.object.program_mut(PROGRAM).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len()];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = program.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    fn assert_counted(&self, word: &str, wanted: u64) {
        let outcomes = self.maps.outcomes().unwrap();
        let found = outcomes.iter().find(|(name, _)| name.contains(word));
        assert_eq!(found.map_or(0, |(_, count)| *count), wanted, "{word}: {outcomes:?}");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ethernet(tag: Option<u16>, packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = match packet[0] >> 4 {
        4 => 0x0800,
        6 => 0x86dd,
        _ => 0x0806,
    };
    let mut frame = MACS.to_vec();
    if let Some(tag) = tag {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A UDP packet of the client's.
fn from_client(destination: &str) -> Vec<u8> {
    let source = if ip(destination).is_ipv4() { CLIENT_V4 } else { CLIENT_V6 };
    let datagram = [&[0x30, 0x39, 0, 53, 0, 16, 0, 0][..], b"question"].concat();
    packet(source, destination, UDP, &datagram)
}

fn wrapped(destination: &str, inner: &[u8]) -> Vec<u8> {
    let protocol = if inner[0] >> 4 == 6 { IPV6 } else { IPIP };
    packet(director(destination), destination, protocol, inner)
}

/// By GUE: `change` is what its header has otherwise.
fn gue(destination: &str, change: [u8; 4], inner: &[u8]) -> Vec<u8> {
    let mut header = [0, if inner[0] >> 4 == 6 { IPV6 } else { IPIP }, 0, 0];
    header.iter_mut().zip(change).for_each(|(octet, change)| *octet ^= change);
    let mut datagram = vec![0x80, 0];
    datagram.extend(GUE_PORT.to_be_bytes());
    datagram.extend((12 + inner.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(header);
    datagram.extend(inner);
    packet(director(destination), destination, UDP, &datagram)
}

/// By GRE with these flags.
fn gre(destination: &str, flags: u16, inner: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if inner[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    let mut content = [flags.to_be_bytes(), ethertype.to_be_bytes()].concat();
    if flags & 0x8000 != 0 {
        // The checksum; nobody looks at it.
        content.extend([1, 2, 0, 0]);
    }
    content.extend(inner);
    packet(director(destination), destination, GRE, &content)
}

/// Its address, of the same family.
fn director(destination: &str) -> &'static str {
    if ip(destination).is_ipv4() { "10.0.0.1" } else { "2001:db8:1::1" }
}

fn packet(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let mut packet = match (ip(source), ip(destination)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend((20 + length).to_be_bytes());
            header.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            finish(&mut header);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => panic!("one packet, one family"),
    };
    packet.extend(payload);
    packet
}

fn with_ecn(packet: &[u8], ecn: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[1] = packet[1] & !3 | ecn;
        finish(&mut packet[..20]);
    } else {
        packet[1] = packet[1] & !0x30 | ecn << 4;
    }
    packet
}

/// Writes the checksum of an IPv4 header, computed over all of it.
fn finish(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
