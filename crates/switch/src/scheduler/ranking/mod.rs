//! The members of a service by rank, so that the best one (lc, wlc, sed, nq, fo, ovf) is found without a look at all of them.
//!
//! A rank is what a scheduler compares, as a number: the lower, the better. Ranks are the leaves of a tree whose nodes have sixteen
//! words, each the least of a node below. Whatever changes a destination's load does not change ranks: a word may be lower than
//! what it stands for, [`UNKNOWN`] lower than anything, and never higher. So whoever finds the least rank looks at that destination: if it
//! has got more to do, the words above it are corrected, and the search begins anew. Whoever lowers a load, or changes a weight,
//! has the rank and the words above it [forgotten](forget).
//!
//! Who stores a word looks once more whether it is right: else somebody who forgot it meanwhile would not be heard.

#[cfg(not(target_arch = "bpf"))]
mod director;

use core::ops::ControlFlow;

use super::{Members, NOBODY, Scheduler, somebody};
use crate::cell::AtomicU64;
use crate::destination::Destination;
use crate::order;
use crate::platform::{Memory, Platform};
use crate::service::MemberList;

/// Words of a node; a list's space is a power of two, and at least this.
pub const WIDTH: u32 = 16;

/// A tree has a node for so many places of its list, or fewer.
pub const PLACES_PER_NODE: u32 = 8;

/// Steps from the root to a leaf, at most.
pub const LEVELS: usize = 3;

/// The rank of those who take no connection, or are none.
const LAST: u64 = u64::MAX;

/// Below all ranks.
const UNKNOWN: u64 = 0;

/// The place of a word that is not there.
const NOWHERE: u32 = u32::MAX;

/// A node of a tree, in shared memory.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Node {
    /// Ranks, or the least ones of nodes.
    pub ranks: [AtomicU64; WIDTH as usize],
}

/// The eligible member with the lowest rank; of equal ones the first.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, list: &MemberList) -> Option<u32> {
    let tree = Tree::of(list);
    if tree.space == 0 {
        return None;
    }
    let platform = members.platform;
    // Each member's rank, and the two words above it, are corrected once at most while nobody changes them.
    let rounds = tree.space.wrapping_mul(LEVELS as u32).wrapping_add(WIDTH);
    let [best, _] = platform.repeat(rounds, [NOBODY as u64, LAST], |_, [best, lowest]| {
        let Some((number, rank)) = tree.least(platform) else { return ControlFlow::Continue(()) };
        if rank == LAST {
            return ControlFlow::Break(());
        }
        let place = tree.start.wrapping_add(number);
        let now = rank_at(platform, list, place);
        if now <= rank {
            *best = place as u64;
            return ControlFlow::Break(());
        }
        if now < *lowest {
            (*best, *lowest) = (place as u64, now);
        }
        correct(platform, tree.words(number), now, || rank_at(platform, list, place));
        ControlFlow::Continue(())
    });
    somebody(best)
}

/// The tree of a list's ranks: each level is a row of words, the leaves' first.
#[derive(Clone, Copy)]
struct Tree {
    /// Where the list's space starts in the array of members.
    start: u32,
    /// How long it is.
    space: u32,
}

impl Tree {
    #[inline(always)]
    fn of(list: &MemberList) -> Tree {
        let space = list.space.load(order::PLAIN);
        Tree { start: list.end.load(order::PLAIN).wrapping_sub(space), space }
    }

    /// The first word of the leaves, in the array of all nodes' words.
    #[inline(always)]
    fn leaves(self) -> u32 {
        self.start / PLACES_PER_NODE * WIDTH
    }

    /// The first word of those above, if there are more leaves than one node's.
    #[inline(always)]
    fn branches(self) -> u32 {
        self.leaves().wrapping_add(self.space)
    }

    /// The first word of the root, if there are more branches than one node's.
    #[inline(always)]
    fn root(self) -> u32 {
        self.branches().wrapping_add(self.space / WIDTH)
    }

    /// The words of a leaf: its own and those above.
    #[inline(always)]
    fn words(self, number: u32) -> [u32; LEVELS] {
        let above = |exists: bool, word: u32| if exists { word } else { NOWHERE };
        [
            self.leaves().wrapping_add(number),
            above(self.space > WIDTH, self.branches().wrapping_add(number / WIDTH)),
            above(self.space > WIDTH * WIDTH, self.root().wrapping_add(number / WIDTH / WIDTH)),
        ]
    }

    /// The number of the leaf with the lowest rank, and that; `None` after a word above it was corrected.
    #[inline(always)]
    fn least<P: Platform>(self, platform: &P) -> Option<(u32, u64)> {
        let (mut number, mut above, mut top) = (0, NOWHERE, NOWHERE);
        if self.space > WIDTH * WIDTH {
            number = least_of(platform, self.root());
            above = self.root().wrapping_add(number);
        }
        if self.space > WIDTH {
            let row = self.branches();
            number = number.wrapping_mul(WIDTH);
            number = number.wrapping_add(least_of(platform, row.wrapping_add(number)));
            if is_lower(platform, above, row.wrapping_add(number), NOWHERE) {
                return None;
            }
            (above, top) = (row.wrapping_add(number), above);
        }
        let row = self.leaves();
        number = number.wrapping_mul(WIDTH);
        number = number.wrapping_add(least_of(platform, row.wrapping_add(number)));
        if is_lower(platform, above, row.wrapping_add(number), top) {
            return None;
        }
        Some((number, read(platform, row.wrapping_add(number))))
    }
}

