//! The daemons' sockets.

use super::Datagram;
use rlvs_ipvs::Daemon;
use rlvs_switch::config::Config;
use rlvs_switch::order;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The group, if the daemon does not say: IPVS's.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));

/// Ports of a daemon at most.
const PORTS_MAX: u16 = 64;

/// Sends to one port of the group.
#[derive(Debug)]
pub(super) struct Sender {
    socket: Socket,
    to: SocketAddr,
}

impl Sender {
    fn open(daemon: &Daemon, config: &Config, to: SocketAddr) -> io::Result<Sender> {
        let socket = open(daemon, to)?;
        if to.is_ipv4() {
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_ttl_v4(daemon.ttl.into())?;
        } else {
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(daemon.ttl.into())?;
        }
        if let Some(octets) = buffer_size(config) {
            socket.set_send_buffer_size(octets)?;
        }
        Ok(Sender { socket, to })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::WouldBlock`] if it has no room now.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.socket.send_to(octets, &self.to.into()).map(drop)
    }
}

/// Has what comes by one port of the group put into the inbox, until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver(JoinHandle<()>);

impl Receiver {
    fn open(
        daemon: &Daemon,
        config: &Config,
        to: SocketAddr,
        inbox: mpsc::Sender<Datagram>,
    ) -> io::Result<Receiver> {
        let socket = open(daemon, to)?;
        socket.set_reuse_address(true)?;
        socket.bind(&to.into())?;
        let index = index_of(&daemon.interface)?;
        match to.ip() {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, index)?,
        }
        if let Some(octets) = buffer_size(config) {
            socket.set_recv_buffer_size(octets)?;
        }
        let socket = UdpSocket::from_std(socket.into())?;
        let (role, longest) = (daemon.role, daemon.max_length.into());
        Ok(Receiver(tokio::spawn(async move {
            let mut buffer = vec![0; longest];
            loop {
                let octets = match socket.recv_from(&mut buffer).await {
                    Ok((length, from)) => Datagram { role, from, octets: buffer[..length].into() },
                    Err(error) => {
                        tracing::debug!("synchronisation: {error}");
                        continue;
                    }
                };
                if inbox.send(octets).await.is_err() {
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

/// A sender for each of the daemon's ports.
///
/// # Errors
/// The sockets'; ENODEV if there is no such interface.
pub(super) fn senders(daemon: &Daemon, config: &Config) -> io::Result<Vec<Sender>> {
    ports(daemon, config)?.into_iter().map(|to| Sender::open(daemon, config, to)).collect()
}

/// A receiver for each of the daemon's ports. Must be called within a tokio runtime.
///
/// # Errors
/// As those of [`senders`].
pub(super) fn receivers(
    daemon: &Daemon,
    config: &Config,
    inbox: &mpsc::Sender<Datagram>,
) -> io::Result<Vec<Receiver>> {
    let open = |to| Receiver::open(daemon, config, to, inbox.clone());
    ports(daemon, config)?.into_iter().map(open).collect()
}

/// The group with each of the daemon's ports: as many as `sync_ports` says when it starts.
fn ports(daemon: &Daemon, config: &Config) -> io::Result<Vec<SocketAddr>> {
    let index = index_of(&daemon.interface)?;
    let ports = config.director.sync_ports.load(order::PLAIN).clamp(1, PORTS_MAX.into()) as u16;
    let with = |port| match daemon.group.unwrap_or(GROUP) {
        IpAddr::V4(group) => SocketAddr::new(group.into(), port),
        IpAddr::V6(group) => SocketAddrV6::new(group, port, 0, index).into(),
    };
    Ok((0..ports).map(|i| with(daemon.port.wrapping_add(i))).collect())
}

/// A socket of the group's family on the daemon's interface.
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
