//! Putting a new connection into the table.

use core::ops::ControlFlow;

use super::family::{Family, Tuple};
use super::lookup::{NOTHING, is_expired, locate, pack, unpack};
use super::release::{free, release};
use super::slot::{Entry, Kind, Meta, Slot};
use super::{PROBES, STRIPES, WAYS, WAYS_SHIFT, first_way, home, nth_way, slot, trace};
use crate::cell::AtomicU32;
use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::destination::Hop;
use crate::order;
use crate::platform::{Memory, Platform};
use crate::state;

/// One direction of a new connection. `entry.peer` does not matter here.
#[derive(Clone, Copy)]
pub struct Half<F: Family> {
    /// What its packets look like.
    pub tuple: Tuple<F>,
    /// [`Family::hash`] of the tuple.
    pub hash: u64,
    /// What is to be done with them.
    pub entry: Entry<F>,
}

impl<F: Family> Half<F> {
    /// With the hash that follows.
    #[inline(always)]
    pub fn new(config: &Config, tuple: Tuple<F>, entry: Entry<F>) -> Half<F> {
        Half { hash: F::hash(config, &tuple), tuple, entry }
    }
}

/// What came of [`create`] or [`create_reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The entry is in the table, at this index.
    Created(u32),
    /// Another CPU was faster: look it up.
    Exists,
    /// No room.
    Full,
    /// Another CPU held the lock for too long, or took the slot: to be tried again.
    Contended,
}

/// How often a lock that another CPU holds is tried again.
const LOCK_TRIES: u32 = 256;

/// Adds a connection's forward entry, alone as yet, or a template, and counts it at its destination.
#[inline(always)]
pub fn create<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    half: &Half<F>,
    (kind, state): (Kind, u8),
    now: Tick,
) -> Outcome {
    let Some(lock) = lock(platform, half.hash) else { return Outcome::Contended };
    let outcome = create_locked(platform, config, half, (kind, state), now);
    lock.store(0, order::PUBLISH);
    outcome
}

/// What [`create`] does for a connection, and [`create_reply`] if there is a way back to the client, where nothing is in the way: both entries
/// find room in their home buckets, as nearly all do. The forward entry's index, and whether the reply entry came with it.
///
/// `None`: it is not in the table.
#[inline(always)]
pub fn create_at_home<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    half: &Half<F>,
    state: u8,
    now: Tick,
    back: Option<Hop>,
) -> Option<(u32, bool)> {
    let lock = lock_at_once(platform, half.hash)?;
    let (index, claimed) = index_and_version(claim_at_home(platform, config, half.tuple, half.hash));
    let Some(place) = slot::<P, F>(platform, index) else {
        lock.store(0, order::PUBLISH);
        return None;
    };
    count(platform, half, Kind::Forward, state);
    let expires = state::expiry(config, half.tuple.protocol, state, now);
    let reply = match back {
        Some(hop) => prepare_reply(platform, config, half, index, hop, expires),
        None => Prepared::none(index),
    };
    place.fill(&half.tuple, &half.entry, reply.index, expires);
    let alone = claimed.live(state, Kind::Forward);
    let live = if reply.place.is_some() { alone.paired() } else { alone };
    platform.interleave();
    place.publish(live);
    lock.store(0, order::PUBLISH);
    if let (Some(reply_place), Some(reply_lock)) = (reply.place, reply.lock) {
        platform.interleave();
        // Nobody else changes what is claimed. By an exchange, for it comes before the look at the forward entry below in the eyes of all CPUs.
        let claimed = reply_place.meta();
        platform.exchange(&reply_place.meta, claimed.0, claimed.live(state, Kind::Reply).0);
        reply_lock.store(0, order::PUBLISH);
        let meta = place.meta();
        // Who changed or released it meanwhile did not find the reply entry.
        if !meta.same_version(live) {
            free(platform, reply_place, |meta| meta.same_version(claimed));
        } else if meta != live {
            copy_state::<P, F>(platform, index, reply.index);
        }
    }
    Some((index, reply.place.is_some()))
}

/// A reply entry that is written, but not visible yet; its lock is held. No `Option` of it, for a BPF program must not keep on its stack what
/// such a one leaves undefined.
struct Prepared<'a, F: Family> {
    place: Option<&'a Slot<F>>,
    lock: Option<&'a AtomicU32>,
    /// Of the forward entry, if there is none.
    index: u32,
}

