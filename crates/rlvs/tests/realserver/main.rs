//! `rlvs realserver` on a real kernel, with TCP through what it sets up.
//!
//! ```text
//!  client c0 10.1.0.1 ---- 10.1.0.254 d0 director d1 10.3.0.1 ---- 10.3.0.2 s0 server
//!         c1 10.2.0.1 ---------------------------------------- 10.2.0.2 s1
//! ```
//!
//! and the same with fd00:1:: and so on. The server answers over s1, so what comes in tunnelled on s0 has its
//! answer leave elsewhere.
#![cfg(feature = "privileged-tests")]
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

mod arp;
mod lab;
mod tunnel;

use arp::askers;
use lab::{Lab, echo, ip};
use tunnel::Tunnel;

const VIP_V4: &str = "192.0.2.10";
const VIP_V6: &str = "2001:db8::10";

#[test]
fn tcp_through_a_tunnel_in_all_four_pairs_of_families() {
    let lab = Lab::new("tunnel");
    // So that the loose mode is needed.
    lab.server_sysctl("s0", "rp_filter", "1");
    for vip in [VIP_V4, VIP_V6] {
        lab.route_vip_through_director(vip);
    }
    assert!(!lab.rlvs(&["check", "--tunnel", "--vip", VIP_V4, VIP_V6]).status.success());
    lab.rlvs_must(&["add", "--tunnel", "--unwrap", "xdp", "--vip", VIP_V4, VIP_V6]);
    lab.rlvs_must(&["check"]);

    for (vip, server) in
        [(VIP_V4, "10.3.0.2"), (VIP_V6, "10.3.0.2"), (VIP_V4, "fd00:3::2"), (VIP_V6, "fd00:3::2")]
    {
        let tunnel = Tunnel::start(&lab.director, ip(vip), ip(server));
        echo(&lab, ip(vip)).unwrap_or_else(|error| panic!("{vip} through {server}: {error}"));
        assert!(tunnel.stop() > 100, "the packets went through the tunnel");
    }
    let report = String::from_utf8(lab.rlvs_must(&["check"]).stdout).unwrap();
    assert!(report.contains("packets unwrapped"), "{report}");

    lab.rlvs_must(&["remove", "--vip", VIP_V6]);
    let tunnel = Tunnel::start(&lab.director, ip(VIP_V4), ip("10.3.0.2"));
    echo(&lab, ip(VIP_V4)).unwrap();
    tunnel.stop();
    lab.rlvs_must(&["remove"]);
    let tunnel = Tunnel::start(&lab.director, ip(VIP_V4), ip("10.3.0.2"));
    assert!(echo(&lab, ip(VIP_V4)).is_err(), "nobody unwraps any more");
    tunnel.stop();
}

#[test]
fn tcp_through_the_kernels_tunnel_devices() {
    let lab = Lab::new("kernel");
    lab.server_sysctl("all", "rp_filter", "1");
    for vip in [VIP_V4, VIP_V6] {
        lab.route_vip_through_director(vip);
    }
    let before = lab.server_state();
    let added = lab.rlvs(&["add", "--tunnel", "--unwrap", "kernel", "--vip", VIP_V4, VIP_V6]);
    let complaint = String::from_utf8_lossy(&added.stderr);
    if complaint.contains("no tunnel devices") {
        eprintln!("not tested: {complaint}");
        return;
    }
    assert!(added.status.success(), "{complaint}");
    lab.rlvs_must(&["check"]);
    for (vip, server) in
        [(VIP_V4, "10.3.0.2"), (VIP_V6, "10.3.0.2"), (VIP_V4, "fd00:3::2"), (VIP_V6, "fd00:3::2")]
    {
        let tunnel = Tunnel::start(&lab.director, ip(vip), ip(server));
        echo(&lab, ip(vip)).unwrap_or_else(|error| panic!("{vip} through {server}: {error}"));
        assert!(tunnel.stop() > 100, "the packets went through the tunnel");
    }
    for (fault, word) in [
        ("address flush dev ip6tnl0", "ip6tnl0, which has no address"),
        ("link set tunl0 down", "tunl0 is down"),
        ("-6 tunnel change ip6tnl0 mode ip6ip6", "takes one family only"),
    ] {
        lab.server(fault);
        let report = lab.rlvs(&["check"]);
        assert!(
            !report.status.success() && String::from_utf8_lossy(&report.stdout).contains(word),
            "{report:?}"
        );
    }
    lab.rlvs_must(&["add", "--tunnel", "--vip", VIP_V4, VIP_V6]);
    lab.rlvs_must(&["check"]);
    lab.rlvs_must(&["remove"]);
    assert_eq!(lab.server_state(), before);
    for device in ["tunl0", "sit0", "ip6tnl0"] {
        assert!(lab.server(&format!("link show {device} up")).is_empty(), "{device} is down again");
    }
}

