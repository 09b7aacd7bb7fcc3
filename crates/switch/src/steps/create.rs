//! A new connection.

use super::create_reply::way_back;
use super::deliver::deliver;
use super::established::{request_direction, tell};
use super::persist::WANTED;
use super::seen::Seen;
use super::version::{next, program};
use super::{Handover, Program, Step, drop_for, found_by, hand_over, handed_over};
use crate::config::{Config, Tick};
use crate::counters::{Counters, Event};
use crate::destination::{Destination, method};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::state;
use crate::table::insert::{self, Half, Outcome};
use crate::table::{Binding, Entry, Kind, Tuple, control};
use rlvs_packet::protocol;

steps! {
    /// Puts the new connection into its home in the table, and sends its packet on.
    seen create, create6 => create_in;
    /// Puts it where there is room.
    seen elsewhere, elsewhere6 => elsewhere_in;
}

#[inline(always)]
fn create_in<P: Platform, F: Seen>(platform: &P) -> Step {
    let Opened { config, handover, destination, half, state, now } = match opened::<P, F>(platform) {
        Ok(opened) => opened,
        Err(step) => return step,
    };
    let is_over_nat = half.entry.method as u32 == method::MASQUERADE;
    let back = if is_over_nat { way_back(platform, config, handover.link()) } else { None };
    let Some((index, is_paired)) = insert::create_at_home(platform, config, &half, state, now, back) else {
        return next::<F>(Program::Elsewhere, Program::Elsewhere6);
    };
    let counters = platform.counters(half.entry.destination);
    note::<P, F>(platform, handover, half.tuple.protocol, index, counters);
    if is_over_nat && !is_paired {
        return next::<F>(Program::CreateReply, Program::CreateReply6);
    }
    deliver::<P, F>(platform, config, handover, &half, state, (destination, counters))
}

#[inline(always)]
fn elsewhere_in<P: Platform, F: Seen>(platform: &P) -> Step {
    let Opened { config, handover, half, state, now, .. } = match opened::<P, F>(platform) {
        Ok(opened) => opened,
        Err(step) => return step,
    };
    match insert::create(platform, config, &half, (Kind::Forward, state), now) {
        Outcome::Created(index) => {
            note::<P, F>(
                platform,
                handover,
                half.tuple.protocol,
                index,
                platform.counters(half.entry.destination),
            );
            if half.entry.method as u32 == method::MASQUERADE {
                return next::<F>(Program::CreateReply, Program::CreateReply6);
            }
            Step::Next(Program::Director)
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
            if handover.again.load(order::PLAIN) != 0 {
                unbind::<P, F>(platform);
            }
            try_again(platform, program::<F>(Program::Elsewhere, Program::Elsewhere6))
        }
    }
}

/// The connection that the packet which was kept opens.
struct Opened<'a, F: Ip> {
    config: &'a Config,
    handover: &'a Handover,
    destination: &'a Destination,
    /// Its forward entry.
    half: Half<F>,
    state: u8,
    /// When the packet came.
    now: Tick,
}

/// What both steps begin with; else the step that follows at once.
#[inline(always)]
fn opened<P: Platform, F: Seen>(platform: &P) -> Result<Opened<'_, F>, Step> {
    let (Some(config), Some(handover)) = (platform.config(), platform.handover()) else {
        return Err(Step::Done(Verdict::Pass));
    };
    let chosen = handover.destination.load(order::PLAIN);
    let Some(destination) = platform.destination(chosen) else {
        return Err(drop_for(platform, Event::DestinationGone));
    };
    let tuple = F::load_tuple(F::kept(handover));
    let mut entry = forward_entry::<P, F>(platform, destination, chosen, &tuple);
    let template = handover.template.load(order::PLAIN);
    if template < WANTED {
        entry.hop = Binding::Controlled(template).pack();
    }
    let signal = handover.signal.load(order::PLAIN) as u8;
    let state = state::first(config, tuple.protocol, request_direction(entry.method), signal);
    let half = Half { tuple, hash: handover.hash.load(order::PLAIN), entry };
    let now = Tick(handover.now.load(order::PLAIN));
    Ok(Opened { config, handover, destination, half, state, now })
}

/// Notes that the connection is in the table, in this slot.
#[inline(always)]
fn note<P: Platform, F: Ip>(
    platform: &P,
    handover: &Handover,
    protocol: u8,
    index: u32,
    counters: Option<&Counters>,
) {
    handover.connection.store(index, order::PLAIN);
    if handover.found_by.load(order::PLAIN) != found_by::FTP_DATA
        && let Some(counters) = counters
    {
        counters.connection();
    }
    // Of a protocol without states there is nothing later to tell.
    if protocol == protocol::UDP {
        tell::<P, F>(platform, index);
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
