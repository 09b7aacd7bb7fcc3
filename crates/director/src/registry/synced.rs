//! Services and destinations of connections that other directors tell of.

use super::Registry;
use rlvs_ipvs::sync::{SyncedConnection, flag};
use rlvs_ipvs::{DestinationId, Family, Protocol, ServiceId};
use rlvs_switch::config::Config;
use rlvs_switch::destination::method::MASQUERADE;
use rlvs_switch::order;
use std::num::NonZeroU32;

/// FTP's ports for data and for control.
const FTP_DATA: u16 = 20;
/// See [`FTP_DATA`].
const FTP: u16 = 21;

impl Registry {
    /// The destination that a connection with this mark (0: none) leads to, as IPVS finds it: its index and its method.
    pub fn destination_of(&self, told: &SyncedConnection, mark: u32) -> Option<(u32, u32)> {
        let sequence = self.service_of(told, mark)?;
        let of_mark = mark != 0 && told.flags & flag::METHOD != MASQUERADE;
        let port = told.destination.port;
        let ports = if of_mark { [0, port] } else { [port, 0] };
        let service = self.services.get(&sequence)?.id;
        let named = |port| DestinationId { address: told.destination.address, port };
        let index = ports.into_iter().find_map(|port| self.find(&service, &named(port)))?;
        Some((index, self.tables.destinations.get(index)?.method.load(order::PLAIN)))
    }

    /// Its service: of the mark, of the virtual address and port, of FTP, of all ports.
    fn service_of(&self, told: &SyncedConnection, mark: u32) -> Option<u32> {
        let address = told.virtual_server.address;
        let of = |port| ServiceId::Address { protocol: Protocol(told.protocol.into()), address, port };
        let of_mark = NonZeroU32::new(mark).map(|mark| ServiceId::Mark { family: Family::of(address), mark });
        let port = told.virtual_server.port;
        let first_free = self.tables.settings().unprivileged_port_start.load(order::PLAIN);
        let may_be_ftp = Protocol(told.protocol.into()) == Protocol::TCP
            && (port == FTP_DATA || u32::from(port) >= first_free);
        let ids = [of_mark, Some(of(port)), may_be_ftp.then(|| of(FTP)), Some(of(0))];
        ids.into_iter().flatten().find_map(|id| self.by_id.get(&id).copied())
    }

    /// Grows with each destination and service that is added.
    pub(crate) fn newest(&self) -> u32 {
        self.last_sequence
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &Config {
        self.tables.settings()
    }
}
