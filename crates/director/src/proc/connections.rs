//! `net/ip_vs_conn` and `net/ip_vs_conn_sync`: the connection table.

use super::content::Pieces;
use super::services::{in_hex, protocol_name};
use crate::connections;
use crate::tables::Tables;
use rlvs_ipvs::Connection;
use std::sync::Arc;

/// `ip_vs_conn`.
pub(super) fn listing(tables: Arc<Tables>) -> Pieces {
    let head = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
    let lines = connections::list(tables)
        .map(|c| format!("{} {:>7}{}\n", ends_and_state(&c), c.expires, engine_data(&c)));
    Box::new(std::iter::once(head.into()).chain(lines))
}

/// A template's persistence engine, and what it knows.
fn engine_data(c: &Connection) -> String {
    c.call_id.as_ref().map(|call_id| format!(" sip {call_id}")).unwrap_or_default()
}

/// `ip_vs_conn_sync`.
pub(super) fn synced(tables: Arc<Tables>) -> Pieces {
    let head = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n";
    let lines = connections::list(tables).map(|c| {
        let origin = if c.flags & SYNCED != 0 { "SYNC" } else { "LOCAL" };
        format!("{} {origin:<6} {:>7}\n", ends_and_state(&c), c.expires)
    });
    Box::new(std::iter::once(head.into()).chain(lines))
}

/// IPVS's connection flag for what another director has told.
const SYNCED: u32 = 0x20;

fn ends_and_state(c: &Connection) -> String {
    let [client, service, destination] = [c.client, c.virtual_server, c.destination]
        .map(|end| format!("{} {:04X}", in_hex(end.address), end.port));
    format!("{:<3} {client} {service} {destination} {:<11}", protocol_name(c.protocol), c.state_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_ipvs::{Endpoint, Protocol};

    #[test]
    fn a_connection_is_shown_as_ipvs_does() {
        let end = |address: &str, port| Endpoint { address: address.parse().unwrap(), port };
        let mut c = Connection {
            protocol: Protocol::TCP,
            state: 1,
            flags: 0,
            expires: 899,
            client: end("10.9.0.7", 20000),
            virtual_server: end("10.1.0.200", 80),
            destination: end("10.2.0.1", 8080),
            call_id: None,
        };
        assert_eq!(ends_and_state(&c), "TCP 0A090007 4E20 0A0100C8 0050 0A020001 1F90 ESTABLISHED");
        assert_eq!(engine_data(&c), "");
        c.call_id = Some("a1@h".into());
        assert_eq!(engine_data(&c), " sip a1@h");
        c.destination = end("fd02::1", 80);
        let line = "TCP 0A090007 4E20 0A0100C8 0050 fd02:0000:0000:0000:0000:0000:0000:0001 0050 ESTABLISHED";
        assert_eq!(ends_and_state(&c), line);
    }
}
