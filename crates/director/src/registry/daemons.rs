//! Synchronisation daemons: which are to run and how, kept where the next director finds it.

use super::{Registry, keys};
use rlvs_ipvs::{Daemon, DaemonRole, Errno, Family};
use rlvs_switch::order;
use rlvs_switch::sync::{INTERFACE_NAME, SyncDaemon};
use std::net::{IpAddr, Ipv4Addr};

/// IPVS's defaults.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const PORT: u16 = 8848;
const TTL: u8 = 1;
/// The MTU that a master counts with.
const MTU: u32 = 1500;
/// The least that a backup is ready for.
const BACKUP_LEAST: u32 = 1024;

impl Registry {
    /// Starts a daemon on an interface with this MTU; `None`: there is no such interface.
    ///
    /// # Errors
    /// In this order: EINVAL for a group that is not multicast, or while a service has a destination of the other family;
    /// ENODEV; EEXIST if one of this role is started.
    pub fn start_daemon(&mut self, asked: &Daemon, mtu: Option<u32>) -> Result<(), Errno> {
        let group = asked.group.unwrap_or(GROUP);
        if !group.is_multicast() || self.mixes_families() {
            return Err(Errno::INVAL);
        }
        let mtu = mtu.ok_or(Errno::NODEV)?;
        let cells = self.cells(asked.role);
        if cells.started.load(order::PLAIN) != 0 {
            return Err(Errno::EXIST);
        }
        let mut name = [0; INTERFACE_NAME];
        for (octet, of_name) in name.iter_mut().zip(asked.interface.bytes().take(INTERFACE_NAME - 1)) {
            *octet = of_name;
        }
        for (cell, octets) in cells.interface.iter().zip(name.chunks_exact(4)) {
            cell.store(u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]), order::PLAIN);
        }
        cells.sync_id.store(asked.sync_id, order::PLAIN);
        cells.max_length.store(max_length(asked, group, mtu), order::PLAIN);
        cells.family.store(keys::family(group).into(), order::PLAIN);
        for (cell, word) in cells.group.iter().zip(keys::words(group)) {
            cell.store(word, order::PLAIN);
        }
        cells.port.store(if asked.port == 0 { PORT } else { asked.port }.into(), order::PLAIN);
        cells.ttl.store(if asked.ttl == 0 { TTL } else { asked.ttl }.into(), order::PLAIN);
        cells.started.store(1, order::PUBLISH);
        Ok(())
    }

    /// Stops the daemon of this role.
    ///
    /// # Errors
    /// ESRCH if there is none.
    pub fn stop_daemon(&mut self, role: DaemonRole) -> Result<(), Errno> {
        let cells = self.cells(role);
        if cells.started.load(order::PLAIN) == 0 {
            return Err(Errno::SRCH);
        }
        cells.started.store(0, order::PUBLISH);
        Ok(())
    }

    /// The daemons that are to run, the master first.
    pub fn daemons(&self) -> Vec<Daemon> {
        let roles = [DaemonRole::Master, DaemonRole::Backup];
        roles
            .into_iter()
            .filter(|role| self.cells(*role).started.load(order::LOAD) != 0)
            .map(|role| describe(role, self.cells(role)))
            .collect()
    }

    fn cells(&self, role: DaemonRole) -> &SyncDaemon {
        let [master, backup] = &self.tables.settings().daemons;
        match role {
            DaemonRole::Master => master,
            DaemonRole::Backup => backup,
        }
    }

    /// Whether a service has a destination of the other family, which synchronisation has no words for.
    fn mixes_families(&self) -> bool {
        self.services.values().any(|service| {
            let family = service.id.family();
            let mut members = service.members.iter().filter_map(|index| self.destinations.get(index));
            members.any(|destination| Family::of(destination.id.address) != family)
        })
    }
}

fn describe(role: DaemonRole, cells: &SyncDaemon) -> Daemon {
    let name: Vec<u8> =
        cells.interface.iter().flat_map(|cell| cell.load(order::PLAIN).to_ne_bytes()).collect();
    let group = std::array::from_fn(|i| cells.group[i].load(order::PLAIN));
    Daemon {
        role,
        interface: String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned(),
        sync_id: cells.sync_id.load(order::PLAIN),
        max_length: cells.max_length.load(order::PLAIN) as u16,
        group: Some(keys::address(cells.family.load(order::PLAIN) as u8, group)),
        port: cells.port.load(order::PLAIN) as u16,
        ttl: cells.ttl.load(order::PLAIN) as u8,
    }
}

/// The largest message, without its IP and UDP headers.
fn max_length(asked: &Daemon, group: IpAddr, mtu: u32) -> u32 {
    let headers = if group.is_ipv4() { 28 } else { 48 };
    let (least, mtu) = match asked.role {
        DaemonRole::Master => (1, MTU),
        DaemonRole::Backup => (BACKUP_LEAST, mtu.clamp(MTU, 65535)),
    };
    match asked.max_length {
        0 => mtu - headers,
        length => u32::from(length).clamp(least, 65535 - headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_lengths_are_the_originals() {
        let daemon = |role, max_length| Daemon {
            role,
            interface: "eth0".into(),
            sync_id: 0,
            max_length,
            group: None,
            port: 0,
            ttl: 0,
        };
        let group6: IpAddr = "ff02::81".parse().unwrap();
        let cases = [
            (DaemonRole::Master, 0, GROUP, 9000, 1472),
            (DaemonRole::Master, 0, group6, 9000, 1452),
            (DaemonRole::Backup, 0, GROUP, 9000, 8972),
            (DaemonRole::Backup, 0, GROUP, 576, 1472),
            (DaemonRole::Backup, 0, GROUP, 65536, 65507),
            (DaemonRole::Master, 7, GROUP, 1500, 7),
            (DaemonRole::Backup, 7, GROUP, 1500, 1024),
            (DaemonRole::Master, 65507, group6, 1500, 65487),
        ];
        for (role, asked, group, mtu, expected) in cases {
            assert_eq!(
                max_length(&daemon(role, asked), group, mtu),
                expected,
                "{role:?} {asked} {group} {mtu}"
            );
        }
    }
}
