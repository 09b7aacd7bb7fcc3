//! Offloads of an interface, as ethtool(8) sets them.
#![allow(unsafe_code, reason = "an ioctl that no safe wrapper knows")]

use super::LocalOutError;
use std::io;
use std::os::fd::AsRawFd;

/// From linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// From linux/ethtool.h: checksums of what is sent.
const ETHTOOL_STXCSUM: u32 = 0x17;
/// From linux/ethtool.h: joining what is received; on a veth also what has it take frames that XDP redirects to its peer.
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Has the kernel finish checksums and cut segments before it sends by this interface, and has it take redirected frames.
pub(super) fn whole_frames(interface: &str) -> Result<(), LocalOutError> {
    for (command, data, action) in [
        (ETHTOOL_STXCSUM, 0, "turn off checksum offload on"),
        (ETHTOOL_SGRO, 1, "turn on receive offload on"),
    ] {
        set(interface, Value { command, data })
            .map_err(|reason| LocalOutError::System { action: format!("{action} {interface}"), reason })?;
    }
    Ok(())
}

fn set(interface: &str, mut value: Value) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut name = [0; libc::IFNAMSIZ];
    // The last octet stays 0.
    for (octet, of_name) in name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *octet = of_name as libc::c_char;
    }
    let data = (&raw mut value).cast();
    let mut request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data } };
    // SAFETY: the descriptor is open for the whole call, and the request leads to a live value of the form that both of its
    // commands have.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
