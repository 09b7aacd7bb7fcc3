//! The director's XDP programs: one for each step of the switch.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod home;
mod maps;

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use rlvs_packet::icmp::Cause;
use rlvs_switch::Step;

/// First step, for every frame that an interface receives: packets of known connections.
#[xdp]
pub fn director(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::process(platform))
}

/// First step for IPv6.
#[xdp]
pub fn director6(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::process6(platform))
}

/// Second step: a destination for packets that open a connection.
#[xdp]
pub fn open(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::open(platform))
}

/// Third step: the new connection's entries.
#[xdp]
pub fn create(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::create(platform, home::handed_over()))
}

/// Third step for IPv6.
#[xdp]
pub fn create6(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::create6(platform, home::handed_over()))
}

/// Fourth step, with NAT: the replies' entry.
#[xdp]
pub fn create_reply(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::create_reply(platform, home::handed_over()))
}

/// Fourth step for IPv6.
#[xdp]
pub fn create_reply6(context: XdpContext) -> u32 {
    home::run(&context, |platform| rlvs_switch::create_reply6(platform, home::handed_over()))
}

/// Last step for packets that cannot go on: an error to their sender.
#[xdp]
pub fn reject(context: XdpContext) -> u32 {
    home::run(&context, |platform| {
        Step::Done(rlvs_switch::reject(platform, Cause::unpack(home::handed_over())))
    })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only programs of a GPL-compatible licence look up routes.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
