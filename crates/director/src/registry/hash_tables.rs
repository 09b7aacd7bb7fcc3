//! Which parts of the shared array are whose hash table.

use super::space::{Side, Space};
use rlvs_ipvs::Errno;
use rlvs_switch::scheduler::Scheduler;
use std::ops::Range;

/// The array's parts, in use or free.
pub(super) struct HashTables(Space);

/// A service's hash table: a range of parts, empty for schedulers that have none.
pub(super) type HashTable = Range<usize>;

impl HashTables {
    /// So many parts, all free.
    pub(super) fn new(parts: usize) -> HashTables {
        HashTables(Space::new(parts))
    }

    /// Room for this scheduler's table. Small tables come from the array's start and large ones from its end, so that
    /// few small ones do not keep a large one out. No CPU can still be reading what was there.
    pub(super) fn take(&mut self, scheduler: Scheduler) -> Result<HashTable, Errno> {
        let parts = scheduler.parts();
        if parts == 0 {
            return Ok(0..0);
        }
        self.0.take(parts, if parts == 1 { Side::Start } else { Side::End }).ok_or_else(|| {
            tracing::warn!(
                "refused scheduler {}: its table takes {parts} parts of HASH_TABLES and there is no room; \
                 tables.services, which it is sized by, counts when no data plane is loaded",
                scheduler.name()
            );
            Errno::NOSPC
        })
    }

    /// The table is in use, as an earlier director left it.
    pub(super) fn mark(&mut self, table: &HashTable) {
        self.0.mark(table);
    }

    /// The table is needed no longer.
    pub(super) fn give_back(&mut self, table: &HashTable) {
        self.0.give_back(table);
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
