//! The packet that opens a connection: read when its service is looked for, and kept for the steps that follow.
//!
//! They take its tuple from memory, not from the frame: so the verifier follows what comes after once, not once for each
//! way through the headers.

use super::Handover;
use crate::config::Tick;
use crate::frame::{Content, Frame, Link};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, View};
use crate::table::{Family, Tuple, V4, V6};
use rlvs_packet::protocol;
use rlvs_packet::udp::Udp;

/// An IP version whose packets can be kept.
pub(super) trait Seen: Ip {
    /// Where the tuple is kept.
    fn kept(handover: &Handover) -> &Self::TupleCell;
    /// Where the tuple of its template is.
    fn template(handover: &Handover) -> &Self::TupleCell;
}

impl Seen for V4 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V4 as Family>::TupleCell {
        &handover.tuple4
    }

    #[inline(always)]
    fn template(handover: &Handover) -> &<V4 as Family>::TupleCell {
        &handover.template4
    }
}

impl Seen for V6 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V6 as Family>::TupleCell {
        &handover.tuple6
    }

    #[inline(always)]
    fn template(handover: &Handover) -> &<V6 as Family>::TupleCell {
        &handover.template6
    }
}

/// Keeps what puts a packet's connection into the table: its tuple's [`Family::hash`], and when it came.
#[inline(always)]
pub(super) fn keep_hash<P: View>(platform: &P, hash: u64, now: Tick) {
    if let Some(handover) = platform.handover() {
        handover.hash.store(hash, order::PLAIN);
        handover.now.store(now.0, order::PLAIN);
    }
}

/// Keeps the packet.
#[inline(always)]
pub(super) fn keep<P: View, F: Seen>(platform: &P, link: Link, frame: &Frame, tuple: &Tuple<F>) {
    if let Some(handover) = platform.handover() {
        F::store_tuple(F::kept(handover), tuple);
        handover.signal.store(frame.signal as u32, order::PLAIN);
        handover.payload.store(payload(frame), order::PLAIN);
        handover.link.store(link.pack(), order::PLAIN);
        handover.extent.store(extent(frame), order::PLAIN);
    }
}

/// The longest IP header of a packet that [`seen_frame`] gives back: IPv4's longest.
const HEADER_MAX: usize = 60;

/// [`Handover::extent`].
#[inline(always)]
fn extent(frame: &Frame) -> u32 {
    let header = frame.l4.wrapping_sub(frame.l3);
    let has_ports = matches!(frame.protocol, protocol::TCP | protocol::UDP);
    if !has_ports || frame.content != Content::Transport || header > HEADER_MAX {
        return 0;
    }
    frame.length << 16 | (header as u32) << 8 | frame.hops as u32
}

/// The packet that was kept, whose tuple has this protocol, if it is plain TCP or UDP.
#[inline(always)]
pub(super) fn seen_frame(handover: &Handover, protocol: u8) -> Option<Frame> {
    let extent = handover.extent.load(order::PLAIN);
    if extent == 0 {
        return None;
    }
    let link = handover.link();
    Some(Frame {
        l3: link.l3,
        // Headers are made of words of four octets. The verifier wants to see that they are short.
        l4: link.l3 + (extent as usize >> 8 & 0x3c),
        length: extent >> 16,
        protocol,
        signal: handover.signal.load(order::PLAIN) as u8,
        hops: extent as u8,
        vlan: link.vlan,
        content: Content::Transport,
        detail: 0,
    })
}

/// [`Handover::payload`].
#[inline(always)]
fn payload(frame: &Frame) -> u32 {
    if frame.protocol != protocol::UDP || !frame.content.has_transport() {
        return 0;
    }
    let start = frame.l4 + Udp::LENGTH;
    let length = (frame.l3 + frame.length as usize).saturating_sub(start);
    (start as u32) & 0xffff | (length as u32) << 16
}

/// The tuple of the packet that was kept, and its signal ([`Frame::signal`]).
#[inline(always)]
pub(super) fn seen<P: Platform, F: Seen>(platform: &P) -> Option<(Tuple<F>, u8)> {
    let handover = platform.handover()?;
    Some((F::load_tuple(F::kept(handover)), handover.signal.load(order::PLAIN) as u8))
}
