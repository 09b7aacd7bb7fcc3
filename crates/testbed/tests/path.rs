//! Packets that do not fit, on paths that are narrow in the middle: path MTU discovery, fragments, ICMP errors.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::real_server::{LARGE, LARGE_TEXT};
use rlvs_testbed::{Capture, Cluster, Family, Lan, Method, Namespace, Port, load, rlvs, with_port};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType};

/// What the link behind the router carries: less than Ethernet, more than IPv6's least.
const NARROW: &str = "1300";

/// A client behind a router on the client network, and a narrow link between the two. The client does not know how
/// narrow: its own interface takes whole Ethernet frames.
struct Afar {
    client: Namespace,
    _router: Namespace,
    _link: Lan,
}

impl Afar {
    fn new(cluster: &Cluster) -> Result<Afar> {
        let link = Lan::new("narrow link")?;
        let (router, client) = (Namespace::new("router")?, Namespace::new("client afar")?);
        router.sysctl("net.ipv4.ip_forward=1")?;
        router.sysctl("net.ipv6.conf.all.forwarding=1")?;
        let addresses = ["192.168.0.200/24", "2001:db8::c8/64"];
        cluster.net.client_network.plug(&router, &Port { interface: "near", addresses: &addresses })?;
        let addresses = ["10.99.0.1/24", "2001:db8:99::1/64"];
        link.plug(&router, &Port { interface: "far", addresses: &addresses })?;
        let addresses = ["10.99.0.100/24", "2001:db8:99::64/64"];
        link.plug(&client, &Port { interface: "eth0", addresses: &addresses })?;
        router.ip(&format!("link set far mtu {NARROW}"))?;
        client.ip("route add default via 10.99.0.1\n-6 route add default via 2001:db8:99::1")?;
        let back = "route add 10.99.0.0/24 via 192.168.0.200\n-6 route add 2001:db8:99::/64 via 2001:db8::c8";
        cluster.net.director.ip(back)?;
        if cluster.net.method() != Method::Nat {
            for server in &cluster.net.servers {
                server.ip(back)?;
            }
        }
        Ok(Afar { client, _router: router, _link: link })
    }

    fn address(family: Family) -> IpAddr {
        match family {
            Family::V4 => [10, 99, 0, 100].into(),
            Family::V6 => [0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 0x64].into(),
        }
    }
}

#[test]
#[ignore = "needs root"]
fn servers_learn_what_the_path_to_the_client_carries() -> Result<()> {
    for method in Method::ALL {
        for family in Family::ALL {
            let mut cluster = Cluster::start(method, family, 1)?;
            cluster.serve_http(1)?;
            let afar = Afar::new(&cluster)?;
            let url = format!("http://{}/large", with_port(family.vip(), 80));
            let large = afar
                .client
                .output(&["curl", "-sS", "-f", "-m", "20", &url])
                .with_context(|| format!("{method:?}, {family:?}"))?;
            assert_eq!(large.len(), LARGE, "{method:?}, {family:?}");
            let (client, vip) = (Afar::address(family).to_string(), family.vip().to_string());
            let mut words = vec!["ip", "route", "get", &client];
            if method != Method::Nat {
                words.extend(["from", &vip]);
            }
            let route = cluster.net.servers[0].output(&words)?;
            assert!(route.contains(&format!("mtu {NARROW}")), "{method:?}, {family:?}: {route}");
        }
    }
    Ok(())
}

/// Both ways through the director with NAT; requests only with the other methods.
#[test]
#[ignore = "needs root"]
fn datagrams_larger_than_a_frame_arrive() -> Result<()> {
    for method in Method::ALL {
        for family in Family::ALL {
            let mut cluster = Cluster::start(method, family, 2)?;
            cluster.serve_dns()?;
            let (client, server) = (&cluster.net.client, format!("@{}", family.vip()));
            for _ in 0..4 {
                let words = ["dig", "+short", "+tries=1", "+time=3", "+bufsize=4096", "+ignore"];
                let answer = client
                    .output(&[&words[..], &["TXT", "large.test", &server]].concat())
                    .with_context(|| format!("{method:?}, {family:?}"))?;
                let characters = answer.chars().filter(|c| *c == 'x').count();
                assert_eq!(characters, LARGE_TEXT, "{method:?}, {family:?}: {answer}");
            }
            if method == Method::Tun {
                // What fills the client's frames does not fit the tunnel; answers come directly.
                let narrow = format!("route replace {} dev eth0 mtu 1400", family.vip());
                client.ip(&if family == Family::V6 { format!("-6 {narrow}") } else { narrow })?;
            }
            cluster.serve_iperf3()?;
            let client = &cluster.net.client;
            for reverse in [false, true] {
                let (came, all) = load::iperf3_udp(client, family.vip(), 5201, 4000, reverse)?;
                ensure!(all > 10 && came * 2 > all, "{method:?}, {family:?}, {reverse}: {came} of {all}");
            }
        }
    }
    Ok(())
}

