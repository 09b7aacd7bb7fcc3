//! Connections that another director tells of ([`crate::sync`]).
//!
//! These programs run on no packet: the director has the kernel run them on an [`Import`] in a frame's place. So what puts connections
//! into the table is one thing for both, and is not ended in the middle when the director's process is.
//!
//! The verdict says what came of it: passed, it was taken over, or nothing had to be done; dropped, there is no room; transmitted, another CPU
//! was in the way, and it is to be tried again.

use super::established::move_between_counts;
use super::version::next;
use super::{Program, Step};
use crate::config::{Config, Tick};
use crate::destination::{Hop, method};
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::sync::{Import, import};
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::{is_expired, locate};
use crate::table::release::release;
use crate::table::{Entry, Kind, Told, Tuple, slot, template};
use core::mem::offset_of;

/// Taken over, or nothing to do.
const DONE: Step = Step::Done(Verdict::Pass);
/// There is no room, or what has come is no [`Import`].
const REFUSED: Step = Step::Done(Verdict::Drop);
/// To be tried again.
const AGAIN: Step = Step::Done(Verdict::Transmit);

steps! {
    /// Puts the connection into the table, or brings what is there up to date.
    seen import4, import6 => import_in;
    /// Gives the connection, over NAT, the entry for its replies.
    seen import_reply4, import_reply6 => import_reply_in;
}

#[inline(always)]
fn import_in<P: Platform, F: Ip>(platform: &P) -> Step {
    let Some(config) = platform.config() else { return REFUSED };
    let Some(half) = half::<P, F>(platform, config) else { return REFUSED };
    let Some([destination, state, timeout, flags]) = rest(platform) else { return REFUSED };
    let (state, now) = (state as u8, platform.now());
    let is_template = flags & import::TEMPLATE != 0;
    let is_over_nat = half.entry.method as u32 == method::MASQUERADE && !is_template;
    if let Some((index, meta)) = locate(platform, &half.tuple, half.hash)
        && let Some(place) = slot::<P, F>(platform, index)
        && !is_expired(platform, place, index, now)
    {
        if meta.is_reply() {
            return REFUSED;
        }
        let Some(old) = place.entry(meta) else { return AGAIN };
        let is_same = is_template || (old.address == half.entry.address && old.port == half.entry.port);
        if !is_same && flags & import::INACTIVE != 0 {
            return DONE;
        }
        let is_bound = platform.destination(old.destination).is_some();
        if is_same && (is_bound || platform.destination(destination).is_none()) {
            let version_and_state = meta.version() << 16 | state as u32;
            let imposed = if is_template {
                template::import::<P, F>(platform, index, version_and_state, now.0, timeout)
            } else {
                impose::<P, F>(platform, index, version_and_state, now.plus(timeout).0)
            };
            if imposed == 0 {
                return AGAIN;
            }
            return if is_over_nat && old.peer == index {
                pair::<P, F>(platform, index)
            } else {
                note(platform, index)
            };
        }
        if !release::<P, F>(platform, index, meta) {
            // It controls connections, or somebody changed it.
            return if is_template { DONE } else { AGAIN };
        }
    }
    let kind = if is_template { Kind::Template } else { Kind::Forward };
    match insert::create(platform, config, &half, (kind, state), now) {
        Outcome::Created(index) => {
            let expires = now.plus(timeout);
            if let Some(place) = slot::<P, F>(platform, index) {
                place.refresh(expires);
            }
            if is_over_nat { pair::<P, F>(platform, index) } else { note(platform, index) }
        }
        Outcome::Full => REFUSED,
        Outcome::Exists | Outcome::Contended => AGAIN,
    }
}

