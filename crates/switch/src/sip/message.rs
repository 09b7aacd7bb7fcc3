//! Finding the Call-ID in a message.

use super::LONGEST;
use crate::cell::AtomicU32;
use crate::order;
use crate::platform::Platform;

/// Octets of a message that are read.
pub const MESSAGE: u32 = 2048;
const WORDS: usize = MESSAGE as usize / 4;

/// Blanks in a row that are skipped.
const BLANKS: u32 = 32;

/// The beginning of a message, with a place in it: in memory, where the verifier does not follow it.
#[repr(C, align(8))]
pub struct Message {
    /// Four octets in each word, the first one lowest; anything behind the end.
    words: [AtomicU32; WORDS],
    /// Octets.
    length: AtomicU32,
    /// Where reading goes on.
    place: AtomicU32,
    /// How many `@` there are in the Call-ID.
    ats: AtomicU32,
    /// Keeps what follows aligned.
    reserved: AtomicU32,
}

impl Default for Message {
    /// Empty.
    fn default() -> Message {
        let words = core::array::from_fn(|_| AtomicU32::default());
        let [length, place, ats, reserved] = core::array::from_fn(|_| AtomicU32::default());
        Message { words, length, place, ats, reserved }
    }
}

/// Reads the message in so many octets of the frame from `start` on: its Call-ID is in [`crate::steps::Handover::call`]
/// then. False if it has none.
#[inline(always)]
pub(crate) fn read<P: Platform>(platform: &P, start: u32, length: u32) -> bool {
    copy(platform, start, length) != 0
        && find(platform) != 0
        && skip_colon(platform) != 0
        && take(platform) != 0
}

#[inline(never)]
fn copy<P: Platform>(platform: &P, start: u32, length: u32) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let message = &handover.message;
    let length = length.min(MESSAGE);
    message.length.store(length, order::PLAIN);
    (length != 0 && platform.load(start as usize, length as usize, &message.words).is_some()) as u32
}

/// Goes behind the name of the first such header: 1; 0 if there is none.
#[inline(never)]
fn find<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let message = &handover.message;
    let length = message.length.load(order::PLAIN);
    // The octets up to this one, the last one lowest, and which of them break lines.
    let (mut window, mut breaks) = (0u64, 0);
    let mut i = 0;
    while i < MESSAGE {
        if i >= length {
            break;
        }
        let octet = message.octet(i) as u64;
        i += 1;
        window = window << 8 | octet;
        breaks = breaks << 1 | is(RETURN as u64, octet) | is(FEED as u64, octet);
        let long = breaks >> 7 & is(NAME, (window | LOWER_CASE) & u64::MAX >> 8);
        let short = breaks >> 2 & is(COMPACT, window >> 8 & 0xff | 0x20) & (1 - is_letter(octet));
        if (long | short) & 1 != 0 {
            // The octet after the compact form may be the colon.
            message.go_to(i - (short as u32 & 1));
            return 1;
        }
    }
    0
}

const RETURN: u32 = b'\r' as u32;
const FEED: u32 = b'\n' as u32;

/// `Call-ID`, with [`LOWER_CASE`].
const NAME: u64 = u64::from_be_bytes(*b"\0call-id");
/// The bit that makes its letters lower-case ones.
const LOWER_CASE: u64 = u64::from_be_bytes([0, 0x20, 0x20, 0x20, 0x20, 0, 0x20, 0x20]);
/// The header's compact form.
const COMPACT: u64 = b'i' as u64;

/// 1 if two numbers below 2^63 are the same, else 0. As below without a branch, which the verifier would have to remember: it
/// remembers no more than 8,192.
#[inline(always)]
fn is(a: u64, b: u64) -> u64 {
    core::hint::black_box((a ^ b).wrapping_sub(1)) >> 63
}

/// 1 for a letter, else 0.
#[inline(always)]
fn is_letter(octet: u64) -> u64 {
    core::hint::black_box(((octet | 0x20).wrapping_sub(b'a' as u64) & 0xff).wrapping_sub(26)) >> 63
}

