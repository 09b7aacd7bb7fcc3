//! What the director does about ranks.

use super::{LAST, NOWHERE, Tree, WIDTH, cell, forget, rank_of};
use crate::destination::Destination;
use crate::order;
use crate::platform::Memory;
use crate::scheduler::Scheduler;
use crate::service::MemberList;
use core::sync::atomic::{Ordering::SeqCst, fence};

/// Builds the tree of a list that is not valid yet, whose members are these destinations, and has them know it.
pub fn build<M: Memory>(memory: &M, list: &MemberList, members: &[u32]) {
    let first = list.first.load(order::PLAIN);
    for (at, index) in (first..).zip(members) {
        if let Some(destination) = memory.destination(*index) {
            note(list, at, destination);
        }
    }
    let scheduler = list.scheduler.load(order::PLAIN);
    if !Scheduler::has_ranks(scheduler) {
        return;
    }
    let tree = Tree::of(list);
    let store = |word, rank| {
        if let Some(cell) = cell(memory, word) {
            cell.store(rank, order::PLAIN);
        }
    };
    for word in tree.leaves()..tree.leaves() + tree.space {
        store(word, LAST);
    }
    let of_leaf = |index: u32| rank_of(memory, scheduler, index);
    let leaves = tree.leaves() + (first - tree.start);
    for (word, index) in (leaves..).zip(members) {
        store(word, of_leaf(*index));
    }
    for (words, row, above) in
        [(tree.space, tree.leaves(), tree.branches()), (tree.space / WIDTH, tree.branches(), tree.root())]
    {
        if words <= WIDTH {
            break;
        }
        let nodes = words.div_ceil(WIDTH);
        for node in 0..nodes.next_multiple_of(WIDTH) {
            let ranks = memory.ranks(row / WIDTH + node).filter(|_| node < nodes);
            let least = ranks.and_then(|node| node.ranks.iter().map(|rank| rank.load(order::PLAIN)).min());
            store(above + node, least.unwrap_or(LAST));
        }
    }
    fence(SeqCst);
    for (word, index) in (leaves..).zip(members) {
        if let (Some(cell), Some(destination)) = (cell(memory, word), memory.destination(*index))
            && cell.load(order::PLAIN) != of_leaf(*index)
        {
            forget(memory, destination);
        }
    }
}

/// The destination is now a member of the list, at this place.
pub fn place<M: Memory>(memory: &M, list: &MemberList, place: u32, destination: &Destination) {
    note(list, place, destination);
    renew(memory, destination);
}

/// The destination's weight, or what else makes it eligible, has changed.
pub fn renew<M: Memory>(memory: &M, destination: &Destination) {
    fence(SeqCst);
    forget(memory, destination);
}

/// The destination is no member any more.
pub fn leave(destination: &Destination) {
    for word in &destination.ranks {
        word.store(NOWHERE, order::PLAIN);
    }
}

/// Whether no word of the tree is higher than what it stands for, while nobody changes it.
pub fn is_sound<M: Memory>(memory: &M, list: &MemberList, members: &[u32]) -> bool {
    let (tree, scheduler) = (Tree::of(list), list.scheduler.load(order::PLAIN));
    let first = list.first.load(order::PLAIN) - tree.start;
    !Scheduler::has_ranks(scheduler)
        || (first..).zip(members).all(|(number, index)| {
            let mut cells = tree.words(number).into_iter().filter_map(|word| cell(memory, word));
            let mut below = rank_of(memory, scheduler, *index);
            cells.all(|cell| {
                let of = core::mem::replace(&mut below, cell.load(order::PLAIN));
                below <= of
            })
        })
}

fn note(list: &MemberList, place: u32, destination: &Destination) {
    if !Scheduler::has_ranks(list.scheduler.load(order::PLAIN)) {
        return leave(destination);
    }
    let tree = Tree::of(list);
    let words = tree.words(place - tree.start);
    for (cell, word) in destination.ranks.iter().zip(words) {
        cell.store(word, order::PLAIN);
    }
}
