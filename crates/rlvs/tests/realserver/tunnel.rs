//! The director's part, by hand: packets for a VIP go to a server, wrapped by the kernel's raw sockets.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, sendto, socket, sockopt};

use super::lab::enter;

/// A running tunnel.
pub struct Tunnel {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u32>,
}

impl Tunnel {
    /// Wraps what comes into the namespace for `vip`, to `server`.
    pub fn start(namespace: &str, vip: IpAddr, server: IpAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (namespace, told) = (namespace.to_owned(), stop.clone());
        let (ready, listening) = std::sync::mpsc::channel();
        let task = std::thread::spawn(move || {
            enter(&namespace);
            let sniffer = sniffer(vip);
            let wrapper = wrapper(vip, server);
            ready.send(()).unwrap();
            relay(&sniffer, &wrapper, vip, server, &told)
        });
        listening.recv().unwrap();
        Tunnel { stop, task }
    }

    /// Ends it. Returns how many packets it has wrapped.
    pub fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join().unwrap()
    }
}

fn relay(sniffer: &OwnedFd, wrapper: &OwnedFd, vip: IpAddr, server: IpAddr, stop: &AtomicBool) -> u32 {
    let mut packet = vec![0; 65536];
    let mut wrapped = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, _)) = recv(sniffer, packet.as_mut_slice(), RecvFlags::empty()) else { continue };
        if destination(&packet[..length]) == Some(vip) {
            sendto(wrapper, &packet[..length], SendFlags::empty(), &SocketAddr::new(server, 0)).unwrap();
            wrapped += 1;
        }
    }
    wrapped
}

/// Gets a copy of every packet of the VIP's family, without the Ethernet header.
fn sniffer(vip: IpAddr) -> OwnedFd {
    let ethertype: u16 = if vip.is_ipv4() { 0x0800 } else { 0x86dd };
    let protocol = u32::from(ethertype.to_be());
    let sniffer = socket(AddressFamily::PACKET, SocketType::DGRAM, protocol_of(protocol)).unwrap();
    let patience = Some(Duration::from_millis(50));
    sockopt::set_socket_timeout(&sniffer, sockopt::Timeout::Recv, patience).unwrap();
    sniffer
}

/// Puts a header in front of what it sends: protocol 4 for IPv4 inside, 41 for IPv6.
fn wrapper(vip: IpAddr, server: IpAddr) -> OwnedFd {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if vip.is_ipv4() { 4 } else { 41 };
    socket(family, SocketType::RAW, protocol_of(protocol)).unwrap()
}

fn protocol_of(number: u32) -> Option<Protocol> {
    NonZeroU32::new(number).map(Protocol::from_raw)
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}
