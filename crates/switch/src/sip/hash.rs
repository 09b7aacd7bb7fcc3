//! The hash that templates of calls are found by.

use super::WORDS;
use crate::order;
use crate::platform::Platform;

/// The keyed hash of the call in [`crate::steps::Handover::call`] to a service: SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast
/// short-input PRF", 2012) of the service's identity and the Call-ID with zeros to its full length.
///
/// Whoever does not know the key finds two calls of the same hash with a probability of one in 2^64 for each pair.
#[inline(never)]
pub(crate) fn hash<P: Platform>(platform: &P, service: u32) -> u64 {
    let (Some(config), Some(handover)) = (platform.config(), platform.handover()) else { return 0 };
    let Some(service) = platform.service(service) else { return 0 };
    let seed = |i: usize| config.seed[i].load(order::PLAIN);
    let mut state = start([seed(0), seed(1)]);
    let mut i = 0;
    while i < service.key.len() {
        let word = |i: usize| service.key[i].load(order::PLAIN) as u64;
        state = add(state, word(i) | word(i + 1) << 32);
        i += 2;
    }
    i = 0;
    while i < WORDS {
        let word = |i: usize| handover.call.words[i].load(order::PLAIN) as u64;
        state = add(state, word(i) | word(i + 1) << 32);
        i += 2;
    }
    finish(add(state, OCTETS << 56))
}

/// Octets that are hashed.
const OCTETS: u64 = (size_of::<crate::service::ServiceKey>() + 4 * WORDS) as u64;

#[inline(always)]
fn start([k0, k1]: [u64; 2]) -> [u64; 4] {
    [
        k0 ^ u64::from_be_bytes(*b"somepseu"),
        k1 ^ u64::from_be_bytes(*b"dorandom"),
        k0 ^ u64::from_be_bytes(*b"lygenera"),
        k1 ^ u64::from_be_bytes(*b"tedbytes"),
    ]
}

#[inline(always)]
fn add([a, b, c, d]: [u64; 4], word: u64) -> [u64; 4] {
    let [a, b, c, d] = round([a, b, c, d ^ word]);
    [a ^ word, b, c, d]
}

#[inline(always)]
fn finish([a, b, c, d]: [u64; 4]) -> u64 {
    let [a, b, c, d] = round(round(round([a, b, c ^ 0xff, d])));
    a ^ b ^ c ^ d
}

#[inline(always)]
fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn is_the_standard_librarys() {
        // SipHash-1-3 with a key of zeros, as the standard library's tables have it.
        for words in [0u64, 1, 35] {
            let mut theirs = std::collections::hash_map::DefaultHasher::new();
            let mut state = start([0, 0]);
            for word in 0..words {
                let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                theirs.write(&word.to_le_bytes());
                state = add(state, word);
            }
            assert_eq!(finish(add(state, (8 * words) << 56)), theirs.finish(), "{words} words");
        }
    }
}
