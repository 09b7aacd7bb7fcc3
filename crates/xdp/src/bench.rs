//! Programs for measurement only: `cargo xtask bench` loads them, a director never does.
//!
//! `BPF_PROG_TEST_RUN` with `repeat` hands the same frame to the program again and again, as the last run left it.
//! [`shim`] makes a fresh frame of it, of another flow each time, and jumps to what is measured.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

#[allow(dead_code, reason = "these programs use a part of the switch's home")]
mod home;
#[allow(dead_code, reason = "these programs use a part of the switch's maps")]
mod maps;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::{Array, LruHashMap, PerCpuArray, ProgramArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use home::Kernel;
use rlvs_packet::ethernet::Ethernet;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::cell::{AtomicU32, AtomicU64};
use rlvs_switch::config::Tick;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method;
use rlvs_switch::frame::{self, Network, Sight};
use rlvs_switch::state::{self, tcp};
use rlvs_switch::table::{Target, V4};
use rlvs_switch::{Platform, Step, Verdict, forward, order};

/// Words of the templates: those of an IPv4 frame are the least that Ethernet carries, an IPv6 one with a TCP header is longer.
const WORDS4: usize = 8;
const WORDS6: usize = 10;
/// Offsets of sender and receiver, the last 32 bits of the address and the port, in an untagged IPv4 frame without options.
const SOURCE4: (usize, usize) = (26, 34);
const DESTINATION4: (usize, usize) = (30, 36);
/// The same in IPv6.
const SOURCE6: (usize, usize) = (34, 54);
const DESTINATION6: (usize, usize) = (50, 56);

/// What [`shim`] makes of the frame; `crates/bench/src/plan.rs` writes it. Each CPU has its own.
#[repr(C)]
pub struct Plan {
    /// The frame, but for the client's address and port.
    template: [AtomicU64; WORDS6],
    /// Where the walk over the flows is.
    state: AtomicU32,
    /// 5 modulo 8, and the increment is odd: the walk meets all flows before it repeats one.
    multiplier: AtomicU32,
    increment: AtomicU32,
    /// Flows less one; their number is a power of two.
    mask: AtomicU32,
    /// The first flow's number.
    base: AtomicU32,
    /// 1: the client is the receiver.
    reply: AtomicU32,
    /// 6: an IPv6 frame.
    family: AtomicU32,
    /// 1: the walk is over [`DRAWN`], which says the flows.
    drawn: AtomicU32,
    /// Virtual services (IPv4) that the flows are spread over, from the address `first_service` on; 0: that of the template.
    services: AtomicU32,
    /// log2 of the number of flows.
    shift: AtomicU32,
    /// In the machine's byte order.
    first_service: AtomicU32,
    /// A plan is whole cache lines.
    reserved: AtomicU32,
}

/// The plan.
#[btf_map]
pub static PLAN: PerCpuArray<Plan, 1, 0> = PerCpuArray::new();
/// Flows in the order of their packets, drawn in advance.
#[btf_map]
pub static DRAWN: Array<AtomicU32, 1, 0> = Array::new();
/// Frames that [`sink`] has taken.
#[btf_map]
pub static SUNK: PerCpuArray<AtomicU64, 1, 0> = PerCpuArray::new();
/// What is measured; empty: the shim alone.
#[btf_map]
pub static TARGET: ProgramArray<1> = ProgramArray::new();

/// Makes the next frame and jumps to what is measured.
#[xdp]
pub fn shim(context: XdpContext) -> u32 {
    let platform = Kernel::around(context.ctx);
    let verdict = next_frame(&platform).map_or(Verdict::Drop, |()| Verdict::Transmit);
    let made = home::go_on(&platform, Step::Done(verdict));
    if made == xdp_action::XDP_TX {
        // SAFETY: nothing of this program is needed after the jump.
        unsafe { TARGET.tail_call(&context, 0) };
    }
    made
}

#[inline(always)]
fn next_frame<P: Platform>(platform: &P) -> Option<()> {
    let plan = PLAN.get(0)?;
    let six = plan.family.load(order::PLAIN) == 6;
    let grown = platform.length() as i32 - 8 * if six { WORDS6 } else { WORDS4 } as i32;
    if grown != 0 && !platform.move_head(grown) {
        return None;
    }
    let mask = plan.mask.load(order::PLAIN);
    let state = plan.state.load(order::PLAIN);
    let next = state
        .wrapping_mul(plan.multiplier.load(order::PLAIN))
        .wrapping_add(plan.increment.load(order::PLAIN))
        & mask;
    plan.state.store(next, order::PLAIN);
    // The walk's low bits repeat early; a bijection hides that.
    let picked = match plan.drawn.load(order::PLAIN) {
        0 => next ^ next >> 5,
        _ => DRAWN.get(next)?.load(order::PLAIN),
    };
    let flow = plan.base.load(order::PLAIN).wrapping_add(picked);

    let template: [u64; WORDS4] = [
        plan.template[0].load(order::PLAIN),
        plan.template[1].load(order::PLAIN),
        plan.template[2].load(order::PLAIN),
        plan.template[3].load(order::PLAIN),
        plan.template[4].load(order::PLAIN),
        plan.template[5].load(order::PLAIN),
        plan.template[6].load(order::PLAIN),
        plan.template[7].load(order::PLAIN),
    ];
    platform.write(0, template)?;
    if six {
        platform.write(64, [plan.template[8].load(order::PLAIN), plan.template[9].load(order::PLAIN)])?;
    }
    let services = plan.services.load(order::PLAIN);
    if services != 0 {
        let service = picked as u64 * services as u64 >> (plan.shift.load(order::PLAIN) & 31);
        let address = plan.first_service.load(order::PLAIN).wrapping_add(service as u32).to_be();
        platform.write(DESTINATION4.0, address)?;
    }
    // 16 ports of each address of 10.0.0.0/8, or with such an end.
    let address = (10 << 24 | flow >> 4 & 0xff_ffff).to_be();
    let port = (0x8000 | flow as u16 & 15).to_be();
    let (address_at, port_at) = match (plan.reply.load(order::PLAIN) != 0, six) {
        (false, false) => SOURCE4,
        (true, false) => DESTINATION4,
        (false, true) => SOURCE6,
        (true, true) => DESTINATION6,
    };
    platform.write(address_at, address)?;
    platform.write(port_at, port)
}

/// The least that a switch does: reads the headers as the switch does, exchanges the MACs, sends the frame back.
#[xdp]
pub fn floor(context: XdpContext) -> u32 {
    let platform = Kernel::around(context.ctx);
    home::go_on(&platform, Step::Done(bounce(&platform).unwrap_or(Verdict::Drop)))
}

#[inline(always)]
fn bounce<P: Platform>(platform: &P) -> Option<Verdict> {
    let Network::V4(link) = frame::network(platform) else { return None };
    let Sight::Plain(frame, tuple) = frame::sight4(platform, link) else { return None };
    if frame.protocol != protocol::TCP || tuple.ports[1] == [0; 2] {
        return None;
    }
    let mut header = platform.read::<Ethernet>(0)?;
    core::mem::swap(&mut header.source, &mut header.destination);
    platform.write(0, header)?;
    Some(Verdict::Transmit)
}

/// Where live frames end: takes and counts them.
#[xdp]
pub fn sink(_: XdpContext) -> u32 {
    if let Some(sunk) = SUNK.get(0) {
        // This CPU's own.
        sunk.store(sunk.load(order::PLAIN) + 1, order::PLAIN);
    }
    xdp_action::XDP_DROP
}

/// A connection in [`KERNEL_TABLE`].
#[repr(C)]
pub struct Known {
    destination: u32,
    state: u32,
    expires: AtomicU32,
    reserved: u32,
}

/// The kernel's own hash map, preallocated, that forgets what was least recently used. Key: addresses; ports and
/// protocol.
#[btf_map]
pub static KERNEL_TABLE: LruHashMap<[u64; 2], Known, 1, 0> = LruHashMap::new();

/// The switch's first step with the kernel's hash map as its connection table, for established connections by direct
/// routing: everything else is the switch's own code.
#[xdp]
pub fn kernel_map(context: XdpContext) -> u32 {
    let platform = Kernel::around(context.ctx);
    home::go_on(&platform, through_kernel_map(&platform).unwrap_or(Step::Done(Verdict::Pass)))
}

#[inline(always)]
fn through_kernel_map<P: Platform>(platform: &P) -> Option<Step> {
    let Network::V4(link) = frame::network(platform) else { return None };
    let Sight::Plain(frame, tuple) = frame::sight4(platform, link) else { return None };
    let config = platform.config()?;
    let now = platform.now();
    let [[a, b], [c, d]] = tuple.ports;
    let key = [
        tuple.source as u64 | (tuple.destination as u64) << 32,
        u32::from_ne_bytes([a, b, c, d]) as u64 | (tuple.protocol as u64) << 32,
    ];
    // SAFETY: two plain words that are written once, and one that is used atomically.
    let known = unsafe { KERNEL_TABLE.get(&key) }?;
    let was = Tick(known.expires.load(order::PLAIN));
    let plain = frame.signal & (SYN | FIN | RST | ACK) == ACK && known.state == tcp::ESTABLISHED as u32;
    if now.until(was) <= 0 || !plain {
        return None;
    }
    let destination = platform.destination(known.destination)?;
    if !destination.is_available() {
        platform.count(Event::DestinationGone);
        return Some(Step::Done(Verdict::Drop));
    }
    if let Some(counters) = platform.counters(known.destination) {
        counters.packet_in(frame.length);
    }
    let expires = state::expiry(config, frame.protocol, tcp::ESTABLISHED, now);
    if was != expires {
        known.expires.store(expires.0, order::PLAIN);
    }
    let target = Target::<V4> {
        destination: known.destination,
        address: 0,
        port: [0; 2],
        method: method::DIRECT_ROUTE as u8,
    };
    Some(forward::to_destination(platform, &frame, &target, destination))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the director's programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
