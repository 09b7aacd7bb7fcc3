//! Records of connections in the family `RLVS`: as short as they can be, many to a message, since a table has millions.
//!
//! ```text
//!  0 client address   16  virtual address   32 destination address   (IPv4: first 4 octets, rest 0)
//! 48 client port      50  virtual port      52 destination port      (network byte order)
//! 54 protocol  55 state  56 bit 0: client and virtual are IPv6, bit 1: destination is
//! 57 octets of the Call-ID             58  flags (u32)       62 expires (u32, seconds)  (host byte order)
//! 66 the Call-ID, if it has one
//! ```

use super::service::{address, address_bytes};
use crate::model::{Connection, Endpoint, Family, Protocol};
use crate::netlink::Writer;

/// Octets of a record without a Call-ID.
const RECORD: usize = 66;
/// Octets of records in a message: below 48 KiB, a size that the socket takes whole.
const BATCH: usize = 46_200;
/// Octets of a Call-ID at most.
const CALL_ID: usize = 255;

const CLIENT_IPV6: u8 = 1;
const DESTINATION_IPV6: u8 = 2;

/// The connections of the next message: as many as it has room for.
pub fn batch(connections: &mut dyn Iterator<Item = Connection>) -> Vec<Connection> {
    let (mut batch, mut octets) = (Vec::new(), 0);
    while octets + RECORD + CALL_ID <= BATCH
        && let Some(connection) = connections.next()
    {
        octets += RECORD + call_id(&connection).len();
        batch.push(connection);
    }
    batch
}

fn call_id(c: &Connection) -> &[u8] {
    let octets = c.call_id.as_deref().unwrap_or_default().as_bytes();
    &octets[..octets.len().min(CALL_ID)]
}

/// Appends a connection's record.
pub fn encode(w: &mut Writer, c: &Connection) {
    let mut record = [0; RECORD];
    let ends = [c.client, c.virtual_server, c.destination];
    for (i, end) in ends.iter().enumerate() {
        record[i * 16..][..16].copy_from_slice(&address_bytes(end.address));
        record[48 + i * 2..][..2].copy_from_slice(&end.port.to_be_bytes());
    }
    record[54] = (c.protocol.0 & 0xff) as u8;
    record[55] = c.state;
    record[56] = if c.client.address.is_ipv6() { CLIENT_IPV6 } else { 0 }
        | if c.destination.address.is_ipv6() { DESTINATION_IPV6 } else { 0 };
    record[58..62].copy_from_slice(&c.flags.to_ne_bytes());
    record[62..66].copy_from_slice(&c.expires.to_ne_bytes());
    let call_id = call_id(c);
    record[57] = call_id.len() as u8;
    w.raw(&record);
    w.raw(call_id);
}

/// The connections of a message's records.
pub fn decode(mut records: &[u8]) -> Option<Vec<Connection>> {
    let mut connections = Vec::new();
    while !records.is_empty() {
        let (record, rest) = records.split_first_chunk::<RECORD>()?;
        let (call_id, rest) = rest.split_at_checked(record[57].into())?;
        connections.push(decode_record(record, call_id)?);
        records = rest;
    }
    Some(connections)
}

fn decode_record(record: &[u8; RECORD], call_id: &[u8]) -> Option<Connection> {
    let endpoint = |i: usize, ipv6: u8| {
        let family = if record[56] & ipv6 != 0 { Family::Inet6 } else { Family::Inet };
        Some(Endpoint {
            address: address(family, record.get(i * 16..)?.first_chunk::<16>()?)?,
            port: u16::from_be_bytes(*record.get(48 + i * 2..)?.first_chunk()?),
        })
    };
    Some(Connection {
        protocol: Protocol(record[54].into()),
        state: record[55],
        flags: u32::from_ne_bytes(*record.get(58..)?.first_chunk()?),
        expires: u32::from_ne_bytes(*record.get(62..)?.first_chunk()?),
        client: endpoint(0, CLIENT_IPV6)?,
        virtual_server: endpoint(1, CLIENT_IPV6)?,
        destination: endpoint(2, DESTINATION_IPV6)?,
        call_id: (!call_id.is_empty()).then(|| String::from_utf8_lossy(call_id).into_owned()),
    })
}
