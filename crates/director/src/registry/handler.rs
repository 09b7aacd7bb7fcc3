//! The control protocol's requests.

use super::Registry;
use crate::connections;
use rlvs_ipvs::{Ending, Errno, Info, Reply, Request, Timeouts, VERSION};
use rlvs_switch::config::Tick;
use rlvs_switch::destination::flag;
use rlvs_switch::order;
use rlvs_switch::state::tcp;
use std::sync::Arc;

/// What the connection table's size is told in. IPVS tells a number of hash buckets, which hold any number of
/// connections each, and its 4096 stands at the head of most listings; a page is what in this table comes next to that,
/// and with the default configuration there are as many.
const PAGE: usize = 4096;

impl Registry {
    /// Carries a request out. What concerns the director as a whole is not the registry's.
    pub fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
        let reply = self.carry_out(request);
        self.write_tables();
        reply
    }

    /// The same, but the hash tables of services may be those of before until [`Self::write_tables`]: of many destinations that are
    /// added together, one table is enough.
    pub(crate) fn carry_out(&mut self, request: Request) -> Result<Reply, Errno> {
        match request {
            Request::NewService(service) => self.add_service(&service).map(|()| Reply::Done),
            Request::SetService(service) => self.edit_service(&service).map(|()| Reply::Done),
            Request::DeleteService(id) => self.delete_service(&id).map(|()| Reply::Done),
            Request::GetService(id) => self.service_entry(&id).map(Reply::Service),
            Request::ListServices => Ok(Reply::Services(self.service_entries())),
            Request::NewDestination(id, destination) => {
                self.add_destination(&id, destination).map(|()| Reply::Done)
            }
            Request::SetDestination(id, destination) => {
                self.edit_destination(&id, destination).map(|()| Reply::Done)
            }
            Request::DeleteDestination(id, destination) => {
                self.delete_destination(&id, destination, 0).map(|()| Reply::Done)
            }
            Request::EndDestination(id, destination, ending) => {
                let flags = match ending {
                    Ending::Reset => flag::ENDS,
                    Ending::Move => flag::ENDS | flag::MOVES,
                };
                self.delete_destination(&id, Ok(destination), flags).map(|()| Reply::Done)
            }
            Request::ListDestinations(id) => self.destination_entries(&id).map(Reply::Destinations),
            Request::DeleteDaemon(role) => self.stop_daemon(role).map(|()| Reply::Done),
            Request::ListDaemons => Ok(Reply::Daemons(self.daemons())),
            Request::SetTimeouts(timeouts) => {
                self.set_timeouts(timeouts);
                Ok(Reply::Done)
            }
            Request::GetTimeouts => Ok(Reply::Timeouts(self.timeouts())),
            Request::GetInfo => {
                let octets = size_of_val(self.tables.connections4.all());
                Ok(Reply::Info(Info { version: VERSION, table_size: (octets / PAGE) as u32 }))
            }
            Request::Zero(id) => self.zero(id.as_ref()).map(|()| Reply::Done),
            Request::Flush => {
                self.flush();
                Ok(Reply::Done)
            }
            Request::ListConnections => {
                Ok(Reply::Connections(Box::new(connections::list(Arc::clone(&self.tables)))))
            }
            Request::NewMarkRule { rule, before } => self.add_mark_rule(rule, before).map(|()| Reply::Done),
            Request::DeleteMarkRule(id) => self.delete_mark_rule(id).map(|()| Reply::Done),
            Request::ListMarkRules => Ok(Reply::MarkRules(self.mark_rules())),
            // These need more than services and connections.
            Request::NewDaemon(_)
            | Request::GetFacts
            | Request::ListSettings
            | Request::GetSetting(_)
            | Request::SetSetting(_)
            | Request::ListEvents
            | Request::TakeSamples
            | Request::GetTotals
            | Request::Explain(_) => Err(Errno::OPNOTSUPP),
        }
    }

    fn set_timeouts(&self, timeouts: Timeouts) {
        let settings = self.tables.settings();
        let cells = [
            (timeouts.tcp, &settings.tcp_timeouts[tcp::ESTABLISHED as usize]),
            (timeouts.tcp_fin, &settings.tcp_timeouts[tcp::FIN_WAIT as usize]),
            (timeouts.udp, &settings.udp_timeout),
        ];
        for (seconds, cell) in cells {
            if seconds != 0 {
                cell.store(Tick::in_seconds(seconds), order::PLAIN);
            }
        }
    }

    fn timeouts(&self) -> Timeouts {
        let settings = self.tables.settings();
        Timeouts {
            tcp: Tick::to_seconds(settings.tcp_timeouts[tcp::ESTABLISHED as usize].load(order::PLAIN)),
            tcp_fin: Tick::to_seconds(settings.tcp_timeouts[tcp::FIN_WAIT as usize].load(order::PLAIN)),
            udp: Tick::to_seconds(settings.udp_timeout.load(order::PLAIN)),
        }
    }
}
