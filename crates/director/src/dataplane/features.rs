//! What the kernel says of an interface's XDP: the generic-netlink family `netdev`, since Linux 6.3
//! (Documentation/netlink/specs/netdev.yaml).

use rlvs_ipvs::netlink::{self, Attribute, Writer};
use rustix::io::Errno;
use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::os::fd::OwnedFd;

/// The controller of families: its number, and what it is asked.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// The family `netdev`.
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;
/// The bit of an interface that sends frames which programs redirect to it.
const REDIRECT_TARGET: u64 = 1 << 2;

/// Whether native XDP can send by this interface; no, too, where the kernel does not know.
///
/// A veth can if its other end has receive offload (GRO) or an XDP program.
pub fn can_send(interface: u32) -> bool {
    features(interface).is_ok_and(|features| features.is_some_and(|bits| bits & REDIRECT_TARGET != 0))
}

fn features(interface: u32) -> Result<Option<u64>, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(GENERIC))?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    let named = |w: &mut Writer| w.put_text(FAMILY_NAME, "netdev");
    let family = ask(&socket, CONTROLLER, GET_FAMILY, named, FAMILY_ID, |id| id.u16())?;
    let Some(family) = family else { return Ok(None) };
    let numbered = |w: &mut Writer| w.put(DEVICE_INDEX, &interface.to_ne_bytes());
    ask(&socket, family, DEVICE_GET, numbered, DEVICE_FEATURES, |features| features.u64())
}

/// Makes a request of one message, which the kernel answers before it returns; the attribute `wanted` of the answer.
fn ask<T>(
    socket: &OwnedFd,
    family: u16,
    command: u8,
    question: impl FnOnce(&mut Writer),
    wanted: u16,
    read: impl Fn(&Attribute<'_>) -> Option<T>,
) -> Result<Option<T>, Errno> {
    let mut request = Writer::default();
    request.message(family, netlink::REQUEST, 1, |w| {
        w.generic(command);
        question(w);
    });
    send(socket, &request.take(), SendFlags::empty())?;
    let mut buffer = vec![0; 16 * 1024];
    let (_, length) = recv(socket, &mut buffer, RecvFlags::DONTWAIT)?;
    let answer = netlink::messages(buffer.get(..length).unwrap_or_default()).find(|m| m.kind == family);
    let attributes = answer.and_then(|message| message.generic()).map(|(_, attributes)| attributes);
    Ok(attributes.and_then(|octets| {
        netlink::attributes(octets).find(|a| a.kind == wanted).and_then(|attribute| read(&attribute))
    }))
}
