//! ICMP errors from the way of a tunnel: they quote the outer packet, and its client is to be told.
//!
//! Where the quote goes on into the client's packet, far enough to find the connection, the client gets the error as if
//! the VIP had sent it. With "too big", the MTU is what is left inside the tunnel. All else passes.

use super::{Step, drop_for};
use crate::counters::Event;
use crate::destination::{Destination, Hop, method};
use crate::forward::{self, tunnel};
use crate::frame::{self, Frame, Link, Network};
use crate::icmp::Message;
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::table::lookup::{NOTHING, find, is_expired, pack, unpack};
use crate::table::{Entry, V4, V6, slot};
use rlvs_packet::ethernet::{self, Ethernet};
use rlvs_packet::gre::{CHECKSUM_PRESENT, Gre, GreChecksum};
use rlvs_packet::gue::Gue;
use rlvs_packet::icmp::{self, Cause, IcmpError};
use rlvs_packet::ipv4::{self, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use rlvs_packet::udp::Udp;

/// Not about a client of ours: the kernel's.
const PASS: u64 = 0;
/// Nobody can be told: the way to the client is not known.
const UNRESOLVED: u64 = 1;
/// ... or the frame cannot be resized.
const NO_ROOM: u64 = 2;
/// Sent: the interface that it leaves by is in the lower half.
const SENT: u64 = 1 << 32;

/// Tells the client.
#[inline(always)]
pub fn tunnel_error<P: Platform>(platform: &P) -> Step {
    let done = match frame::network(platform) {
        Network::V4(link) => outer4(platform, link),
        Network::V6(link) => outer6(platform, link),
        Network::Other => None,
    };
    Step::Done(match done.unwrap_or(PASS) {
        PASS => Verdict::Pass,
        UNRESOLVED => return drop_for(platform, Event::Unresolved),
        NO_ROOM => return drop_for(platform, Event::NoRoom),
        sent if sent as u32 == platform.ingress() => Verdict::Transmit,
        sent => Verdict::Redirect(sent as u32),
    })
}

#[inline(always)]
fn outer4<P: Platform>(platform: &P, link: Link) -> Option<u64> {
    let (frame, header) = frame::header4(platform, link)?;
    let error = platform.read::<IcmpError>(frame.l4)?;
    if header.protocol != protocol::ICMP
        || header.fragment.get() & ipv4::FRAGMENT_MASK != 0
        || !icmp::is_error(error.kind)
    {
        return None;
    }
    let quote = frame.l4 + IcmpError::LENGTH;
    let outer = platform.read::<Ipv4>(quote)?;
    if outer.version_length != Ipv4::PLAIN || outer.fragment.get() & ipv4::OFFSET_MASK != 0 {
        return None;
    }
    inner(platform, quote + Ipv4::LENGTH, outer.protocol, 4, &error)
}

#[inline(always)]
fn outer6<P: Platform>(platform: &P, link: Link) -> Option<u64> {
    let (frame, header) = frame::header6(platform, link)?;
    let error = platform.read::<IcmpError>(frame.l4)?;
    if header.next_header != protocol::ICMPV6 || !icmp::is_error_v6(error.kind) {
        return None;
    }
    let quote = frame.l4 + IcmpError::LENGTH;
    let outer = platform.read::<Ipv6>(quote)?;
    inner(platform, quote + Ipv6::LENGTH, outer.next_header, 6, &error)
}

#[inline(always)]
fn inner<P: Platform>(
    platform: &P,
    offset: usize,
    kind: u8,
    outer_family: u32,
    error: &IcmpError,
) -> Option<u64> {
    let (kind, between) = tunnel_header(platform, offset, kind)?;
    let what = error.kind as u32 | (error.code as u32) << 8 | outer_family << 16 | (between as u32) << 24;
    let offset = (offset + between) as u32;
    match kind {
        protocol::IPV4 => Some(inner4(platform, offset, what, error.mtu.get(), found4(platform, offset))),
        protocol::IPV6 => Some(inner6(platform, offset, what, error.mtu.get(), found6(platform, offset))),
        _ => None,
    }
}

/// What is in the packet of this protocol at `offset`, and how many octets after.
#[inline(always)]
fn tunnel_header<P: Platform>(platform: &P, offset: usize, kind: u8) -> Option<(u8, usize)> {
    match kind {
        protocol::UDP => {
            let gue = platform.read::<Gue>(offset + Udp::LENGTH)?;
            // Without extensions, as directors send it.
            (gue.variant_length == 0).then_some((gue.protocol, Udp::LENGTH + Gue::LENGTH))
        }
        protocol::GRE => {
            let gre = platform.read::<Gre>(offset)?;
            let kind = match gre.kind.get() {
                ethernet::IPV4 => protocol::IPV4,
                ethernet::IPV6 => protocol::IPV6,
                _ => return None,
            };
            match gre.flags.get() {
                0 => Some((kind, Gre::LENGTH)),
                CHECKSUM_PRESENT => Some((kind, Gre::LENGTH + GreChecksum::LENGTH)),
                _ => None,
            }
        }
        _ => Some((kind, 0)),
    }
}

/// The connection of the client's packet at this offset, [`pack`]ed, or [`NOTHING`]. A BPF function of its own, for the stack
/// is short.
#[inline(never)]
fn found4<P: Platform>(platform: &P, offset: u32) -> u64 {
    connection::<P, V4>(platform, offset as usize & 0xff).unwrap_or(NOTHING)
}

/// The same for IPv6.
#[inline(never)]
fn found6<P: Platform>(platform: &P, offset: u32) -> u64 {
    connection::<P, V6>(platform, offset as usize & 0xff).unwrap_or(NOTHING)
}

#[inline(always)]
fn connection<P: Platform, F: Ip>(platform: &P, offset: usize) -> Option<u64> {
    let (_, tuple) = F::quoted(platform, offset)?;
    let config = platform.config()?;
    let found = find(platform, config, &tuple, F::hash(config, &tuple))?;
    if found.meta.is_reply() || is_expired(platform, found.slot, found.index, platform.now()) {
        return None;
    }
    Some(pack(found.index, found.meta))
}

/// A BPF function of its own: the offset of the client's packet; type, code, the outer packet's family, the octets between
/// the two IP headers; the second word; its connection.
#[inline(never)]
fn inner4<P: Platform>(platform: &P, offset: u32, what: u32, word: u32, found: u64) -> u64 {
    tell::<P, V4>(platform, offset as usize & 0xff, what, word, found).unwrap_or(PASS)
}

/// The same for IPv6.
#[inline(never)]
fn inner6<P: Platform>(platform: &P, offset: u32, what: u32, word: u32, found: u64) -> u64 {
    tell::<P, V6>(platform, offset as usize & 0xff, what, word, found).unwrap_or(PASS)
}

#[inline(always)]
fn tell<P: Platform, F: Ip>(platform: &P, offset: usize, what: u32, word: u32, found: u64) -> Option<u64> {
    let (outer_family, between) = (what >> 16 & 0xff, (what >> 24) as usize);
    let (index, meta) = unpack(found)?;
    let (l4, tuple) = F::quoted(platform, offset)?;
    let entry: Entry<F> = slot::<P, F>(platform, index)?.entry(meta)?;
    let destination = platform.destination(entry.destination)?;
    if entry.method as u32 != method::TUNNEL
        || between != tunnel::between(destination.tunnel())
        || !is_end(platform, destination, offset - between, outer_family)
    {
        return None;
    }
    let message = translate::<F>(destination, what, word)?;
    if let Some(counters) = platform.counters(entry.destination) {
        counters.packet_out((platform.length() - offset) as u32);
    }
    let Some(hop) = F::route(platform, tuple.destination, tuple.source, 0) else {
        return Some(UNRESOLVED);
    };
    let Some(sent) = send::<P, F>(platform, offset, l4, &hop, message) else {
        return Some(NO_ROOM);
    };
    Some(sent)
}

/// Whether the destination is the end of the tunnel that the quoted outer header, before `offset`, leads to.
#[inline(always)]
fn is_end<P: Platform>(platform: &P, destination: &Destination, offset: usize, family: u32) -> bool {
    if destination.family.load(order::PLAIN) != family {
        return false;
    }
    // The receiver's address ends either header. Where it starts is hidden from the compiler, which would compare one pointer with the
    // frame's end and read by another.
    let start = core::hint::black_box(offset - if family == 6 { Ipv6::ADDRESS } else { Ipv4::ADDRESS });
    let words = if family == 6 {
        platform.read::<[[u8; 4]; 4]>(start)
    } else {
        platform.read::<[u8; 4]>(start).map(|address| [address, [0; 4], [0; 4], [0; 4]])
    };
    let Some(words) = words else { return false };
    let mut i = 0;
    while i < 4 {
        if destination.address[i].load(order::PLAIN) != u32::from_ne_bytes(words[i]) {
            return false;
        }
        i += 1;
    }
    true
}

/// What the client is told: the same, but with the MTU that the tunnel leaves, in its own family. Of other errors than "too big", only those that
/// need no translation are passed on.
#[inline(always)]
fn translate<F: Ip>(destination: &Destination, what: u32, word: u32) -> Option<Message> {
    let (outer_family, code, kind) = (what >> 16 & 0xff, (what >> 8) as u8, what as u8);
    let too_big = if outer_family == 6 { kind == 2 } else { kind == 3 && code == 4 };
    if too_big {
        let ours = destination.egress().mtu.load(order::PLAIN);
        // Routers older than RFC 1191 name none.
        let mtu = if word == 0 { ours } else { word.min(ours) };
        let cause = Cause::TooBig(mtu.saturating_sub(tunnel::overhead(destination)).max(F::MTU_MIN));
        return Some(if F::NUMBER == 6 { cause.in_icmpv6() } else { cause.in_icmp() });
    }
    (outer_family == F::NUMBER as u32).then_some((kind, code, word))
}

/// Makes the client's packet, at `offset`, the frame, and answers it.
#[inline(always)]
fn send<P: Platform, F: Ip>(
    platform: &P,
    offset: usize,
    l4: usize,
    hop: &Hop,
    message: Message,
) -> Option<u64> {
    if !platform.move_head((offset - Ethernet::LENGTH) as i32) {
        return None;
    }
    let frame = Frame::quoted(l4 - offset + Ethernet::LENGTH);
    F::answer(platform, &frame, message)?;
    forward::link::address(platform, hop)?;
    Some(SENT | hop.interface as u64)
}