/// Which word of a node is the lowest; of equal ones the first. `word` is the node's first.
#[inline(never)]
fn least_of<P: Platform>(platform: &P, word: u32) -> u32 {
    let (Some(node), Some(handover)) = (platform.ranks(word / WIDTH), platform.handover()) else { return 0 };
    let mut least = LAST;
    let mut number = 0;
    while number < WIDTH as usize {
        let rank = node.ranks[number].load(order::PLAIN);
        if rank < least {
            least = rank;
        }
        number += 1;
    }
    number = 0;
    while number < WIDTH as usize - 1 && node.ranks[number].load(order::PLAIN) > least {
        number += 1;
    }
    // Hidden from the verifier, which would follow each number for itself.
    (number as u32 ^ handover.zero.load(order::PLAIN) as u32) % WIDTH
}

/// Whether the word `above` a node is lower than the node's least, `least`; then it is corrected. `top` is the word above that.
#[inline(never)]
fn is_lower<P: Platform>(platform: &P, above: u32, least: u32, top: u32) -> bool {
    let rank = read(platform, least);
    if read(platform, above) >= rank {
        return false;
    }
    let node = least / WIDTH * WIDTH;
    let least = || read(platform, node.wrapping_add(least_of(platform, node)));
    correct(platform, [above, top, NOWHERE], rank, least);
    true
}

/// Stores the first of these words, and forgets it if then it would be another one; those above it, too, for somebody may have gone by it.
#[inline(always)]
fn correct<P: Platform>(platform: &P, words: [u32; LEVELS], rank: u64, again: impl Fn() -> u64) {
    let (Some(first), Some(handover)) = (cell(platform, words[0]), platform.handover()) else { return };
    first.store(rank, order::PLAIN);
    // A full barrier.
    platform.add(&handover.list, 0);
    if again() != rank {
        forget_words(platform, words[0], words[1], words[2]);
    }
}

/// In this order: who stores a word that another one goes by looks at that again.
#[inline(never)]
fn forget_words<M: Memory>(memory: &M, first: u32, second: u32, third: u32) {
    for word in [first, second, third] {
        let Some(cell) = cell(memory, word) else { return };
        cell.store(UNKNOWN, order::PUBLISH);
    }
}

/// The word; of one that is not there, the highest.
#[inline(always)]
fn read<P: Platform>(platform: &P, word: u32) -> u64 {
    cell(platform, word).map_or(LAST, |cell| cell.load(order::PLAIN))
}

#[inline(always)]
fn cell<M: Memory>(memory: &M, word: u32) -> Option<&AtomicU64> {
    memory.ranks(word / WIDTH).map(|node| &node.ranks[(word % WIDTH) as usize])
}

/// The rank that the member at a place has now.
#[inline(always)]
fn rank_at<P: Platform>(platform: &P, list: &MemberList, place: u32) -> u64 {
    if Members::of(platform, list).is_past(place) {
        return LAST;
    }
    match platform.member(place) {
        Some(index) => rank_of(platform, list.scheduler.load(order::PLAIN), index),
        None => LAST,
    }
}

#[inline(never)]
fn rank_of<M: Memory>(memory: &M, scheduler: u32, index: u32) -> u64 {
    memory.destination(index).map_or(LAST, |destination| rank(scheduler, destination))
}

/// What this scheduler goes by: loads are divided by weights with 32 binary digits behind the point, which tells any two quotients
/// apart while weights are below 2^16, as ipvsadm has them, and loads below 2^32: 16 million active connections of a destination.
#[inline(always)]
fn rank(scheduler: u32, destination: &Destination) -> u64 {
    let is = |one: Scheduler| scheduler == one as u32;
    let weight = destination.eligible_weight() as u64;
    let active = destination.active();
    let shared = |load: u64| (load.min(u32::MAX as u64) << 32).checked_div(weight);
    let heaviest = Some(u32::MAX as u64 - weight);
    let rank = if weight == 0 {
        None
    } else if is(Scheduler::LeastConnection) {
        Some(destination.overhead())
    } else if is(Scheduler::ShortestExpectedDelay) {
        shared(active + 1)
    } else if is(Scheduler::NeverQueue) {
        // The first idle one, even if another is faster.
        if active == 0 { Some(UNKNOWN) } else { shared(active + 1) }
    } else if is(Scheduler::WeightedFailover) {
        heaviest
    } else if is(Scheduler::WeightedOverflow) {
        if active <= weight { heaviest } else { None }
    } else {
        shared(destination.overhead())
    };
    rank.map_or(LAST, |rank| rank + 1)
}

/// Has the rank of a destination looked up anew, after it has got less to do, or another weight.
#[inline(always)]
pub(crate) fn forget<M: Memory>(memory: &M, destination: &Destination) {
    let word = |level: usize| destination.ranks[level].load(order::PLAIN);
    forget_words(memory, word(0), word(1), word(2));
}

impl Scheduler {
    /// Whether it chooses by ranks.
    #[inline(always)]
    pub(crate) fn has_ranks(number: u32) -> bool {
        let is = |one: Scheduler| number == one as u32;
        is(Scheduler::LeastConnection)
            || is(Scheduler::WeightedLeastConnection)
            || is(Scheduler::ShortestExpectedDelay)
            || is(Scheduler::NeverQueue)
            || is(Scheduler::WeightedFailover)
            || is(Scheduler::WeightedOverflow)
            || is(Scheduler::LocalityBased)
            || is(Scheduler::LocalityBasedReplicated)
    }
}

#[cfg(not(target_arch = "bpf"))]
pub use director::{build, is_sound, leave, place, renew};
