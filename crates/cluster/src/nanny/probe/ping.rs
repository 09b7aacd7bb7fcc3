//! An ICMP echo request (RFC 792, RFC 4443).

use std::net::{IpAddr, SocketAddr};

use rlvs_packet::checksum;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Failure, io};

const LENGTH: usize = 16;

pub(super) async fn probe(address: IpAddr) -> Result<(), Failure> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    // A raw socket takes CAP_NET_RAW, the other kind of ICMP socket a range of groups that is empty by default.
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(io("open a raw socket"))?;
    socket.set_nonblocking(true).map_err(io("open a raw socket"))?;
    // The kernel only compares the kind of socket with what is asked of it: tokio's type for datagrams serves.
    let socket = UdpSocket::from_std(socket.into()).map_err(io("open a raw socket"))?;
    socket.connect(SocketAddr::new(address, 0)).await.map_err(io("find a route"))?;
    let token = fastrand::u64(..).to_be_bytes();
    socket.send(&request(address, token)).await.map_err(io("send"))?;
    let mut packet = [0; 2048];
    loop {
        let length = socket.recv(&mut packet).await.map_err(io("receive"))?;
        if is_reply(address, &packet[..length], token) {
            return Ok(());
        }
    }
}

fn request(address: IpAddr, token: [u8; 8]) -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[0] = if address.is_ipv4() { 8 } else { 128 };
    message[8..].copy_from_slice(&token);
    // The kernel fills in ICMPv6's, whose sum includes the addresses.
    if address.is_ipv4() {
        let checksum = checksum::finish(checksum::sum_of(&message));
        message[2..4].copy_from_slice(&checksum);
    }
    message
}

/// Raw IPv4 sockets see the IP header, too.
fn is_reply(address: IpAddr, packet: &[u8], token: [u8; 8]) -> bool {
    let (header, kind) = match address {
        IpAddr::V4(_) => (packet.first().map_or(0, |first| usize::from(first & 0xf) * 4), 0),
        IpAddr::V6(_) => (0, 129),
    };
    packet
        .get(header..)
        .is_some_and(|message| message.first() == Some(&kind) && message.get(8..LENGTH) == Some(&token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_reply_counts() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let message = request(address, [7; 8]);
        assert_eq!(checksum::finish(checksum::sum_of(&message)), [0, 0]);
        let mut packet = vec![0x45; 20];
        packet.extend_from_slice(&message);
        assert!(!is_reply(address, &packet, [7; 8]), "the request itself");
        packet[20] = 0;
        assert!(is_reply(address, &packet, [7; 8]));
        assert!(!is_reply(address, &packet, [8; 8]));
        assert!(!is_reply(address, &packet[..20], [7; 8]));
    }

    #[tokio::test]
    #[ignore = "needs root"]
    async fn this_machine_answers_itself() {
        for address in ["127.0.0.1", "::1"] {
            probe(address.parse().unwrap()).await.unwrap();
        }
    }
}