impl<F: Family> Prepared<'_, F> {
    /// There is none; `index` is the forward entry's.
    #[inline(always)]
    fn none(index: u32) -> Self {
        Prepared { place: None, lock: None, index }
    }
}

/// Writes the reply entry for a forward entry that will be at `index`, if nothing is in the way.
#[inline(always)]
fn prepare_reply<'a, P: Platform, F: Family>(
    platform: &'a P,
    config: &Config,
    forward: &Half<F>,
    index: u32,
    hop: Hop,
    expires: Tick,
) -> Prepared<'a, F> {
    let half = reply_half(config, &forward.tuple, &forward.entry, hop);
    let Some(lock) = lock_at_once(platform, half.hash) else { return Prepared::none(index) };
    let (reply, _) = index_and_version(claim_at_home(platform, config, half.tuple, half.hash));
    let Some(place) = slot::<P, F>(platform, reply) else {
        lock.store(0, order::PUBLISH);
        return Prepared::none(index);
    };
    place.fill(&half.tuple, &half.entry, index, expires);
    Prepared { place: Some(place), lock: Some(lock), index: reply }
}

/// Of what [`claim_at_home`] says; of [`NOTHING`] an index that no slot has.
#[inline(always)]
fn index_and_version(packed: u64) -> (u32, Meta) {
    ((packed >> 32) as u32, Meta(packed as u32))
}

/// Takes a free slot in the tuple's home bucket: index and version in one word, or [`NOTHING`]. The home slot, if it is free and leads nowhere
/// else, for then no entry has the tuple. Only for whoever holds the lock.
///
/// The tuple by value: of what it is part of, a pointer to it would keep the whole on a BPF program's stack.
#[inline(always)]
fn claim_at_home<P: Platform, F: Family>(platform: &P, config: &Config, tuple: Tuple<F>, hash: u64) -> u64 {
    let (number, way) = (home(hash, 0, F::mask(config)), first_way(hash));
    let Some(bucket) = F::bucket(platform, number) else { return NOTHING };
    let place = &bucket.slots[way as usize];
    if place.leads_elsewhere() || !place.meta().is_free() {
        return claim_beside(platform, &tuple, hash);
    }
    take(platform, place, number << WAYS_SHIFT | way)
}

/// Takes this slot, if it is free still: index and version in one word, or [`NOTHING`].
#[inline(always)]
fn take<P: Platform, F: Family>(platform: &P, place: &Slot<F>, index: u32) -> u64 {
    let meta = place.meta();
    platform.interleave();
    if meta.is_free() && platform.exchange(&place.meta, meta.0, meta.claimed().0) {
        pack(index, meta.claimed())
    } else {
        NOTHING
    }
}

/// The same where the home slot is taken or has a trace: makes sure that the tuple is not where that leads, and takes the first free slot.
/// Index and version in one word, or [`NOTHING`]: to be looked into, for the tuple is here or may be in another bucket, or there is no
/// free slot.
#[inline(never)]
fn claim_beside<P: Platform, F: Family>(platform: &P, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = platform.config() else { return NOTHING };
    let number = home(hash, 0, F::mask(config));
    let Some(bucket) = F::bucket(platform, number) else { return NOTHING };
    let trace = bucket.slots[first_way(hash) as usize].elsewhere.load(order::PLAIN);
    if trace::leaves_bucket(trace) {
        return NOTHING;
    }
    let mut vacant = WAYS as u32;
    let mut i = 0;
    while i < WAYS as u32 {
        let is_led_to = i == 0 || trace::has_way(trace, i);
        if is_led_to || vacant == WAYS as u32 {
            let place = &bucket.slots[nth_way(first_way(hash), i) as usize];
            if place.meta().is_free() {
                if vacant == WAYS as u32 {
                    vacant = i;
                }
            } else if is_led_to && place.holds(tuple) {
                return NOTHING;
            }
        }
        i += 1;
    }
    if vacant == WAYS as u32 {
        return NOTHING;
    }
    let way = nth_way(first_way(hash), vacant);
    let taken = take(platform, &bucket.slots[way as usize], number << WAYS_SHIFT | way);
    if taken != NOTHING {
        trace::leave_in_bucket(platform, bucket, hash, vacant);
    }
    taken
}

