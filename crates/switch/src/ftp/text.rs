//! The text of a packet, and the numbers and addresses in it.

use crate::cell::AtomicU32;
use crate::frame::Frame;
use crate::order;
use crate::platform::Platform;
use rlvs_packet::tcp::Tcp;

/// Octets of a packet that are read: no command and no reply that matters is longer.
pub const LENGTH: u32 = 128;
const WORDS: u32 = LENGTH / 4;

/// The start of a packet's text, with a place in it, and what is known so far of what is being read.
#[derive(Default)]
#[repr(C)]
pub struct Text {
    /// Four octets in each word, the first one lowest; zeros behind the end.
    words: [AtomicU32; WORDS as usize],
    /// Where reading or writing goes on.
    place: AtomicU32,
    /// An IPv6 address's groups, and how many there are.
    groups: [AtomicU32; 8],
    count: AtomicU32,
    /// Its present group: value and digits.
    value: AtomicU32,
    digits: AtomicU32,
    /// Groups before `::`; [`NO_GAP`] if there is none.
    gap: AtomicU32,
}

/// There is no `::`.
const NO_GAP: u32 = u32::MAX;

/// Where the packet's payload starts and ends in the frame; `None` if it has none.
#[inline(always)]
pub(crate) fn payload<P: Platform>(platform: &P, frame: &Frame) -> Option<(u32, u32)> {
    let header = platform.read::<Tcp>(frame.l4)?.data_offset as usize >> 4 << 2;
    let (start, end) = (frame.l4 + header, frame.l3 + frame.length as usize);
    (header >= Tcp::LENGTH && start < end).then_some((start as u32, end as u32))
}

/// Copies the payload's start out of the frame; false if the frame ends before.
#[inline(always)]
pub(crate) fn copy<P: Platform>(platform: &P, start: u32, end: u32) -> bool {
    let Some(handover) = platform.handover() else { return false };
    let words = &handover.text.words;
    for word in words {
        word.store(0, order::PLAIN);
    }
    platform.load(start as usize, length(start, end), words).is_some()
}

/// The reverse of [`copy`].
#[inline(always)]
pub(super) fn write_back<P: Platform>(platform: &P, start: u32, end: u32) -> bool {
    let Some(handover) = platform.handover() else { return false };
    platform.store(start as usize, length(start, end), &handover.text.words).is_some()
}

/// How many octets are read.
#[inline(always)]
pub(crate) fn length(start: u32, end: u32) -> usize {
    end.wrapping_sub(start).min(LENGTH) as usize
}

impl Text {
    /// The octet at this place.
    #[inline(always)]
    pub(super) fn octet(&self, place: u32) -> u32 {
        self.words[(place / 4 % WORDS) as usize].load(order::PLAIN) >> (8 * (place & 3)) & 0xff
    }

    /// Replaces the octet at this place.
    #[inline(always)]
    fn set(&self, place: u32, octet: u32) {
        let (cell, shift) = (&self.words[(place / 4 % WORDS) as usize], 8 * (place & 3));
        cell.store(cell.load(order::PLAIN) & !(0xff << shift) | octet << shift, order::PLAIN);
    }

    /// Four octets from this place, letters in lower case, as [`letters`] has them.
    #[inline(always)]
    pub(super) fn word(&self, place: u32) -> u32 {
        let octets = self.octet(place)
            | self.octet(place + 1) << 8
            | self.octet(place + 2) << 16
            | self.octet(place + 3) << 24;
        octets | 0x2020_2020
    }

    /// Where reading goes on.
    #[inline(always)]
    pub(super) fn place(&self) -> u32 {
        self.place.load(order::PLAIN) & (LENGTH - 1)
    }

    /// Reading goes on here.
    #[inline(always)]
    pub(super) fn go_to(&self, place: u32) {
        self.place.store(place, order::PLAIN);
    }

    /// The octet where reading goes on.
    #[inline(always)]
    pub(super) fn peek(&self) -> u32 {
        self.octet(self.place())
    }

    /// Reading goes on behind this octet; false if it is not the next one.
    #[inline(always)]
    pub(super) fn skip(&self, octet: u32) -> bool {
        if self.peek() != octet {
            return false;
        }
        self.go_to(self.place() + 1);
        true
    }

    /// Reading goes on behind the next octet if `skips` is 1.
    #[inline(always)]
    pub(super) fn skip_if(&self, skips: u32) {
        self.go_to(self.place() + skips);
    }

    /// The decimal digit where reading goes on, which then goes on behind it, and 1; two zeros if there is none.
    #[inline(always)]
    fn digit(&self) -> [u32; 2] {
        // Digits are the octets 0x30 to 0x39.
        let digit = self.peek() ^ b'0' as u32;
        let is_digit = 1 - above(digit, 9);
        self.skip_if(is_digit);
        [digit * is_digit, is_digit]
    }

    /// A decimal number of so many digits at most, and how many it has.
    #[inline(always)]
    fn number(&self, most: u32) -> [u32; 2] {
        let (mut number, mut digits, mut n) = (0, 0, 0);
        while n < most {
            let [digit, is_digit] = self.digit();
            number = number * (1 + 9 * is_digit) + digit;
            digits += is_digit;
            n += 1;
        }
        [number, digits]
    }

