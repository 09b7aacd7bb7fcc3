//! Reading a message.

use super::{SyncedConnection, Version, version0, version1};

/// Why a message is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// There is no header.
    #[error("of {0} octets, too few for a header")]
    Short(usize),
    /// Its header gives another size: it was cut, or is something else.
    #[error("of {is} octets says that it has {said}")]
    Size {
        /// What the header says.
        said: u16,
        /// What has come.
        is: usize,
    },
    /// It is for others.
    #[error("has the synchronisation id {0}, not ours")]
    Id(u8),
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It goes on behind the message's end.
    #[error("is cut")]
    Cut,
    /// Another version than 0.
    #[error("has the unknown version {0}")]
    Version(u8),
    /// Another type than those of IPv4 and IPv6.
    #[error("has the unknown type {0}")]
    Type(u8),
    /// It is too small for its addresses.
    #[error("of {0} octets is too small")]
    Small(usize),
    /// An option goes on behind the entry's end, or has no data.
    #[error("has a cut or empty option {0}")]
    OptionCut(u8),
    /// A known option of a wrong length.
    #[error("has an option {0} of a wrong length")]
    OptionLength(u8),
    /// A known option twice.
    #[error("has its option {0} twice")]
    OptionTwice(u8),
    /// An unknown option that is not to be ignored.
    #[error("has the unknown option {0}")]
    UnknownOption(u8),
    /// A protocol that IPVS does not switch.
    #[error("is of the unknown protocol {0}")]
    Protocol(u8),
    /// A state that the protocol does not have.
    #[error("is in the unknown state {state} of protocol {protocol}")]
    State {
        /// IP protocol.
        protocol: u8,
        /// The number.
        state: u16,
    },
    /// An engine that is not there, or data without an engine's name.
    #[error("is of an unknown persistence engine")]
    Engine,
}

impl EntryError {
    /// Whether nothing behind this entry can be read.
    pub fn ends_message(self) -> bool {
        !matches!(self, Self::UnknownOption(_) | Self::Protocol(_) | Self::State { .. } | Self::Engine)
    }
}

/// The entries of a message, in their order. The last one may be an error that [ends the message](EntryError::ends_message).
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    version: Version,
    message: &'a [u8],
    next: usize,
    left: u8,
}

/// Reads a message for a backup with this synchronisation id (0: all).
///
/// # Errors
/// What makes IPVS ignore the whole message.
pub fn read(message: &[u8], id: u32) -> Result<Entries<'_>, MessageError> {
    let Some(&[count, sender, size_high, size_low]) = message.first_chunk::<4>() else {
        return Err(MessageError::Short(message.len()));
    };
    let said = u16::from_be_bytes([size_high, size_low]);
    if usize::from(said) != message.len() {
        return Err(MessageError::Size { said, is: message.len() });
    }
    if id != 0 && id != u32::from(sender) {
        return Err(MessageError::Id(sender));
    }
    Ok(match message.get(4..version1::HEADER) {
        Some(&[entries, 1, 0, 0]) if count == 0 => {
            Entries { version: Version::One, message, next: version1::HEADER, left: entries }
        }
        _ => Entries { version: Version::Zero, message, next: version0::HEADER, left: count },
    })
}

impl Entries<'_> {
    /// The message's version.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<SyncedConnection, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let rest = self.message.get(self.next..).unwrap_or_default();
        let (size, read) = match self.version {
            Version::Zero => version0::read(rest),
            Version::One => version1::read(rest),
        };
        match self.version {
            Version::Zero => self.next += size,
            Version::One => self.next += size.next_multiple_of(version1::ALIGNMENT),
        }
        if read.as_ref().is_err_and(|error| error.ends_message()) {
            self.left = 0;
        }
        Some(read)
    }
}
