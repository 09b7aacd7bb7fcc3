//! The packet that has opened a connection leaves: as the first step would send it, but without looking for what is known.

use super::established::request_direction;
use super::seen::{Seen, seen, seen_frame};
use super::version::next;
use super::{Program, Step, handed_over, is_from_server};
use crate::config::Config;
use crate::destination::Destination;
use crate::forward;
use crate::platform::{Platform, Verdict};
use crate::state::{self, tcp};
use crate::table::slot;
use rlvs_packet::protocol;
use rlvs_packet::tcp::SYN;

/// The step for the packet that has just opened the connection in this slot. One that moves it on to another state at once, or needs
/// more than to be sent on, is a packet of a known connection.
#[inline(always)]
pub(super) fn after_creation<P: Platform, F: Seen>(platform: &P, config: &Config, index: u32) -> Step {
    if goes_on::<P, F>(platform, config, index).unwrap_or(false) {
        next::<F>(Program::Deliver, Program::Deliver6)
    } else {
        Step::Next(Program::Director)
    }
}

#[inline(always)]
fn goes_on<P: Platform, F: Seen>(platform: &P, config: &Config, index: u32) -> Option<bool> {
    let handover = platform.handover()?;
    let (tuple, signal) = seen::<P, F>(platform)?;
    let place = slot::<P, F>(platform, index)?;
    let meta = place.meta();
    let (state, direction) = (meta.state(), request_direction(place.target(meta)?.method));
    let is_settled = match tuple.protocol {
        protocol::TCP => {
            signal & SYN != 0 && tcp::next(state, direction, signal, state::is_secure(config)) == state
        }
        protocol => protocol == protocol::UDP,
    };
    Some(is_settled && seen_frame(handover, tuple.protocol).is_some() && !is_from_server(platform))
}

steps! {
    /// Sends the packet on.
    seen deliver, deliver6 => deliver_in;
}

#[inline(always)]
fn deliver_in<P: Platform, F: Seen>(platform: &P) -> Step {
    let known = Step::Next(Program::Director);
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    let Some((tuple, _)) = seen::<P, F>(platform) else { return known };
    let Some(frame) = seen_frame(handover, tuple.protocol) else { return known };
    let index = handed_over(platform, |words| &words.connection);
    let Some(this) = slot::<P, F>(platform, index) else { return known };
    let meta = this.meta();
    if !meta.is_live() || !this.holds(&tuple) {
        return known;
    }
    let Some(target) = this.target(meta) else { return known };
    let Some(destination) =
        platform.destination(target.destination).filter(|one| Destination::is_available(one))
    else {
        return known;
    };
    if let Some(counters) = platform.counters(target.destination) {
        counters.packet_in(frame.length);
    }
    forward::to_destination(platform, &frame, &target, destination)
}