/// Counts a new entry at its destination. Before it is published, for whoever releases it a moment after that subtracts.
#[inline(always)]
fn count<P: Platform, F: Family>(platform: &P, half: &Half<F>, kind: Kind, state: u8) {
    let Some(destination) = platform.destination(half.entry.destination) else { return };
    let number = match kind {
        Kind::Template => &destination.persistent,
        _ if state::is_active(half.tuple.protocol, state) => &destination.active,
        _ => &destination.inactive,
    };
    platform.add(number, 1);
    destination.check_upper();
}

/// The lock for tuples of this hash.
#[inline(always)]
fn lock_of<P: Platform>(platform: &P, hash: u64) -> Option<&AtomicU32> {
    platform.stripe((hash >> 16) as u32 & (STRIPES - 1))
}

/// Takes the lock for tuples of this hash, unless another CPU holds it. For whoever holds another lock already: that CPU may want it.
#[inline(always)]
fn lock_at_once<P: Platform>(platform: &P, hash: u64) -> Option<&AtomicU32> {
    lock_of(platform, hash).filter(|lock| platform.exchange(lock, 0, 1))
}

/// Takes the lock for tuples of this hash; `None` if another CPU holds it for too long.
#[inline(always)]
fn lock<P: Platform>(platform: &P, hash: u64) -> Option<&AtomicU32> {
    let lock = lock_of(platform, hash)?;
    let mut tries = 0;
    while !platform.exchange(lock, 0, 1) {
        platform.interleave();
        tries += 1;
        if tries == LOCK_TRIES {
            return None;
        }
    }
    Some(lock)
}

#[inline(always)]
fn create_locked<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    half: &Half<F>,
    (kind, state): (Kind, u8),
    now: Tick,
) -> Outcome {
    if let Some((index, meta)) = locate(platform, &half.tuple, half.hash) {
        if slot::<P, F>(platform, index).is_some_and(|place| !is_expired(platform, place, index, now)) {
            return Outcome::Exists;
        }
        if !release::<P, F>(platform, index, meta) {
            // A packet has just revived it, or it is gone already.
            return Outcome::Exists;
        }
    }
    let (index, claimed) = match claim::<P, F>(platform, config, half.hash, now) {
        Ok(slot) => slot,
        Err(outcome) => return outcome,
    };
    let Some(place) = slot::<P, F>(platform, index) else { return Outcome::Full };
    count(platform, half, kind, state);
    let expires = match kind {
        Kind::Template => now.plus(half.entry.hop.start as u32),
        _ => state::expiry(config, half.tuple.protocol, state, now),
    };
    place.fill(&half.tuple, &half.entry, index, expires);
    platform.interleave();
    place.publish(claimed.live(state, kind));
    Outcome::Created(index)
}

/// Adds the reply entry to the NATed connection whose forward entry is at `index`; `hop` is the way to the client until
/// a better one is looked up. If there is no room the connection ends.
///
/// The slot may have changed hands since, so the forward entry is first marked: while it is, nobody releases it. Then it has another mark,
/// so that whoever read it before finds that it changed.
#[inline(always)]
pub fn create_reply<P: Platform, F: Family>(platform: &P, config: &Config, index: u32, hop: Hop) -> Outcome {
    let Some(forward) = slot::<P, F>(platform, index) else { return Outcome::Exists };
    let meta = forward.meta();
    if !meta.is_live() || meta.is_reply() || meta.is_pairing() || forward.peer() != index {
        return Outcome::Exists;
    }
    if !platform.exchange(&forward.meta, meta.0, meta.pairing().0) {
        return Outcome::Contended;
    }
    let outcome = pair(platform, config, forward, index, meta, hop);
    if let Outcome::Created(reply) = outcome {
        platform.add(&forward.meta, Meta::PAIR);
        // Who changed the state meanwhile did not know of the reply entry.
        copy_state::<P, F>(platform, index, reply);
    } else {
        platform.add(&forward.meta, Meta::LET_GO);
        release::<P, F>(platform, index, forward.meta());
    }
    outcome
}

