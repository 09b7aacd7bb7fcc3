use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn octets(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// From the description of the protocol: synchronisation id 7, one connection by NAT.
fn golden() -> [Vec<u8>; 2] {
    let one = octets(
        "00 07 00 2c 01 01 00 00 00 06 00 24 00 00 00 00 00 01 9c 40 00 50 1f 90 \
         00 00 00 00 00 00 03 84 c0 00 02 0a c6 33 64 01 0a 00 00 02",
    );
    let zero = octets("01 07 00 1c 00 06 9c 40 00 50 1f 90 c0 00 02 0a c6 33 64 01 0a 00 00 02 00 00 00 01");
    [one, zero]
}

fn end(address: &str, port: u16) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), port }
}

fn connection() -> SyncedConnection {
    SyncedConnection {
        protocol: 6,
        flags: 0,
        state: 1,
        client: end("192.0.2.10", 40000),
        virtual_server: end("198.51.100.1", 80),
        destination: end("10.0.0.2", 8080),
        mark: 0,
        timeout: 900,
        sequence: None,
        engine: None,
    }
}

fn all(message: &[u8]) -> Vec<Result<SyncedConnection, EntryError>> {
    read(message, 0).unwrap().collect()
}

fn written(version: Version, connections: &[SyncedConnection]) -> Vec<u8> {
    let mut writer = Writer::new(version, 7, 1472);
    for connection in connections {
        assert_eq!(writer.push(connection), (None, true));
    }
    writer.finish().unwrap()
}

/// Version 1's golden message with these octets of options behind its entry, and a second entry of 192.0.2.10's port 40001.
fn with_options(options: &str) -> Vec<u8> {
    let [mut message, _] = golden();
    let second = message[8..].to_vec();
    message.extend(octets(options));
    message[11] = (message.len() - 8) as u8;
    message.resize(message.len().next_multiple_of(4), 0);
    message.extend(second);
    let last = message.len();
    message[last - 36 + 11] += 1;
    message[3] = last as u8;
    message[4] = 2;
    message
}

#[test]
fn golden_messages_are_read_and_written() {
    let [one, zero] = golden();
    let without_timeout = SyncedConnection { timeout: 0, ..connection() };
    assert_eq!(all(&one), [Ok(connection())]);
    assert_eq!(all(&zero), [Ok(without_timeout)]);
    assert_eq!(written(Version::One, &[connection()]), one);
    assert_eq!(written(Version::Zero, &[connection()]), zero);
}

/// What Linux 6.1.0-56's IPVS sent: connections of a service on port 80 over IPv6 and IPv4, of a persistent one on port 81, and its
/// template, first fresh, then assured, with each packet.
const OF_LINUX: [&str; 2] = [
    "00 07 01 28 07 01 00 00 01 06 00 48 00 00 00 00 00 01 ad 24 00 50 1f 90 \
     00 00 00 00 00 00 03 84 fd 01 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
     fd 01 00 00 00 00 00 00 00 00 00 00 00 00 02 00 fd 02 00 00 00 00 00 00 \
     00 00 00 00 00 00 00 01 00 06 00 24 00 00 00 00 00 01 8b 80 00 50 1f 90 \
     00 00 00 00 00 00 03 84 0a 01 00 01 0a 01 00 c8 0a 02 00 01 00 06 00 24 \
     00 00 11 00 00 00 00 00 00 51 1f 90 00 00 00 00 00 00 01 2c 0a 01 00 01 \
     0a 01 00 c8 0a 02 00 01 00 06 00 24 00 00 11 00 00 01 00 00 00 51 1f 90 \
     00 00 00 00 00 00 01 2c 0a 01 00 01 0a 01 00 c8 0a 02 00 01 00 06 00 24 \
     00 00 00 00 00 01 9a 84 00 51 1f 90 00 00 00 00 00 00 03 84 0a 01 00 01 \
     0a 01 00 c8 0a 02 00 01 00 06 00 24 00 00 11 00 00 01 00 00 00 51 1f 90 \
     00 00 00 00 00 00 01 2c 0a 01 00 01 0a 01 00 c8 0a 02 00 01 00 06 00 24 \
     00 00 11 00 00 01 00 00 00 51 1f 90 00 00 00 00 00 00 01 2c 0a 01 00 01 \
     0a 01 00 c8 0a 02 00 01",
    "03 07 00 4c 00 06 bc 88 00 50 1f 90 0a 01 00 01 0a 01 00 c8 0a 02 00 01 \
     00 00 00 01 00 06 c0 26 00 51 1f 90 0a 01 00 01 0a 01 00 c8 0a 02 00 01 \
     00 00 00 01 00 06 00 00 00 51 1f 90 0a 01 00 01 0a 01 00 c8 0a 02 00 01 \
     11 00 00 01",
];

