//! The daemons' sockets.

use super::Datagram;
use rlvs_ipvs::Daemon;
use rlvs_switch::config::Config;
use rlvs_switch::order;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The group, if the daemon does not say: IPVS's.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));

/// Ports of a daemon at most.
const PORTS_MAX: u32 = 64;

/// Sends to one port of all who are to hear.
#[derive(Debug)]
pub(super) struct Sender(Vec<(Socket, SocketAddr)>);

impl Sender {
    fn open(daemon: &Daemon, config: &Config, to: &[SocketAddr]) -> io::Result<Sender> {
        let open = |to: &SocketAddr| {
            let socket = open(daemon, *to)?;
            match to.ip() {
                IpAddr::V4(group) if group.is_multicast() => {
                    socket.set_multicast_loop_v4(false)?;
                    socket.set_multicast_ttl_v4(daemon.ttl.into())?;
                }
                IpAddr::V6(group) if group.is_multicast() => {
                    socket.set_multicast_loop_v6(false)?;
                    socket.set_multicast_hops_v6(daemon.ttl.into())?;
                }
                _ => {}
            }
            if let Some(octets) = buffer_size(config) {
                socket.set_send_buffer_size(octets)?;
            }
            Ok((socket, *to))
        };
        to.iter().map(open).collect::<io::Result<_>>().map(Sender)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// A socket's; [`io::ErrorKind::WouldBlock`] if one has no room now. Some may have sent it then: it does no harm twice.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        let send = |(socket, to): &(Socket, SocketAddr)| socket.send_to(octets, &(*to).into());
        // One peer that is not there does not keep it from the others.
        let results: Vec<_> = self.0.iter().map(send).collect();
        results.into_iter().try_for_each(|result| result.map(drop))
    }
}

/// Has what comes by one port put into the inbox, until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver(JoinHandle<()>);

impl Receiver {
    /// On this address: the group, or any if there are peers, from which alone it then takes datagrams.
    fn open(
        daemon: &Daemon,
        config: &Config,
        on: SocketAddr,
        peers: &[IpAddr],
        inbox: mpsc::Sender<Datagram>,
    ) -> io::Result<Receiver> {
        let socket = open(daemon, on)?;
        socket.set_reuse_address(true)?;
        if on.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&on.into())?;
        let index = index_of(&daemon.interface)?;
        match on.ip() {
            IpAddr::V4(group) if group.is_multicast() => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
            }
            IpAddr::V6(group) if group.is_multicast() => socket.join_multicast_v6(&group, index)?,
            _ => {}
        }
        if let Some(octets) = buffer_size(config) {
            socket.set_recv_buffer_size(octets)?;
        }
        let socket = UdpSocket::from_std(socket.into())?;
        let (role, longest, peers) = (daemon.role, daemon.max_length.into(), peers.to_vec());
        Ok(Receiver(tokio::spawn(async move {
            let mut buffer = vec![0; longest];
            loop {
                let datagram = match socket.recv_from(&mut buffer).await {
                    Ok((_, from)) if !peers.is_empty() && !peers.contains(&from.ip()) => continue,
                    Ok((length, from)) => Datagram { role, from, octets: buffer[..length].into() },
                    Err(error) => {
                        tracing::debug!("synchronisation: {error}");
                        continue;
                    }
                };
                if inbox.send(datagram).await.is_err() {
                    return;
                }
            }
        })))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A sender for each of the daemon's ports: to the peers, or without any to the group.
///
/// # Errors
/// The sockets'; ENODEV if there is no such interface.
pub(super) fn senders(daemon: &Daemon, config: &Config, peers: &[IpAddr]) -> io::Result<Vec<Sender>> {
    let group = [daemon.group.unwrap_or(GROUP)];
    let to = if peers.is_empty() { &group } else { peers };
    let index = index_of(&daemon.interface)?;
    let open = |port| {
        let to: Vec<_> = to.iter().map(|address| at(*address, port, index)).collect();
        Sender::open(daemon, config, &to)
    };
    ports(daemon, config).map(open).collect()
}

