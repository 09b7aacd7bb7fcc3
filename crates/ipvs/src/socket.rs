//! Sockets that keep message boundaries, for tokio.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, socket_with,
};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::UCred;

/// What a receiver must have room for: the largest datagram that either side sends.
pub const LARGEST: usize = 64 * 1024;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A connected (or netlink) socket.
#[derive(Debug)]
pub struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    /// From a socket that does not block.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(register(socket)?))
    }

    /// Connects to an abstract SOCK_SEQPACKET address. ECONNREFUSED: nobody listens; EAGAIN: its backlog is full.
    pub fn connect_abstract(name: &str) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        Self::new(socket)
    }

    /// A netlink socket to the kernel's generic-netlink families.
    pub fn open_netlink() -> io::Result<Self> {
        use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, FLAGS, Some(GENERIC))?;
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Self::new(socket)
    }

    /// Sends a datagram.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            let sent = ready.try_io(|fd| Ok(send(fd.get_ref(), datagram, SendFlags::NOSIGNAL)?));
            if let Ok(result) = sent {
                return result.map(drop);
            }
        }
    }

    /// Receives a datagram into `buffer`; an empty one is the end. A datagram larger than the buffer is an error.
    pub async fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        loop {
            let mut ready = self.0.readable().await?;
            let got = ready.try_io(|fd| Ok(recv(fd.get_ref(), &mut *buffer, RecvFlags::TRUNC)?));
            match got {
                Ok(Ok((_, length))) => {
                    return buffer.get(..length).ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a message is larger than the protocol allows",
                        )
                    });
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    /// Who is at the other end of a Unix socket: at the time of connect or listen.
    pub fn peer(&self) -> io::Result<UCred> {
        // tokio reads SO_PEERCRED with room for process id 0 (a process that this PID namespace does not see).
        let copy = self.0.get_ref().as_fd().try_clone_to_owned()?;
        tokio::net::UnixStream::from_std(copy.into())?.peer_cred()
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener(AsyncFd<OwnedFd>);

impl Listener {
    /// Listens on an abstract SOCK_SEQPACKET address of the present network namespace.
    pub fn bind_abstract(name: &str) -> io::Result<Self> {
        const BACKLOG: i32 = 64;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        listen(&socket, BACKLOG)?;
        Ok(Self(register(socket)?))
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<Channel> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(accepted) = ready.try_io(|fd| Ok(accept_with(fd.get_ref(), FLAGS)?)) {
                return Channel::new(accepted?);
            }
        }
    }
}

/// Lets tokio watch a socket.
#[allow(unsafe_code, reason = "tokio asks for a promise that OwnedFd keeps by its nature")]
fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is one open descriptor, always the same, closed only when it is dropped, which here is
    // when the AsyncFd is.
    Ok(unsafe { AsyncFd::register(socket) }?)
}