#[test]
fn what_linux_sends_is_read_and_written_the_same() {
    for (message, version, entries) in [(OF_LINUX[0], Version::One, 7), (OF_LINUX[1], Version::Zero, 3)] {
        let message = octets(message);
        let connections: Vec<_> = read(&message, 7).unwrap().map(Result::unwrap).collect();
        assert_eq!(connections.len(), entries);
        assert_eq!(written(version, &connections), message);
    }
    let one: Vec<_> = all(&octets(OF_LINUX[0])).into_iter().map(Result::unwrap).collect();
    let established = SyncedConnection {
        client: end("fd01::1", 44324),
        virtual_server: end("fd01::200", 80),
        destination: end("fd02::1", 8080),
        ..connection()
    };
    assert_eq!(one[0], established);
    let template = SyncedConnection {
        flags: flag::TEMPLATE | flag::INACTIVE,
        state: 1,
        client: end("10.1.0.1", 0),
        virtual_server: end("10.1.0.200", 81),
        destination: end("10.2.0.1", 8080),
        timeout: 300,
        ..connection()
    };
    assert_eq!((one[2].state, &one[3]), (0, &template));
    assert_eq!(all(&octets(OF_LINUX[1]))[2], Ok(SyncedConnection { timeout: 0, ..template }));
}

#[test]
fn messages_of_a_wrong_size_or_id_are_refused() {
    for message in golden() {
        let is = message.len();
        for (length, id) in [(is, 0), (is, 7)] {
            assert!(read(&message[..length], id).is_ok());
        }
        assert_eq!(read(&message, 8).unwrap_err(), MessageError::Id(7));
        // An id above 255 matches nobody's.
        assert_eq!(read(&message, 256 + 7).unwrap_err(), MessageError::Id(7));
        let longer = [&message[..], &[0]].concat();
        let said = is as u16;
        assert_eq!(read(&longer, 0).unwrap_err(), MessageError::Size { said, is: is + 1 });
        assert_eq!(read(&message[..is - 1], 0).unwrap_err(), MessageError::Size { said, is: is - 1 });
        assert_eq!(read(&message[..3], 0).unwrap_err(), MessageError::Short(3));
    }
}

#[test]
fn unknown_options_are_skipped_or_cost_the_entry() {
    let second = SyncedConnection { client: end("192.0.2.10", 40001), ..connection() };
    let cases: [(&str, Result<(), EntryError>); 5] = [
        ("09 01 aa", Err(EntryError::UnknownOption(9))),
        ("49 01 aa", Ok(())),
        ("02 03 61 62 63", Err(EntryError::Engine)),
        ("02 01 61 03 02 78 79", Err(EntryError::Engine)),
        ("03 03 73 69 70", Ok(())),
    ];
    for (options, expected) in cases {
        let expected = expected.map(|()| connection());
        assert_eq!(all(&with_options(options)), [expected, Ok(second.clone())], "{options}");
    }
}

#[test]
fn the_engine_sip_is_read() {
    let call = Engine { name: "sip".into(), data: b"abc".into() };
    // With the bit that says that they may be ignored, too.
    for options in ["02 03 61 62 63 03 03 73 69 70", "42 03 61 62 63 43 03 73 69 70"] {
        let read = all(&with_options(options));
        assert_eq!(read[0].clone().unwrap().engine, Some(call.clone()), "{options}");
    }
    let message =
        written(Version::One, &[SyncedConnection { engine: Some(call), ..connection() }, connection()]);
    assert_eq!(message[8 + 36..8 + 48], octets("02 03 61 62 63 03 03 73 69 70 00 00"));
}

