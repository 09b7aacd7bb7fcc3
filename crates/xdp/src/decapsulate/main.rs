//! Tunnel decapsulation on a real server, for kernels without tunnel devices, or without those that it takes.
//!
//! Takes the outer headers off IPv4 and IPv6 packets that travel in IPv4 or IPv6 packets, if the outer destination is
//! one of [`OWN`] and the inner one is one of [`VIPS`]: directly (IP protocols 4 and 41; RFC 2003, 2473, 4213), by GRE
//! (RFC 2784), or by GUE to one of [`PORTS`]. All other frames go to the kernel untouched. The frame then goes on as
//! if it had come without tunnel, so the kernel verifies the inner checksums and drops what is too short.
//!
//! `rlvs realserver` loads it and fills the maps.
#![no_std]
#![no_main]

mod frame;
mod inner;
mod outer;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps::{HashMap, PerCpuArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frame::Address;

/// Outer destinations: the addresses of this host. The unspecified address (::) stands for any.
#[btf_map]
static OWN: HashMap<Address, u8, 1024> = HashMap::new();

/// Inner destinations: the virtual services' addresses.
#[btf_map]
static VIPS: HashMap<Address, u8, 4096> = HashMap::new();

/// UDP ports of GUE, in network order.
#[btf_map]
static PORTS: HashMap<[u8; 2], u8, 256> = HashMap::new();

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
    /// Passed: a GUE or GRE header with fields, or for a content, that directors do not send.
    pub const FOREIGN: u32 = 7;
    /// How many there are.
    pub const COUNT: usize = 8;
    /// No tunnel packet at all.
    pub const OTHER: u32 = u32::MAX;
}

#[xdp(frags)]
pub fn decapsulate(ctx: XdpContext) -> u32 {
    let outcome = run(&ctx).unwrap_or_else(|outcome| outcome);
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
fn run(ctx: &XdpContext) -> Result<u32, u32> {
    let link = frame::link(ctx).ok_or(outcome::OTHER)?;
    let outer = outer::read(ctx, link)?;
    let inside = link.length + outer.length;
    if outer.carries_v6 {
        inner::take_over_v6(ctx, inside, outer.ecn)?;
    } else {
        inner::take_over_v4(ctx, inside, outer.ecn)?;
    }
    let stripped = frame::strip(ctx, link, outer.length, outer.carries_v6);
    Ok(if stripped.is_some() { outcome::DECAPSULATED } else { outcome::FAILED })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: nothing here panics, and the verifier would refuse the loop.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
