//! What a server says on the control connection.

use super::text::{NONE, Text, above, letters, numbers, port, write_back};
use crate::order;
use crate::platform::Platform;
use crate::steps::Handover;

/// The words of a reply come after its code and a space.
const WORDS: u32 = 4;
/// Where its numbers must have started.
const SCAN: u32 = 64;

/// A 227 could not be rewritten: there are too few words to take octets from.
pub(crate) const TOO_SHORT: u32 = 1 << 16;

/// The port of a 229; 0 if the text is none, or one with an address, which servers do not give.
#[inline(never)]
pub(crate) fn extended<P: Platform>(platform: &P) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let text = &handover.text;
    if text.word(0) != letters(b"229 ") {
        return 0;
    }
    find(text, b'(' as u32, b'(' as u32);
    text.skip(b'(' as u32);
    let delimiter = text.peek();
    if delimiter == 0 || !text.skip(delimiter) || !text.skip(delimiter) || !text.skip(delimiter) {
        return 0;
    }
    let port = port(platform);
    if text.skip(delimiter) { port } else { 0 }
}

/// The port of a 227 in the text, payload from `start` to `end`, which gets the VIP in the place of the server's address,
/// if that or the VIP is what it names; 0 if it is none, [`TOO_SHORT`] if there is no room. Addresses are in host order.
#[inline(never)]
pub(crate) fn passive<P: Platform>(platform: &P, start: u32, end: u32, server: u32, vip: u32) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let text = &handover.text;
    if text.word(0) != letters(b"227 ") {
        return 0;
    }
    find(text, b'0' as u32, b'9' as u32);
    handover.first.store(text.place(), order::PLAIN);
    let numbers = numbers(platform, b',' as u32 | 6 << 8);
    let (named, port) = ((numbers >> 16) as u32, numbers as u32 & 0xffff);
    if numbers == NONE || port == 0 || (named != server && named != vip) {
        return 0;
    }
    if rewrite(handover, (vip as u64) << 16 | port as u64) && write_back(platform, start, end) {
        port
    } else {
        TOO_SHORT
    }
}

/// Goes to the first octet in a range among the words of a reply, if there is one.
#[inline(always)]
fn find(text: &Text, lowest: u32, highest: u32) {
    text.go_to(WORDS);
    let mut i = WORDS;
    while i < SCAN {
        let octet = text.peek();
        text.skip_if(above(lowest, octet) | above(octet, highest));
        i += 1;
    }
}

/// Writes six numbers so that they end where the old ones, from [`Handover::first`] to the place, did; false if there is
/// no room.
#[inline(always)]
fn rewrite(handover: &Handover, all: u64) -> bool {
    let text = &handover.text;
    let (old, end) = (handover.first.load(order::PLAIN), text.place());
    let start = end.wrapping_sub(length(all));
    // What stands before the numbers, a bracket as a rule, stays before them.
    let before = text.octet(old.wrapping_sub(1));
    let least = WORDS + (before != b' ' as u32) as u32;
    if start > end || start < least {
        return false;
    }
    let mut n = 0;
    while n < 6 {
        let number = (all >> (8 * n)) as u32 & 0xff;
        text.write_before(b'0' as u32 + number % 10, 1);
        // What is written and not moved over is written over: in the end by what stands before the numbers.
        text.write_before(b'0' as u32 + number / 10 % 10, above(number, 9));
        text.write_before(b'0' as u32 + number / 100, above(number, 99));
        n += 1;
        if n < 6 {
            text.write_before(b',' as u32, 1);
        }
    }
    text.write_before(before, 1);
    n = 0;
    while n < NUMBERS_MAX {
        if text.place() < old {
            break;
        }
        text.write_before(b' ' as u32, 1);
        n += 1;
    }
    true
}

/// Longest text of six numbers.
const NUMBERS_MAX: u32 = 23;

/// Octets of the six numbers in text.
#[inline(always)]
fn length(all: u64) -> u32 {
    let (mut n, mut sum) = (0, 5);
    while n < 6 {
        let number = (all >> (8 * n)) as u32 & 0xff;
        sum += 1 + above(number, 9) + above(number, 99);
        n += 1;
    }
    sum
}