#[inline(always)]
fn import_reply_in<P: Platform, F: Ip>(platform: &P) -> Step {
    let Some(config) = platform.config() else { return REFUSED };
    let Some(index) = platform.read(offset_of!(Import, slot)) else { return REFUSED };
    // The way to the client is looked up with the first reply.
    let hop = Hop::UNKNOWN.in_generation(config.generation().wrapping_sub(1));
    match insert::create_reply::<P, F>(platform, config, index, hop) {
        Outcome::Created(_) | Outcome::Exists => DONE,
        Outcome::Full => REFUSED,
        Outcome::Contended => AGAIN,
    }
}

/// The forward entry, or template, as it is to be.
#[inline(always)]
fn half<P: Platform, F: Ip>(platform: &P, config: &Config) -> Option<Half<F>> {
    let address = |at: usize| {
        let word = |i: usize| platform.read::<u32>(at + 4 * i);
        Some(F::address([word(0)?, word(1)?, word(2)?, word(3)?]))
    };
    let [destination, state, timeout, _] = rest(platform)?;
    let told = Told::new(state as u8, platform.now().plus(timeout));
    let tuple = Tuple {
        source: address(offset_of!(Import, client))?,
        destination: address(offset_of!(Import, virtual_address))?,
        ports: [platform.read(offset_of!(Import, ports))?, platform.read(offset_of!(Import, ports) + 2)?],
        protocol: platform.read(offset_of!(Import, protocol))?,
    };
    let entry = Entry {
        destination,
        peer: 0,
        address: address(offset_of!(Import, server))?,
        port: platform.read(offset_of!(Import, server_port))?,
        method: platform.read(offset_of!(Import, method))?,
        // The lower half is a template's timeout, and means nothing in other entries.
        hop: Hop { start: told.pack() | timeout as u64, ..Hop::UNKNOWN },
    };
    Some(Half::new(config, tuple, entry))
}

/// Destination, state, timeout and flags.
#[inline(always)]
fn rest<P: Platform>(platform: &P) -> Option<[u32; 4]> {
    Some([
        platform.read(offset_of!(Import, destination))?,
        platform.read(offset_of!(Import, state))?,
        platform.read(offset_of!(Import, timeout))?,
        platform.read(offset_of!(Import, flags))?,
    ])
}

/// Tells the director which slot it is.
#[inline(always)]
fn note<P: Platform>(platform: &P, index: u32) -> Step {
    if platform.write(offset_of!(Import, slot), index).is_some() { DONE } else { REFUSED }
}

/// Goes on with the entry for replies.
#[inline(always)]
fn pair<P: Platform, F: Ip>(platform: &P, index: u32) -> Step {
    match note(platform, index) {
        DONE => next::<F>(Program::ImportReply, Program::ImportReply6),
        refused => refused,
    }
}

/// Gives the connection of this slot and version (upper half) the state (lower half) and the time: 1; 0 if it has changed hands.
/// Scalars only, for it is a BPF function of its own.
#[inline(never)]
fn impose<P: Platform, F: Ip>(platform: &P, index: u32, version_and_state: u32, expires: u32) -> u32 {
    let (version, state, expires) = (version_and_state >> 16, version_and_state as u8, Tick(expires));
    let Some(place) = slot::<P, F>(platform, index) else { return 0 };
    let mut tries = 0;
    while tries < 4 {
        tries += 1;
        let meta = place.meta();
        if !meta.is_live() || meta.version() != version {
            return 0;
        }
        let Some(tuple) = place.tuple(meta) else { return 0 };
        let Some((destination, _)) = place.destination_and_peer(meta) else { return 0 };
        platform.interleave();
        if meta.state() != state {
            if !platform.exchange(&place.meta, meta.0, meta.with_state(state).0) {
                continue;
            }
            move_between_counts(platform, destination, tuple.protocol, meta.state(), state);
        }
        place.import_told(Told::new(state, expires), 0);
        place.refresh(expires);
        // It may have got its peer since `meta` was read, and look the same again.
        let peer = place.peer();
        if peer != index
            && let Some(reply) = slot::<P, F>(platform, peer)
        {
            reply.refresh(expires);
            insert::copy_state::<P, F>(platform, index, peer);
        }
        return 1;
    }
    0
}
