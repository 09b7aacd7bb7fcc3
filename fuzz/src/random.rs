//! Random choices, the same for the same seed.

use rlvs_switch::simulation::split_mix;

/// A source of choices.
pub struct Random(u64);

impl Random {
    /// The source of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Spoils octets here and there: flipped bits, borders of ranges, cuts, repetitions.
    pub fn spoil(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if octets.is_empty() {
                return;
            }
            let place = self.below(octets.len());
            match self.below(6) {
                0 => octets[place] ^= 1 << self.below(8),
                1 => octets[place] = self.number() as u8,
                2 => octets[place] = self.of(&[0, 1, 0x7f, 0x80, 0xff]),
                3 => octets.truncate(place),
                4 => {
                    let more = octets[place..].to_vec();
                    octets.extend(more);
                }
                _ => {
                    octets.remove(place);
                }
            }
        }
    }
}
