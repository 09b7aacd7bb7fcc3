//! Schedulers: which destination gets a new connection.
//!
//! Each is one file with one function, `choose`, that reads like its definition. All walk the service's members
//! in IPVS's order, the newest first, and a later member wins only if it is strictly better. A destination of
//! weight 0 or above its threshold takes no new connections.
//!
//! The functions below choose for a group of schedulers each, whose choices have the same shape.

mod destination_hashing;
pub mod hash;
mod least_connection;
pub mod locality;
mod locality_based;
mod locality_based_replicated;
mod maglev_hashing;
mod never_queue;
mod power_of_two;
mod round_robin;
mod shortest_expected_delay;
mod source_hashing;
mod weighted_failover;
mod weighted_least_connection;
mod weighted_overflow;
mod weighted_round_robin;

use core::ops::ControlFlow;

use crate::cell::AtomicU32;
use crate::destination::Destination;
use crate::order;
use crate::platform::Platform;
use crate::service::{CURSOR_START, MemberList};
use hash::Key;
use locality::Wanted;

/// Most destinations of one service: some schedulers look at all of them for each connection.
pub const MEMBERS_MAX: u32 = 4096;

/// A scheduler's number in [`MemberList::scheduler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scheduler {
    /// Nobody is chosen (IPVS's `none`).
    None = 0,
    /// Round robin.
    RoundRobin = 1,
    /// Weighted round robin.
    WeightedRoundRobin = 2,
    /// Least connection.
    LeastConnection = 3,
    /// Weighted least connection.
    WeightedLeastConnection = 4,
    /// Shortest expected delay.
    ShortestExpectedDelay = 5,
    /// Never queue.
    NeverQueue = 6,
    /// Weighted failover.
    WeightedFailover = 7,
    /// Weighted overflow.
    WeightedOverflow = 8,
    /// Power of two choices.
    PowerOfTwo = 9,
    /// Destination hashing.
    DestinationHashing = 10,
    /// Source hashing.
    SourceHashing = 11,
    /// Maglev hashing.
    MaglevHashing = 12,
    /// Locality-based least connection.
    LocalityBased = 13,
    /// Locality-based least connection with replication.
    LocalityBasedReplicated = 14,
}

impl Scheduler {
    /// All that there are.
    pub const ALL: [Scheduler; 15] = [
        Scheduler::None,
        Scheduler::RoundRobin,
        Scheduler::WeightedRoundRobin,
        Scheduler::LeastConnection,
        Scheduler::WeightedLeastConnection,
        Scheduler::ShortestExpectedDelay,
        Scheduler::NeverQueue,
        Scheduler::WeightedFailover,
        Scheduler::WeightedOverflow,
        Scheduler::PowerOfTwo,
        Scheduler::DestinationHashing,
        Scheduler::SourceHashing,
        Scheduler::MaglevHashing,
        Scheduler::LocalityBased,
        Scheduler::LocalityBasedReplicated,
    ];

    /// Its name in IPVS.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::None => "none",
            Scheduler::RoundRobin => "rr",
            Scheduler::WeightedRoundRobin => "wrr",
            Scheduler::LeastConnection => "lc",
            Scheduler::WeightedLeastConnection => "wlc",
            Scheduler::ShortestExpectedDelay => "sed",
            Scheduler::NeverQueue => "nq",
            Scheduler::WeightedFailover => "fo",
            Scheduler::WeightedOverflow => "ovf",
            Scheduler::PowerOfTwo => "twos",
            Scheduler::DestinationHashing => "dh",
            Scheduler::SourceHashing => "sh",
            Scheduler::MaglevHashing => "mh",
            Scheduler::LocalityBased => "lblc",
            Scheduler::LocalityBasedReplicated => "lblcr",
        }
    }

    /// The scheduler of this number.
    pub fn from_number(number: u32) -> Option<Scheduler> {
        Self::ALL.into_iter().find(|scheduler| *scheduler as u32 == number)
    }

    /// The scheduler of this name.
    pub fn from_name(name: &str) -> Option<Scheduler> {
        Self::ALL.into_iter().find(|scheduler| scheduler.name() == name)
    }
}

/// The index of the destination that comes next (rr); `None` if no member takes a connection.
#[inline(always)]
pub fn in_turn<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    platform.member(round_robin::choose(&Members::of(platform, list), list)?)
}

/// The index of the destination that comes next by the weights (wrr).
#[inline(always)]
pub fn in_weighted_turn<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    platform.member(weighted_round_robin::choose(&Members::of(platform, list), list)?)
}

/// The index of the destination with the fewest connections (lc, wlc).
#[inline(always)]
pub fn by_connections<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    let members = Members::of(platform, list);
    let place = if list.scheduled_by(Scheduler::LeastConnection) {
        least_connection::choose(&members)
    } else {
        weighted_least_connection::choose(&members)
    }?;
    platform.member(place)
}

/// The index of the destination that would serve the connection soonest (sed, nq).
#[inline(always)]
pub fn by_delay<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    let members = Members::of(platform, list);
    let place = if list.scheduled_by(Scheduler::ShortestExpectedDelay) {
        shortest_expected_delay::choose(&members)
    } else {
        never_queue::choose(&members)
    }?;
    platform.member(place)
}

