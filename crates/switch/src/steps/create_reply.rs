//! The other direction of a new NATed connection.

use super::{Program, Step, drop_for, handed_over};
use crate::counters::Event;
use crate::destination::Hop;
use crate::frame::{self, Link, Network};
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::insert::{self, Outcome};
use crate::table::{V4, V6};
use rlvs_packet::ethernet::Ethernet;

/// Makes the entry for the new connection's replies.
#[inline(always)]
pub fn create_reply<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V4(link) => create_reply_in::<P, V4>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

/// The same for IPv6.
#[inline(always)]
pub fn create_reply6<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V6(link) => create_reply_in::<P, V6>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn create_reply_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let index = handed_over(platform, |words| &words.connection);
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(header) = platform.read::<Ethernet>(0) else { return Step::Done(Verdict::Pass) };
    // Until a way to the client is looked up: the way that the request came.
    let back = Hop::new(platform.ingress(), header.source, header.destination, link.vlan)
        .in_generation(config.generation().wrapping_sub(1));
    match insert::create_reply::<P, F>(platform, config, index, back) {
        Outcome::Full => drop_for(platform, Event::TableFull),
        _ => Step::Next(Program::Director),
    }
}