    /// Writes an octet before the place, which moves there if `moves` is 1.
    #[inline(always)]
    pub(super) fn write_before(&self, octet: u32, moves: u32) {
        let place = self.place();
        self.set(place.wrapping_sub(1), octet);
        self.go_to(place.wrapping_sub(moves));
    }
}

/// 1 if `a` is above `b`, both small, else 0: without a branch, whose both ways the verifier would follow.
#[inline(always)]
pub(super) fn above(a: u32, b: u32) -> u32 {
    core::hint::black_box(b.wrapping_sub(a)) >> 31
}

/// The four letters of a command, for [`Text::word`].
pub(super) const fn letters(command: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*command) | 0x2020_2020
}

/// Decimal numbers below 256: `form` is the separator, and `count << 8`. The last one is in the lowest octet;
/// [`NONE`] if there are none.
#[inline(never)]
pub(super) fn numbers<P: Platform>(platform: &P, form: u32) -> u64 {
    let Some(handover) = platform.handover() else { return NONE };
    let text = &handover.text;
    let (separator, count) = (form & 0xff, form >> 8);
    let (mut n, mut all) = (0, 0);
    while n < 6 {
        if n >= count {
            break;
        }
        if n > 0 && !text.skip(separator) {
            return NONE;
        }
        let [number, digits] = text.number(3);
        if digits == 0 || number > 255 {
            return NONE;
        }
        all = all << 8 | number as u64;
        n += 1;
    }
    all
}

/// No number.
pub(super) const NONE: u64 = u64::MAX;

/// A port; 0 if there is none.
#[inline(never)]
pub(super) fn port<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let [number, _] = handover.text.number(5);
    if number > u16::MAX as u32 { 0 } else { number }
}

/// An IPv6 address (RFC 4291, section 2.2, without the form that ends in IPv4), into
/// [`crate::steps::Handover::client`]: 1, or 0 if there is none.
#[inline(never)]
pub(super) fn address6<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let text = &handover.text;
    for cell in [&text.count, &text.value, &text.digits] {
        cell.store(0, order::PLAIN);
    }
    text.gap.store(NO_GAP, order::PLAIN);
    let mut length = 0;
    while length < ADDRESS6_MAX {
        let octet = text.peek();
        if octet == b':' as u32 {
            // The first of two at the start says nothing.
            if length > 0 && !text.end_group() {
                return 0;
            }
        } else if !text.add_digit(hexadecimal(octet)) {
            break;
        }
        text.go_to(text.place() + 1);
        length += 1;
    }
    if text.digits.load(order::PLAIN) != 0 && !text.end_group() {
        return 0;
    }
    let (count, gap) = (text.count.load(order::PLAIN), text.gap.load(order::PLAIN));
    if count > 8 || (gap == NO_GAP) != (count == 8) {
        return 0;
    }
    let mut i = 0;
    while i < 4 {
        let ([a, b], [c, d]) = (text.group(2 * i).to_be_bytes(), text.group(2 * i + 1).to_be_bytes());
        handover.client[i as usize].store(u32::from_ne_bytes([a, b, c, d]), order::PLAIN);
        i += 1;
    }
    1
}

/// Longest text of an IPv6 address.
const ADDRESS6_MAX: u32 = 39;

impl Text {
    /// The present group gets another digit; false if it is none, or one too many.
    #[inline(always)]
    fn add_digit(&self, digit: u32) -> bool {
        let digits = self.digits.load(order::PLAIN);
        if digit > 15 || digits > 3 {
            return false;
        }
        self.digits.store(digits + 1, order::PLAIN);
        self.value.store(self.value.load(order::PLAIN) << 4 | digit, order::PLAIN);
        true
    }

    /// The present group is complete; without a digit it is the second colon of `::`. False if there are too many.
    #[inline(always)]
    fn end_group(&self) -> bool {
        let count = self.count.load(order::PLAIN);
        if self.digits.load(order::PLAIN) == 0 {
            let first = self.gap.load(order::PLAIN) == NO_GAP;
            self.gap.store(count, order::PLAIN);
            return first;
        }
        self.groups[(count & 7) as usize].store(self.value.load(order::PLAIN), order::PLAIN);
        self.count.store(count + 1, order::PLAIN);
        self.value.store(0, order::PLAIN);
        self.digits.store(0, order::PLAIN);
        true
    }

    /// A group of the whole address, `::` filled with zeros.
    #[inline(always)]
    fn group(&self, n: u32) -> u16 {
        let gap = self.gap.load(order::PLAIN);
        let left_out = 8u32.wrapping_sub(self.count.load(order::PLAIN));
        let number = if n < gap {
            n
        } else if n < gap.wrapping_add(left_out) {
            return 0;
        } else {
            n.wrapping_sub(left_out)
        };
        self.groups[(number & 7) as usize].load(order::PLAIN) as u16
    }
}

/// The value of a hexadecimal digit; more than 15 if it is none.
#[inline(always)]
fn hexadecimal(octet: u32) -> u32 {
    let digit = octet.wrapping_sub(b'0' as u32);
    if digit < 10 {
        return digit;
    }
    let letter = (octet | 0x20).wrapping_sub(b'a' as u32);
    if letter < 6 { letter + 10 } else { 16 }
}
