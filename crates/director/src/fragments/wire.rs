//! Sends frames by any interface.
#![allow(unsafe_code, reason = "a socket option and an address that no safe wrapper knows")]

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A packet socket (packet(7)) that receives nothing.
pub(super) struct Wire(OwnedFd);

impl Wire {
    pub(super) fn open() -> io::Result<Wire> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        // Past tc: the switch's program there would take the packet for one that the director itself sends, and give it back.
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open for the whole call, and the option is a live integer of the size that is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Wire(socket)) }
    }

    /// Sends the frame by the interface of this index.
    pub(super) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the structure is made of integers.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = interface as i32;
        // SAFETY: the descriptor is open for the whole call; frame and address are live, and their sizes those that are given.
        let result = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