/// Receivers for each of the daemon's ports. Must be called within a tokio runtime.
///
/// # Errors
/// As those of [`senders`].
pub(super) fn receivers(
    daemon: &Daemon,
    config: &Config,
    peers: &[IpAddr],
    inbox: &mpsc::Sender<Datagram>,
) -> io::Result<Vec<Receiver>> {
    let mut on = Vec::new();
    if peers.is_empty() {
        on.push(daemon.group.unwrap_or(GROUP));
    }
    if peers.iter().any(IpAddr::is_ipv4) {
        on.push(Ipv4Addr::UNSPECIFIED.into());
    }
    if peers.iter().any(IpAddr::is_ipv6) {
        on.push(Ipv6Addr::UNSPECIFIED.into());
    }
    let index = index_of(&daemon.interface)?;
    let open = |(port, address): (u16, &IpAddr)| {
        Receiver::open(daemon, config, at(*address, port, index), peers, inbox.clone())
    };
    ports(daemon, config).flat_map(|port| on.iter().map(move |address| (port, address))).map(open).collect()
}

/// The daemon's ports: as many as `sync_ports` says when it starts.
fn ports(daemon: &Daemon, config: &Config) -> impl Iterator<Item = u16> + use<> {
    let ports = config.director.sync_ports.load(order::PLAIN).clamp(1, PORTS_MAX) as u16;
    let first = daemon.port;
    (0..ports).map(move |i| first.wrapping_add(i))
}

/// An address on the daemon's interface, of this index.
fn at(address: IpAddr, port: u16, index: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, index).into(),
    }
}

/// A socket of the address's family on the daemon's interface.
fn open(daemon: &Daemon, to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(daemon.interface.as_bytes()))?;
    Ok(socket)
}

fn index_of(interface: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(socket, interface)?)
}

/// `sync_sock_size`; `None`: the system's.
fn buffer_size(config: &Config) -> Option<usize> {
    let octets = config.director.sync_sock_size.load(order::PLAIN) as i32;
    usize::try_from(octets).ok().filter(|octets| *octets > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_ipvs::DaemonRole;
    use std::time::Duration;

    /// Two neighbouring ports of loopback that nobody has just now.
    fn free_ports() -> u16 {
        loop {
            let bind = |port| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
            let port = bind(0).unwrap().local_addr().unwrap().port();
            if port < u16::MAX && bind(port).and(bind(port + 1)).is_ok() {
                return port;
            }
        }
    }

    async fn next(inbox: &mut mpsc::Receiver<Datagram>) -> Vec<u8> {
        tokio::time::timeout(Duration::from_secs(20), inbox.recv()).await.unwrap().unwrap().octets
    }

    #[tokio::test]
    async fn peers_hear_each_other_on_all_ports_and_nobody_else() {
        let config = Config::default();
        config.director.sync_ports.store(2, order::PLAIN);
        let port = free_ports();
        let daemon = Daemon {
            role: DaemonRole::Backup,
            interface: "lo".into(),
            sync_id: 0,
            max_length: 1472,
            group: None,
            port,
            ttl: 1,
        };
        let peers = [Ipv4Addr::LOCALHOST.into()];
        let (to_inbox, mut inbox) = mpsc::channel(8);
        let receivers = receivers(&daemon, &config, &peers, &to_inbox).unwrap();
        let senders = senders(&daemon, &config, &peers).unwrap();
        assert_eq!((receivers.len(), senders.len()), (2, 2));
        // Another address of this machine is nobody's peer.
        let stranger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        stranger.send_to(b"stranger", ("127.0.0.1", port)).unwrap();
        for (number, sender) in (0..).zip(&senders) {
            sender.send(&[number]).unwrap();
            assert_eq!(next(&mut inbox).await, [number]);
        }
    }

    #[tokio::test]
    async fn an_interface_that_is_not_there_is_told() {
        let daemon = Daemon {
            role: DaemonRole::Master,
            interface: "none0".into(),
            sync_id: 0,
            max_length: 1472,
            group: None,
            port: 8848,
            ttl: 1,
        };
        let error = senders(&daemon, &Config::default(), &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NODEV.raw_os_error()));
    }
}
