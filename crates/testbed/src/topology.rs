//! The classical network of a virtual server.
//!
//! ```text
//!                    client network                    server network
//!            192.168.0.0/24, 2001:db8::/64     172.16.0.0/24, 2001:db8:16::/64
//!
//!  client eth0 .100 ---+--- .254 wan  director  lan .254 ---+--- .1 lan  server 1
//!                      |    VIP .1                          +--- .2 lan  server 2
//!                      |                                                   |
//!                      +--- .11, .12 wan  (direct routing, tunnelling) ----+
//! ```
//!
//! With NAT the director is the servers' default router, and there is no other way between the two networks. With
//! direct routing and tunnelling the servers answer clients over a leg of their own; the director does not see it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::lan::{Lan, Port};
use crate::namespace::Namespace;

/// IPVS's forwarding methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Masquerading.
    Nat,
    /// Direct routing.
    Dr,
    /// Tunnelling: IP in IP.
    Tun,
    /// Tunnelling by GUE, with a checksum.
    Gue,
    /// Tunnelling by GRE, with a checksum.
    Gre,
}

impl Method {
    /// One of each.
    pub const ALL: [Self; 3] = [Self::Nat, Self::Dr, Self::Tun];

    /// ipvsadm's option for it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Nat => "-m",
            Self::Dr => "-g",
            Self::Tun => "-i",
            Self::Gue => "-i --tun-type gue --tun-port 6080 --tun-csum",
            Self::Gre => "-i --tun-type gre --tun-csum",
        }
    }

    /// The option of `rlvs realserver` for it, if it is a tunnel.
    pub fn unwrapping(self) -> Option<&'static str> {
        match self {
            Self::Nat | Self::Dr => None,
            Self::Tun => Some("--tunnel"),
            Self::Gue => Some("--tunnel --tun-type gue --tun-port 6080"),
            Self::Gre => Some("--tunnel --tun-type gre"),
        }
    }
}

/// Which Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The virtual address.
    pub fn vip(self) -> IpAddr {
        self.on_client_network(1)
    }

    /// The client's address.
    pub fn client(self) -> IpAddr {
        self.on_client_network(100)
    }

    /// The address of a real server on the server network; servers count from 1.
    pub fn server(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(172, 16, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x16, 0, 0, 0, 0, number.into()).into(),
        }
    }

    /// An address on the client network.
    pub fn on_client_network(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 168, 0, number).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
        }
    }

    fn host_prefix(self) -> &'static str {
        match self {
            Self::V4 => "32",
            Self::V6 => "128",
        }
    }
}

/// A client, a director and real servers, joined as a forwarding method wants it.
pub struct Topology {
    /// The client; its interface is `eth0`.
    pub client: Namespace,
    /// The director's host, with the VIPs on `wan`; the real servers are on `lan`. It forwards.
    pub director: Namespace,
    /// The real servers; the first is number 1.
    pub servers: Vec<Namespace>,
    /// The network of the client.
    pub client_network: Lan,
    /// The network of the real servers. Server N is at port N + 1.
    pub server_network: Lan,
    method: Method,
}

impl Topology {
    /// Builds the network for `method` with `servers` real servers. No service exists, and real servers do not have
    /// the VIP yet: see [`Topology::accept_vip`].
    ///
    /// # Errors
    ///
    /// When this is not root, or the kernel lacks namespaces, bridges or veth.
    pub fn new(method: Method, servers: u8) -> Result<Self> {
        let client_network = Lan::new("client network")?;
        let server_network = Lan::new("server network")?;
        let client = Namespace::new("client")?;
        let addresses = ["192.168.0.100/24", "2001:db8::64/64"];
        client_network.plug(&client, &Port { interface: "eth0", addresses: &addresses })?;

        let director = Namespace::new("director")?;
        director.sysctl("net.ipv4.ip_forward=1")?;
        director.sysctl("net.ipv6.conf.all.forwarding=1")?;
        let addresses = ["192.168.0.254/24", "192.168.0.1/32", "2001:db8::fe/64", "2001:db8::1/128"];
        client_network.plug(&director, &Port { interface: "wan", addresses: &addresses })?;
        let addresses = ["172.16.0.254/24", "2001:db8:16::fe/64"];
        server_network.plug(&director, &Port { interface: "lan", addresses: &addresses })?;

        let mut topology =
            Self { client, director, servers: Vec::new(), client_network, server_network, method };
        for number in 1..=servers {
            topology.add_server(number)?;
        }
        Ok(topology)
    }

