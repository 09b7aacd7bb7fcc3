//! Maglev hashing (`mh`): a client always comes to the same member, and few change theirs when a member comes or goes
//! (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016).

#[cfg(not(target_arch = "bpf"))]
use super::hash::Entrant;
use super::hash::{Found, Key, first_available, look};
use super::{FALLBACK, PORT};
use crate::platform::Platform;
use crate::service::MemberList;

/// Slots of the table: a prime number.
pub(super) const SLOTS: usize = 4093;

/// IPVS's keys: of the first slot, and of the distance to the next.
const FIRST_KEY: u64 = 2_654_435_761;
#[cfg(not(target_arch = "bpf"))]
const STEP_KEY: u64 = 2_654_446_892;

/// The member that the client's address leads to (with [`PORT`], its address and port); if it is not eligible, nobody,
/// or with [`FALLBACK`] the next eligible one in a sequence of slots.
#[inline(always)]
pub(super) fn choose<P: Platform>(platform: &P, list: &MemberList, flags: u32, key: Key) -> Option<u32> {
    let port = hashed_port(flags, key);
    let first = slot(key.address, port, 0);
    match look(platform, list, first) {
        Found::Destination(index) => return Some(index),
        Found::Unavailable if flags & FALLBACK != 0 => {}
        _ => return None,
    }
    first_available(platform, list, SLOTS as u32, |i| {
        slot(key.address, port, first.wrapping_add(i) % SLOTS as u32)
    })
}

/// The slot that is looked at first.
#[cfg(not(target_arch = "bpf"))]
pub(super) fn first_slot(flags: u32, key: Key) -> u32 {
    slot(key.address, hashed_port(flags, key), 0)
}

#[inline(always)]
fn hashed_port(flags: u32, key: Key) -> u16 {
    if flags & PORT != 0 { key.port } else { 0 }
}

#[inline(always)]
fn slot(address: u32, port: u16, offset: u32) -> u32 {
    hash(FIRST_KEY, address, port, offset) % SLOTS as u32
}

#[inline(always)]
fn hash(key: u64, address: u32, port: u16, offset: u32) -> u32 {
    sip_hash(key, key, offset.wrapping_add(port as u32).wrapping_add(address))
}

/// The lower half of SipHash-1-3 (Aumasson and Bernstein) of one word.
#[inline(always)]
fn sip_hash(key0: u64, key1: u64, word: u32) -> u32 {
    let block = 4u64 << 56 | word as u64;
    let mut v = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573 ^ block,
    ];
    v = sip_round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = sip_round(sip_round(sip_round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

#[inline(always)]
fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The members in turn take the next free slots of sequences of their own, each as many as its weight says.
#[cfg(not(target_arch = "bpf"))]
pub(super) fn fill(entrants: &[Entrant], table: &mut [u32]) {
    use super::hash::EMPTY;
    /// log2 of the most turns in a row.
    const TURN_BITS: u32 = 6;
    let weights = || entrants.iter().map(|entrant| entrant.last_weight).filter(|weight| *weight > 0);
    let Some(highest) = weights().max() else { return };
    let divisor = weights().fold(0, greatest_common_divisor);
    let shift = (u32::BITS - (highest / divisor).leading_zeros()).saturating_sub(TURN_BITS);
    let slots = table.len();
    let hashed = |key, entrant: &Entrant| hash(key, entrant.address, entrant.port, 0) as usize;
    /// A member's next slot, how far it is to the one after, and how many it takes in a turn.
    #[derive(Clone, Copy)]
    struct Turn {
        index: u32,
        next: usize,
        step: usize,
        slots: u32,
    }
    let turn = |entrant: &Entrant| Turn {
        index: entrant.index,
        next: hashed(FIRST_KEY, entrant) % slots,
        step: hashed(STEP_KEY, entrant) % (slots - 1) + 1,
        slots: ((entrant.last_weight / divisor) >> shift).max(1),
    };
    let mut turns = [Turn { index: EMPTY, next: 0, step: 0, slots: 0 }; super::MEMBERS_MAX as usize];
    let mut members = 0;
    for (place, entrant) in turns.iter_mut().zip(entrants.iter().filter(|entrant| entrant.last_weight > 0)) {
        *place = turn(entrant);
        members += 1;
    }
    let mut free = slots;
    loop {
        for turn in &mut turns[..members] {
            for _ in 0..turn.slots {
                while table[turn.next] != EMPTY {
                    let next = turn.next + turn.step;
                    turn.next = if next < slots { next } else { next - slots };
                }
                table[turn.next] = turn.index;
                free -= 1;
                if free == 0 {
                    return;
                }
            }
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if a == 0 { b } else { greatest_common_divisor(b % a, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(octets: [u8; 4]) -> u32 {
        u32::from_be_bytes(octets)
    }

    /// 10.0.1.3, .2 and .1, in this order of the list, with these weights.
    fn table(weights: [u32; 3]) -> Vec<u32> {
        let entrant = |(n, weight): (u8, u32)| Entrant {
            index: n.into(),
            weight,
            last_weight: weight,
            address: address([10, 0, 1, n]),
            port: 80,
        };
        let entrants = [3, 2, 1].into_iter().zip(weights).map(entrant).collect::<Vec<_>>();
        let mut table = vec![super::super::hash::EMPTY; SLOTS];
        fill(&entrants, &mut table);
        table
    }

    fn shares(table: &[u32]) -> [usize; 3] {
        [3, 2, 1].map(|n| table.iter().filter(|index| **index == n).count())
    }

    #[test]
    fn tables_are_those_of_ipvs() {
        assert_eq!(shares(&table([1, 1, 1])), [1365, 1364, 1364]);
        assert_eq!(shares(&table([3, 1, 0])), [3070, 1023, 0]);
        assert_eq!(shares(&table([1000, 3, 0])), [4029, 64, 0]);
        assert!(table([0, 0, 0]).iter().all(|index| *index == super::super::hash::EMPTY));
    }

    #[test]
    fn the_hash_is_siphash_1_3() {
        // Key octets 00 to 0f, message octets 00 to 03.
        assert_eq!(sip_hash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, 0x0302_0100), 0x88d3_8328);
    }

    #[test]
    fn clients_come_to_the_same_members_as_in_ipvs() {
        let table = table([1, 1, 1]);
        for (client, port, wanted, member) in [
            ([203, 0, 113, 7], 0, 1705, 2),
            ([203, 0, 113, 7], 40000, 2964, 1),
            ([198, 51, 100, 1], 0, 2374, 2),
            ([192, 0, 2, 55], 40000, 2373, 1),
            ([10, 0, 0, 1], 0, 3711, 1),
        ] {
            let slot = slot(address(client), port, 0);
            assert_eq!((slot, table[slot as usize]), (wanted, member), "{client:?} {port}");
        }
    }
}
