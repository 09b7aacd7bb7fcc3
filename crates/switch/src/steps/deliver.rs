//! The packet that has opened a connection leaves: as the first step would send it, but without looking for what is known.

use super::established::request_direction;
use super::seen::{Seen, seen_frame};
use super::{Handover, Program, Step, is_from_server};
use crate::config::Config;
use crate::counters::Counters;
use crate::destination::Destination;
use crate::forward;
use crate::order;
use crate::platform::Platform;
use crate::state::{self, Direction, tcp};
use crate::table::insert::Half;
use rlvs_packet::protocol;
use rlvs_packet::tcp::SYN;

/// Sends on the packet that was kept, and has just opened this connection in this state. One that moves it on to another state at
/// once, or needs more than to be sent on, is a packet of a known connection.
#[inline(always)]
pub(super) fn deliver<P: Platform, F: Seen>(
    platform: &P,
    config: &Config,
    handover: &Handover,
    half: &Half<F>,
    state: u8,
    (destination, counters): (&Destination, Option<&Counters>),
) -> Step {
    let known = Step::Next(Program::Director);
    let (protocol, direction) = (half.tuple.protocol, request_direction(half.entry.method));
    let signal = handover.signal.load(order::PLAIN) as u8;
    if !is_settled(config, protocol, state, direction, signal)
        || is_from_server(platform)
        || !destination.is_available()
    {
        return known;
    }
    let Some(frame) = seen_frame(handover, protocol) else { return known };
    if let Some(counters) = counters {
        counters.packet_in(frame.length);
    }
    forward::to_destination(platform, &frame, &half.entry.target(), destination)
}

/// Whether a connection stays in the state that its first packet has opened it in.
#[inline(always)]
fn is_settled(config: &Config, protocol: u8, state: u8, direction: Direction, signal: u8) -> bool {
    match protocol {
        protocol::TCP => {
            signal & SYN != 0 && tcp::next(state, direction, signal, state::is_secure(config)) == state
        }
        protocol => protocol == protocol::UDP,
    }
}
