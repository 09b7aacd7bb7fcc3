//! NAT: one address and its port are replaced, and the checksums follow.

use crate::frame::{Content, Frame};
use crate::ip::{Ip, Side};
use crate::platform::Platform;
use rlvs_packet::checksum::{Change, finish_udp, sum_of_pseudo};
use rlvs_packet::icmp::IcmpError;
use rlvs_packet::protocol;
use rlvs_packet::sctp::{self, Sctp};
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;

/// Replaces address and port of one side, and takes one hop off.
#[inline(always)]
pub(super) fn rewrite<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    side: Side,
    address: F::Address,
    port: [u8; 2],
) -> Option<()> {
    let change = F::replace(platform, frame, side, address)?;
    match frame.content {
        Content::Transport | Content::FirstFragment => {
            let checked = match frame.protocol {
                protocol::AH | protocol::ESP => return Some(()),
                protocol::SCTP => return translate_sctp(platform, frame, side, port),
                protocol => protocol,
            };
            if checked == protocol::TCP {
                return platform.edit(frame.l4, |header: &mut Tcp| {
                    let place =
                        if side == Side::Source { &mut header.source } else { &mut header.destination };
                    header.checksum = change.then(exchange_port(place, port)).apply(header.checksum);
                });
            }
            let checksum = platform.edit(frame.l4, |header: &mut Udp| {
                let place = if side == Side::Source { &mut header.source } else { &mut header.destination };
                let old = header.checksum;
                header.checksum = change.then(exchange_port(place, port)).apply_udp(old);
                old
            })?;
            // As IPVS, whatever the sender saved by that. IPv6 knows no packets without.
            if F::NUMBER == 4 && checksum == [0; 2] && frame.content == Content::Transport {
                let left = frame.length - (frame.l4 - frame.l3) as u32;
                give_checksum::<P, F>(platform, frame.l3 as u32, frame.l4 as u32, left);
            }
            Some(())
        }
        // The checksum over the whole packet is in the first fragment.
        Content::LaterFragment | Content::EarlyFragment => Some(()),
        Content::Error => {
            // The quoted packet went the other way: its sender was whom the error now goes to. Its own transport checksum stays as it
            // is: most of what it covers is not there.
            let side = side.opposite();
            // Masked where the compiler does not see that it is small already: the verifier may have forgotten it.
            let quoted_l4 = core::hint::black_box(frame.detail as usize) & OFFSET_MAX;
            let quoted = F::replace_quoted(platform, frame.l4 + IcmpError::LENGTH, side, address)?;
            let quoted = quoted.then(replace_port(platform, quoted_l4, side, port)?);
            // ICMPv6 covers the addresses, too.
            let change = if F::NUMBER == 6 { change.then(quoted) } else { quoted };
            let offset = frame.l4 + IcmpError::CHECKSUM;
            let checksum = platform.read::<[u8; 2]>(offset)?;
            platform.write(offset, change.apply(checksum))
        }
    }
}

/// Beyond all offsets in a frame, each bit set.
const OFFSET_MAX: usize = 0x3fff;

/// Gives a UDP packet that has no checksum one, unless the length in its header cannot be: there are `left` octets.
/// Scalars only, for it is a BPF function of its own.
#[inline(never)]
fn give_checksum<P: Platform, F: Ip>(platform: &P, l3: u32, l4: u32, left: u32) -> u32 {
    let (l3, l4) = (l3 as usize, l4 as usize);
    let Some(header) = platform.read::<Udp>(l4) else { return 0 };
    let length = header.length.get();
    if !(Udp::LENGTH as u32..=left).contains(&(length as u32)) {
        return 0;
    }
    let (offset, octets) = F::ADDRESSES;
    let Some(addresses) = platform.sum(l3 + offset, octets) else { return 0 };
    let Some(packet) = platform.sum(l4, length as usize) else { return 0 };
    let sum = addresses as u64 + packet as u64 + sum_of_pseudo(protocol::UDP, length) as u64;
    platform.write(l4 + Udp::CHECKSUM, finish_udp(sum)).is_some() as u32
}

/// Replaces one of the ports of the transport header at `l4`.
#[inline(always)]
fn replace_port<P: Platform>(platform: &P, l4: usize, side: Side, port: [u8; 2]) -> Option<Change> {
    let offset = if side == Side::Source { l4 } else { l4 + 2 };
    platform.edit(offset, |place: &mut [u8; 2]| exchange_port(place, port))
}

#[inline(always)]
fn exchange_port(place: &mut [u8; 2], port: [u8; 2]) -> Change {
    let old = core::mem::replace(place, port);
    Change::new().word(old, port)
}

/// Replaces one of SCTP's ports. Addresses are no part of its checksum.
#[inline(always)]
fn translate_sctp<P: Platform>(platform: &P, frame: &Frame, side: Side, port: [u8; 2]) -> Option<()> {
    let place = if side == Side::Source { frame.l4 } else { frame.l4 + 2 };
    let [a, b] = platform.read::<[u8; 2]>(place)?;
    let [c, d] = port;
    if [a, b] == port {
        return Some(());
    }
    platform.write(place, port)?;
    let difference = match side {
        Side::Source => [a ^ c, b ^ d, 0, 0],
        Side::Destination => [0, 0, a ^ c, b ^ d],
    };
    let length = frame.length - (frame.l4 - frame.l3) as u32;
    let change = sctp_change(u32::from_ne_bytes(difference), length);
    let offset = frame.l4 + Sctp::CHECKSUM;
    let checksum = u32::from_ne_bytes(platform.read::<[u8; 4]>(offset)?);
    platform.write(offset, (checksum ^ change).to_ne_bytes())
}

/// What the difference of the ports, as they stand in memory, does to the checksum. Scalars only, for it is a BPF
/// function of its own: it takes hundreds of instructions.
#[inline(never)]
fn sctp_change(difference: u32, length: u32) -> u32 {
    u32::from_ne_bytes(sctp::update([0; 4], [0; 4], difference.to_ne_bytes(), length as u16))
}
