//! IPVS's estimator: rates as a moving average, renewed every two seconds.

/// Seconds between two readings.
pub(crate) const INTERVAL: u64 = 2;

/// The rates of one service or destination: connections, packets in and out, octets in and out, per second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimator {
    last: [u64; 5],
    /// Scaled by 2^10 (connections, packets) or 2^5 (octets).
    average: [i64; 5],
}

impl Estimator {
    /// Starts from these counters, with all rates zero.
    pub(crate) fn starting_at(counters: [u64; 5]) -> Self {
        Estimator { last: counters, average: [0; 5] }
    }

    /// Takes a reading; to be called every [`INTERVAL`] seconds.
    pub(crate) fn update(&mut self, counters: [u64; 5]) {
        for (i, (now, last)) in counters.into_iter().zip(self.last).enumerate() {
            // Half of the difference (it is that of two seconds), scaled.
            let shift = if i < 3 { 9 } else { 4 };
            let rate = (now.wrapping_sub(last) << shift) as i64;
            self.average[i] += (rate - self.average[i]) >> 2;
        }
        self.last = counters;
    }

    /// The rates, rounded.
    pub(crate) fn rates(&self) -> [u64; 5] {
        std::array::from_fn(|i| {
            let (half, shift) = if i < 3 { (0x1ff, 10) } else { (0xf, 5) };
            ((self.average[i] + half) >> shift).max(0) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_approached_by_quarters() {
        let mut estimator = Estimator::default();
        let mut counters = [0; 5];
        let mut seen = Vec::new();
        for _ in 0..20 {
            counters[1] += 2 * 1000;
            counters[3] += 2 * 64_000;
            estimator.update(counters);
            seen.push(estimator.rates()[1]);
        }
        assert_eq!(seen[..3], [250, 437, 578]);
        assert!((995..=1000).contains(seen.last().unwrap()), "{seen:?}");
        assert!((63_500..=64_000).contains(&estimator.rates()[3]));
    }
}
