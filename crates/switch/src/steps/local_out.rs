//! What the director itself sends: a client on it, or a real server of NAT.
//!
//! The kernel sends such packets without receiving them, so they get into the switch by a way of their own: a pair of
//! interfaces, into which this sends what is the switch's. There it goes through the steps as any received packet does.

use super::established::may_open;
use super::hand_over;
use super::open::{match_service, server_key};
use super::seen::{Seen, keep};
use crate::config::{Config, look_up};
use crate::fragment;
use crate::frame::{self, Content, Link, Network};
use crate::ip::Ip;
use crate::mark;
use crate::order;
use crate::platform::View;
use crate::table::lookup::{is_expired, locate};
use crate::table::{Tuple, V4, V6, slot};

/// Whether a frame that the director is about to send is for the switch: it belongs to a known connection, or may open
/// one with a virtual service.
#[inline(always)]
pub fn local_out<V: View>(view: &V) -> bool {
    match frame::network(view) {
        Network::V4(link) => is_ours4(view, link.pack()) == 1,
        Network::V6(link) => is_ours6(view, link.pack()) == 1,
        Network::Other => false,
    }
}

#[inline(never)]
fn is_ours4<V: View>(view: &V, link: u32) -> u32 {
    is_ours::<V, V4>(view, read4(view, link)) as u32
}

#[inline(never)]
fn is_ours6<V: View>(view: &V, link: u32) -> u32 {
    is_ours::<V, V6>(view, read6(view, link)) as u32
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
    let link = Link::unpack(link);
    let (frame, tuple) = F::parse(view, link)?;
    // Nobody else could answer, and the kernel takes such packets by its loopback interface only.
    if F::is_loopback(tuple.source) {
        return None;
    }
    keep(view, link, &frame, &tuple);
    hand_over(view, |words| &words.identification, frame.detail);
    let config = view.config()?;
    let opening = if !config.is_standby() && may_open(config, &frame) { is::OPENING } else { 0 };
    match frame.content {
        Content::EarlyFragment => None,
        Content::LaterFragment => Some(is::READ | is::LATER_FRAGMENT),
        Content::FirstFragment => Some(is::READ | is::FIRST_FRAGMENT | opening),
        Content::Transport | Content::Error => Some(is::READ | opening),
    }
}

#[inline(always)]
fn is_ours<V: View, F: Seen>(view: &V, packet: u32) -> bool {
    if packet & is::READ == 0 {
        return false;
    }
    if packet & is::LATER_FRAGMENT != 0 {
        return true;
    }
    let (Some(config), Some(handover)) = (view.config(), view.handover()) else { return false };
    let tuple = F::load_tuple(F::kept(handover));
    let ours =
        is_known(view, config, &tuple) || packet & is::OPENING != 0 && has_service(view, config, &tuple);
    if ours && packet & is::FIRST_FRAGMENT != 0 {
        // Now, for the others are sent before the switch has seen this one.
        fragment::remember(view, &tuple, handover.identification.load(order::PLAIN));
    }
    ours
}

#[inline(always)]
fn has_service<V: View, F: Ip>(view: &V, config: &Config, tuple: &Tuple<F>) -> bool {
    let look_ups = config.look_ups::<F>();
    if look_ups & look_up::CALLS != 0 && view.find_service(&server_key(tuple)).is_some() {
        return true;
    }
    let mark = if look_ups & look_up::MARK != 0 { mark::mark_of(view, tuple) } else { 0 };
    match_service(view, config, tuple, mark).is_some()
}

#[inline(always)]
fn is_known<V: View, F: Ip>(view: &V, config: &Config, tuple: &Tuple<F>) -> bool {
    let Some((index, _)) = locate(view, tuple, F::hash(config, tuple)) else { return false };
    slot::<V, F>(view, index).is_some_and(|slot| !is_expired(view, slot, index, view.now()))
}