#[test]
fn errors_in_an_entry_end_the_message() {
    let cases = [
        ("01 01 00", EntryError::OptionLength(1)),
        ("02 00", EntryError::OptionCut(2)),
        ("02", EntryError::OptionCut(2)),
        ("09 05 00", EntryError::OptionCut(9)),
        ("02 01 61 02 01 61", EntryError::OptionTwice(2)),
        ("03 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", EntryError::OptionLength(3)),
    ];
    for (options, expected) in cases {
        assert_eq!(all(&with_options(options)), [Err(expected)], "{options}");
    }
    let spoilt = |at: usize, value: u8| {
        let mut message = with_options("");
        message[at] = value;
        all(&message)
    };
    assert_eq!(spoilt(8, 2), [Err(EntryError::Type(2))]);
    assert_eq!(spoilt(8, 1), [Err(EntryError::Small(36))]);
    assert_eq!(spoilt(10, 0x10), [Err(EntryError::Version(1))]);
    assert_eq!(spoilt(10, 0x0f), [Err(EntryError::Cut)]);
    assert_eq!(spoilt(11, 20), [Err(EntryError::Small(20))]);
    // More entries said than there are: the ones that are there count.
    assert_eq!(spoilt(4, 3)[2..], [Err(EntryError::Cut)]);
    let [_, mut zero] = golden();
    zero[0] = 2;
    assert_eq!(all(&zero)[1..], [Err(EntryError::Cut)]);
}

#[test]
fn unknown_protocols_and_states_cost_the_entry() {
    for (at, value, expected) in
        [(9, 47, EntryError::Protocol(47)), (17, 11, EntryError::State { protocol: 6, state: 11 })]
    {
        let mut message = with_options("");
        message[at] = value;
        let read = all(&message);
        assert_eq!((read[0].clone(), read.len(), read[1].is_ok()), (Err(expected), 2, true));
        // A template has neither.
        message[14] = 0x10;
        assert!(all(&message)[0].is_ok());
    }
}

#[test]
fn flags_of_version_1_are_masked() {
    let [mut one, mut zero] = golden();
    one[12..16].fill(0xff);
    one[14] &= !0x16;
    let accepted = flag::METHOD | flag::NO_OUTPUT | flag::INACTIVE | flag::NO_CLIENT_PORT;
    assert_eq!(all(&one)[0].clone().unwrap().flags, accepted);
    zero[24..26].copy_from_slice(&[0x29, 0xff]);
    assert_eq!(all(&zero)[0].clone().unwrap().flags, 0x29ff & !flag::HASHED);
}

#[test]
fn messages_are_closed_when_they_are_full() {
    let mut writer = Writer::new(Version::One, 0, 8 + 2 * 36);
    assert_eq!(writer.push(&connection()).0, None);
    assert_eq!(writer.push(&connection()).0, None);
    let full = writer.push(&connection()).0.unwrap();
    assert_eq!((full.len(), all(&full).len()), (80, 2));
    assert_eq!(all(&writer.finish().unwrap()).len(), 1);
    assert_eq!(writer.finish(), None);
    // Too long by itself: alone.
    let mut writer = Writer::new(Version::One, 0, 1);
    assert_eq!(writer.push(&connection()).0, None);
    assert_eq!(all(&writer.push(&connection()).0.unwrap()).len(), 1);
    // The number of entries is one octet.
    let mut writer = Writer::new(Version::Zero, 0, 65507);
    let finished: Vec<_> = (0..256).filter_map(|_| writer.push(&connection()).0).collect();
    assert_eq!((finished.len(), all(&finished[0]).len()), (1, 255));
}

