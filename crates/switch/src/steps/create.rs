//! A new connection.

use super::established::request_direction;
use super::{Program, Step, drop_for, hand_over, handed_over};
use crate::counters::Event;
use crate::destination::{Destination, Hop, method};
use crate::frame::{self, Link, Network};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::state::{self, tcp};
use crate::table::insert::{self, Half, Outcome};
use crate::table::{Entry, Tuple, V4, V6};

/// Puts the new connection into the table.
#[inline(always)]
pub fn create<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V4(link) => create_in::<P, V4>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

/// The same for IPv6.
#[inline(always)]
pub fn create6<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V6(link) => create_in::<P, V6>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn create_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let chosen = handed_over(platform, |words| &words.destination);
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(destination) = platform.destination(chosen) else {
        return drop_for(platform, Event::DestinationGone);
    };
    let half = Half { entry: forward_entry::<F>(destination, chosen, &tuple), tuple };
    let direction = request_direction(half.entry.method);
    let state = state::next(config, frame.protocol, tcp::NONE, direction, frame.tcp_flags);
    match insert::create(platform, config, &half, state) {
        Outcome::Created(index) => {
            if let Some(counters) = platform.counters(chosen) {
                counters.connection();
            }
            if half.entry.method as u32 == method::MASQUERADE {
                hand_over(platform, |words| &words.connection, index);
                return Step::Next(if F::NUMBER == 6 { Program::CreateReply6 } else { Program::CreateReply });
            }
            // The packet is now one of a known connection.
            Step::Next(Program::Director)
        }
        Outcome::Exists => Step::Next(Program::Director),
        Outcome::Full => drop_for(platform, Event::TableFull),
        Outcome::Contended => drop_for(platform, Event::Contended),
    }
}

#[inline(always)]
fn forward_entry<F: Ip>(destination: &Destination, index: u32, tuple: &Tuple<F>) -> Entry<F> {
    let port = destination.port.load(order::PLAIN) as u16;
    let load = |i: usize| destination.address[i].load(order::PLAIN);
    Entry {
        destination: index,
        peer: 0,
        address: F::address([load(0), load(1), load(2), load(3)]),
        port: if port == 0 { tuple.ports[1] } else { port.to_ne_bytes() },
        method: destination.method.load(order::PLAIN) as u8,
        hop: Hop::UNKNOWN,
    }
}
