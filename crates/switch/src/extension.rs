//! IPv6 extension headers: where the transport header is behind them (RFC 8200, 4).

use crate::counters::Event;
use crate::order;
use crate::platform::View;
use rlvs_packet::ipv6::extension::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
use rlvs_packet::ipv6::{FragmentHeader, Ipv6};

/// Headers that are walked over.
const HEADERS_MAX: u32 = 6;
/// Octets that they may take, with the fixed header: what [`End::offset`] has bits for.
pub(crate) const OCTETS_MAX: usize = 0x1ff;

/// Which part of a packet a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// Its beginning.
    First,
    /// Another fragment.
    Later,
}

/// What stands behind the extension headers.
pub(crate) struct End {
    /// Octets from the fixed header to the transport header, or in a later fragment to the data.
    pub offset: usize,
    /// The transport protocol; in a later fragment what follows the fragment header in the first one.
    pub protocol: u8,
    /// Which part of a packet follows.
    pub part: Part,
    /// Of a fragment: what tells its packet from others.
    pub identification: u32,
}

/// Whether this next header is an extension header that may stand before the transport header.
#[inline(always)]
pub(crate) fn is_one(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Walks over the extension headers behind the fixed header at `l3`; the first of them is `next_header`. `None` if
/// they are cut off, too many, or send the packet to other stations first.
#[inline(always)]
pub(crate) fn walk<P: View>(platform: &P, l3: usize, next_header: u8) -> Option<End> {
    if walk_from(platform, l3 as u32 | (next_header as u32) << 16) == 0 {
        platform.count(Event::ExtensionHeader);
        return None;
    }
    // By way of memory: the verifier then goes on once, not once for each way through the headers.
    let handover = platform.handover()?;
    let word = handover.headers.load(order::PLAIN);
    Some(End {
        offset: word as usize & OCTETS_MAX,
        protocol: (word >> 16) as u8,
        part: match word >> 24 {
            0 => Part::Whole,
            1 => Part::First,
            _ => Part::Later,
        },
        identification: handover.identification.load(order::PLAIN),
    })
}

/// Whether (1) or not (0) the words for [`End`] are in the handover; a number, for it is a BPF function of its own.
#[inline(never)]
fn walk_from<P: View>(platform: &P, start: u32) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    // Few bits, for the verifier knows nothing of what is read behind 64 KiB.
    let l3 = (start & 0xff) as usize;
    let mut next = (start >> 16) as u8;
    let mut offset = Ipv6::LENGTH;
    let mut part = 0;
    let mut headers = 0;
    while is_one(next) {
        if headers == HEADERS_MAX {
            return 0;
        }
        headers += 1;
        if next == FRAGMENT {
            let Some(header) = platform.read::<FragmentHeader>(l3 + offset) else { return 0 };
            handover.identification.store(header.identification.get(), order::PLAIN);
            let place = header.offset.get();
            offset += FragmentHeader::LENGTH;
            next = header.next_header;
            if place & FragmentHeader::OFFSET_MASK != 0 {
                part = 2;
                break;
            }
            part = (place & FragmentHeader::MORE) as u32;
        } else {
            // Next header, length in units of 8 octets less one, and in routing headers type and stations left.
            let Some([after, length, _, stations]) = platform.read::<[u8; 4]>(l3 + offset) else { return 0 };
            if next == ROUTING && stations != 0 {
                return 0;
            }
            offset += (length as usize + 1) * 8;
            next = after;
        }
        if offset > OCTETS_MAX {
            return 0;
        }
    }
    handover.headers.store(offset as u32 | (next as u32) << 16 | part << 24, order::PLAIN);
    1
}
