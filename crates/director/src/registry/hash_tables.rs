//! Which parts of the shared array are whose hash table.

use super::members::GRACE;
use rlvs_ipvs::Errno;
use rlvs_switch::scheduler::Scheduler;
use std::ops::Range;
use std::time::Instant;

/// The array's parts, in use or free.
pub(super) struct HashTables {
    used: Vec<bool>,
    freed: Option<Instant>,
}

/// A service's hash table: a range of parts, empty for schedulers that have none.
pub(super) type HashTable = Range<usize>;

impl HashTables {
    /// So many parts, all free.
    pub(super) fn new(parts: usize) -> HashTables {
        HashTables { used: vec![false; parts], freed: None }
    }

    /// Room for this scheduler's table. Small tables come from the array's start and large ones from its end, so that
    /// few small ones do not keep a large one out. Waits until no CPU can still be reading what was there.
    pub(super) fn take(&mut self, scheduler: Scheduler) -> Result<HashTable, Errno> {
        let parts = scheduler.parts();
        if parts == 0 {
            return Ok(0..0);
        }
        let is_free = |parts: &[bool]| !parts.contains(&true);
        let mut places = self.used.windows(parts);
        let place = if parts == 1 { places.position(is_free) } else { places.rposition(is_free) };
        let Some(place) = place else {
            tracing::warn!(
                "refused scheduler {}: its table takes {parts} parts of HASH_TABLES and there is no room; \
                 tables.services, which it is sized by, counts when no data plane is loaded",
                scheduler.name()
            );
            return Err(Errno::NOSPC);
        };
        let table = place..place + parts;
        self.mark(&table);
        if let Some(rest) = self.freed.and_then(|freed| GRACE.checked_sub(freed.elapsed())) {
            std::thread::sleep(rest);
        }
        Ok(table)
    }

    /// The table is in use, as an earlier director left it.
    pub(super) fn mark(&mut self, table: &HashTable) {
        self.set(table, true);
    }

    /// The table is needed no longer.
    pub(super) fn give_back(&mut self, table: &HashTable) {
        self.set(table, false);
        self.freed = Some(Instant::now());
    }

    fn set(&mut self, table: &HashTable, used: bool) {
        if let Some(parts) = self.used.get_mut(table.clone()) {
            parts.fill(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_overlap_and_come_back() {
        let mut tables = HashTables::new(34);
        let large = tables.take(Scheduler::MaglevHashing).unwrap();
        let other = tables.take(Scheduler::MaglevHashing).unwrap();
        let small = tables.take(Scheduler::SourceHashing).unwrap();
        assert_eq!((large.clone(), other, small), (18..34, 2..18, 0..1));
        assert_eq!(tables.take(Scheduler::MaglevHashing).err(), Some(Errno::NOSPC));
        tables.give_back(&large);
        assert_eq!(tables.take(Scheduler::MaglevHashing), Ok(large));
        assert_eq!(tables.take(Scheduler::RoundRobin), Ok(0..0));
    }
}
