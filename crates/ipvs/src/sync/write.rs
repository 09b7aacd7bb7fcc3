//! Packing connections into messages.

use super::{SyncedConnection, Version, version0, version1};

/// Packs connections into messages of at most so many octets, in the order in which they come.
#[derive(Debug)]
pub struct Writer {
    version: Version,
    id: u8,
    longest: usize,
    message: Vec<u8>,
    entries: u8,
}

impl Writer {
    /// For messages of this version and synchronisation id, of at most `longest` octets. An entry that is longer by itself gets a
    /// message of its own.
    pub fn new(version: Version, id: u8, longest: usize) -> Writer {
        Writer { version, id, longest: longest.min(usize::from(u16::MAX)), message: Vec::new(), entries: 0 }
    }

    /// Adds a connection. What it does not fit into any more is a finished message, to be sent.
    ///
    /// False in the second place: the version has no words for it, and it is left out.
    pub fn push(&mut self, connection: &SyncedConnection) -> (Option<Vec<u8>>, bool) {
        let entry = match self.version {
            Version::Zero => version0::write(connection),
            Version::One => version1::write(connection),
        };
        let Some(entry) = entry else { return (None, false) };
        let padding = match self.version {
            Version::Zero => 0,
            Version::One => self.message.len().next_multiple_of(version1::ALIGNMENT) - self.message.len(),
        };
        let full = self.entries == u8::MAX || self.message.len() + padding + entry.len() > self.longest;
        let finished = if full { self.finish() } else { None };
        if self.message.is_empty() {
            let header = match self.version {
                Version::Zero => version0::HEADER,
                Version::One => version1::HEADER,
            };
            self.message.resize(header, 0);
        } else {
            self.message.resize(self.message.len() + padding, 0);
        }
        self.message.extend(entry);
        self.entries += 1;
        (finished, true)
    }

    /// The message as far as it has come; `None` if there is no entry in it.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.entries == 0 {
            return None;
        }
        let mut message = std::mem::take(&mut self.message);
        let size = (message.len() as u16).to_be_bytes();
        message[1] = self.id;
        message[2..4].copy_from_slice(&size);
        match self.version {
            Version::Zero => message[0] = self.entries,
            Version::One => message[4..6].copy_from_slice(&[self.entries, 1]),
        }
        self.entries = 0;
        Some(message)
    }
}
