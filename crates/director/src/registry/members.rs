//! A service's list of destinations, published so that a scheduler sees the old one or the new one.

use super::{Registry, Service};
use crate::tables::Tables;
use rlvs_ipvs::Family;
use rlvs_switch::order;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::scheduler::hash::Entrant;
use rlvs_switch::service::{CURSOR_START, LISTS};
use std::time::{Duration, Instant};

/// How long a list that was valid, of members or of rules, is left as it is: far longer than the switch takes to walk it.
pub(super) const GRACE: Duration = Duration::from_millis(2);

impl Registry {
    /// Publishes a service's members as they are in `services[sequence]`; `before` are those of the valid list.
    ///
    /// Round robin goes on after the destination chosen last, or after the one before that, if it is gone; weighted
    /// round robin starts a round anew, as IPVS's do, and under another scheduler than before the first of all rounds.
    pub(super) fn publish(&mut self, sequence: u32, before: &[u32]) {
        let Some(service) = self.services.get_mut(&sequence) else { return };
        let Some(entry) = self.tables.services.get(service.index) else { return };
        let current = entry.current.load(order::PLAIN) as usize % LISTS;
        let next = (current + 1) % LISTS;
        wait_for_readers(service, next);
        let (old, new) = (&entry.lists[current], &entry.lists[next]);
        let offset = service.room.offset(next);
        for (place, member) in (offset..).zip(&service.members) {
            if let Some(cell) = self.tables.members.get(place) {
                cell.0.store(*member, order::PLAIN);
            }
        }
        let scheduler = entry.scheduler.load(order::PLAIN);
        write_table(&self.tables, service, scheduler);
        new.scheduler.store(scheduler, order::PLAIN);
        new.table.store(service.table.start as u32, order::PLAIN);
        new.offset.store(offset, order::PLAIN);
        new.space.store(service.room.space() as u32, order::PLAIN);
        new.length.store(service.members.len() as u32, order::PLAIN);
        let cursor = move_cursor(before, &service.members, old.cursor.load(order::PLAIN));
        let weights: Vec<u32> = service
            .members
            .iter()
            .filter_map(|index| self.tables.destinations.get(*index))
            .map(|destination| destination.weight.load(order::PLAIN))
            .filter(|weight| *weight > 0)
            .collect();
        let step = weights.iter().copied().reduce(gcd).unwrap_or(1);
        let maximum = weights.iter().max().map_or(0, |most| most - (step - 1));
        let goes_on = old.scheduler.load(order::PLAIN) == scheduler;
        let threshold = match old.threshold.load(order::PLAIN) * goes_on as u32 {
            threshold if threshold == 0 || threshold > maximum => maximum,
            threshold if step > 1 => threshold / step * step + 1,
            threshold => threshold,
        };
        let weighted = scheduler == Scheduler::WeightedRoundRobin as u32;
        new.cursor.store(if weighted { CURSOR_START } else { cursor }, order::PLAIN);
        new.step.store(step, order::PLAIN);
        new.maximum.store(maximum, order::PLAIN);
        new.threshold.store(threshold, order::PLAIN);
        new.lock.store(0, order::PLAIN);
        entry.current.store(next as u32, order::PUBLISH);
        service.retired[current] = Some(Instant::now());
    }
}

/// Computes a hashing scheduler's table for the service's members as they now are. It is written in place: each of its
/// slots leads to a destination of the service before and after.
fn write_table(tables: &Tables, service: &Service, scheduler: u32) {
    let parts = tables.hash_tables.all().get(service.table.clone());
    let (Some(parts), Some(scheduler)) = (parts, Scheduler::from_number(scheduler)) else { return };
    let family = if service.id.family() == Family::Inet6 { 6 } else { 4 };
    let entrants: Vec<Entrant> = service
        .members
        .iter()
        .filter_map(|index| Some(Entrant::new(*index, tables.destinations.get(*index)?, family)))
        .collect();
    scheduler.write_table(&entrants, parts);
}

/// Waits until no CPU can still be reading a list that is to be written.
fn wait_for_readers(service: &Service, list: usize) {
    if let Some(retired) = service.retired[list]
        && let Some(rest) = GRACE.checked_sub(retired.elapsed())
    {
        std::thread::sleep(rest);
    }
}

/// Where in `after` the member chosen last in `before` is, or else the one before it that is still there.
fn move_cursor(before: &[u32], after: &[u32], cursor: u32) -> u32 {
    let Some(chosen) = before.get(..=cursor as usize) else { return CURSOR_START };
    chosen
        .iter()
        .rev()
        .find_map(|member| after.iter().position(|other| other == member))
        .map_or(CURSOR_START, |position| position as u32)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_stays_with_its_destination() {
        assert_eq!(move_cursor(&[3, 2, 1], &[4, 3, 2, 1], 1), 2);
    }

    #[test]
    fn the_cursor_of_a_deleted_destination_goes_to_the_one_before() {
        assert_eq!(move_cursor(&[3, 2, 1], &[3, 1], 1), 0);
        assert_eq!(move_cursor(&[3, 2, 1], &[2, 1], 0), CURSOR_START);
    }

    #[test]
    fn before_the_first_choice_there_is_no_cursor_to_move() {
        assert_eq!(move_cursor(&[2, 1], &[3, 2, 1], CURSOR_START), CURSOR_START);
    }
}
