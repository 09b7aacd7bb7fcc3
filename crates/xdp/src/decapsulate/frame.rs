//! Access to the frame, and its link header.

use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};

/// An address as it is in a packet; IPv4 ones in their IPv6-mapped form (::ffff:192.0.2.1).
pub type Address = [u32; 4];

/// The EtherType of 802.1ad's tags.
const SERVICE_TAG: u16 = 0x88a8;

/// The link header.
#[derive(Clone, Copy)]
pub struct Link {
    /// Octets of it.
    pub length: usize,
    /// The EtherType of what follows.
    pub ethertype: u16,
}

/// Reads the link header, with at most one tag.
#[inline(always)]
pub fn link(ctx: &XdpContext) -> Option<Link> {
    let ethertype = read(ctx, 12).map(u16::from_be_bytes)?;
    if ethertype != ethernet::VLAN && ethertype != SERVICE_TAG {
        return Some(Link { length: Ethernet::LENGTH, ethertype });
    }
    let ethertype = read(ctx, 16).map(u16::from_be_bytes)?;
    Some(Link { length: Ethernet::LENGTH + VlanTag::LENGTH, ethertype })
}

/// Takes `length` octets out from behind the link header.
#[inline(always)]
pub fn strip(ctx: &XdpContext, link: Link, length: usize, carries_v6: bool) -> Option<()> {
    let (macs, tag) = (read::<[u32; 3]>(ctx, 0)?, read::<u32>(ctx, 12)?);
    // SAFETY: the context is the one that the kernel gave; no pointer into the frame is kept over the call.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, length as i32) } != 0 {
        return None;
    }
    let ethertype = if carries_v6 { ethernet::IPV6 } else { ethernet::IPV4 };
    write(ctx, 0, macs)?;
    if link.length == Ethernet::LENGTH {
        return write(ctx, 12, ethertype.to_be_bytes());
    }
    write(ctx, 12, tag)?;
    write(ctx, 16, ethertype.to_be_bytes())
}

/// A pointer to a `T` at `offset` of the frame, if the frame's first buffer is that long.
#[inline(always)]
pub fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    // SAFETY: the context that the kernel called the program with. Volatile, or the compiler keeps a sum of start and
    // an offset from one access to the next, which the verifier does not take for a pointer into the frame.
    let (start, end) = unsafe {
        let start = (&raw const (*ctx.ctx).data).read_volatile();
        let end = (&raw const (*ctx.ctx).data_end).read_volatile();
        (start as usize, end as usize)
    };
    let place = start + offset;
    if place + size_of::<T>() > end { None } else { Some(place as *mut T) }
}

/// Copies a `T` out of the frame.
#[inline(always)]
pub fn read<T: Copy + zerocopy::FromBytes>(ctx: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` has compared the whole value with the end of the frame, and any octets are a valid `T`.
    at::<T>(ctx, offset).map(|place| unsafe { place.read_unaligned() })
}

#[inline(always)]
fn write<T: zerocopy::IntoBytes>(ctx: &XdpContext, offset: usize, value: T) -> Option<()> {
    // SAFETY: as in `read`.
    at::<T>(ctx, offset).map(|place| unsafe { place.write_unaligned(value) })
}

/// An IPv4 address as [`Address`].
#[inline(always)]
pub fn mapped(address: [u8; 4]) -> Address {
    [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(address)]
}

/// An IPv6 address as [`Address`].
#[inline(always)]
pub fn words(address: [u8; 16]) -> Address {
    zerocopy::transmute!(address)
}
