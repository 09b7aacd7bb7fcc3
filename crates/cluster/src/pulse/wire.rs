//! The sockets of a virtual router.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recv, recvmsg};
use rlvs_ipvs::Family;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::kernel::Interface;
use super::packet::{Advertisement, GROUP4, GROUP6, HOP_LIMIT, Malformed, PROTOCOL};
use crate::config::Instance;

/// Class of service of routing protocols: network control.
const NETWORK_CONTROL: u32 = 0xc0;

/// Sends and receives. Dropping it closes both sockets.
#[derive(Debug)]
pub(super) struct Wire {
    sender: Socket,
    reader: JoinHandle<()>,
    /// Where its packets come from.
    pub(super) source: IpAddr,
    /// Number of the interface; another one of the same name would be another interface.
    index: u32,
    /// Where they go.
    destinations: Vec<SocketAddr>,
    pseudo_header: bool,
}

/// A VRRP packet came.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Name of the virtual router whose socket it came by: another one's, perhaps.
    pub(super) instance: String,
    /// Who sent it.
    pub(super) from: IpAddr,
    /// TTL or hop limit.
    pub(super) hop_limit: u8,
    /// What it says.
    pub(super) packet: Result<Advertisement, Malformed>,
}

impl Wire {
    /// Opens the sockets. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the interface is not there or has no address, or this is not root (CAP_NET_RAW).
    pub(super) fn open(
        instance: &Instance,
        interface: &Interface,
        virtual_addresses: &HashSet<IpAddr>,
        heard: mpsc::Sender<Heard>,
    ) -> io::Result<Self> {
        let source = source(instance, interface, virtual_addresses)
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no address of its own"))?;
        let receiver = open(instance)?;
        let sender = open(instance)?;
        let endpoint = |address| match address {
            IpAddr::V4(_) => SocketAddr::new(address, 0),
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, interface.index).into(),
        };
        match instance.family {
            Family::Inet => {
                sender.set_ttl_v4(HOP_LIMIT.into())?;
                sender.set_multicast_ttl_v4(HOP_LIMIT.into())?;
                sender.set_multicast_loop_v4(false)?;
                sender.set_tos_v4(NETWORK_CONTROL)?;
                if instance.peers.is_empty() {
                    receiver
                        .join_multicast_v4_n(&GROUP4, &InterfaceIndexOrAddress::Index(interface.index))?;
                }
            }
            Family::Inet6 => {
                sender.set_unicast_hops_v6(HOP_LIMIT.into())?;
                sender.set_multicast_hops_v6(HOP_LIMIT.into())?;
                sender.set_multicast_loop_v6(false)?;
                sender.set_multicast_if_v6(interface.index)?;
                sender.set_tclass_v6(NETWORK_CONTROL)?;
                receiver.set_recv_hoplimit_v6(true)?;
                if instance.peers.is_empty() {
                    receiver.join_multicast_v6(&GROUP6, interface.index)?;
                }
            }
        }
        // Nobody reads what comes here by unicast: let the kernel keep as little of it as it can.
        sender.set_recv_buffer_size(1)?;
        sender.bind(&endpoint(source).into())?;
        let group = match instance.family {
            Family::Inet => IpAddr::from(GROUP4),
            Family::Inet6 => GROUP6.into(),
        };
        let destinations = match instance.peers.as_slice() {
            [] => vec![endpoint(group)],
            peers => peers.iter().map(|peer| endpoint(*peer)).collect(),
        };
        // Whom a packet was sent to is part of IPv6's checksum.
        let own = if instance.peers.is_empty() { group } else { source };
        // Tokio has no type for raw sockets; that for datagrams only waits and reads.
        let receiver = UdpSocket::from_std(receiver.into())?;
        let reader = tokio::spawn(read(receiver, instance.name.clone(), own, heard));
        Ok(Self {
            sender,
            reader,
            source,
            index: interface.index,
            destinations,
            pseudo_header: instance.pseudo_header,
        })
    }

    /// Whether it still fits the interface, which may have become another one, or have lost the address.
    pub(super) fn fits(&self, interface: &Interface) -> bool {
        self.index == interface.index && interface.addresses.contains(&self.source)
    }

    /// Sends to all.
    ///
    /// # Errors
    /// The last one's, after all have been tried.
    pub(super) fn send(&self, advertisement: &Advertisement) -> io::Result<()> {
        let mut result = Ok(());
        for to in &self.destinations {
            let packet = advertisement.encode(self.source, to.ip(), self.pseudo_header);
            if let Err(error) = self.sender.send_to(&packet, &(*to).into()) {
                result = Err(error);
            }
        }
        result
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn open(instance: &Instance) -> io::Result<Socket> {
    let domain = match instance.family {
        Family::Inet => Domain::IPV4,
        Family::Inet6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
    socket.bind_device(Some(instance.interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The configured address, or the first of the interface's own that others can answer to.
fn source(instance: &Instance, interface: &Interface, virtual_addresses: &HashSet<IpAddr>) -> Option<IpAddr> {
    let local_peers =
        instance.peers.iter().all(|peer| matches!(peer, IpAddr::V6(peer) if peer.is_unicast_link_local()));
    let fits = |address: &&IpAddr| match (address, instance.family) {
        (IpAddr::V4(_), Family::Inet) => true,
        (IpAddr::V6(address), Family::Inet6) => address.is_unicast_link_local() == local_peers,
        _ => false,
    };
    let mut own =
        interface.addresses.iter().filter(fits).filter(|address| !virtual_addresses.contains(address));
    instance.source.or(own.next().copied())
}

async fn read(socket: UdpSocket, instance: String, own: IpAddr, heard: mpsc::Sender<Heard>) {
    loop {
        let next = socket.async_io(Interest::READABLE, || match own {
            IpAddr::V4(_) => receive4(&socket),
            IpAddr::V6(_) => receive6(&socket),
        });
        let packet = match next.await {
            Ok(Some(packet)) => packet,
            // Too short to be anything.
            Ok(None) => continue,
            // Such as that the interface went down. If it is gone for good, somebody else will notice.
            Err(error) => {
                tracing::debug!(%error, "{instance}: nothing received");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let to = packet.to.unwrap_or(own);
        let decoded = Advertisement::decode(&packet.payload, packet.from, to);
        let Packet { from, hop_limit, .. } = packet;
        if heard.send(Heard { instance: instance.clone(), from, hop_limit, packet: decoded }).await.is_err() {
            return;
        }
    }
}

struct Packet {
    from: IpAddr,
    to: Option<IpAddr>,
    hop_limit: u8,
    payload: Vec<u8>,
}

/// A raw IPv4 socket sees the IP header, too.
fn receive4(socket: &UdpSocket) -> io::Result<Option<Packet>> {
    let mut buffer = [0; 2048];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    let packet = &buffer[..length];
    let read = || {
        let header = usize::from(packet.first()? & 0xf) * 4;
        let whole = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
        let address =
            |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?).into());
        Some(Packet {
            from: address(12)?,
            to: address(16),
            hop_limit: *packet.get(8)?,
            payload: packet.get(header..whole.min(length))?.to_vec(),
        })
    };
    Ok(read())
}

/// A raw IPv6 socket sees what is behind the IP header, and the rest beside it.
fn receive6(socket: &UdpSocket) -> io::Result<Option<Packet>> {
    let mut buffer = [0; 5120];
    let mut control = nix::cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let hop_limit = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    let (from, length) = (message.address.map(|address| address.ip()), message.bytes);
    let packet = |from: Ipv6Addr| {
        let payload = buffer.get(..length)?.to_vec();
        Some(Packet { from: from.into(), to: None, hop_limit: hop_limit?, payload })
    };
    Ok(from.and_then(packet))
}
