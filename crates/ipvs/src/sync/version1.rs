//! Entries of version 1.

use super::read::EntryError;
use super::version0::sequence;
use super::{Engine, Sequence, SyncedConnection, flag, protocol};
use crate::model::Endpoint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of a message's header.
pub(super) const HEADER: usize = 8;
/// Entries start at multiples of this.
pub(super) const ALIGNMENT: usize = 4;
/// Octets of an entry before its addresses.
const START: usize = 24;
/// Octets of the smallest entry.
const SMALLEST: usize = START + 3 * 4;
/// The type's bit for IPv6.
const TYPE_IPV6: u8 = 1;

/// Kinds of options.
mod option {
    pub(super) const SEQUENCE: u8 = 1;
    pub(super) const ENGINE_DATA: u8 = 2;
    pub(super) const ENGINE_NAME: u8 = 3;
    /// With this bit, whoever does not know the option ignores it.
    pub(super) const OPTIONAL: u8 = 0x40;
}

/// The longest name of an engine.
const NAME_MAX: usize = 16;
/// The engines that there are.
const ENGINES: [&str; 1] = ["sip"];

/// Reads the entry at the start of `rest`; with its size.
pub(super) fn read(rest: &[u8]) -> (usize, Result<SyncedConnection, EntryError>) {
    if rest.len() < SMALLEST {
        return (0, Err(EntryError::Cut));
    }
    let version_and_size = u16::from_be_bytes([rest[2], rest[3]]);
    let size = usize::from(version_and_size & 0xfff);
    let Some(entry) = rest.get(..size) else { return (0, Err(EntryError::Cut)) };
    if version_and_size >> 12 != 0 {
        return (0, Err(EntryError::Version((version_and_size >> 12) as u8)));
    }
    (size, read_entry(entry))
}

fn read_entry(entry: &[u8]) -> Result<SyncedConnection, EntryError> {
    let small = EntryError::Small(entry.len());
    let (start, rest) = entry.split_first_chunk::<START>().ok_or(small)?;
    let be16 = |at: usize| u16::from_be_bytes([start[at], start[at + 1]]);
    let be32 = |at: usize| u32::from_be_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    let (addresses, options) = match start[0] {
        0 => rest.split_first_chunk::<12>().map(|(a, options)| (addresses4(a), options)),
        TYPE_IPV6 => rest.split_first_chunk::<48>().map(|(a, options)| (addresses6(a), options)),
        other => return Err(EntryError::Type(other)),
    }
    .ok_or(small)?;
    let options = read_options(options)?;
    let [client, virtual_server, destination] = addresses;
    let connection = SyncedConnection {
        protocol: start[1],
        flags: be32(4) & flag::ACCEPTED,
        state: be16(8),
        client: Endpoint { address: client, port: be16(10) },
        virtual_server: Endpoint { address: virtual_server, port: be16(12) },
        destination: Endpoint { address: destination, port: be16(14) },
        mark: be32(16),
        timeout: be32(20),
        sequence: options.sequence,
        engine: options.engine()?,
    };
    protocol::check(&connection)?;
    Ok(connection)
}

fn addresses4(octets: &[u8; 12]) -> [IpAddr; 3] {
    let (addresses, _) = octets.as_chunks::<4>();
    std::array::from_fn(|i| Ipv4Addr::from(addresses[i]).into())
}

fn addresses6(octets: &[u8; 48]) -> [IpAddr; 3] {
    let (addresses, _) = octets.as_chunks::<16>();
    std::array::from_fn(|i| Ipv6Addr::from(addresses[i]).into())
}

#[derive(Default)]
struct Options<'a> {
    sequence: Option<Sequence>,
    data: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    /// The first one that is unknown and not to be ignored.
    unknown: Option<u8>,
}

impl Options<'_> {
    /// # Errors
    /// What makes a receiver skip the entry.
    fn engine(&self) -> Result<Option<Engine>, EntryError> {
        if let Some(unknown) = self.unknown {
            return Err(EntryError::UnknownOption(unknown));
        }
        match (self.data, self.name) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(EntryError::Engine),
            (Some(data), Some(name)) => {
                let known = ENGINES.iter().find(|engine| engine.as_bytes() == name);
                let name = known.ok_or(EntryError::Engine)?;
                Ok(Some(Engine { name: (*name).into(), data: data.into() }))
            }
        }
    }
}

/// # Errors
/// What makes the rest of the message unreadable.
fn read_options(mut octets: &[u8]) -> Result<Options<'_>, EntryError> {
    let mut options = Options::default();
    while let [kind, rest @ ..] = octets {
        let known = kind & !option::OPTIONAL;
        let cut = EntryError::OptionCut(*kind);
        let (length, rest) = rest.split_first().ok_or(cut)?;
        let (data, rest) = rest.split_at_checked(usize::from(*length)).ok_or(cut)?;
        octets = rest;
        if data.is_empty() {
            return Err(cut);
        }
        let twice = match known {
            option::SEQUENCE => {
                let words = data.try_into().map_err(|_| EntryError::OptionLength(known))?;
                options.sequence.replace(sequence(words, u32::from_be_bytes)).is_some()
            }
            option::ENGINE_DATA => options.data.replace(data).is_some(),
            option::ENGINE_NAME if data.len() > NAME_MAX => return Err(EntryError::OptionLength(known)),
            option::ENGINE_NAME => options.name.replace(data).is_some(),
            _ => {
                if kind & option::OPTIONAL == 0 {
                    options.unknown.get_or_insert(*kind);
                }
                false
            }
        };
        if twice {
            return Err(EntryError::OptionTwice(known));
        }
    }
    Ok(options)
}

/// The entry; `None` if it has no place in a message: its addresses are not of one family, or its engine's words too long.
pub(super) fn write(connection: &SyncedConnection) -> Option<Vec<u8>> {
    let ends = [&connection.client, &connection.virtual_server, &connection.destination];
    let six = connection.client.address.is_ipv6();
    let mut entry = vec![if six { TYPE_IPV6 } else { 0 }, connection.protocol, 0, 0];
    let has_sequence = if connection.sequence.is_some() { u32::MAX } else { !flag::SEQUENCE };
    entry.extend((connection.flags & !flag::HASHED & has_sequence).to_be_bytes());
    entry.extend(connection.state.to_be_bytes());
    for end in ends {
        entry.extend(end.port.to_be_bytes());
    }
    entry.extend(connection.mark.to_be_bytes());
    entry.extend(connection.timeout.to_be_bytes());
    for end in ends {
        match end.address {
            IpAddr::V4(address) if !six => entry.extend(address.octets()),
            IpAddr::V6(address) if six => entry.extend(address.octets()),
            _ => return None,
        }
    }
    if let Some(Sequence(words)) = connection.sequence.filter(|_| connection.flags & flag::SEQUENCE != 0) {
        let words: Vec<u8> = words.as_flattened().iter().flat_map(|word| word.to_be_bytes()).collect();
        add_option(&mut entry, option::SEQUENCE, &words)?;
    }
    if let Some(engine) = &connection.engine {
        add_option(&mut entry, option::ENGINE_DATA, &engine.data)?;
        add_option(&mut entry, option::ENGINE_NAME, engine.name.as_bytes())?;
    }
    let size = (entry.len() as u16).to_be_bytes();
    entry[2..4].copy_from_slice(&size);
    Some(entry)
}

fn add_option(entry: &mut Vec<u8>, kind: u8, data: &[u8]) -> Option<()> {
    let length = u8::try_from(data.len()).ok().filter(|length| *length > 0)?;
    entry.extend([kind, length]);
    entry.extend(data);
    Some(())
}
