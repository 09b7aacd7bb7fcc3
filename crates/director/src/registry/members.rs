//! A service's list of destinations, published so that a scheduler sees the old one or the new one.

use super::{Registry, Service};
use crate::tables::Tables;
use rlvs_ipvs::Family;
use rlvs_switch::Memory;
use rlvs_switch::order;
use rlvs_switch::scheduler::hash::Entrant;
use rlvs_switch::scheduler::{Scheduler, ranking};
use rlvs_switch::service::{CURSOR_START, LISTS, MemberList};
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
        // At the end of its space: those that come stand before the others.
        let end = service.room.offset(next) + service.room.space() as u32;
        let first = end - service.members.len() as u32;
        for (place, member) in (first..).zip(&service.members) {
            if let Some(cell) = self.tables.members.get(place) {
                cell.0.store(*member, order::PLAIN);
            }
        }
        let scheduler = entry.scheduler.load(order::PLAIN);
        write_table(&self.tables, service, scheduler);
        new.scheduler.store(scheduler, order::PLAIN);
        new.table.store(service.table.start as u32, order::PLAIN);
        new.first.store(first, order::PLAIN);
        new.end.store(end, order::PLAIN);
        new.space.store(service.room.space() as u32, order::PLAIN);
        let chosen = old.cursor.load(order::PLAIN).wrapping_sub(old.first.load(order::PLAIN));
        let cursor = move_cursor(before, &service.members, chosen);
        new.cursor.store(if cursor == CURSOR_START { cursor } else { first + cursor }, order::PLAIN);
        let goes_on = old.scheduler.load(order::PLAIN) == scheduler;
        new.threshold.store(if goes_on { old.threshold.load(order::PLAIN) } else { 0 }, order::PLAIN);
        new.lock.store(0, order::PLAIN);
        begin_round(&self.tables, service, new);
        ranking::build(&*self.tables, new, &service.members);
        entry.current.store(next as u32, order::PUBLISH);
        service.retired[current] = Some(Instant::now());
    }

    /// Adds a destination to the valid list, which has space for it ([`Registry::make_room`]), before the others: one store, for
    /// which nobody need be waited for.
    pub(super) fn publish_newest(&mut self, sequence: u32, index: u32) {
        let Some(service) = self.services.get_mut(&sequence) else { return };
        service.members.insert(0, index);
        let Some(list) = valid_list(&self.tables, service) else { return };
        let place = list.first.load(order::PLAIN).wrapping_sub(1);
        if let Some(cell) = self.tables.members.get(place) {
            cell.0.store(index, order::PLAIN);
        }
        locked(&self.tables, list, || {
            begin_round(&self.tables, service, list);
            list.first.store(place, order::PUBLISH);
        });
        if let Some(destination) = self.tables.destinations.get(index) {
            ranking::place(&*self.tables, list, place, destination);
        }
        self.outdated.insert(sequence);
    }

    /// Has the valid list go by its destinations' weights and thresholds as they now are; those of `index` have changed.
    pub(super) fn publish_weights(&mut self, sequence: u32, index: u32) {
        let Some(service) = self.services.get(&sequence) else { return };
        let Some(list) = valid_list(&self.tables, service) else { return };
        locked(&self.tables, list, || begin_round(&self.tables, service, list));
        if let Some(destination) = self.tables.destinations.get(index) {
            ranking::renew(&*self.tables, destination);
        }
        self.outdated.insert(sequence);
    }

    /// Has hashing schedulers go by the destinations and weights that there are now.
    pub(crate) fn write_tables(&mut self) {
        for sequence in std::mem::take(&mut self.outdated) {
            let Some(service) = self.services.get(&sequence) else { continue };
            let Some(list) = valid_list(&self.tables, service) else { continue };
            write_table(&self.tables, service, list.scheduler.load(order::PLAIN));
        }
    }
}

fn valid_list<'a>(tables: &'a Tables, service: &Service) -> Option<&'a MemberList> {
    let entry = tables.services.get(service.index)?;
    Some(&entry.lists[entry.current.load(order::PLAIN) as usize % LISTS])
}

/// Weighted round robin: begins a round, as the weights of the service's members are now. The threshold stays where it can.
fn begin_round(tables: &Tables, service: &Service, list: &MemberList) {
    if !list.scheduled_by(Scheduler::WeightedRoundRobin) {
        return;
    }
    let weights = || {
        let entries = service.members.iter().filter_map(|index| tables.destinations.get(*index));
        entries.map(|entry| entry.weight.load(order::PLAIN)).filter(|weight| *weight > 0)
    };
    let step = weights().reduce(gcd).unwrap_or(1);
    let maximum = weights().max().map_or(0, |most| most - (step - 1));
    let threshold = match list.threshold.load(order::PLAIN) {
        threshold if threshold == 0 || threshold > maximum => maximum,
        threshold if step > 1 => threshold / step * step + 1,
        threshold => threshold,
    };
    list.step.store(step, order::PLAIN);
    list.maximum.store(maximum, order::PLAIN);
    list.threshold.store(threshold, order::PLAIN);
    list.cursor.store(CURSOR_START, order::PLAIN);
}

/// Does this while no CPU moves the list's cursor and threshold. One that holds the lock for longer than it could take has
/// been stopped, and spoils the order at most.
fn locked(tables: &Tables, list: &MemberList, change: impl FnOnce()) {
    let weighted = list.scheduled_by(Scheduler::WeightedRoundRobin);
    let since = Instant::now();
    while weighted && !tables.exchange(&list.lock, 0, 1) && since.elapsed() < GRACE {
        std::hint::spin_loop();
    }
    change();
    if weighted {
        list.lock.store(0, order::PUBLISH);
    }
}

/// Computes a hashing scheduler's table for the service's members as they now are. It is written in place: each of its
/// slots leads to a destination of the service before and after.
fn write_table(tables: &Tables, service: &Service, scheduler: u32) {
    let parts = tables.hash_tables.all().get(service.table.clone());
    // Without a table the members need not be gone through.
    let parts = parts.filter(|parts| !parts.is_empty());
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