#[test]
fn the_vip_is_taken_and_kept_out_of_arp() {
    let lab = Lab::new("arp");
    lab.rlvs_must(&["add", "--vip", VIP_V4]);
    // On the same link as the server, as in direct routing.
    lab.client(&format!("route add {VIP_V4}/32 dev c1"));
    assert!(echo(&lab, ip(VIP_V4)).is_err(), "the server answers no ARP for it");
    let entry = lab.client(&format!("neigh show {VIP_V4} dev c1"));
    assert!(!entry.contains("lladdr"), "{entry}");

    // What a director does: the frame is addressed to the server, the packet to the VIP.
    let mac = lab.server_mac("s1");
    lab.client(&format!("neigh replace {VIP_V4} lladdr {mac} dev c1 nud permanent"));
    echo(&lab, ip(VIP_V4)).unwrap();

    // The settings are what keeps it quiet: without them it answers.
    lab.rlvs_must(&["remove"]);
    lab.server(&format!("address add {VIP_V4}/32 dev lo"));
    lab.client(&format!("neigh del {VIP_V4} dev c1"));
    echo(&lab, ip(VIP_V4)).unwrap();
    assert!(!lab.rlvs(&["check", "--vip", VIP_V4]).status.success());
}

#[test]
fn remove_brings_back_what_was() {
    let lab = Lab::new("undo");
    lab.server_sysctl("s0", "rp_filter", "1");
    lab.server_sysctl("all", "arp_ignore", "2");
    lab.server_sysctl("s1", "arp_announce", "1");
    lab.server(&format!("address add {VIP_V6}/128 dev lo nodad"));
    let before = lab.server_state();
    let add = ["add", "--tunnel", "--unwrap", "xdp", "--vip", VIP_V4, VIP_V6];
    lab.rlvs_must(&add);
    let prepared = lab.server_state();
    assert_ne!(prepared, before);
    assert!(prepared.contains("decapsulate"), "{prepared}");

    let again = lab.rlvs_must(&add);
    assert!(again.stdout.is_empty(), "nothing left to do: {}", String::from_utf8_lossy(&again.stdout));
    assert_eq!(lab.server_state(), prepared);

    lab.rlvs_must(&["remove"]);
    assert_eq!(lab.server_state(), before);
    lab.rlvs_must(&["remove"]);
    assert_eq!(lab.server_state(), before);
}

#[test]
fn a_setting_changed_by_somebody_else_stays() {
    let lab = Lab::new("foreign");
    lab.rlvs_must(&["add", "--vip", VIP_V4]);
    lab.server_sysctl("all", "arp_ignore", "2");
    let said = lab.rlvs_must(&["remove"]).stdout;
    assert!(String::from_utf8_lossy(&said).contains("left alone"));
    assert!(lab.server_state().contains("all arp_ignore 2"));
}

/// The server must ask for the client's MAC before it answers as the VIP.
#[test]
fn no_arp_has_the_vip_as_its_sender() {
    let lab = Lab::new("announce");
    lab.rlvs_must(&["add", "--vip", VIP_V4]);
    lab.client(&format!("route add {VIP_V4}/32 dev c1"));
    let mac = lab.server_mac("s1");
    lab.client(&format!("neigh replace {VIP_V4} lladdr {mac} dev c1 nud permanent"));
    let vip = ip(VIP_V4);
    assert_eq!(askers(&lab, &mac, || echo(&lab, vip).unwrap()), [ip("10.2.0.2")]);
    for interface in ["all", "s1"] {
        lab.server_sysctl(interface, "arp_announce", "0");
    }
    assert_eq!(askers(&lab, &mac, || echo(&lab, vip).unwrap()), [vip], "as the kernel does by itself");
}

