//! The packet that opens a connection, read once by a function of its own.
//!
//! Its tuple goes by way of memory: the verifier then follows what comes after once, not once for each way through the
//! headers.

use super::{Handover, hand_over};
use crate::frame::Link;
use crate::ip::Ip;
use crate::order;
use crate::platform::Platform;
use crate::table::{Family, Tuple, V4, V6};

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
    F::store_tuple(F::kept(platform.handover()?), &tuple);
    hand_over(platform, |words| &words.signal, frame.signal as u32);
    Some(())
}