/// Makes the reply entry of the forward entry `index`, which this CPU has marked as pairing.
#[inline(always)]
fn pair<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    forward: &Slot<F>,
    index: u32,
    meta: Meta,
    hop: Hop,
) -> Outcome {
    let (Some(tuple), Some(entry)) = (forward.tuple(meta), forward.entry(meta)) else {
        return Outcome::Exists;
    };
    let half = reply_half(config, &tuple, &entry, hop);
    let Some(lock) = lock(platform, half.hash) else { return Outcome::Contended };
    let outcome = pair_locked(platform, config, forward, index, &half);
    lock.store(0, order::PUBLISH);
    outcome
}

#[inline(always)]
fn pair_locked<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    forward: &Slot<F>,
    index: u32,
    half: &Half<F>,
) -> Outcome {
    let hash = half.hash;
    // One client port used for two VIPs that lead to one real server: the real server sees one connection, so the
    // newer one is the one that lives.
    if let Some((older, meta)) = locate(platform, &half.tuple, hash)
        && !release::<P, F>(platform, older, meta)
    {
        return Outcome::Contended;
    }
    let now = platform.now();
    let claimed = match claim::<P, F>(platform, config, hash, now) {
        Err(Outcome::Contended) => claim::<P, F>(platform, config, hash, now),
        first => first,
    };
    let Ok((reply_index, claimed)) = claimed else { return Outcome::Full };
    let Some(place) = slot::<P, F>(platform, reply_index) else { return Outcome::Full };
    place.fill(&half.tuple, &half.entry, index, forward.expires());
    forward.set_peer(reply_index);
    platform.interleave();
    place.publish(claimed.live(forward.meta().state(), Kind::Reply));
    Outcome::Created(reply_index)
}

/// Brings the reply entry's copy of the forward entry's state up to date. Of two CPUs that do so at once, the one that
/// changed the state last looks last, so the copy ends up right.
#[inline(always)]
pub(crate) fn copy_state<M: Memory, F: Family>(memory: &M, forward_index: u32, reply_index: u32) {
    let (Some(forward), Some(reply)) =
        (slot::<M, F>(memory, forward_index), slot::<M, F>(memory, reply_index))
    else {
        return;
    };
    let mut tries = 0;
    while tries < 4 {
        tries += 1;
        let meta = reply.meta();
        if !meta.is_live() || !meta.is_reply() || reply.peer() != forward_index {
            return;
        }
        let state = forward.meta().state();
        if meta.state() != state && !memory.exchange(&reply.meta, meta.0, meta.with_state(state).0) {
            continue;
        }
        if forward.meta().state() == state {
            return;
        }
    }
}

/// The other direction of a NATed connection.
#[inline(always)]
fn reply_half<F: Family>(config: &Config, tuple: &Tuple<F>, entry: &Entry<F>, hop: Hop) -> Half<F> {
    let turned = Tuple {
        source: entry.address,
        destination: tuple.source,
        ports: [entry.port, tuple.ports[0]],
        protocol: tuple.protocol,
    };
    Half::new(config, turned, Entry { address: tuple.destination, port: tuple.ports[1], hop, ..*entry })
}

/// Takes a slot for a tuple of this hash: index and the version under which it is claimed. [`Outcome::Contended`]: another
/// CPU was faster; [`Outcome::Full`]: there is none.
#[inline(always)]
fn claim<P: Platform, F: Family>(
    platform: &P,
    config: &Config,
    hash: u64,
    now: Tick,
) -> Result<(u32, Meta), Outcome> {
    match claim_packed::<P, F>(platform, config, hash, now.0) {
        TAKEN => Err(Outcome::Contended),
        packed => unpack(packed).ok_or(Outcome::Full),
    }
}

/// In place of a slot: another CPU took it.
const TAKEN: u64 = NOTHING - 1;

