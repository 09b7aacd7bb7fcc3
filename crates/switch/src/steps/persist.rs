//! Persistence: a client's connections to a service go where its first one went, as long as its template lives.

use super::create::try_again;
use super::established::tell;
use super::schedule::{leave_to_scheduler, program_for_chosen};
use super::seen::{Seen, seen};
use super::version::{next, program};
use super::{NONE, Program, Step, drop_for, handed_over, is_from_server};
use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::frame::Link;
use crate::ftp;
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::service::Service;
use crate::sip::CallKey;
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::{is_expired, locate};
use crate::table::{Binding, CALL, Entry, Kind, TEMPLATE, Tuple, control, mark_address, slot, template};

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
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    let Some(service) = platform.service(handover.service.load(order::PLAIN)) else {
        return Step::Done(Verdict::Pass);
    };
    let wanted = template_tuple::<P, F>(platform, service, &tuple);
    if let Some((index, meta)) = locate(platform, &wanted, F::hash(config, &wanted))
        && let Some(place) = slot::<P, F>(platform, index)
        && !is_expired(platform, place, index, platform.now())
    {
        if let Some((destination, _)) = place.destination_and_peer(meta)
            && is_usable(platform, config, destination)
            && (!is_from_server(platform) || destination == handed_over(platform, |words| &words.destination))
        {
            let connections = 1 - handover.one_packet.load(order::PLAIN);
            let now = platform.now().0;
            if control::bind::<P, F>(platform, index, meta.version(), now, connections) == 0 {
                // It has gone meanwhile.
                return next::<F>(Program::Persist, Program::Persist6);
            }
            if wanted.protocol == CALL && handover.template.load(order::PLAIN) == WANTED {
                // Just made.
                platform.remember_call(&CallKey::new(index, meta.version(), F::NUMBER));
            }
            handover.destination.store(destination, order::PLAIN);
            handover.template.store(index, order::PLAIN);
            return Step::Next(program_for_chosen(platform));
        }
        template::invalidate::<P, F>(platform, index, meta.version());
    }
    handover.template.store(WANTED, order::PLAIN);
    F::store_tuple(F::template(handover), &wanted);
    handover.template_port.store(is_for_one_port(service, &tuple) as u32, order::PLAIN);
    if is_from_server(platform) {
        return Step::Next(program_for_chosen(platform));
    }
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
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    let Some(service) = platform.service(handover.service.load(order::PLAIN)) else {
        return Step::Done(Verdict::Pass);
    };
    let chosen = handover.destination.load(order::PLAIN);
    let Some(destination) = platform.destination(chosen) else {
        return drop_for(platform, Event::DestinationGone);
    };
    let timeout = Tick::in_seconds(service.timeout.load(order::PLAIN));
    let port = destination.port.load(order::PLAIN) * handover.template_port.load(order::PLAIN);
    let tuple = F::load_tuple(F::template(handover));
    let entry = Entry {
        destination: chosen,
        peer: 0,
        address: F::address(destination.address_words()),
        port: (port as u16).to_ne_bytes(),
        method: destination.method.load(order::PLAIN) as u8,
        hop: Binding::Template(timeout).pack(),
    };
    let half = Half::new(config, tuple, entry);
    match insert::create(platform, config, &half, (Kind::Template, template::FRESH), platform.now()) {
        // Where it is found, as by any later connection of the client.
        Outcome::Created(index) => {
            tell::<P, F>(platform, index);
            next::<F>(Program::Persist, Program::Persist6)
        }
        Outcome::Exists => next::<F>(Program::Persist, Program::Persist6),
        Outcome::Full => drop_for(platform, Event::TableFull),
        Outcome::Contended => {
            try_again(platform, program::<F>(Program::CreateTemplate, Program::CreateTemplate6))
        }
    }
}

/// What the template for a packet of this service is found by: the client's network, and what the service groups.
#[inline(always)]
fn template_tuple<P: Platform, F: Ip>(platform: &P, service: &Service, tuple: &Tuple<F>) -> Tuple<F> {
    let source = F::network(tuple.source, service.netmask.load(order::PLAIN));
    if service.tells_calls_apart() {
        let [low, high] = [0, 1].map(|i| handed_over(platform, |words| &words.call_hash[i]));
        let [a, b, c, d] = high.to_ne_bytes();
        let destination = F::address([low, 0, 0, 0]);
        return Tuple { source, destination, ports: [[a, b], [c, d]], protocol: CALL };
    }
    if let Some(mark) = service.mark() {
        // Shared by all protocols, addresses and ports of the mark.
        return Tuple {
            source,
            destination: F::address(mark_address::<F>(mark)),
            ports: [[0; 2]; 2],
            protocol: TEMPLATE,
        };
    }
    let port = if is_for_one_port(service, tuple) { tuple.ports[1] } else { [0; 2] };
    Tuple { source, ports: [[0; 2], port], protocol: tuple.protocol ^ TEMPLATE, ..*tuple }
}

/// Whether connections to other ports have templates of their own. A client of FTP comes back on other ports.
#[inline(always)]
fn is_for_one_port<F: Ip>(service: &Service, tuple: &Tuple<F>) -> bool {
    service.mark().is_none() && tuple.ports[1] == service.port() && tuple.ports[1] != ftp::CONTROL
}
