//! Synchronisation messages: what anybody may send to a backup.

use crate::random::Random;
use rlvs_ipvs::Endpoint;
use rlvs_ipvs::sync::{Engine, Note, Sequence, SyncedConnection, Version, Writer, flag, read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MESSAGES: usize = 300;

/// Messages of several connections, spoilt; what can be read must be writable and read the same.
pub fn round(random: &mut Random) {
    for _ in 0..MESSAGES {
        let version = random.of(&[Version::One, Version::One, Version::Zero]);
        let connections: Vec<_> = (0..1 + random.below(5)).map(|_| connection(random)).collect();
        let Some(mut message) = pack(version, &connections).pop() else { continue };
        random.spoil(&mut message);
        if message.len() >= 4 && !random.once_in(10) {
            let size = (message.len() as u16).to_be_bytes();
            message[2..4].copy_from_slice(&size);
        }
        let _ = Note::read(&message, 0);
        let Ok(entries) = read(&message, 0) else { continue };
        let version = entries.version();
        let found: Vec<_> = entries.flatten().collect();
        let messages = pack(version, &found);
        let again: Vec<_> =
            messages.iter().flat_map(|message| read(message, 0).into_iter().flatten()).flatten().collect();
        // Flags that speak of sequence data that did not come are not sent.
        let sent = |connection: &SyncedConnection| SyncedConnection {
            flags: match connection.sequence {
                Some(_) => connection.flags,
                None => connection.flags & !flag::SEQUENCE,
            },
            sequence: connection.sequence.filter(|_| connection.flags & flag::SEQUENCE != 0),
            ..connection.clone()
        };
        assert_eq!(again, found.iter().map(sent).collect::<Vec<_>>());
    }
}

fn pack(version: Version, connections: &[SyncedConnection]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(version, 7, 65_507);
    let mut messages: Vec<_> = connections.iter().filter_map(|one| writer.push(one).0).collect();
    messages.extend(writer.finish());
    messages
}

fn connection(random: &mut Random) -> SyncedConnection {
    let six = random.once_in(3);
    let has_sequence = random.once_in(4);
    let flags = random.of(&[0, 3, flag::TEMPLATE, flag::INACTIVE, flag::NO_OUTPUT | 2]);
    SyncedConnection {
        protocol: random.of(&[0, 6, 6, 17, 132, 50, 51]),
        flags: if has_sequence { flags | flag::SEQUENCE } else { flags },
        state: random.of(&[0, 1, 4, 10, 14]),
        client: end(random, six),
        virtual_server: end(random, six),
        destination: end(random, six),
        mark: random.of(&[0, 1]),
        timeout: random.of(&[0, 900, u32::MAX]),
        sequence: has_sequence.then(|| Sequence([[1, 2, 3], [4, 5, random.below(1000) as u32]])),
        engine: random.once_in(4).then(|| Engine {
            name: random.of(&["sip", "other"]).into(),
            data: vec![b'c'; 1 + random.below(255)],
        }),
    }
}

fn end(random: &mut Random, six: bool) -> Endpoint {
    let last = random.below(200) as u8;
    let address: IpAddr = match six {
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        false => Ipv4Addr::new(192, 0, 2, last).into(),
    };
    Endpoint { address, port: random.of(&[0, 80, 65535]) }
}