/// What a router on the way would do, the director does.
#[test]
#[ignore = "needs root"]
fn datagrams_are_fragmented_for_a_narrow_way() -> Result<()> {
    for method in [Method::Nat, Method::Dr] {
        let mut cluster = Cluster::start(method, Family::V4, 1)?;
        let server = Family::V4.server(1);
        cluster.net.director.ip(&format!("route replace {server}/32 dev lan mtu {NARROW}"))?;
        cluster.serve_iperf3()?;
        // As fragments that fill the client's frames.
        let (came, all) = load::iperf3_udp(&cluster.net.client, Family::V4.vip(), 5201, 4000, false)?;
        ensure!(all > 10 && came * 2 > all, "{method:?}: {came} of {all}");
        let drops = rlvs(&cluster.net.director, "drops")?;
        ensure!(fragmented(&drops) >= Some(came), "{method:?}: {came} datagrams came, {drops}");
    }
    Ok(())
}

/// Real servers on a network of larger frames than the clients'.
#[test]
#[ignore = "needs root"]
fn large_replies_are_fragmented_or_their_sender_is_told() -> Result<()> {
    for family in Family::ALL {
        let mut cluster = Cluster::start(Method::Nat, family, 1)?;
        let network = &cluster.net.server_network;
        network.switch().ip("link set port1 mtu 2000\nlink set port2 mtu 2000\nlink set bridge mtu 2000")?;
        for host in [&cluster.net.director, &cluster.net.servers[0]] {
            host.ip("link set lan mtu 2000")?;
        }
        cluster.serve_iperf3()?;
        if family == Family::V4 {
            // Without "don't fragment": in one packet, then in two, the first of which fills the large frames.
            cluster.net.servers[0].sysctl("net.ipv4.ip_no_pmtu_disc=1")?;
            for octets in [1900, 3000] {
                let (came, all) = load::iperf3_udp(&cluster.net.client, family.vip(), 5201, octets, true)?;
                ensure!(all > 10 && came * 2 > all, "{octets}: {came} of {all}");
            }
            let drops = rlvs(&cluster.net.director, "drops")?;
            ensure!(fragmented(&drops) > Some(100), "{drops}");
            cluster.net.servers[0].sysctl("net.ipv4.ip_no_pmtu_disc=0")?;
        }
        // The server is told, and iperf3 ends at that.
        let _ended = load::iperf3_udp(&cluster.net.client, family.vip(), 5201, 1900, true);
        let route = cluster.net.servers[0].output(&["ip", "route", "get", &family.client().to_string()])?;
        ensure!(route.contains("mtu 1500"), "{family:?}: {route}");
    }
    Ok(())
}

