//! Tunnel decapsulation on a real server, for kernels without tunnel devices.
//!
//! Takes the outer header off IPv4 and IPv6 packets in IPv4 or IPv6 (IP protocols 4 and 41; RFC 2003, 2473,
//! 4213), if the outer destination is one of [`OWN`] and the inner one is one of [`VIPS`]. All other frames go to
//! the kernel untouched. The frame then goes on as if it had come without tunnel, so the kernel verifies the inner
//! IPv4 checksum and drops what is too short.
//!
//! `rlvs realserver` loads it and fills the maps.
#![no_std]
#![no_main]

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps::{HashMap, PerCpuArray};
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

/// An address as it is in a packet; IPv4 ones in their IPv6-mapped form (::ffff:192.0.2.1).
type Address = [u32; 4];

/// Outer destinations: the addresses of this host. The unspecified address (::) stands for any.
#[btf_map]
static OWN: HashMap<Address, u8, 1024> = HashMap::new();

/// Inner destinations: the virtual services' addresses.
#[btf_map]
static VIPS: HashMap<Address, u8, 4096> = HashMap::new();

/// Packets by [`outcome`]. Frames without tunnel are not counted.
#[btf_map]
static OUTCOMES: PerCpuArray<u64, { outcome::COUNT }> = PerCpuArray::new();

/// What became of a tunnel packet: indices of [`OUTCOMES`].
mod outcome {
    /// The inner packet went to the kernel.
    pub const DECAPSULATED: u32 = 0;
    /// Passed: a fragment of the outer packet.
    pub const FRAGMENT: u32 = 1;
    /// Passed: the outer destination is not ours.
    pub const NOT_OWN: u32 = 2;
    /// Passed: the inner destination is no VIP.
    pub const NOT_VIP: u32 = 3;
    /// Passed: the inner header is cut off, or not of the announced version.
    pub const MALFORMED: u32 = 4;
    /// Dropped: congestion was marked on a packet whose sender does not know of it (RFC 6040, 4.2).
    pub const CONGESTED: u32 = 5;
    /// Dropped: the kernel could not move the head of the frame.
    pub const FAILED: u32 = 6;
    /// How many there are.
    pub const COUNT: usize = 7;
    /// No tunnel packet at all.
    pub const OTHER: u32 = u32::MAX;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
const IPPROTO_IPIP: u8 = 4;
const IPPROTO_IPV6: u8 = 41;
/// "Congestion experienced", of the two ECN bits (RFC 3168, 5).
const CE: u8 = 3;

#[repr(C)]
struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_length: [u8; 2],
    id: [u8; 2],
    fragment: [u8; 2],
    ttl: u8,
    protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

#[repr(C)]
struct Ipv6 {
    version_class: [u8; 2],
    flow: [u8; 2],
    payload_length: [u8; 2],
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// What of the outer header matters further in.
#[derive(Clone, Copy)]
struct Outer {
    /// Octets to take off.
    length: usize,
    /// What is inside.
    protocol: u8,
    ecn: u8,
}

#[xdp(frags)]
pub fn decapsulate(ctx: XdpContext) -> u32 {
    let outcome = run(&ctx);
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome) {
        // SAFETY: the slot belongs to this CPU, and nothing else runs on it meanwhile that writes there.
        unsafe { *counter += 1 };
    }
    match outcome {
        outcome::CONGESTED => XDP_DROP,
        outcome::FAILED => XDP_ABORTED,
        _ => XDP_PASS,
    }
}

#[inline(always)]
fn run(ctx: &XdpContext) -> u32 {
    let Some(mut ethertype) = read::<[u8; 2]>(ctx, 12).map(u16::from_be_bytes) else { return outcome::OTHER };
    let tagged = ethertype == ETHERTYPE_VLAN[0] || ethertype == ETHERTYPE_VLAN[1];
    let mut link_length = 14;
    if tagged {
        link_length = 18;
        match read::<[u8; 2]>(ctx, 16) {
            Some(inner) => ethertype = u16::from_be_bytes(inner),
            None => return outcome::OTHER,
        }
    }
    let outer = match ethertype {
        ETHERTYPE_IPV4 => outer_v4(ctx, link_length),
        ETHERTYPE_IPV6 => outer_v6(ctx, link_length),
        _ => Err(outcome::OTHER),
    };
    let outer = match outer {
        Ok(outer) => outer,
        Err(outcome) => return outcome,
    };
    let inner = match outer.protocol {
        IPPROTO_IPIP => inner_v4(ctx, link_length + outer.length, outer.ecn),
        _ => inner_v6(ctx, link_length + outer.length, outer.ecn),
    };
    match inner {
        Ok(ethertype) => strip(ctx, outer.length, tagged, ethertype),
        Err(outcome) => outcome,
    }
}

#[inline(always)]
fn outer_v4(ctx: &XdpContext, offset: usize) -> Result<Outer, u32> {
    let header = at::<Ipv4>(ctx, offset).ok_or(outcome::OTHER)?;
    // SAFETY: `at` has compared the whole header with the end of the frame; its fields are octets.
    let (version_ihl, tos, fragment, protocol, destination) = unsafe {
        let header = &*header;
        (header.version_ihl, header.tos, header.fragment, header.protocol, header.destination)
    };
    let length = usize::from(version_ihl & 15) * 4;
    if !is_tunnel(protocol) || version_ihl >> 4 != 4 || length < size_of::<Ipv4>() {
        return Err(outcome::OTHER);
    }
    if !is_own(&mapped(destination)) {
        return Err(outcome::NOT_OWN);
    }
    // More to come, or not the first: an offset.
    if u16::from_be_bytes(fragment) & 0x3fff != 0 {
        return Err(outcome::FRAGMENT);
    }
    Ok(Outer { length, protocol, ecn: tos & CE })
}

#[inline(always)]
fn outer_v6(ctx: &XdpContext, offset: usize) -> Result<Outer, u32> {
    let header = at::<Ipv6>(ctx, offset).ok_or(outcome::OTHER)?;
    // SAFETY: as in `outer_v4`.
    let (class, protocol, destination) = unsafe {
        let header = &*header;
        (header.version_class[1] >> 4, header.next_header, words(header.destination))
    };
    if !is_tunnel(protocol) {
        return Err(outcome::OTHER);
    }
    if !is_own(&destination) {
        return Err(outcome::NOT_OWN);
    }
    Ok(Outer { length: size_of::<Ipv6>(), protocol, ecn: class & CE })
}

/// Returns the EtherType of the inner packet, after it took over the mark of congestion.
#[inline(always)]
fn inner_v4(ctx: &XdpContext, offset: usize, outer_ecn: u8) -> Result<u16, u32> {
    let header = at::<Ipv4>(ctx, offset).ok_or(outcome::MALFORMED)?;
    // SAFETY: as in `outer_v4`; there is no other reference into the frame.
    let header = unsafe { &mut *header };
    if header.version_ihl >> 4 != 4 {
        return Err(outcome::MALFORMED);
    }
    if !is_vip(&mapped(header.destination)) {
        return Err(outcome::NOT_VIP);
    }
    if outer_ecn == CE && header.tos & CE != CE {
        if header.tos & CE == 0 {
            return Err(outcome::CONGESTED);
        }
        let before = u16::from_be_bytes([header.version_ihl, header.tos]);
        header.tos |= CE;
        let after = u16::from_be_bytes([header.version_ihl, header.tos]);
        header.checksum = updated(u16::from_be_bytes(header.checksum), before, after).to_be_bytes();
    }
    Ok(ETHERTYPE_IPV4)
}

/// As [`inner_v4`].
#[inline(always)]
fn inner_v6(ctx: &XdpContext, offset: usize, outer_ecn: u8) -> Result<u16, u32> {
    let header = at::<Ipv6>(ctx, offset).ok_or(outcome::MALFORMED)?;
    // SAFETY: as in `inner_v4`.
    let header = unsafe { &mut *header };
    if header.version_class[0] >> 4 != 6 {
        return Err(outcome::MALFORMED);
    }
    if !is_vip(&words(header.destination)) {
        return Err(outcome::NOT_VIP);
    }
    let ecn = (header.version_class[1] >> 4) & CE;
    if outer_ecn == CE && ecn != CE {
        if ecn == 0 {
            return Err(outcome::CONGESTED);
        }
        header.version_class[1] |= CE << 4;
    }
    Ok(ETHERTYPE_IPV6)
}

/// Takes `length` octets out from behind the Ethernet header.
#[inline(always)]
fn strip(ctx: &XdpContext, length: usize, tagged: bool, ethertype: u16) -> u32 {
    let (Some(macs), Some(tag)) = (read::<[u32; 3]>(ctx, 0), read::<u32>(ctx, 12)) else {
        return outcome::FAILED;
    };
    // SAFETY: the context is the one that the kernel gave; no pointer into the frame is kept over the call.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, length as i32) } != 0 {
        return outcome::FAILED;
    }
    let ethertype = ethertype.to_be_bytes();
    let written = write(ctx, 0, macs)
        && if tagged { write(ctx, 12, tag) && write(ctx, 16, ethertype) } else { write(ctx, 12, ethertype) };
    if written { outcome::DECAPSULATED } else { outcome::FAILED }
}

