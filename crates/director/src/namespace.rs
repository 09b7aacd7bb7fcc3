//! Which network namespace this is.
#![allow(unsafe_code, reason = "one socket option that no safe wrapper knows")]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// From linux/asm-generic/socket.h; since Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// A name for the network namespace of the calling thread. From Linux 5.14 on no other one has it until the host
/// is started anew; before, a later one may get it after this one is gone.
pub fn name() -> io::Result<String> {
    match cookie() {
        Ok(cookie) => Ok(format!("{cookie:x}")),
        Err(_) => Ok(format!("ns{}", std::fs::metadata("/proc/thread-self/ns/net")?.ino())),
    }
}

fn cookie() -> io::Result<u64> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, and the two pointers lead to live variables, the second
    // of which holds the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
