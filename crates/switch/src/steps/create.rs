//! A new connection.

use super::deliver::after_creation;
use super::established::{request_direction, tell};
use super::persist::WANTED;
use super::seen::{Seen, seen};
use super::version::{next, program};
use super::{Program, Step, drop_for, found_by, hand_over, handed_over};
use crate::counters::Event;
use crate::destination::{Destination, method};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::state;
use crate::table::insert::{self, Half, Outcome};
use crate::table::{Binding, Entry, Kind, Tuple, control};
use rlvs_packet::protocol;

steps! {
    /// Puts the new connection into the table.
    seen create, create6 => create_in;
}

#[inline(always)]
fn create_in<P: Platform, F: Seen>(platform: &P) -> Step {
    let chosen = handed_over(platform, |words| &words.destination);
    let Some((tuple, signal)) = seen::<P, F>(platform) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(destination) = platform.destination(chosen) else {
        return drop_for(platform, Event::DestinationGone);
    };
    let mut entry = forward_entry::<P, F>(platform, destination, chosen, &tuple);
    let template = handed_over(platform, |words| &words.template);
    if template < WANTED {
        entry.hop = Binding::Controlled(template).pack();
    }
    let half = Half { entry, tuple };
    let direction = request_direction(half.entry.method);
    let state = state::first(config, half.tuple.protocol, direction, signal);
    match insert::create(platform, config, &half, Kind::Forward, state) {
        Outcome::Created(index) => {
            if handed_over(platform, |words| &words.found_by) != found_by::FTP_DATA
                && let Some(counters) = platform.counters(chosen)
            {
                counters.connection();
            }
            // Of a protocol without states there is nothing later to tell.
            if half.tuple.protocol == protocol::UDP {
                tell::<P, F>(platform, index);
            }
            hand_over(platform, |words| &words.connection, index);
            if half.entry.method as u32 == method::MASQUERADE {
                return next::<F>(Program::CreateReply, Program::CreateReply6);
            }
            after_creation::<P, F>(platform, config, index)
        }
        Outcome::Exists => {
            unbind::<P, F>(platform);
            if super::is_from_server(platform) {
                // The client uses its port for a connection to another real server: that one is found.
                return next::<F>(Program::OnceBack, Program::OnceBack6);
            }
            Step::Next(Program::Director)
        }
        Outcome::Full => {
            unbind::<P, F>(platform);
            drop_for(platform, Event::TableFull)
        }
        Outcome::Contended => {
            if handed_over(platform, |words| &words.again) != 0 {
                unbind::<P, F>(platform);
            }
            try_again(platform, program::<F>(Program::Create, Program::Create6))
        }
    }
}

/// Another CPU was in the way: once more, by a jump rather than a loop, for two rounds in one program are too much for the
/// verifier of Linux 6.1.
#[inline(always)]
pub(super) fn try_again<P: Platform>(platform: &P, program: Program) -> Step {
    let again = handed_over(platform, |words| &words.again) == 0;
    hand_over(platform, |words| &words.again, again as u32);
    if again { Step::Next(program) } else { drop_for(platform, Event::Contended) }
}

/// Takes back that the template, if there is one, controls the connection.
#[inline(always)]
fn unbind<P: Platform, F: Ip>(platform: &P) {
    let template = handed_over(platform, |words| &words.template);
    if template < WANTED {
        control::unbind::<P, F>(platform, template);
    }
}

#[inline(always)]
pub(super) fn forward_entry<P: Platform, F: Ip>(
    platform: &P,
    destination: &Destination,
    index: u32,
    tuple: &Tuple<F>,
) -> Entry<F> {
    let port = destination.port.load(order::PLAIN) as u16;
    // A persistent service for several ports leaves them as they are.
    let keep = port == 0 || handed_over(platform, |words| &words.keep_port) == 1;
    Entry {
        destination: index,
        peer: 0,
        address: F::address(destination.address_words()),
        port: if keep { tuple.ports[1] } else { port.to_ne_bytes() },
        method: destination.method.load(order::PLAIN) as u8,
        hop: Binding::Free.pack(),
    }
}
