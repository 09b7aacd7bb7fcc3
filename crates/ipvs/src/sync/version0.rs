//! Entries of version 0.

use super::read::EntryError;
use super::{Sequence, SyncedConnection, flag, protocol};
use crate::model::Endpoint;
use std::net::{IpAddr, Ipv4Addr};

/// Octets of a message's header.
pub(super) const HEADER: usize = 4;
/// Octets of an entry, and of its sequence data.
const ENTRY: usize = 24;

/// Reads the entry at the start of `rest`; with its size.
pub(super) fn read(rest: &[u8]) -> (usize, Result<SyncedConnection, EntryError>) {
    let Some(entry) = rest.first_chunk::<ENTRY>() else { return (0, Err(EntryError::Cut)) };
    let be16 = |at: usize| u16::from_be_bytes([entry[at], entry[at + 1]]);
    let endpoint = |address: usize, port: usize| Endpoint {
        address: Ipv4Addr::new(entry[address], entry[address + 1], entry[address + 2], entry[address + 3])
            .into(),
        port: be16(port),
    };
    let flags = u32::from(be16(20)) & !flag::HASHED;
    let mut size = ENTRY;
    let sequence = if flags & flag::SEQUENCE == 0 {
        None
    } else {
        let Some(words) = rest[ENTRY..].first_chunk::<ENTRY>() else { return (0, Err(EntryError::Cut)) };
        size += ENTRY;
        Some(sequence(words, u32::from_ne_bytes))
    };
    let connection = SyncedConnection {
        protocol: entry[1],
        flags,
        state: be16(22),
        client: endpoint(8, 2),
        virtual_server: endpoint(12, 4),
        destination: endpoint(16, 6),
        mark: 0,
        timeout: 0,
        sequence,
        engine: None,
    };
    (size, protocol::check(&connection).map(|()| connection))
}

/// Sequence data, in one order of octets or the other.
pub(super) fn sequence(words: &[u8; ENTRY], number: fn([u8; 4]) -> u32) -> Sequence {
    let word = |i: usize| number([words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]]);
    Sequence([[word(0), word(1), word(2)], [word(3), word(4), word(5)]])
}

/// The entry; `None` if version 0 has no words for it.
pub(super) fn write(connection: &SyncedConnection) -> Option<Vec<u8>> {
    let v4 = |end: &Endpoint| match end.address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    };
    let ends = [&connection.client, &connection.virtual_server, &connection.destination];
    let mut entry = vec![0, connection.protocol];
    for end in ends {
        entry.extend(end.port.to_be_bytes());
    }
    for end in ends {
        entry.extend(v4(end)?);
    }
    let has_sequence = if connection.sequence.is_some() { u32::MAX } else { !flag::SEQUENCE };
    entry.extend(((connection.flags & !flag::HASHED & has_sequence) as u16).to_be_bytes());
    entry.extend(connection.state.to_be_bytes());
    if let Some(Sequence(words)) = connection.sequence.filter(|_| connection.flags & flag::SEQUENCE != 0) {
        entry.extend(words.as_flattened().iter().flat_map(|word| word.to_ne_bytes()));
    }
    Some(entry)
}