#[inline(always)]
fn is_tunnel(protocol: u8) -> bool {
    protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6
}

#[inline(always)]
fn is_own(address: &Address) -> bool {
    OWN.get_ptr(address).is_some() || OWN.get_ptr([0; 4]).is_some()
}

#[inline(always)]
fn is_vip(address: &Address) -> bool {
    VIPS.get_ptr(address).is_some()
}

#[inline(always)]
fn mapped(address: [u8; 4]) -> Address {
    [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(address)]
}

#[inline(always)]
fn words(address: [u8; 16]) -> Address {
    // SAFETY: same size, and every pattern of bits is a valid value of both.
    unsafe { core::mem::transmute(address) }
}

/// An Internet checksum after one 16-bit word under it has changed (RFC 1624, equation 3).
#[inline(always)]
fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A pointer to a `T` at `offset` of the frame, if the frame's first buffer is that long.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() { None } else { Some(start as *mut T) }
}

#[inline(always)]
fn read<T: Copy>(ctx: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` has compared the whole value with the end of the frame; only plain integers are read.
    at::<T>(ctx, offset).map(|place| unsafe { place.read_unaligned() })
}

#[inline(always)]
fn write<T>(ctx: &XdpContext, offset: usize, value: T) -> bool {
    match at::<T>(ctx, offset) {
        // SAFETY: as in `read`.
        Some(place) => unsafe {
            place.write_unaligned(value);
            true
        },
        None => false,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here panics, and the verifier would refuse the loop.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
