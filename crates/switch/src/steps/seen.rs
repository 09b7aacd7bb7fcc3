//! The packet that opens a connection, read once by a function of its own.
//!
//! Its tuple goes by way of memory: the verifier then follows what comes after once, not once for each way through the
//! headers.

use super::{Handover, handed_over};
use crate::frame::{Frame, Link};
use crate::ip::Ip;
use crate::order;
use crate::platform::Platform;
use crate::table::{Family, Tuple, V4, V6};
use rlvs_packet::protocol;
use rlvs_packet::udp::Udp;

/// An IP version whose packets can be kept.
pub(super) trait Seen: Ip {
    /// Where the tuple is kept.
    fn kept(handover: &Handover) -> &Self::TupleCell;
    /// [`keep`] as a BPF function of its own: `link` packed, 0 for no.
    fn keep_apart<P: Platform>(platform: &P, link: u32) -> u32;
}

impl Seen for V4 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V4 as Family>::TupleCell {
        &handover.tuple4
    }

    #[inline(never)]
    fn keep_apart<P: Platform>(platform: &P, link: u32) -> u32 {
        keep::<P, V4>(platform, Link::unpack(link)).is_some() as u32
    }
}

impl Seen for V6 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V6 as Family>::TupleCell {
        &handover.tuple6
    }

    #[inline(never)]
    fn keep_apart<P: Platform>(platform: &P, link: u32) -> u32 {
        keep::<P, V6>(platform, Link::unpack(link)).is_some() as u32
    }
}

/// The packet's tuple, and its signal ([`crate::frame::Frame::signal`]); `None` if it cannot be read.
#[inline(always)]
pub(super) fn seen<P: Platform, F: Seen>(platform: &P, link: Link) -> Option<(Tuple<F>, u8)> {
    if F::keep_apart(platform, link.pack()) == 0 {
        return None;
    }
    let handover = platform.handover()?;
    Some((F::load_tuple(F::kept(handover)), handover.signal.load(order::PLAIN) as u8))
}

#[inline(always)]
fn keep<P: Platform, F: Seen>(platform: &P, link: Link) -> Option<()> {
    let (frame, tuple) = F::parse(platform, link)?;
    let handover = platform.handover()?;
    let tuple = if super::is_from_server(platform) { request::<P, F>(platform, &tuple)? } else { tuple };
    F::store_tuple(F::kept(handover), &tuple);
    handover.signal.store(frame.signal as u32, order::PLAIN);
    handover.payload.store(payload(&frame), order::PLAIN);
    Some(())
}

/// What the packet of a real server would answer, were it an answer of the service.
#[inline(always)]
fn request<P: Platform, F: Ip>(platform: &P, tuple: &Tuple<F>) -> Option<Tuple<F>> {
    let service = platform.service(handed_over(platform, |words| &words.service))?;
    Some(Tuple {
        source: tuple.destination,
        destination: F::address(service.address_words()),
        ports: [tuple.ports[1], service.port()],
        protocol: tuple.protocol,
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
