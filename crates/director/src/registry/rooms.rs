//! Which part of the shared array of members is whose: a room for each service, with as much space for each of its lists.

use super::Registry;
use super::space::{Side, Space};
use rlvs_ipvs::Errno;
use rlvs_switch::order;
use rlvs_switch::service::{LISTS, Service};
use std::ops::Range;

/// Members that the smallest room has space for in each list.
const SMALLEST: usize = 8;
/// Members in a unit of space: those of the smallest room, in all lists.
const UNIT: usize = SMALLEST * LISTS;

/// The array's length for so many services and destinations: rooms grow twofold, so they are at most half empty; and while one grows
/// to the largest size, the smaller one is still there.
pub(crate) const fn length(services: u32, destinations: u32, most: u32) -> u32 {
    UNIT as u32 * services + 2 * LISTS as u32 * (destinations + most)
}

/// The rooms, in units of the array.
pub(super) struct Rooms(Space);

/// A service's room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room(Range<usize>);

impl Rooms {
    /// Of an array of so many members, all free.
    pub(super) fn new(members: usize) -> Rooms {
        Rooms(Space::new(members / UNIT))
    }

    /// Room for lists of so many members. No CPU can still be reading what was there.
    pub(super) fn take(&mut self, members: usize) -> Result<Room, Errno> {
        let units = members.div_ceil(SMALLEST).next_power_of_two();
        self.0.take(units, Side::Start).map(Room).ok_or_else(|| {
            tracing::warn!(
                "refused: no room for a list of {members} destinations in MEMBERS; tables.destinations, which it is \
                 sized by, counts when no data plane is loaded"
            );
            Errno::NOSPC
        })
    }

    /// The room is in use, as an earlier director left it.
    pub(super) fn mark(&mut self, room: &Room) {
        self.0.mark(&room.0);
    }

    /// The room is needed no longer.
    pub(super) fn give_back(&mut self, room: &Room) {
        self.0.give_back(&room.0);
    }
}

impl Room {
    /// The room that the service's valid list is in.
    pub(super) fn of(entry: &Service) -> Room {
        let current = entry.current.load(order::LOAD) as usize % LISTS;
        let list = &entry.lists[current];
        let space = list.space.load(order::PLAIN) as usize;
        let start = (list.end.load(order::PLAIN) as usize).saturating_sub((current + 1) * space) / UNIT;
        Room(start..start + space / SMALLEST)
    }

    /// Members that each of its lists has space for.
    pub(super) fn space(&self) -> usize {
        self.0.len() * SMALLEST
    }

    /// Where the list of this number starts in the array.
    pub(super) fn offset(&self, list: usize) -> u32 {
        (self.0.start * UNIT + list * self.space()) as u32
    }
}

impl Registry {
    /// Sees to it that the service has room for one member more.
    pub(super) fn make_room(&mut self, sequence: u32) -> Result<(), Errno> {
        let Some(service) = self.services.get_mut(&sequence) else { return Err(Errno::SRCH) };
        if service.members.len() < service.room.space() {
            return Ok(());
        }
        let members = service.members.clone();
        let room = self.rooms.take(members.len() + 1)?;
        let before = std::mem::replace(&mut service.room, room);
        self.publish(sequence, &members);
        self.rooms.give_back(&before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_do_not_overlap_and_lists_stay_in_theirs() {
        let mut rooms = Rooms::new(7 * UNIT);
        let small = rooms.take(0).unwrap();
        let large = rooms.take(SMALLEST + 1).unwrap();
        assert_eq!((small.space(), large.space()), (SMALLEST, 2 * SMALLEST));
        assert_eq!(large.offset(0), small.offset(LISTS));
        assert_eq!(large.offset(LISTS) as usize, 3 * UNIT);
        rooms.take(4 * SMALLEST).unwrap();
        assert_eq!(rooms.take(1).err(), Some(Errno::NOSPC));
        rooms.give_back(&small);
        assert_eq!(rooms.take(1), Ok(small));
    }

    #[test]
    fn a_room_is_known_from_its_valid_list() {
        let mut rooms = Rooms::new(8 * UNIT);
        rooms.take(1).unwrap();
        let room = rooms.take(2 * SMALLEST).unwrap();
        let entry = Service::default();
        entry.current.store(3, order::PLAIN);
        entry.lists[3].end.store(room.offset(LISTS), order::PLAIN);
        entry.lists[3].space.store(room.space() as u32, order::PLAIN);
        assert_eq!(Room::of(&entry), room);
    }
}
