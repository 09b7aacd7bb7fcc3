//! The other direction of a new NATed connection, if it could not be put into the table with the first.

use super::{Program, Step, drop_for, handed_over, is_from_server};
use crate::config::Config;
use crate::counters::Event;
use crate::destination::Hop;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::insert::{self, Outcome};
use rlvs_packet::ethernet::Ethernet;

steps! {
    /// Makes the entry for the new connection's replies.
    create_reply, create_reply6 => create_reply_in;
}

#[inline(always)]
fn create_reply_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let index = handed_over(platform, |words| &words.connection);
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(back) = way_back(platform, config, link) else { return Step::Done(Verdict::Pass) };
    match insert::create_reply::<P, F>(platform, config, index, back) {
        Outcome::Full => drop_for(platform, Event::TableFull),
        _ => Step::Next(Program::Director),
    }
}

/// The way that the packet came, backwards: for replies until a way to the client is looked up. None at all, if the packet is a real
/// server's.
#[inline(always)]
pub(super) fn way_back<P: Platform>(platform: &P, config: &Config, link: Link) -> Option<Hop> {
    let header = platform.read::<Ethernet>(0)?;
    let back = if is_from_server(platform) {
        Hop::UNKNOWN
    } else {
        Hop::new(platform.ingress(), header.source, header.destination, link.vlan)
    };
    Some(back.in_generation(config.generation().wrapping_sub(1)))
}
