//! Statistics of all services together, with what deleted ones had counted.
//!
//! A destination's counters are never reset, not even when its place is given to another one, so the sum over all
//! places is what was ever counted.

use crate::estimator::Estimator;
use crate::registry::stats;
use crate::tables::Tables;
use rlvs_switch::order;

/// The rates of the whole director.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    rates: Estimator,
}

impl Totals {
    /// Starts with rates of zero.
    pub(crate) fn new(tables: &Tables) -> Totals {
        Totals { rates: Estimator::starting_at(sum(&by_cpu(tables))) }
    }

    /// Renews the rates; to be called every [`crate::estimator::INTERVAL`] seconds.
    pub(crate) fn estimate(&mut self, tables: &Tables) {
        self.rates.update(sum(&by_cpu(tables)));
    }

    /// Counts from 0 from now on.
    pub(crate) fn zero(&mut self, tables: &Tables) {
        let counted = sum(&by_cpu(tables));
        self.rates = Estimator::starting_at(counted);
        for (cell, counted) in tables.settings().zero.iter().zip(counted) {
            cell.store(counted, order::PLAIN);
        }
    }

    /// The statistics now.
    pub(crate) fn report(&self, tables: &Tables) -> rlvs_ipvs::Totals {
        let cpus = by_cpu(tables);
        let zero = std::array::from_fn(|i| tables.settings().zero[i].load(order::PLAIN));
        rlvs_ipvs::Totals { stats: stats(sum(&cpus), zero, self.rates.rates()), cpus }
    }
}

/// What each CPU has counted for all destinations.
fn by_cpu(tables: &Tables) -> Vec<[u64; 5]> {
    let cpus = tables.settings().cpus() as usize;
    let mut sums = vec![[0u64; 5]; cpus];
    for of_destination in tables.counters.all().chunks(cpus.max(1)) {
        for (sum, counters) in sums.iter_mut().zip(of_destination) {
            for (sum, more) in sum.iter_mut().zip(counters.load()) {
                *sum = sum.wrapping_add(more);
            }
        }
    }
    sums
}

fn sum(cpus: &[[u64; 5]]) -> [u64; 5] {
    std::array::from_fn(|i| cpus.iter().fold(0u64, |sum, cpu| sum.wrapping_add(cpu[i])))
}