fn fragmented(drops: &str) -> Option<u32> {
    let line = drops.lines().find(|line| line.contains("sent: in fragments"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
#[ignore = "needs root"]
fn without_pmtu_disc_the_tunnels_packet_is_fragmented() -> Result<()> {
    for method in [Method::Tun, Method::Gue, Method::Gre] {
        let cluster = Cluster::start(method, Family::V4, 1)?;
        cluster.add_service("-u", 9, 1)?;
        rlvs(&cluster.net.director, "sysctl -w pmtu_disc=0")?;
        let mut capture = Capture::start(&cluster.net.servers[0], "lan", "ip[6:2] & 0x3fff != 0")?;
        cluster.net.client.run(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            // A whole frame; the kernel says "don't fragment".
            socket.send_to(&[7; 1472], (Family::V4.vip(), 9))?;
            Ok(())
        })?;
        let outer = match method {
            Method::Gue => 20 + 8 + 4,
            Method::Gre => 20 + 8,
            _ => 20,
        };
        let first = "offset 0, flags [+]";
        let last = format!("length {}", 1500 + outer - 1480);
        for part in [first, "offset 1480, flags [none]", &last] {
            capture.wait_for(part).with_context(|| format!("{method:?}: {part}"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_port_without_a_program_is_unreachable_for_the_client() -> Result<()> {
    for method in Method::ALL {
        for family in Family::ALL {
            let cluster = Cluster::start(method, family, 1)?;
            cluster.add_service("-u", 7, 1)?;
            let vip = family.vip();
            let refused = cluster.net.client.run(move || {
                let any: IpAddr = if vip.is_ipv4() { [0; 4].into() } else { [0u8; 16].into() };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect((vip, 7))?;
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                socket.send(b"anybody there?")?;
                Ok(socket.recv(&mut [0; 64]).map_err(|error| error.kind()))
            })?;
            assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "{method:?}, {family:?}");
        }
    }
    Ok(())
}

/// The last fragment first, and the first one last.
#[test]
#[ignore = "needs root"]
fn fragments_arrive_in_any_order() -> Result<()> {
    for method in Method::ALL {
        for family in Family::ALL {
            let mut cluster = Cluster::start(method, family, 2)?;
            cluster.serve_dns()?;
            let vip = SocketAddr::new(family.vip(), 53);
            for _ in 0..4 {
                let answer = cluster.net.client.run(move || ask_in_reverse(vip));
                let answer = answer.with_context(|| format!("{method:?}, {family:?}"))?;
                assert!(answer.windows(2).any(|name| name == b"rs"), "{method:?}, {family:?}: {answer:x?}");
            }
        }
    }
    Ok(())
}

/// Asks for `TXT whoami.test` in three fragments; the answer.
fn ask_in_reverse(server: SocketAddr) -> Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0u8; 16].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let raw = rustix::net::socket(family, SocketType::RAW, NonZeroU32::new(255).map(Protocol::from_raw))?;
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06whoami\x04test\0\0\x10\0\x01";
    let client = socket.local_addr()?;
    let mut fragments = fragments(client, server, question);
    let first = fragments.remove(0);
    // Raw sockets of IPv6 take no port.
    let to = SocketAddr::new(server.ip(), 0);
    for early in fragments.iter().rev() {
        rustix::net::sendto(&raw, early, SendFlags::empty(), &to)?;
    }
    // Not only the one that is on its way anyway comes late.
    std::thread::sleep(Duration::from_millis(20));
    rustix::net::sendto(&raw, &first, SendFlags::empty(), &to)?;
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer).context("no answer")?;
    answer.truncate(length);
    Ok(answer)
}

/// A UDP datagram in IP packets of 16 octets of it each.
fn fragments(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<Vec<u8>> {
    let length = 8 + payload.len() as u16;
    let mut datagram =
        [from.port().to_be_bytes(), to.port().to_be_bytes(), length.to_be_bytes(), [0; 2]].concat();
    datagram.extend(payload);
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => Vec::new(),
    };
    let pseudo = [&addresses[..], &[0, 17], &length.to_be_bytes()].concat();
    let words = pseudo.chunks(2).chain(datagram.chunks(2));
    let mut sum: u32 =
        words.map(|word| (u32::from(word[0]) << 8) | word.get(1).map_or(0, |low| u32::from(*low))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    datagram[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let last = datagram.len().div_ceil(16) - 1;
    let one = |(n, part): (usize, &[u8])| {
        let (offset, more) = ((n * 16) as u16, n < last);
        let mut packet = if from.is_ipv4() {
            let place = (offset / 8) | if more { 0x2000 } else { 0 };
            let length = (20 + part.len()) as u16;
            // The kernel fills in the checksum.
            [
                &[0x45, 0][..],
                &length.to_be_bytes(),
                &from.port().to_be_bytes(),
                &place.to_be_bytes(),
                &[64, 17, 0, 0],
            ]
            .concat()
        } else {
            let length = (8 + part.len()) as u16;
            [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[44, 64]].concat()
        };
        packet.extend(&addresses);
        if from.is_ipv6() {
            packet.extend([17, 0]);
            packet.extend((offset | u16::from(more)).to_be_bytes());
            packet.extend(u32::from(from.port()).to_be_bytes());
        }
        packet.extend(part);
        packet
    };
    datagram.chunks(16).enumerate().map(one).collect()
}
