//! The outer headers: what comes off.

use crate::frame::{Address, Link, at, mapped, read as copy, words};
use crate::{OWN, PORTS, outcome};
use aya_ebpf::programs::XdpContext;
use rlvs_packet::ethernet;
use rlvs_packet::gre::{CHECKSUM_PRESENT, Gre, GreChecksum};
use rlvs_packet::gue::Gue;
use rlvs_packet::ipv4::{FRAGMENT_MASK, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol::{GRE, IPV4, IPV6, UDP};
use rlvs_packet::udp::Udp;

/// The offset, of [`FRAGMENT_MASK`].
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// What of the outer headers matters further in.
#[derive(Clone, Copy)]
pub struct Outer {
    /// Octets to take off.
    pub length: usize,
    /// What is inside: IPv6, or IPv4.
    pub carries_v6: bool,
    /// The two bits of explicit congestion notification.
    pub ecn: u8,
}

/// Reads the headers of a tunnel packet for this host; else the outcome.
#[inline(always)]
pub fn read(ctx: &XdpContext, link: Link) -> Result<Outer, u32> {
    match link.ethertype {
        ethernet::IPV4 => read_v4(ctx, link.length),
        ethernet::IPV6 => read_v6(ctx, link.length),
        _ => Err(outcome::OTHER),
    }
}

#[inline(always)]
fn read_v4(ctx: &XdpContext, offset: usize) -> Result<Outer, u32> {
    let header = at::<Ipv4>(ctx, offset).ok_or(outcome::OTHER)?;
    // SAFETY: `at` has compared the whole header with the end of the frame; its fields are octets.
    let (version_length, tos, fragment, protocol, destination) = unsafe {
        let header = &*header;
        (header.version_length, header.tos, header.fragment.get(), header.protocol, header.destination)
    };
    let length = usize::from(version_length & 15) * 4;
    if version_length >> 4 != 4 || length < Ipv4::LENGTH {
        return Err(outcome::OTHER);
    }
    // A later fragment of a UDP packet does not tell its port.
    if protocol == UDP && fragment & FRAGMENT_OFFSET != 0 || !is_tunnel(ctx, offset + length, protocol) {
        return Err(outcome::OTHER);
    }
    if !is_own(&mapped(destination)) {
        return Err(outcome::NOT_OWN);
    }
    if fragment & FRAGMENT_MASK != 0 {
        return Err(outcome::FRAGMENT);
    }
    let (between, carries_v6) = tunnel_header(ctx, offset + length, protocol)?;
    Ok(Outer { length: length + between, carries_v6, ecn: tos & 3 })
}

#[inline(always)]
fn read_v6(ctx: &XdpContext, offset: usize) -> Result<Outer, u32> {
    let header = at::<Ipv6>(ctx, offset).ok_or(outcome::OTHER)?;
    // SAFETY: as in `read_v4`.
    let (class, protocol, destination) = unsafe {
        let header = &*header;
        (header.traffic_class(), header.next_header, words(header.destination))
    };
    if !is_tunnel(ctx, offset + Ipv6::LENGTH, protocol) {
        return Err(outcome::OTHER);
    }
    if !is_own(&destination) {
        return Err(outcome::NOT_OWN);
    }
    let (between, carries_v6) = tunnel_header(ctx, offset + Ipv6::LENGTH, protocol)?;
    Ok(Outer { length: Ipv6::LENGTH + between, carries_v6, ecn: class & 3 })
}

/// Whether a packet of this protocol, with its header at `offset`, is for a tunnel.
#[inline(always)]
fn is_tunnel(ctx: &XdpContext, offset: usize, protocol: u8) -> bool {
    match protocol {
        IPV4 | IPV6 | GRE => true,
        UDP => copy::<Udp>(ctx, offset).is_some_and(|udp| PORTS.get_ptr(udp.destination).is_some()),
        _ => false,
    }
}

/// The octets between the outer and the inner IP header, and whether that is IPv6.
///
/// The checksums of GRE, and of GUE's UDP, are not verified: the kernel verifies the inner ones.
#[inline(always)]
fn tunnel_header(ctx: &XdpContext, offset: usize, protocol: u8) -> Result<(usize, bool), u32> {
    match protocol {
        GRE => {
            let header = copy::<Gre>(ctx, offset).ok_or(outcome::MALFORMED)?;
            let checksum = if header.flags.get() & CHECKSUM_PRESENT != 0 { GreChecksum::LENGTH } else { 0 };
            match header.kind.get() {
                // A key, a sequence number, routing, another version.
                _ if header.flags.get() & !CHECKSUM_PRESENT != 0 => Err(outcome::FOREIGN),
                ethernet::IPV4 => Ok((Gre::LENGTH + checksum, false)),
                ethernet::IPV6 => Ok((Gre::LENGTH + checksum, true)),
                _ => Err(outcome::FOREIGN),
            }
        }
        UDP => {
            let header = copy::<Gue>(ctx, offset + Udp::LENGTH).ok_or(outcome::MALFORMED)?;
            match header.protocol {
                // Another variant, a message of control, an extension.
                _ if header.variant_length != 0 => Err(outcome::FOREIGN),
                IPV4 => Ok((Udp::LENGTH + Gue::LENGTH, false)),
                IPV6 => Ok((Udp::LENGTH + Gue::LENGTH, true)),
                _ => Err(outcome::FOREIGN),
            }
        }
        _ => Ok((0, protocol == IPV6)),
    }
}

#[inline(always)]
fn is_own(address: &Address) -> bool {
    OWN.get_ptr(address).is_some() || OWN.get_ptr([0; 4]).is_some()
}
