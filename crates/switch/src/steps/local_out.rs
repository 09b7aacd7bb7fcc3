//! What the director itself sends: a client on it, or a real server of NAT.
//!
//! The kernel sends such packets without receiving them, so they get into the switch by a way of their own: a pair of
//! interfaces, into which this sends what is the switch's. There it goes through the steps as any received packet does.

use super::established::may_open;
use super::open::service_of;
use super::seen::Seen;
use crate::config::{Config, look_up};
use crate::fragment;
use crate::frame::{self, Content, Link, Network};
use crate::ip::Ip;
use crate::mark;
use crate::order;
use crate::platform::View;
use crate::table::lookup::{is_expired, locate};
use crate::table::{Tuple, V4, V6, slot};

/// What a frame is that the director is about to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Nothing for the switch.
    Foreign,
    /// Of a known connection, or it may open one with a virtual service.
    Ours,
    /// That depends on its mark: [`local_out_by_mark`] tells. A step of its own, for the verifier follows the rules one by one.
    Marked,
}

/// Says what the frame is.
#[inline(always)]
pub fn local_out<V: View>(view: &V) -> Leaving {
    let found = match frame::network(view) {
        Network::V4(link) => look4(view, link.pack()),
        Network::V6(link) => look6(view, link.pack()),
        Network::Other => 0,
    };
    match found {
        OURS => Leaving::Ours,
        MARKED => Leaving::Marked,
        _ => Leaving::Foreign,
    }
}

/// Whether a frame that is [`Leaving::Marked`] may open a connection with a virtual service, be it by its mark or otherwise.
#[inline(always)]
pub fn local_out_by_mark<V: View>(view: &V) -> bool {
    match frame::network(view) {
        Network::V4(link) => classify4(view, link.pack()) == OURS,
        Network::V6(link) => classify6(view, link.pack()) == OURS,
        Network::Other => false,
    }
}

/// [`Leaving::Ours`], in one word.
const OURS: u32 = 1;
/// [`Leaving::Marked`], in one word.
const MARKED: u32 = 2;

#[inline(never)]
fn look4<V: View>(view: &V, link: u32) -> u32 {
    look::<V, V4>(view, read4(view, link))
}

#[inline(never)]
fn look6<V: View>(view: &V, link: u32) -> u32 {
    look::<V, V6>(view, read6(view, link))
}

#[inline(never)]
fn classify4<V: View>(view: &V, link: u32) -> u32 {
    classify::<V, V4>(view, read4(view, link))
}

#[inline(never)]
fn classify6<V: View>(view: &V, link: u32) -> u32 {
    classify::<V, V6>(view, read6(view, link))
}

/// Bits of what [`read4`] and [`read6`] give.
mod is {
    /// The tuple is in the handover.
    pub const READ: u32 = 1;
    /// It may be a connection's first packet.
    pub const OPENING: u32 = 2;
    /// The first fragment of a packet, whose identification is in the handover.
    pub const FIRST_FRAGMENT: u32 = 4;
    /// Another fragment; the first one was the switch's, or this one's ports would not be known.
    pub const LATER_FRAGMENT: u32 = 8;
}

#[inline(never)]
fn read4<V: View>(view: &V, link: u32) -> u32 {
    read::<V, V4>(view, link).unwrap_or(0)
}

#[inline(never)]
fn read6<V: View>(view: &V, link: u32) -> u32 {
    read::<V, V6>(view, link).unwrap_or(0)
}

/// Reads the packet; what it is.
#[inline(always)]
fn read<V: View, F: Seen>(view: &V, link: u32) -> Option<u32> {
    let (frame, tuple) = F::parse(view, Link::unpack(link))?;
    // Nobody else could answer, and the kernel takes such packets by its loopback interface only.
    if F::is_loopback(tuple.source) {
        return None;
    }
    let handover = view.handover()?;
    F::store_tuple(F::kept(handover), &tuple);
    handover.identification.store(frame.detail, order::PLAIN);
    let opening = if may_open(view.config()?, &frame) { is::OPENING } else { 0 };
    match frame.content {
        Content::EarlyFragment => None,
        Content::LaterFragment => Some(is::READ | is::LATER_FRAGMENT),
        Content::FirstFragment => Some(is::READ | is::FIRST_FRAGMENT | opening),
        Content::Transport | Content::Error => Some(is::READ | opening),
    }
}

#[inline(always)]
fn look<V: View, F: Seen>(view: &V, packet: u32) -> u32 {
    if packet & is::READ == 0 {
        return 0;
    }
    if packet & is::LATER_FRAGMENT != 0 {
        return OURS;
    }
    let (Some(config), Some(handover)) = (view.config(), view.handover()) else { return 0 };
    let tuple = F::load_tuple(F::kept(handover));
    if is_known(view, config, &tuple) {
        return ours(view, packet, &tuple);
    }
    if packet & is::OPENING == 0 {
        return 0;
    }
    if config.look_ups::<F>() & look_up::MARK != 0 {
        return MARKED;
    }
    match service_of(view, config, &tuple, 0) {
        Some(_) => ours(view, packet, &tuple),
        None => 0,
    }
}

#[inline(always)]
fn classify<V: View, F: Seen>(view: &V, packet: u32) -> u32 {
    if packet & is::OPENING == 0 {
        return 0;
    }
    let (Some(config), Some(handover)) = (view.config(), view.handover()) else { return 0 };
    let tuple = F::load_tuple(F::kept(handover));
    match service_of(view, config, &tuple, mark::mark_of(view, &tuple)) {
        Some(_) => ours(view, packet, &tuple),
        None => 0,
    }
}

#[inline(always)]
fn ours<V: View, F: Seen>(view: &V, packet: u32, tuple: &Tuple<F>) -> u32 {
    if packet & is::FIRST_FRAGMENT != 0
        && let Some(handover) = view.handover()
    {
        // Now, for the others are sent before the switch has seen this one.
        fragment::remember(view, tuple, handover.identification.load(order::PLAIN));
    }
    OURS
}

#[inline(always)]
fn is_known<V: View, F: Ip>(view: &V, config: &Config, tuple: &Tuple<F>) -> bool {
    let Some((index, _)) = locate(view, tuple, F::hash(config, tuple)) else { return false };
    slot::<V, F>(view, index).is_some_and(|slot| !is_expired(view, slot, index, view.now()))
}
