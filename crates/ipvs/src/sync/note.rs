//! What directors of this kind tell each other besides IPVS's messages.

/// A datagram that IPVS ignores: in the place of the message's size is 0, which no message has.
///
/// Octets: 0, synchronisation id, 0, 0, `rlvs`, kind, three zeros, then two numbers of eight octets in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A backup wants to hear of all connections.
    Ask,
    /// A master has told of all connections that it had when it was asked last.
    Whole {
        /// Drawn when the master started.
        master: u64,
        /// How many they were.
        connections: u64,
    },
    /// A master is there; sent each second.
    Alive {
        /// Drawn when the master started.
        master: u64,
        /// Messages that it has sent since.
        messages: u64,
    },
}

/// Where the kind is.
const KIND: usize = 8;
/// Octets of a note.
const LENGTH: usize = 28;

impl Note {
    /// The datagram, for others with this synchronisation id.
    pub fn write(self, id: u8) -> Vec<u8> {
        let (kind, numbers) = match self {
            Note::Ask => (1, [0, 0]),
            Note::Whole { master, connections } => (2, [master, connections]),
            Note::Alive { master, messages } => (3, [master, messages]),
        };
        let mut octets = vec![0, id, 0, 0];
        octets.extend(b"rlvs");
        octets.extend([kind, 0, 0, 0]);
        octets.extend(numbers.iter().flat_map(|number: &u64| number.to_be_bytes()));
        octets
    }

    /// Reads a datagram for whoever has this synchronisation id (0: all); `None` if it is something else, or for others.
    pub fn read(octets: &[u8], id: u32) -> Option<Note> {
        let octets: &[u8; LENGTH] = octets.try_into().ok()?;
        let number = |at: usize| octets[at..].first_chunk().copied().map_or(0, u64::from_be_bytes);
        if octets[0] != 0 || octets[2..KIND] != *b"\0\0rlvs" || (id != 0 && id != u32::from(octets[1])) {
            return None;
        }
        match (octets[KIND], number(12), number(20)) {
            (1, _, _) => Some(Note::Ask),
            (2, master, connections) => Some(Note::Whole { master, connections }),
            (3, master, messages) => Some(Note::Alive { master, messages }),
            _ => None,
        }
    }
}