#[test]
fn version_0_has_no_words_for_ipv6() {
    let six = SyncedConnection {
        client: end("2001:db8::1", 1),
        virtual_server: end("2001:db8::2", 1),
        destination: end("2001:db8::3", 1),
        ..connection()
    };
    assert_eq!(Writer::new(Version::Zero, 0, 1472).push(&six), (None, false));
    let mixed = SyncedConnection { destination: end("10.0.0.1", 1), ..six };
    assert_eq!(Writer::new(Version::One, 0, 1472).push(&mixed), (None, false));
}

#[test]
fn notes_are_read_by_those_that_they_are_for_and_are_no_messages() {
    for note in
        [Note::Ask, Note::Whole { master: 1, connections: 2 }, Note::Alive { master: u64::MAX, messages: 3 }]
    {
        let octets = note.write(7);
        assert_eq!(read(&octets, 0).unwrap_err(), MessageError::Size { said: 0, is: octets.len() });
        for (id, expected) in [(0, Some(note)), (7, Some(note)), (8, None)] {
            assert_eq!(Note::read(&octets, id), expected);
        }
        assert_eq!(Note::read(&octets[1..], 0), None);
    }
    for message in golden() {
        assert_eq!(Note::read(&message, 0), None);
    }
}

fn any_connection() -> impl Strategy<Value = SyncedConnection> {
    let address = |six: bool| {
        any::<[u8; 16]>().prop_map(move |octets| match six {
            true => IpAddr::from(Ipv6Addr::from(octets)),
            false => IpAddr::from(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        })
    };
    let end = move |six| (address(six), any::<u16>()).prop_map(|(address, port)| Endpoint { address, port });
    let engine =
        prop::collection::vec(any::<u8>(), 1..=255).prop_map(|data| Engine { name: "sip".into(), data });
    let what = prop_oneof![Just((6, 11)), Just((17, 1)), Just((132, 14)), Just((50, 1)), Just((51, 1))];
    let ends = any::<bool>().prop_flat_map(move |six| (end(six), end(six), end(six)));
    let rest =
        (any::<u32>(), any::<u32>(), prop::option::of(any::<[[u32; 3]; 2]>()), prop::option::of(engine));
    (ends, what, any::<u32>(), any::<u16>(), rest).prop_map(
        |(ends, (protocol, states), flags, state, rest)| {
            let (mark, timeout, sequence, engine) = rest;
            let sequence_flags = if sequence.is_some() { 0x200 } else { 0 };
            SyncedConnection {
                protocol,
                flags: flags & (flag::ACCEPTED & !flag::SEQUENCE) | sequence_flags,
                state: state % states,
                client: ends.0,
                virtual_server: ends.1,
                destination: ends.2,
                mark,
                timeout,
                sequence: sequence.map(Sequence),
                engine,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(connections in prop::collection::vec(any_connection(), 1..60), longest in 1usize..3000) {
        for version in [Version::One, Version::Zero] {
            let mut writer = Writer::new(version, 3, longest);
            let mut messages = Vec::new();
            let mut expected = Vec::new();
            for connection in &connections {
                let (finished, has_words) = writer.push(connection);
                messages.extend(finished);
                match version {
                    Version::One => expected.push(connection.clone()),
                    Version::Zero if has_words => expected.push(SyncedConnection {
                        mark: 0, timeout: 0, engine: None, ..connection.clone()
                    }),
                    Version::Zero => prop_assert!(connection.client.address.is_ipv6()),
                }
            }
            messages.extend(writer.finish());
            let mut found = Vec::new();
            for message in &messages {
                prop_assert!(message.len() <= longest || read(message, 3).unwrap().count() == 1);
                prop_assert_eq!(read(message, 3).unwrap().version(), version);
                for entry in read(message, 3).unwrap() {
                    found.push(entry.unwrap());
                }
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_octets_are_read_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..400), one in any::<bool>()) {
        let mut message = octets;
        if message.len() >= 8 {
            let size = (message.len() as u16).to_be_bytes();
            message[2..4].copy_from_slice(&size);
            if one {
                message[0] = 0;
                message[5..8].copy_from_slice(&[1, 0, 0]);
            }
        }
        if let Ok(entries) = read(&message, 0) {
            prop_assert!(entries.count() <= 255);
        }
        let _ = Note::read(&message, 0);
    }
}
