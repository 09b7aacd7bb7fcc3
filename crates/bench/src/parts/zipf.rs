//! Flows as they come: few of them have most of the packets. The packets' flows are drawn in advance by Zipf's law: the
//! flow of rank r has a share that goes by 1/r (s = 1).

use anyhow::Result;

use super::Case;
use crate::lab::{Lab, MILLION, Target, reply, request};
use crate::network::{DR, Method};
use crate::plan::Plan;

/// Draws a packet's flow for each of a million packets over a million flows, the same ones each time.
pub fn draw(lab: &mut Lab) -> Result<()> {
    let shares = (1..=1_u32 << MILLION).scan(0.0, |sum, rank| {
        *sum += 1.0 / f64::from(rank);
        Some(*sum)
    });
    let cumulated: Vec<f64> = shares.collect();
    let whole = cumulated.last().copied().unwrap_or_default();
    let mut seed = 0_u64;
    lab.draw(std::iter::repeat_with(|| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let at = whole * uniform(seed);
        let rank = cumulated.partition_point(|sum| *sum < at) as u32;
        // Flows of similar rank are not neighbours.
        rank.wrapping_mul(0x9e37_79b1) & ((1 << MILLION) - 1)
    }))
}

/// From 0 to below 1, by the output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
fn uniform(seed: u64) -> f64 {
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Packets of a method's established connections; the shim reads what was drawn.
pub fn cases(method: Method) -> Vec<Case> {
    let name = |what: &str| format!("{}, established{what}, Zipf's mix", method.name);
    let plan = Plan { drawn: true, ..request(method, MILLION) };
    let mut cases = vec![
        Case::new("shim alone, Zipf's mix", Target::Nothing, plan),
        Case::new(name(""), Target::Director, plan),
    ];
    if method.is_nat() {
        let plan = Plan { drawn: true, ..reply(method, MILLION) };
        cases.push(Case::new(name(", reply"), Target::Director, plan));
    }
    if method == DR {
        cases.push(Case::new(name(", on the kernel's LRU hash"), Target::KernelMap, plan));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly() {
        let mut tenths = [0; 10];
        for seed in 1..=10_000_u64 {
            tenths[(10.0 * uniform(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }
}