/// The index of the destination with the highest weight (fo, ovf).
#[inline(always)]
pub fn by_weight<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    let members = Members::of(platform, list);
    let place = if list.scheduled_by(Scheduler::WeightedFailover) {
        weighted_failover::choose(&members)
    } else {
        weighted_overflow::choose(&members)
    }?;
    platform.member(place)
}

/// The index of the better one of two destinations drawn by lot (twos).
#[inline(always)]
pub fn by_lot<P: Platform>(platform: &P, list: &MemberList) -> Option<u32> {
    platform.member(power_of_two::choose(&Members::of(platform, list))?)
}

/// The index of the destination that a hashed address leads to (dh, sh, mh). `flags` are the service's.
#[inline(always)]
pub fn by_hash<P: Platform>(platform: &P, list: &MemberList, flags: u32, key: Key) -> Option<u32> {
    if list.scheduled_by(Scheduler::DestinationHashing) {
        destination_hashing::choose(platform, list, key)
    } else if list.scheduled_by(Scheduler::SourceHashing) {
        source_hashing::choose(platform, list, flags, key)
    } else {
        maglev_hashing::choose(platform, list, flags, key)
    }
}

/// The index of the destination that serves the address that a client wants (lblc, lblcr); `None` if
/// [`by_connections`] is to choose a new one, to be remembered.
#[inline(always)]
pub(crate) fn by_locality<P: Platform>(platform: &P, list: &MemberList, wanted: Wanted) -> Option<u32> {
    let members = Members::of(platform, list);
    if list.scheduled_by(Scheduler::LocalityBased) {
        locality_based::choose(&members, wanted)
    } else {
        locality_based_replicated::choose(&members, wanted)
    }
}

/// Remembers who serves an address from now on (lblc, lblcr).
#[inline(always)]
pub(crate) fn remember_locality<P: Platform>(platform: &P, list: &MemberList, wanted: Wanted, chosen: u32) {
    if list.scheduled_by(Scheduler::LocalityBased) {
        locality_based::remember(platform, wanted, chosen)
    } else {
        locality_based_replicated::remember(platform, wanted, chosen)
    }
}

/// No destination, no place.
const NOBODY: u32 = u32::MAX;

/// The place or index in a word of a state, unless it is [`NOBODY`]'s.
#[inline(always)]
fn somebody(word: u64) -> Option<u32> {
    (word != NOBODY as u64).then_some(word as u32)
}

/// Service flag of sh and mh: whom a client's slot does not give to an eligible destination, another slot does.
pub const FALLBACK: u32 = 0x8;
/// Service flag of sh and mh: the client's port is hashed too.
pub const PORT: u32 = 0x10;

/// The members of a service, in IPVS's order.
///
/// Schedulers name a member by its place in the array that all lists are cut from. A number that counts from 0 would
/// be known to the verifier, which would follow each choice that a loop can come to for itself; a place is not.
struct Members<'a, P> {
    platform: &'a P,
    first: u32,
    end: u32,
}

impl<'a, P: Platform> Members<'a, P> {
    #[inline(always)]
    fn of(platform: &'a P, list: &MemberList) -> Members<'a, P> {
        // The members that are there now: one that comes meanwhile stands before them.
        let first = list.first.load(order::LOAD);
        let length = list.end.load(order::PLAIN).wrapping_sub(first).min(MEMBERS_MAX);
        Members { platform, first, end: first.wrapping_add(length) }
    }

    /// The destination at a place.
    #[inline(always)]
    fn destination(&self, place: u32) -> Option<&'a Destination> {
        self.platform.destination(self.platform.member(place)?)
    }

    /// Visits the members in order until told to stop, each by its place, with the state ([`crate::Memory::repeat`]).
    #[inline(always)]
    fn each<const N: usize>(
        &self,
        state: [u64; N],
        visit: impl Fn(u32, &'a Destination, &mut [u64; N]) -> ControlFlow<()>,
    ) -> [u64; N] {
        self.platform.repeat(self.length(), state, |number, state| {
            let place = self.first.wrapping_add(number);
            match self.destination(place) {
                Some(destination) => visit(place, destination, state),
                None => ControlFlow::Break(()),
            }
        })
    }

    /// The place that a cursor names; nobody's, before [`Self::first`], if it names none.
    #[inline(always)]
    fn place(&self, cursor: u32) -> u32 {
        if cursor == CURSOR_START { self.before() } else { cursor }
    }

    /// The place before the first, which is nobody's.
    #[inline(always)]
    fn before(&self) -> u32 {
        self.first.wrapping_sub(1)
    }

    /// How many there are.
    #[inline(always)]
    fn length(&self) -> u32 {
        self.end.wrapping_sub(self.first)
    }

    /// Whether the list ends before this place.
    #[inline(always)]
    fn is_past(&self, place: u32) -> bool {
        place.wrapping_sub(self.first) >= self.length()
    }
}

/// How often a scheduler tries to move a cursor that other CPUs move too.
const CURSOR_TRIES: u32 = 2;

/// Takes a lock; false if another CPU did not give it up in a bounded time.
#[inline(always)]
fn lock<P: Platform>(platform: &P, lock: &AtomicU32) -> bool {
    let mut tries = 0;
    while tries < 64 {
        if platform.exchange(lock, 0, 1) {
            return true;
        }
        platform.interleave();
        tries += 1;
    }
    false
}