/// Goes behind the colon and what blanks there are around it: 1; 0 if there is no colon.
#[inline(never)]
fn skip_colon<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let message = &handover.message;
    (message.skip_blanks() && message.skip(b':' as u32) && message.skip_blanks()) as u32
}

/// Copies the Call-ID at the place: 1; 0 if there is none.
#[inline(never)]
fn take<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let (message, call) = (&handover.message, &handover.call);
    call.clear();
    message.ats.store(0, order::PLAIN);
    let start = message.place.load(order::PLAIN);
    let mut n = 0;
    while n < LONGEST {
        let octet = message.peek(start + n);
        if !is_of_call_id(octet) {
            break;
        }
        call.put(n, octet);
        if octet == AT {
            message.ats.store(message.ats.load(order::PLAIN) + 1, order::PLAIN);
        }
        n += 1;
    }
    call.length.store(n, order::PLAIN);
    let end = start + call.length.load(order::PLAIN);
    let (first, last, next) = (message.peek(start), message.peek(end.wrapping_sub(1)), message.peek(end));
    // Two words at most, none of them empty. (Before the first one is a colon or a blank.)
    if first == AT || last == AT || end == start || message.ats.load(order::PLAIN) > 1 {
        return 0;
    }
    (next == RETURN || next == FEED) as u32
}

const AT: u32 = b'@' as u32;

/// Whether the octet may be in RFC 3261's `word`, or between two.
#[inline(always)]
fn is_of_call_id(octet: u32) -> bool {
    // Without branches, whose ways the verifier would follow for each octet.
    let upper = (octet as u64 >> 6 & 1).wrapping_neg();
    let set = OF_CALL_ID[0] & !upper | OF_CALL_ID[1] & upper;
    set >> (octet & 0x3f) & (octet as u64 >> 7 ^ 1) & 1 != 0
}

/// The octets from 0 and from 64 on.
const OF_CALL_ID: [u64; 2] = {
    let octets = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.!%*_+`'~()<>:\\\"/[]?{}@";
    let mut sets = [0; 2];
    let mut i = 0;
    while i < octets.len() {
        sets[octets[i] as usize / 64] |= 1 << (octets[i] % 64);
        i += 1;
    }
    sets
};

impl Message {
    /// The octet at this place, be it behind the end or not.
    #[inline(always)]
    fn octet(&self, place: u32) -> u32 {
        self.words[place as usize / 4 % WORDS].load(order::PLAIN) >> (8 * (place & 3)) & 0xff
    }

    /// The octet at this place; 0 behind the end.
    #[inline(always)]
    fn peek(&self, place: u32) -> u32 {
        if place < self.length.load(order::PLAIN) { self.octet(place) } else { 0 }
    }

    /// Reading goes on here.
    #[inline(always)]
    fn go_to(&self, place: u32) {
        self.place.store(place, order::PLAIN);
    }

    /// Reading goes on behind this octet; false if it is not the next one.
    #[inline(always)]
    fn skip(&self, octet: u32) -> bool {
        let place = self.place.load(order::PLAIN);
        let is_next = self.peek(place) == octet;
        if is_next {
            self.go_to(place + 1);
        }
        is_next
    }

    /// Reading goes on behind blanks, and behind a line break with more blanks; false if no blank follows a line break.
    #[inline(always)]
    fn skip_blanks(&self) -> bool {
        self.skip_blanks_of_line();
        let returned = self.skip(RETURN);
        if self.skip(FEED) || returned { self.skip_blanks_of_line() } else { true }
    }

    /// Whether there was any.
    #[inline(always)]
    fn skip_blanks_of_line(&self) -> bool {
        let start = self.place.load(order::PLAIN);
        let mut n = 0;
        while n < BLANKS {
            if !self.skip(b' ' as u32) && !self.skip(b'\t' as u32) {
                break;
            }
            n += 1;
        }
        self.place.load(order::PLAIN) != start
    }
}