/// [`claim`], with its result in one word: a BPF function returns no more.
#[inline(never)]
fn claim_packed<P: Platform, F: Family>(platform: &P, config: &Config, hash: u64, now: u32) -> u64 {
    let now = Tick(now);
    let mask = F::mask(config);
    let mut choice = choose_vacant_at_home::<P, F>(platform, hash, mask, now.0);
    if choice == NOTHING {
        choice = choose_vacant::<P, F>(platform, hash, mask, now.0);
    }
    let evict = choice == NOTHING;
    if evict {
        choice = choose_victim::<P, F>(platform, hash, mask, now.0);
    }
    let (index, probe) = (choice as u32, (choice >> 32) as u32);
    let Some(place) = slot::<P, F>(platform, index) else { return NOTHING };
    let mut meta = place.meta();
    platform.interleave();
    if meta.is_live() {
        if !evict && !is_expired(platform, place, index, now) {
            return TAKEN;
        }
        if !release::<P, F>(platform, index, meta) {
            return TAKEN;
        }
        if evict {
            // A freed slot keeps its tuple until somebody takes it.
            let embryonic = state::is_embryonic(place.protocol(), meta.state());
            platform.count(if embryonic { Event::EvictedEmbryonic } else { Event::EvictedIdle });
        }
        meta = place.meta();
    }
    if !meta.is_free() || !platform.exchange(&place.meta, meta.0, meta.claimed().0) {
        return TAKEN;
    }
    trace::leave::<P, F>(platform, hash, mask, probe, index & (WAYS as u32 - 1));
    pack(index, meta.claimed())
}

/// The first slot outside the home bucket that is free or whose time has passed, in the order in which look-ups search: its index, and
/// above that the number of buckets on; or [`NOTHING`].
///
/// A BPF function of its own, as the next ones: the verifier forgets on return how an answer was come to.
#[inline(never)]
fn choose_vacant<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, now: u32) -> u64 {
    let [vacant] = memory.repeat(PROBES - 1, [NOTHING], |number, [vacant]| {
        *vacant = search::<M, F>(memory, hash, mask, number + 1, now);
        if *vacant == NOTHING { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    vacant
}

/// The same in the home bucket.
#[inline(never)]
fn choose_vacant_at_home<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, now: u32) -> u64 {
    search::<M, F>(memory, hash, mask, 0, now)
}

/// The same in the `probe`-th bucket. The search ends where it finds something rather than weigh all slots against each other,
/// for each outcome of each comparison would be followed for itself.
#[inline(always)]
fn search<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, probe: u32, now: u32) -> u64 {
    let number = home(hash, probe, mask);
    let Some(bucket) = F::bucket(memory, number) else { return NOTHING };
    let first = first_way(hash);
    let mut i = 0;
    while i < WAYS as u32 {
        let way = nth_way(first, i);
        let place = &bucket.slots[way as usize];
        let meta = place.meta();
        if meta.is_free()
            || (meta.is_live()
                && Tick(now).until(place.expires()) <= 0
                && is_over::<M, F>(memory, number << WAYS_SHIFT | way, now) != 0)
        {
            return choice(number << WAYS_SHIFT | way, probe);
        }
        i += 1;
    }
    NOTHING
}

/// What the functions that choose a slot say: which, in the bucket so many on from the home.
#[inline(always)]
fn choice(index: u32, probe: u32) -> u64 {
    (probe as u64) << 32 | index as u64
}

/// Whether the connection of a slot whose own time has passed has expired (1) or not (0): of a connection with packets
/// one way only, the other half's time passes. It is put off here, so that the slot is not looked at in vain again.
#[inline(always)]
fn is_over<M: Memory, F: Family>(memory: &M, index: u32, now: u32) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 0 };
    if is_expired(memory, place, index, Tick(now)) {
        return 1;
    }
    if let Some(other) = slot::<M, F>(memory, place.peer()) {
        place.refresh(other.expires());
    }
    0
}

/// An entry among the tuple's first buckets that can be spared: an embryonic one, else a closing or a UDP one;
/// [`NOTHING`] if all are established. Where the search starts changes with time, so that it does not always hit the same.
#[inline(never)]
fn choose_victim<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, now: u32) -> u64 {
    let [victim] = memory.repeat(2 * VICTIMS, [NOTHING], |i, [victim]| {
        let probe = i / WAYS as u32 % 2;
        let index = home(hash, probe, mask) << WAYS_SHIFT | now.wrapping_add(i) & (WAYS as u32 - 1);
        let Some(place) = slot::<M, F>(memory, index) else { return ControlFlow::Break(()) };
        let meta = place.meta();
        let spare = if i < VICTIMS {
            state::is_embryonic(place.protocol(), meta.state())
        } else {
            !state::is_established(place.protocol(), meta.state())
        };
        if meta.is_live() && !meta.is_pairing() && spare {
            *victim = choice(index, probe);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    victim
}

/// Slots in which a victim is looked for: those of two buckets.
const VICTIMS: u32 = 2 * WAYS as u32;
