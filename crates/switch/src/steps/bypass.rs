//! Bypass: packets of a mark's service that has no destination for them go where they were going (`cache_bypass`).

use super::create::try_again;
use super::established;
use super::seen::{Seen, seen};
use super::version::program;
use super::{NONE, Program, Step, drop_for, handed_over, nobody};
use crate::counters::Event;
use crate::destination::method;
use crate::forward;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::state::{self, Direction};
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::Found;
use crate::table::{Binding, Entry, Kind, slot};

steps! {
    /// Puts a connection without a destination into the table.
    open_bypass, open_bypass6 => open_bypass_in;
    /// Sends on a packet of such a connection.
    bypass, bypass6 => bypass_in;
}

#[inline(always)]
fn open_bypass_in<P: Platform, F: Seen>(platform: &P, link: Link) -> Step {
    let Some((frame, _)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some((tuple, signal)) = seen::<P, F>(platform) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    if !frame.content.has_transport() || !F::forwards(platform, tuple.source, tuple.destination) {
        return nobody(platform);
    }
    let entry = Entry {
        destination: NONE,
        peer: 0,
        address: F::address([0; 4]),
        port: [0; 2],
        method: method::BYPASS as u8,
        hop: Binding::Free.pack(),
    };
    let state = state::first(config, tuple.protocol, Direction::InputOnly, signal);
    let half = Half::new(config, tuple, entry);
    match insert::create(platform, config, &half, (Kind::Forward, state), platform.now()) {
        Outcome::Created(_) | Outcome::Exists => Step::Next(Program::Director),
        Outcome::Full => drop_for(platform, Event::TableFull),
        Outcome::Contended => try_again(platform, program::<F>(Program::OpenBypass, Program::OpenBypass6)),
    }
}

#[inline(always)]
fn bypass_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let index = handed_over(platform, |words| &words.connection);
    if let Some(this) = slot::<P, F>(platform, index)
        && this.meta().is_live()
        && this.holds(&tuple)
    {
        let found = Found { slot: this, index, meta: this.meta() };
        established::track(platform, config, &frame, &found, Direction::InputOnly, platform.now());
    }
    forward::to_receiver::<P, F>(platform, &frame, &tuple)
}