    fn add_server(&mut self, number: u8) -> Result<()> {
        let server = Namespace::new(&format!("server {number}"))?;
        let lan = Family::ALL.map(|family| format!("{}/{}", family.server(number), prefix(family)));
        self.server_network
            .plug(&server, &Port { interface: "lan", addresses: &lan.each_ref().map(String::as_str) })?;
        if self.method == Method::Nat {
            server.ip("route add default via 172.16.0.254\n-6 route add default via 2001:db8:16::fe")?;
        } else {
            let wan = Family::ALL
                .map(|family| format!("{}/{}", family.on_client_network(10 + number), prefix(family)));
            self.client_network
                .plug(&server, &Port { interface: "wan", addresses: &wan.each_ref().map(String::as_str) })?;
        }
        self.servers.push(server);
        Ok(())
    }

    /// Gives all real servers the VIP, silently, as direct routing needs it: on `lo`, and without an answer to ARP.
    ///
    /// # Errors
    ///
    /// When they have it already.
    pub fn accept_vip(&self, family: Family) -> Result<()> {
        for server in &self.servers {
            // Only answer for addresses of the interface that was asked, and never ask in the VIP's name.
            server.sysctl("net.ipv4.conf.all.arp_ignore=1")?;
            server.sysctl("net.ipv4.conf.all.arp_announce=2")?;
            server.ip(&format!("addr add {}/{} dev lo", family.vip(), family.host_prefix()))?;
        }
        Ok(())
    }

    /// The address on which a real server's program must listen: its own with NAT, else the VIP.
    pub fn listen_address(&self, family: Family, number: u8) -> IpAddr {
        match self.method {
            Method::Nat => family.server(number),
            _ => family.vip(),
        }
    }

    /// The forwarding method that the network was built for.
    pub fn method(&self) -> Method {
        self.method
    }
}

/// An address with port, in the words of ipvsadm and URLs: IPv6 addresses in brackets.
pub fn with_port(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "24",
        Family::V6 => "64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;
    use crate::echo::{EchoServer, ask_http, ask_udp};

    /// Plain routing shows that the network is what the picture says: both ways through the director.
    #[test]
    #[ignore = "needs root"]
    fn nat_servers_are_reached_and_answer_through_the_director() {
        let net = Topology::new(Method::Nat, 2).unwrap();
        net.client
            .ip("route add 172.16.0.0/24 via 192.168.0.254\n-6 route add 2001:db8:16::/64 via 2001:db8::fe")
            .unwrap();
        let mut capture = Capture::start(&net.director, "wan", "tcp port 80").unwrap();
        for family in Family::ALL {
            for number in 1..=2 {
                let at = SocketAddr::new(family.server(number), 80);
                let _server =
                    EchoServer::start(&net.servers[number as usize - 1], at.ip(), 80, &at.to_string())
                        .unwrap();
                assert_eq!(ask_http(&net.client, at).unwrap(), at.to_string());
                assert_eq!(ask_udp(&net.client, at).unwrap(), at.to_string());
            }
        }
        capture.wait_for("2001:db8:16::2.80 > 2001:db8::64").unwrap();
        let frames = capture.stop().unwrap();
        assert!(frames.contains("172.16.0.1.80 > 192.168.0.100"), "{frames}");
        // What the director forwards has whole checksums, or XDP would send on broken frames.
        assert!(!frames.contains("incorrect"), "{frames}");
    }

    /// Routing the VIP to one server's address is direct routing by hand.
    #[test]
    #[ignore = "needs root"]
    fn direct_routing_servers_take_the_vip_and_answer_past_the_director() {
        let net = Topology::new(Method::Dr, 2).unwrap();
        for family in Family::ALL {
            net.accept_vip(family).unwrap();
            let (vip, prefix) = (family.vip(), family.host_prefix());
            net.director.ip(&format!("addr del {vip}/{prefix} dev wan")).unwrap();
            net.director.ip(&format!("route add {vip}/{prefix} via {}", family.server(2))).unwrap();
            // The client asks the director for the VIP, which then is not the director's own.
            net.client
                .ip(&format!("route add {vip}/{prefix} via {}", family.on_client_network(254)))
                .unwrap();
            let servers = net.servers.iter().zip(["rs1", "rs2"]);
            let _servers: Vec<_> =
                servers.map(|(host, name)| EchoServer::start(host, vip, 80, name).unwrap()).collect();
            let mut capture = Capture::start(&net.director, "wan", "port 80").unwrap();
            assert_eq!(ask_http(&net.client, SocketAddr::new(vip, 80)).unwrap(), "rs2");
            assert_eq!(ask_udp(&net.client, SocketAddr::new(vip, 80)).unwrap(), "rs2");
            capture.wait_for("> ").unwrap();
            let frames = capture.stop().unwrap();
            let answers = format!("{vip}.80 > ");
            assert!(!frames.contains(&answers), "an answer passed the director: {frames}");
        }
    }
}
