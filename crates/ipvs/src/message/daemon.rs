//! The nest of a sync daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::numbers::{INTERFACE_LENGTH, daemon};
use crate::model::{Daemon, DaemonRole};
use crate::netlink::{Writer, attributes};

/// A whole daemon: EINVAL if the role, the interface or the sync id is missing.
pub fn decode(nest: &[u8]) -> Result<Daemon, Errno> {
    let (mut role, mut interface, mut sync_id) = (None, None, None);
    let (mut group, mut group6) = (None, None);
    let (mut max_length, mut port, mut ttl) = (0, 0, 0);
    for a in attributes(nest) {
        match a.kind {
            daemon::STATE => role = Some(a.u32().ok_or(Errno::INVAL)?),
            daemon::MCAST_IFN => interface = Some(a.text(INTERFACE_LENGTH).ok_or(Errno::INVAL)?),
            daemon::SYNC_ID => sync_id = Some(a.u32().ok_or(Errno::INVAL)?),
            daemon::SYNC_MAXLEN => max_length = a.u16().ok_or(Errno::INVAL)?,
            daemon::MCAST_GROUP => {
                group = Some(Ipv4Addr::from(*a.value.first_chunk::<4>().ok_or(Errno::INVAL)?))
            }
            daemon::MCAST_GROUP6 => {
                group6 = Some(Ipv6Addr::from(*a.value.first_chunk::<16>().ok_or(Errno::INVAL)?))
            }
            daemon::MCAST_PORT => port = a.u16().ok_or(Errno::INVAL)?,
            daemon::MCAST_TTL => ttl = a.u8().ok_or(Errno::INVAL)?,
            _ => {}
        }
    }
    Ok(Daemon {
        role: role.and_then(DaemonRole::from_number).ok_or(Errno::INVAL)?,
        interface: interface.ok_or(Errno::INVAL)?,
        sync_id: sync_id.ok_or(Errno::INVAL)?,
        max_length,
        group: group.map(IpAddr::from).or(group6.map(IpAddr::from)),
        port,
        ttl,
    })
}

/// The role alone, which is all that stopping needs.
pub fn decode_role(nest: &[u8]) -> Result<DaemonRole, Errno> {
    let state = attributes(nest).filter(|a| a.kind == daemon::STATE).last().and_then(|a| a.u32());
    state.and_then(DaemonRole::from_number).ok_or(Errno::INVAL)
}

/// Writes a daemon in the kernel's order, without what is left to default.
pub fn encode(w: &mut Writer, d: &Daemon) {
    encode_role(w, d.role);
    w.put_text(daemon::MCAST_IFN, &d.interface);
    w.put(daemon::SYNC_ID, &d.sync_id.to_ne_bytes());
    if d.max_length != 0 {
        w.put(daemon::SYNC_MAXLEN, &d.max_length.to_ne_bytes());
    }
    if d.port != 0 {
        w.put(daemon::MCAST_PORT, &d.port.to_ne_bytes());
    }
    if d.ttl != 0 {
        w.put(daemon::MCAST_TTL, &[d.ttl]);
    }
    match d.group {
        Some(IpAddr::V4(group)) => w.put(daemon::MCAST_GROUP, &group.octets()),
        Some(IpAddr::V6(group)) => w.put(daemon::MCAST_GROUP6, &group.octets()),
        None => {}
    }
}

/// Writes a role alone.
pub fn encode_role(w: &mut Writer, role: DaemonRole) {
    w.put(daemon::STATE, &(role as u32).to_ne_bytes());
}
