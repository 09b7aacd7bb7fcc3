//! Netlink's framing: messages with a 16-octet header, the 4-octet generic header, attributes. Host byte order,
//! everything aligned to 4. Reading is lenient as in the kernel: what does not parse ends the iteration.

/// The sender wants an answer.
pub const REQUEST: u16 = 0x1;
/// Part of a series that a DONE ends.
pub const MULTI: u16 = 0x2;
/// The sender wants an acknowledgement.
pub const ACK: u16 = 0x4;
/// All objects (ROOT and MATCH).
pub const DUMP: u16 = 0x300;

/// Message type: status of a request.
pub const ERROR: u16 = 2;
/// Message type: end of a series.
pub const DONE: u16 = 3;
/// Least message type that is no control message.
pub const MIN_TYPE: u16 = 0x10;

/// Octets of a message header.
pub const HEADER: usize = 16;
/// Octets of a generic header.
const GENERIC: usize = 4;

/// A message, cut out of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Family id or control type.
    pub kind: u16,
    /// NLM_F_* bits.
    pub flags: u16,
    /// Sequence number of the request.
    pub sequence: u32,
    /// The header itself, as error messages repeat it.
    pub header: &'a [u8],
    /// What follows it.
    pub payload: &'a [u8],
}

/// The messages of a datagram.
pub fn messages(mut data: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = data.split_at_checked(HEADER)?;
        let length = usize::try_from(u32_at(header, 0)?).ok()?;
        let payload = data.get(HEADER..length)?;
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(header, 4)?,
            flags: u16_at(header, 6)?,
            sequence: u32_at(header, 8)?,
            header,
            payload,
        })
    })
}

impl<'a> Message<'a> {
    /// Command and attributes of a generic-netlink message.
    pub fn generic(&self) -> Option<(u8, &'a [u8])> {
        let (header, rest) = self.payload.split_at_checked(GENERIC)?;
        Some((*header.first()?, rest))
    }

    /// The errno of an ERROR or DONE message, 0 for success; `None` if it is too short.
    pub fn status(&self) -> Option<i32> {
        let code = i32::from_ne_bytes(self.payload.first_chunk().copied()?);
        Some(code.checked_neg().unwrap_or(i32::MAX))
    }
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its number, without the flags of nesting and byte order.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

/// The attributes of a message or nest.
pub fn attributes(mut data: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(data, 0)?);
        let kind = u16_at(data, 2)? & 0x3fff;
        let value = data.get(4..length)?;
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    })
}

impl<'a> Attribute<'a> {
    /// The value as an integer; octets beyond it are ignored.
    pub fn u8(&self) -> Option<u8> {
        self.value.first().copied()
    }

    /// See [`Attribute::u8`].
    pub fn u16(&self) -> Option<u16> {
        self.value.first_chunk().map(|b| u16::from_ne_bytes(*b))
    }

    /// As [`Attribute::u16`], in network byte order.
    pub fn be16(&self) -> Option<u16> {
        self.value.first_chunk().map(|b| u16::from_be_bytes(*b))
    }

    /// See [`Attribute::u8`].
    pub fn u32(&self) -> Option<u32> {
        self.value.first_chunk().map(|b| u32::from_ne_bytes(*b))
    }

    /// See [`Attribute::u8`].
    pub fn u64(&self) -> Option<u64> {
        self.value.first_chunk().map(|b| u64::from_ne_bytes(*b))
    }

    /// The value as a text that a NUL ends within `longest` + 1 octets. Octets that are no UTF-8 come out as U+FFFD,
    /// which no name contains, so that such a name is simply not found.
    pub fn text(&self, longest: usize) -> Option<String> {
        let end = self.value.iter().take(longest + 1).position(|&b| b == 0)?;
        Some(String::from_utf8_lossy(self.value.get(..end)?).into_owned())
    }
}

/// Writes messages one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    data: Vec<u8>,
}

impl Writer {
    /// Octets so far.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// Takes what was written and starts anew.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }

    /// A message with any payload.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, payload: impl FnOnce(&mut Self)) {
        let start = self.data.len();
        self.data.extend([0; 4]);
        self.data.extend(kind.to_ne_bytes());
        self.data.extend(flags.to_ne_bytes());
        self.data.extend(sequence.to_ne_bytes());
        self.data.extend([0; 4]);
        payload(self);
        let length = u32::try_from(self.data.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.data.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.align();
    }

    /// A generic header, for use within a message.
    pub fn generic(&mut self, command: u8) {
        const VERSION: u8 = 1;
        self.data.extend([command, VERSION, 0, 0]);
    }

    /// The payload of an ERROR or DONE message.
    pub fn status(&mut self, errno: i32, header: &[u8]) {
        self.data.extend((-errno).to_ne_bytes());
        self.data.extend(header);
    }

    /// Octets as they are, within an attribute.
    pub fn raw(&mut self, octets: &[u8]) {
        self.data.extend(octets);
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |w| w.raw(value));
    }

    /// A text with its NUL.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        self.nest(kind, |w| {
            w.data.extend(text.as_bytes());
            w.data.push(0);
        });
    }

    /// An attribute of attributes.
    pub fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.data.len();
        self.data.extend([0; 2]);
        self.data.extend(kind.to_ne_bytes());
        content(self);
        // The protocol's length has 16 bits. Nothing that we write comes near; what did would be cut, not misread.
        self.data.truncate(start + usize::from(u16::MAX));
        let length = u16::try_from(self.data.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.data.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.align();
    }

    fn align(&mut self) {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}
