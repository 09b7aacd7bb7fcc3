//! Persistence: a client's connections to a service go where its first one went, as long as its template lives.

use super::create::try_again;
use super::schedule::{leave_to_scheduler, program_for_chosen};
use super::seen::{Seen, seen};
use super::version::{next, program};
use super::{NONE, Program, Step, drop_for, hand_over, handed_over};
use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::frame::Link;
use crate::ftp;
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::service::Service;
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::{is_expired, locate};
use crate::table::{Binding, Entry, Kind, TEMPLATE, Tuple, slot, template};

/// In [`super::Handover::template`]: there is none, and the destination that is chosen is to get one.
pub(super) const WANTED: u32 = NONE - 1;

steps! {
    /// Looks for the client's template.
    persist, persist6 => persist_in;
}

#[inline(always)]
fn persist_in<P: Platform, F: Seen>(platform: &P, _: Link) -> Step {
    let Some((tuple, _)) = seen::<P, F>(platform) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(service) = platform.service(handed_over(platform, |words| &words.service)) else {
        return Step::Done(Verdict::Pass);
    };
    let wanted = template_tuple::<F>(service, &tuple);
    if let Some((index, meta)) = locate(platform, &wanted, F::hash(config, &wanted))
        && let Some(place) = slot::<P, F>(platform, index)
        && !is_expired(platform, place, index, platform.now())
    {
        if let Some((destination, _)) = place.destination_and_peer(meta)
            && is_usable(platform, config, destination)
        {
            hand_over(platform, |words| &words.destination, destination);
            hand_over(platform, |words| &words.template, index);
            hand_over(platform, |words| &words.template_version, meta.version());
            return Step::Next(program_for_chosen(platform));
        }
        template::invalidate::<P, F>(platform, index, meta.version());
    }
    hand_over(platform, |words| &words.template, WANTED);
    leave_to_scheduler(platform, handed_over(platform, |words| &words.service))
}

/// Whether a template may lead new connections to this destination.
#[inline(always)]
fn is_usable<P: Platform>(platform: &P, config: &Config, destination: u32) -> bool {
    let Some(destination) = platform.destination(destination) else { return false };
    let quiescent = destination.weight.load(order::PLAIN) == 0
        && config.settings.expire_quiescent_template.load(order::PLAIN) != 0;
    destination.is_available() && !quiescent
}

steps! {
    /// Makes a template to the chosen destination.
    create_template, create_template6 => create_template_in;
}

#[inline(always)]
fn create_template_in<P: Platform, F: Seen>(platform: &P, _: Link) -> Step {
    let Some((tuple, _)) = seen::<P, F>(platform) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(service) = platform.service(handed_over(platform, |words| &words.service)) else {
        return Step::Done(Verdict::Pass);
    };
    let chosen = handed_over(platform, |words| &words.destination);
    let Some(destination) = platform.destination(chosen) else {
        return drop_for(platform, Event::DestinationGone);
    };
    let tuple = template_tuple::<F>(service, &tuple);
    let timeout = Tick::in_seconds(service.timeout.load(order::PLAIN));
    let port = if tuple.ports[1] == [0; 2] { 0 } else { destination.port.load(order::PLAIN) as u16 };
    let entry = Entry {
        destination: chosen,
        peer: 0,
        address: F::address(destination.address_words()),
        port: port.to_ne_bytes(),
        method: destination.method.load(order::PLAIN) as u8,
        hop: Binding::Template(timeout).pack(),
    };
    match insert::create(platform, config, &Half { tuple, entry }, Kind::Template, template::FRESH) {
        // Where it is found, as by any later connection of the client.
        Outcome::Created(_) | Outcome::Exists => next::<F>(Program::Persist, Program::Persist6),
        Outcome::Full => drop_for(platform, Event::TableFull),
        Outcome::Contended => {
            try_again(platform, program::<F>(Program::CreateTemplate, Program::CreateTemplate6))
        }
    }
}

/// What the template for a packet of this service is found by: the client's network, and what the service groups.
#[inline(always)]
fn template_tuple<F: Ip>(service: &Service, tuple: &Tuple<F>) -> Tuple<F> {
    let source = F::network(tuple.source, service.netmask.load(order::PLAIN));
    if let Some(mark) = service.mark() {
        // Shared by all protocols, addresses and ports of the mark.
        let words = if F::NUMBER == 6 { [0, 0, 0, mark.to_be()] } else { [mark.to_be(), 0, 0, 0] };
        return Tuple { source, destination: F::address(words), ports: [[0; 2]; 2], protocol: TEMPLATE };
    }
    // A client of FTP comes back on other ports.
    let one_port = tuple.ports[1] == service.port() && tuple.ports[1] != ftp::CONTROL;
    let port = if one_port { tuple.ports[1] } else { [0; 2] };
    Tuple { source, ports: [[0; 2], port], protocol: tuple.protocol ^ TEMPLATE, ..*tuple }
}
