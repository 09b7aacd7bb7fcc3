//! Who a server says that it is when it asks for MACs.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket, sockopt};

use super::lab::{Lab, enter};

/// From linux/if_ether.h.
const ETH_P_ARP: u16 = 0x0806;

/// Has the server forget its neighbours on s1, and does what makes it ask for them: the senders' addresses in all ARP
/// requests that come to the client from this MAC meanwhile, each once.
pub fn askers(lab: &Lab, mac: &str, action: impl FnOnce()) -> Vec<IpAddr> {
    let client = lab.client.clone();
    let opened = std::thread::spawn(move || {
        enter(&client);
        let protocol = NonZeroU32::new(u32::from(ETH_P_ARP.to_be())).map(Protocol::from_raw);
        socket(AddressFamily::PACKET, SocketType::DGRAM, protocol).unwrap()
    });
    let listener = opened.join().unwrap();
    let patience = Some(Duration::from_millis(200));
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, patience).unwrap();
    lab.server("neigh flush dev s1");
    action();
    let mut senders = Vec::new();
    let mut message = [0; 64];
    while let Ok((length, _)) = recv(&listener, message.as_mut_slice(), RecvFlags::empty()) {
        // Hardware, protocol and lengths of addresses (RFC 826), then what it is: a request.
        let request = &message[..length.min(28)];
        if request.len() < 28 || request[6..8] != [0, 1] {
            continue;
        }
        let sender = request[8..14].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":");
        let address =
            IpAddr::from(Ipv4Addr::from_octets([request[14], request[15], request[16], request[17]]));
        if sender == mac && !senders.contains(&address) {
            senders.push(address);
        }
    }
    senders
}
