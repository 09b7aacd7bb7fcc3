//! The packet that opens a connection: read when its service is looked for, and kept for the steps that follow.
//!
//! They take its tuple from memory, not from the frame: so the verifier follows what comes after once, not once for each
//! way through the headers.

use super::{Handover, hand_over};
use crate::frame::Frame;
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, View};
use crate::table::{Family, Tuple, V4, V6};

/// An IP version whose packets can be kept.
pub(super) trait Seen: Ip {
    /// Where the tuple is kept.
    fn kept(handover: &Handover) -> &Self::TupleCell;
}

impl Seen for V4 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V4 as Family>::TupleCell {
        &handover.tuple4
    }
}

impl Seen for V6 {
    #[inline(always)]
    fn kept(handover: &Handover) -> &<V6 as Family>::TupleCell {
        &handover.tuple6
    }
}

/// Keeps the packet.
#[inline(always)]
pub(super) fn keep<P: View, F: Seen>(platform: &P, frame: &Frame, tuple: &Tuple<F>) {
    if let Some(handover) = platform.handover() {
        F::store_tuple(F::kept(handover), tuple);
    }
    hand_over(platform, |words| &words.signal, frame.signal as u32);
}

/// The tuple of the packet that was kept, and its signal ([`Frame::signal`]).
#[inline(always)]
pub(super) fn seen<P: Platform, F: Seen>(platform: &P) -> Option<(Tuple<F>, u8)> {
    let handover = platform.handover()?;
    Some((F::load_tuple(F::kept(handover)), handover.signal.load(order::PLAIN) as u8))
}
