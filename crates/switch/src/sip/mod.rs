//! SIP's Call-ID (RFC 3261), by which the persistence engine `sip` tells calls apart: the messages of one call go to one
//! real server, whichever port of the client they come from.
//!
//! It is read as IPVS reads it: behind the first line break that `Call-ID` or `i` follows, with blanks and a folded line
//! around the colon allowed; it is a word, or two with `@` between, up to a line break. Of a message, [`MESSAGE`] octets are read.
//!
//! A template is found by a keyed hash of the Call-ID ([`hash`]); the Call-ID itself is kept beside it for listings.

mod hash;
mod message;

pub(crate) use hash::hash;
pub(crate) use message::read;
pub use message::{MESSAGE, Message};

use crate::cell::AtomicU32;
use crate::order;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Longest Call-ID, as in IPVS.
pub const LONGEST: u32 = 255;
/// Words that it fills at most.
pub const WORDS: usize = 64;

/// A Call-ID.
#[repr(C, align(8))]
pub struct CallId {
    /// Octets.
    pub length: AtomicU32,
    /// Keeps what follows aligned.
    reserved: AtomicU32,
    /// Four octets in each word, the first one lowest; zeros behind the end.
    pub words: [AtomicU32; WORDS],
}

impl Default for CallId {
    /// Empty.
    fn default() -> CallId {
        let words = core::array::from_fn(|_| AtomicU32::default());
        CallId { length: AtomicU32::default(), reserved: AtomicU32::default(), words }
    }
}

impl CallId {
    /// Makes it empty.
    #[inline(always)]
    fn clear(&self) {
        self.length.store(0, order::PLAIN);
        for word in &self.words {
            word.store(0, order::PLAIN);
        }
    }

    /// Writes the octet at a place that has none yet.
    #[inline(always)]
    fn put(&self, place: u32, octet: u32) {
        let cell = &self.words[place as usize / 4 % WORDS];
        cell.store(cell.load(order::PLAIN) | octet << (8 * (place & 3)), order::PLAIN);
    }
}

/// What a template's Call-ID is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(8))]
pub struct CallKey {
    /// Index of the template's slot.
    pub slot: u32,
    /// The slot's version in the template's life, and in the upper half the IP version.
    pub version: u32,
}

impl CallKey {
    /// For the template in the slot of this index, under this version, in the table of this IP version.
    #[inline(always)]
    pub fn new(slot: u32, version: u32, family: u8) -> CallKey {
        CallKey { slot, version: version & 0xffff | (family as u32) << 16 }
    }
}
