//! Schedulers: which destination gets a new connection.
//!
//! Each is one file with one function, `choose`, that reads like its definition. All walk the service's members
//! in IPVS's order, the newest first, and a later member wins only if it is strictly better. A destination of
//! weight 0 or above its threshold takes no new connections.

mod least_connection;
mod round_robin;
mod weighted_least_connection;
mod weighted_round_robin;

use crate::order;
use crate::platform::Platform;
use crate::service::{LISTS, MemberList, Service};

/// Most destinations of one service. The kernel verifies a loop step by step and keeps at most 8,192 branches of it in
/// mind, of which a member takes up to six.
pub const MEMBERS_MAX: u32 = 512;

/// A scheduler's number in [`Service::scheduler`].
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
}

impl Scheduler {
    /// All that there are.
    pub const ALL: [Scheduler; 5] = [
        Scheduler::None,
        Scheduler::RoundRobin,
        Scheduler::WeightedRoundRobin,
        Scheduler::LeastConnection,
        Scheduler::WeightedLeastConnection,
    ];

    /// Its name in IPVS.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::None => "none",
            Scheduler::RoundRobin => "rr",
            Scheduler::WeightedRoundRobin => "wrr",
            Scheduler::LeastConnection => "lc",
            Scheduler::WeightedLeastConnection => "wlc",
        }
    }

    /// The scheduler of this name.
    pub fn from_name(name: &str) -> Option<Scheduler> {
        Self::ALL.into_iter().find(|scheduler| scheduler.name() == name)
    }
}

/// The index of the destination for a new connection; `None` if no member takes one.
#[inline(always)]
pub fn choose<P: Platform>(platform: &P, service: &Service) -> Option<u32> {
    let list = &service.lists[service.current.load(order::LOAD) as usize & (LISTS - 1)];
    let first = list.offset.load(order::PLAIN);
    let length = list.length.load(order::PLAIN).min(MEMBERS_MAX);
    let members = Members { platform, first, end: first.wrapping_add(length) };
    let place = match service.scheduler.load(order::PLAIN) {
        1 => round_robin::choose(&members, list),
        2 => weighted_round_robin::choose(&members, list),
        3 => least_connection::choose(&members),
        4 => weighted_least_connection::choose(&members),
        _ => None,
    }?;
    platform.member(place)
}

/// The members of a service, in IPVS's order.
///
/// Schedulers name a member by its place in the array that all lists are cut from. A number that counts from 0 would
/// be known to the verifier, which would follow each choice that a loop can come to for itself; a place is not.
struct Members<'a, P> {
    platform: &'a P,
    first: u32,
    end: u32,
}

impl<P: Platform> Members<'_, P> {
    /// The weight at a place if the destination takes new connections, else 0.
    #[inline(always)]
    fn weight(&self, place: u32) -> u32 {
        match self.platform.member(place).and_then(|index| self.platform.destination(index)) {
            Some(destination) => destination.eligible_weight(),
            None => 0,
        }
    }

    /// Weight as above, and IPVS's measure of load.
    #[inline(always)]
    fn weight_and_overhead(&self, place: u32) -> (u32, u64) {
        match self.platform.member(place).and_then(|index| self.platform.destination(index)) {
            Some(destination) => (destination.eligible_weight(), destination.overhead()),
            None => (0, 0),
        }
    }

    /// The place that a cursor names; nobody's, before [`Self::first`], if it names none.
    #[inline(always)]
    fn place(&self, cursor: u32) -> u32 {
        self.first.wrapping_add(cursor)
    }

    /// The cursor for a place.
    #[inline(always)]
    fn cursor(&self, place: u32) -> u32 {
        place.wrapping_sub(self.first)
    }

    /// Whether the list ends before this place.
    #[inline(always)]
    fn is_past(&self, place: u32) -> bool {
        self.cursor(place) >= self.end.wrapping_sub(self.first)
    }
}

/// How often a scheduler tries to move a cursor that other CPUs move too.
const CURSOR_TRIES: u32 = 2;

/// Takes the lock of a list, for a bounded time: two CPUs at once would spoil the order, not more.
#[inline(always)]
fn lock<P: Platform>(platform: &P, list: &MemberList) -> bool {
    let mut tries = 0;
    while tries < 64 {
        if platform.exchange(&list.lock, 0, 1) {
            return true;
        }
        platform.interleave();
        tries += 1;
    }
    false
}
