//! The link header of a frame that leaves.

use crate::counters::Event;
use crate::destination::Hop;
use crate::frame::Frame;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::steps::{Step, drop_for};
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use zerocopy::{Immutable, IntoBytes, network_endian::U16};

/// Gives the packet the hop's link header and lets it go.
#[inline(always)]
pub(super) fn send<P: Platform, F: Ip>(platform: &P, frame: &Frame, hop: &Hop) -> Option<Verdict> {
    replace(platform, frame, hop, 0, F::ETHER_TYPE)?;
    Some(leave(platform, hop))
}

/// Replaces the link header by the hop's, tagged or not, and makes `room` behind it. The offset of the room.
#[inline(always)]
pub(super) fn replace<P: Platform>(
    platform: &P,
    frame: &Frame,
    hop: &Hop,
    room: usize,
    kind: u16,
) -> Option<usize> {
    let tagged = hop.vlan() != 0;
    let header = if tagged { Ethernet::LENGTH + VlanTag::LENGTH } else { Ethernet::LENGTH };
    let by = frame.l3 as i32 - (header + room) as i32;
    if by != 0 && !platform.move_head(by) {
        return None;
    }
    let kind = U16::new(kind);
    if tagged {
        platform.write(Ethernet::LENGTH, VlanTag { control: U16::new(hop.vlan()), kind })?;
    }
    let kind = if tagged { U16::new(ethernet::VLAN) } else { kind };
    platform.write(0, Header { macs: Macs::of(hop), kind })?;
    Some(header)
}

/// Writes the hop's MACs.
#[inline(always)]
pub(crate) fn address<P: Platform>(platform: &P, hop: &Hop) -> Option<()> {
    platform.write(0, Macs::of(hop))
}

/// Both MACs, in the words that a hop holds them in.
#[derive(IntoBytes, Immutable)]
#[repr(C, packed)]
struct Macs {
    start: u64,
    end: u32,
}

impl Macs {
    #[inline(always)]
    fn of(hop: &Hop) -> Macs {
        Macs { start: hop.start, end: hop.end as u32 }
    }
}

/// [`Ethernet`], written at once.
#[derive(IntoBytes, Immutable)]
#[repr(C, packed)]
struct Header {
    macs: Macs,
    kind: U16,
}

/// By the interface that it came in by, or by another one.
#[inline(always)]
pub(super) fn leave<P: Platform>(platform: &P, hop: &Hop) -> Verdict {
    if hop.interface == platform.ingress() { Verdict::Transmit } else { Verdict::Redirect(hop.interface) }
}

/// By the director's process, in fragments: one frame cannot become several here. `is_own` as in
/// [`crate::fragment::LargePacket`].
#[inline(always)]
pub(super) fn leave_in_fragments<P: Platform>(platform: &P, hop: &Hop, mtu: u32, is_own: bool) -> Step {
    if !platform.send_in_fragments(hop.interface, mtu, is_own as u32) {
        return drop_for(platform, Event::NotFragmented);
    }
    platform.count(Event::Fragmented);
    Step::Done(Verdict::Drop)
}
