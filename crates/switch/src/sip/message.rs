//! Finding the Call-ID in a message.

use super::LONGEST;
use crate::cell::AtomicU32;
use crate::order;
use crate::platform::Platform;
use core::ops::ControlFlow;

/// Octets of a message that are read.
pub const MESSAGE: u32 = 2048;
const WORDS: usize = MESSAGE as usize / 4;

/// The beginning of a message, with a place in it: in memory, where the verifier does not follow it.
#[repr(C, align(8))]
pub struct Message {
    /// Four octets in each word, the first one lowest; anything behind the end.
    words: [AtomicU32; WORDS],
    /// Octets.
    length: AtomicU32,
    /// Where reading goes on.
    place: AtomicU32,
}

impl Default for Message {
    /// Empty.
    fn default() -> Message {
        let words = core::array::from_fn(|_| AtomicU32::default());
        Message { words, length: AtomicU32::default(), place: AtomicU32::default() }
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
    // The octets up to this one, the last one lowest.
    let [_, found] = platform.repeat(length, [0, 0], |i, [window, found]| {
        let octet = message.octet(i);
        *window = *window << 8 | octet as u64;
        let window = *window;
        if is_break((window >> 56) as u32) && (window | LOWER_CASE) & u64::MAX >> 8 == NAME {
            message.go_to(i + 1);
            *found = 1;
        } else if is_break((window >> 16) as u32 & 0xff)
            && (window >> 8) as u32 & 0xff | 0x20 == COMPACT
            && !is_letter(octet)
        {
            // This octet may be the colon.
            message.go_to(i);
            *found = 1;
        }
        if *found == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found as u32
}

const RETURN: u32 = b'\r' as u32;
const FEED: u32 = b'\n' as u32;

/// `Call-ID`, with [`LOWER_CASE`].
const NAME: u64 = u64::from_be_bytes(*b"\0call-id");
/// The bit that makes its letters lower-case ones.
const LOWER_CASE: u64 = u64::from_be_bytes([0, 0x20, 0x20, 0x20, 0x20, 0, 0x20, 0x20]);
/// The header's compact form.
const COMPACT: u32 = b'i' as u32;

#[inline(always)]
fn is_break(octet: u32) -> bool {
    octet == RETURN || octet == FEED
}

#[inline(always)]
fn is_letter(octet: u32) -> bool {
    (octet | 0x20).wrapping_sub(b'a' as u32) < 26
}

/// Goes behind the colon and what blanks there are around it: 1; 0 if there is no colon.
#[inline(never)]
fn skip_colon<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let message = &handover.message;
    (message.skip_blanks(platform) && message.skip(b':' as u32) && message.skip_blanks(platform)) as u32
}

/// Copies the Call-ID at the place: 1; 0 if there is none.
#[inline(never)]
fn take<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let (message, call) = (&handover.message, &handover.call);
    call.clear();
    let start = message.place.load(order::PLAIN);
    let [length, ats] = platform.repeat(LONGEST, [0, 0], |n, [length, ats]| {
        let octet = message.peek(start.wrapping_add(n));
        if !is_of_call_id(octet) {
            return ControlFlow::Break(());
        }
        call.put(n, octet);
        *length = n as u64 + 1;
        *ats += (octet == AT) as u64;
        ControlFlow::Continue(())
    });
    let length = length as u32;
    call.length.store(length, order::PLAIN);
    let end = start.wrapping_add(length);
    // Two words at most, none of them empty.
    let of_words = message.peek(start) != AT && message.peek(end.wrapping_sub(1)) != AT && ats < 2;
    (length != 0 && of_words && is_break(message.peek(end))) as u32
}

const AT: u32 = b'@' as u32;

/// Whether the octet may be in RFC 3261's `word`, or between two.
#[inline(always)]
fn is_of_call_id(octet: u32) -> bool {
    let set = if octet & 0x40 == 0 { OF_CALL_ID[0] } else { OF_CALL_ID[1] };
    octet < 0x80 && set >> (octet & 0x3f) & 1 != 0
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
    fn skip_blanks<P: Platform>(&self, platform: &P) -> bool {
        self.skip_blanks_of_line(platform);
        let returned = self.skip(RETURN);
        if self.skip(FEED) || returned { self.skip_blanks_of_line(platform) } else { true }
    }

    /// Whether there was any.
    #[inline(always)]
    fn skip_blanks_of_line<P: Platform>(&self, platform: &P) -> bool {
        let start = self.place.load(order::PLAIN);
        platform.repeat(self.length.load(order::PLAIN), [], |_, []| {
            if self.skip(b' ' as u32) || self.skip(b'\t' as u32) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        self.place.load(order::PLAIN) != start
    }
}
