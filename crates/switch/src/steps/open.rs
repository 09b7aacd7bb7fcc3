//! Finding the virtual service of a packet that may open a connection.

use super::schedule::leave_to_scheduler;
use super::{NONE, Program, Step, drop_for, hand_over};
use crate::counters::Event;
use crate::defence;
use crate::frame::{self, Frame, Link, Network};
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::service::{ServiceKey, flag};
use crate::table::{Tuple, V4, V6};
use rlvs_packet::protocol;

/// Finds the service, and leaves it to the scheduler.
#[inline(always)]
pub fn open<P: Platform>(platform: &P) -> Step {
    let (service, family) = match frame::network(platform) {
        Network::V4(link) => (service4(platform, link.pack()), 4),
        Network::V6(link) => (service6(platform, link.pack()), 6),
        Network::Other => (NONE, 0),
    };
    if service == NONE {
        return Step::Done(Verdict::Pass);
    }
    if defence::takes_one(platform) {
        return drop_for(platform, Event::DropRate);
    }
    hand_over(platform, |words| &words.family, family);
    hand_over(platform, |words| &words.template, NONE);
    let persistent = platform.service(service).is_some_and(|service| service.has(flag::PERSISTENT));
    if persistent {
        hand_over(platform, |words| &words.service, service);
        return Step::Next(if family == 6 { Program::Persist6 } else { Program::Persist });
    }
    leave_to_scheduler(platform, service)
}

#[inline(never)]
fn service4<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V4>(platform, Link::unpack(link))
}

#[inline(never)]
fn service6<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V6>(platform, Link::unpack(link))
}

#[inline(always)]
fn service_for<P: Platform, F: Ip>(platform: &P, link: Link) -> u32 {
    let Some((frame, tuple)) = F::parse(platform, link) else { return NONE };
    if tuple.ports[0] == 20u16.to_be_bytes() {
        // FTP's data port: such connections are made from the control connection, never scheduled.
        return NONE;
    }
    let Some(index) = platform.find_service(&service_key(&frame, &tuple)) else { return NONE };
    let Some(service) = platform.service(index) else { return NONE };
    let one_packet = frame.protocol == protocol::UDP && service.has(flag::ONE_PACKET);
    let keep_port = service.has(flag::PERSISTENT) && tuple.ports[1] != service.port();
    hand_over(platform, |words| &words.one_packet, one_packet as u32);
    hand_over(platform, |words| &words.keep_port, keep_port as u32);
    index
}

/// The identity of the service that the packet is for.
#[inline(always)]
pub(super) fn service_key<F: Ip>(frame: &Frame, tuple: &Tuple<F>) -> ServiceKey {
    ServiceKey {
        address: F::words(tuple.destination),
        reserved: 0,
        port: u16::from_ne_bytes(tuple.ports[1]),
        protocol: frame.protocol,
        family: F::NUMBER,
    }
}