#[test]
fn a_strict_rp_filter_drops_what_comes_by_a_tunnel() {
    let lab = Lab::new("strict");
    lab.route_vip_through_director(VIP_V4);
    lab.rlvs_must(&["add", "--tunnel", "--unwrap", "xdp", "--vip", VIP_V4]);
    let tunnel = Tunnel::start(&lab.director, ip(VIP_V4), ip("10.3.0.2"));
    echo(&lab, ip(VIP_V4)).unwrap();
    // The way back to the client is by s1.
    lab.server_sysctl("s0", "rp_filter", "1");
    assert!(echo(&lab, ip(VIP_V4)).is_err());
    assert!(!lab.rlvs(&["check"]).status.success());
    lab.server_sysctl("s0", "rp_filter", "2");
    echo(&lab, ip(VIP_V4)).unwrap();
    assert!(tunnel.stop() > 100, "the packets went through the tunnel");
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let lab = Lab::new("wrong");
    lab.server("address add 192.0.2.20/24 dev s0");
    lab.server("address add 192.0.2.21/24 dev lo");
    let before = lab.server_state();
    for (arguments, word) in [
        (&["add", "--vip", VIP_V4, "--interface", "nope"][..], "no interface nope"),
        (&["add", "--vip", "224.0.0.1"], "cannot be the address"),
        (&["add", "--vip", "192.0.2.20"], "answers for it in place of the director"),
        (&["add", "--vip", "192.0.2.21"], "whole network local"),
        (&["add", "--vip", "somewhere"], "invalid IP address"),
        (&["add", "--vip", VIP_V4, "--tun-type", "gre"], "--tunnel"),
        (&["add", "--vip", VIP_V4, "--tunnel", "--tun-type", "gue"], "--tun-port"),
        (&["add", "--vip", VIP_V4, "--tunnel", "--tun-port", "6080"], "only GUE has a port"),
        (
            &["add", "--vip", VIP_V4, "--tunnel", "--tun-type", "gre", "--unwrap", "kernel"],
            "ip link add type gre",
        ),
        (&["add"], "--vip"),
        (&["check"], "--vip"),
    ] {
        let output = lab.rlvs(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complaint.contains(word), "{arguments:?}: {complaint}");
        assert_eq!(lab.server_state(), before, "{arguments:?}");
    }
}

#[test]
fn check_names_each_fault() {
    let lab = Lab::new("check");
    lab.rlvs_must(&["add", "--tunnel", "--unwrap", "xdp", "--vip", VIP_V4]);
    let faults = |lab: &Lab| {
        let output = lab.rlvs(&["check"]);
        let report = String::from_utf8(output.stdout).unwrap();
        let wrong: Vec<String> =
            report.lines().filter(|line| line.starts_with("WRONG")).map(str::to_owned).collect();
        assert_eq!(output.status.success(), wrong.is_empty(), "{report}");
        wrong
    };
    assert_eq!(faults(&lab), [""; 0]);
    lab.server_sysctl("all", "arp_ignore", "0");
    lab.server_sysctl("s1", "arp_ignore", "0");
    lab.server_sysctl("s0", "rp_filter", "1");
    lab.server("link set s1 xdp off");
    lab.server("address add 10.3.0.77/24 dev s0");
    lab.server(&format!("address del {VIP_V4}/32 dev lo"));
    let found = faults(&lab);
    for word in
        ["no address of this host", "arp_ignore", "no XDP program on s1", "10.3.0.77", "rp_filter is 1 on s0"]
    {
        assert!(found.iter().any(|line| line.contains(word)), "{word}: {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    lab.rlvs_must(&["add", "--tunnel", "--vip", VIP_V4]);
    assert_eq!(faults(&lab), [""; 0]);

    lab.rlvs_must(&["add", "--tunnel", "--tun-type", "gue", "--tun-port", "6080", "--vip", VIP_V4]);
    let report = String::from_utf8(lab.rlvs_must(&["check"]).stdout).unwrap();
    assert!(report.contains("GUE packets to port 6080 are unwrapped"), "{report}");
    for interface in ["s0", "s1"] {
        lab.server(&format!("link set {interface} xdp off"));
    }
    let found = faults(&lab);
    assert!(found.iter().any(|line| line.contains("XDP program that 'add' attached is gone")), "{found:#?}");
}
