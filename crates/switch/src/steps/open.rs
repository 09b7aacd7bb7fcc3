//! Finding the virtual service of a packet that may open a connection.

use super::ftp::look_for_data;
use super::schedule::{leave_to_scheduler, program_for_chosen};
use super::seen::{Seen, keep, keep_hash};
use super::{Handover, NONE, Program, Step, drop_for, hand_over, handed_over, leave};
use crate::config::{Config, Tick, look_up};
use crate::counters::Event;
use crate::defence;
use crate::frame::{self, Frame, Link, Network};
use crate::ftp;
use crate::ip::Ip;
use crate::mark;
use crate::order;
use crate::platform::{Platform, Verdict, View};
use crate::service::{ServiceKey, flag};
use crate::table::{Tuple, V4, V6};
use rlvs_packet::protocol;

/// FTP's port for data, when the server connects.
const FTP_DATA: u16 = 20;

/// How a packet's service was found: [`super::Handover::found_by`].
pub mod found_by {
    /// By protocol, address and port.
    pub const PORT: u32 = 0;
    /// By the packet's mark.
    pub const MARK: u32 = 1;
    /// The service is on port 21 of the packet's address, the packet for another port.
    pub const FTP: u32 = 2;
    /// The service is for all ports of the packet's address.
    pub const ANY_PORT: u32 = 3;
    /// By an FTP control connection, which foresaw the packet: no service was looked for.
    pub const FTP_DATA: u32 = 4;
}

/// Finds the step for a packet that no connection is known for and that may open one: most belong to no service, and
/// go no further.
#[inline(always)]
pub(super) fn begin<P: Platform, F: Seen>(
    platform: &P,
    config: &Config,
    link: Link,
    frame: &Frame,
    tuple: &Tuple<F>,
    hash: u64,
    now: Tick,
) -> Step {
    if tuple.protocol == protocol::TCP && now.until(Tick(config.ftp_data_until.load(order::PLAIN))) > 0 {
        return look_for_data::<F>();
    }
    by_service(platform, config, link, frame, tuple, hash, now)
}

/// [`begin`], when no FTP data connection is expected that the packet may open.
#[inline(always)]
pub(super) fn by_service<P: Platform, F: Seen>(
    platform: &P,
    config: &Config,
    link: Link,
    frame: &Frame,
    tuple: &Tuple<F>,
    hash: u64,
    now: Tick,
) -> Step {
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    let look_ups = config.look_ups::<F>();
    handover.mark.store(0, order::PLAIN);
    if look_ups != 0 {
        handover.service.store(NONE, order::PLAIN);
        let by_mark = look_ups & look_up::MARK != 0;
        return Step::Next(if by_mark { Program::Classify } else { Program::Open });
    }
    // Nothing but its own port can lead the packet to a service: it is found here and now.
    let Some((service, by)) = match_service(platform, config, tuple, 0) else {
        return Step::Done(Verdict::Pass);
    };
    keep(platform, link, frame, tuple);
    keep_hash(platform, hash, now);
    handover.family.store(F::NUMBER as u32, order::PLAIN);
    handover.service.store(service, order::PLAIN);
    handover.found_by.store(by, order::PLAIN);
    handover.from_server.store(0, order::PLAIN);
    handover.keep_port.store(0, order::PLAIN);
    handover.one_packet.store((frame.protocol == protocol::UDP) as u32, order::PLAIN);
    Step::Next(Program::Open)
}

/// Finds the packet's mark.
#[inline(always)]
pub fn classify<P: Platform>(platform: &P) -> Step {
    let mark = match frame::network(platform) {
        Network::V4(link) => mark4(platform, link.pack()),
        Network::V6(link) => mark6(platform, link.pack()),
        Network::Other => 0,
    };
    hand_over(platform, |words| &words.mark, mark);
    Step::Next(Program::Open)
}

#[inline(never)]
fn mark4<P: View>(platform: &P, link: u32) -> u32 {
    V4::parse(platform, Link::unpack(link)).map_or(0, |(_, tuple)| mark::mark_of(platform, &tuple))
}

#[inline(never)]
fn mark6<P: View>(platform: &P, link: u32) -> u32 {
    V6::parse(platform, Link::unpack(link)).map_or(0, |(_, tuple)| mark::mark_of(platform, &tuple))
}

/// Finds the service, unless the first step has, and leaves it to the scheduler.
#[inline(always)]
pub fn open<P: Platform>(platform: &P) -> Step {
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    if handover.service.load(order::PLAIN) == NONE {
        let (service, family) = match frame::network(platform) {
            Network::V4(link) => (service4(platform, link.pack()), 4),
            Network::V6(link) => (service6(platform, link.pack()), 6),
            Network::Other => (NONE, 0),
        };
        if service == NONE {
            return Step::Done(Verdict::Pass);
        }
        handover.family.store(family, order::PLAIN);
        handover.service.store(service, order::PLAIN);
    }
    admit(platform, handover)
}

/// Leaves the packet to the scheduler of its service, or to what comes before that.
#[inline(always)]
fn admit<P: Platform>(platform: &P, handover: &Handover) -> Step {
    let from_server = handover.from_server.load(order::PLAIN) == 1;
    if !from_server && defence::takes_one(platform) {
        return drop_for(platform, Event::DropRate);
    }
    handover.template.store(NONE, order::PLAIN);
    let service = handover.service.load(order::PLAIN);
    let Some(entry) = platform.service(service) else { return Step::Done(Verdict::Pass) };
    let one_packet = handover.one_packet.load(order::PLAIN) & entry.has(flag::ONE_PACKET) as u32;
    handover.one_packet.store(one_packet, order::PLAIN);
    if entry.has(flag::PERSISTENT) {
        let six = handover.family.load(order::PLAIN) == 6;
        return Step::Next(match (entry.tells_calls_apart(), six) {
            (false, true) => Program::Persist6,
            (false, false) => Program::Persist,
            (true, true) => Program::Call6,
            (true, false) => Program::Call,
        });
    }
    if from_server {
        return Step::Next(program_for_chosen(platform));
    }
    let found_by = handover.found_by.load(order::PLAIN);
    if found_by == found_by::FTP || found_by == found_by::ANY_PORT {
        // Without persistence, nothing would lead the packets of a client's ports to one server.
        return leave(platform);
    }
    leave_to_scheduler(platform, service)
}

#[inline(never)]
fn service4<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V4>(platform, Link::unpack(link))
}

#[inline(never)]
fn service6<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V6>(platform, Link::unpack(link))
}

/// The service of a packet, noted for the steps to come: that of the real server that sends it, if its calls are told
/// apart, else [`match_service`].
#[inline(always)]
fn service_for<P: Platform, F: Seen>(platform: &P, link: Link) -> u32 {
    let Some((frame, tuple)) = F::parse(platform, link) else { return NONE };
    let Some(config) = platform.config() else { return NONE };
    hand_over(platform, |words| &words.from_server, 0);
    let found = |index, by| {
        let Some(service) = platform.service(index) else { return NONE };
        let one_packet = frame.protocol == protocol::UDP;
        let keep_port = service.has(flag::PERSISTENT) && tuple.ports[1] != service.port();
        hand_over(platform, |words| &words.one_packet, one_packet as u32);
        hand_over(platform, |words| &words.keep_port, keep_port as u32);
        hand_over(platform, |words| &words.found_by, by);
        index
    };
    if config.look_ups::<F>() & look_up::CALLS != 0
        && frame.content.has_transport()
        && let Some(destination) = platform.find_service(&server_key(&tuple))
    {
        let Some(index) = service_of(platform, destination) else { return NONE };
        let Some(service) = platform.service(index) else { return NONE };
        let request = Tuple::<F> {
            source: tuple.destination,
            destination: F::address(service.address_words()),
            ports: [tuple.ports[1], service.port()],
            protocol: tuple.protocol,
        };
        keep(platform, link, &frame, &request);
        keep_hash(platform, F::hash(config, &request), platform.now());
        found(index, found_by::PORT);
        hand_over(platform, |words| &words.keep_port, 0);
        hand_over(platform, |words| &words.destination, destination);
        hand_over(platform, |words| &words.from_server, 1);
        return index;
    }
    keep(platform, link, &frame, &tuple);
    keep_hash(platform, F::hash(config, &tuple), platform.now());
    let mark = handed_over(platform, |words| &words.mark);
    match_service(platform, config, &tuple, mark).map_or(NONE, |(index, by)| found(index, by))
}

/// The service of a packet with this mark (0: none), by IPVS's order: its mark's, its own port's, the FTP service that may
/// have arranged for the packet, the one for all ports. Its index, and how it was found ([`found_by`]).
#[inline(always)]
pub(super) fn match_service<V: View, F: Ip>(
    view: &V,
    config: &Config,
    tuple: &Tuple<F>,
    mark: u32,
) -> Option<(u32, u32)> {
    if tuple.ports[0] == FTP_DATA.to_be_bytes() {
        // Such connections are made from the control connection, never scheduled.
        return None;
    }
    let look_ups = config.look_ups::<F>();
    if mark != 0
        && let Some(service) = view.find_service(&ServiceKey::of_mark(mark, F::NUMBER))
    {
        return Some((service, found_by::MARK));
    }
    if let Some(service) = view.find_service(&service_key(tuple, tuple.ports[1])) {
        return Some((service, found_by::PORT));
    }
    let port = u16::from_be_bytes(tuple.ports[1]);
    let arranged = port == FTP_DATA || port as u32 >= config.unprivileged_port_start.load(order::PLAIN);
    if look_ups & look_up::FTP != 0
        && tuple.protocol == protocol::TCP
        && arranged
        && let Some(service) = view.find_service(&service_key(tuple, ftp::CONTROL))
    {
        return Some((service, found_by::FTP));
    }
    if look_ups & look_up::ANY_PORT != 0
        && let Some(service) = view.find_service(&service_key(tuple, [0; 2]))
    {
        return Some((service, found_by::ANY_PORT));
    }
    None
}

/// The identity of the packet's sender, as that of a real server.
#[inline(always)]
pub(super) fn server_key<F: Ip>(tuple: &Tuple<F>) -> ServiceKey {
    let port = u16::from_ne_bytes(tuple.ports[0]);
    ServiceKey::of_real_server(tuple.protocol, F::NUMBER, F::words(tuple.source), port)
}

/// The service that a destination belongs to.
#[inline(always)]
fn service_of<P: Platform>(platform: &P, destination: u32) -> Option<u32> {
    let owner = &platform.destination(destination)?.owner;
    let word = |i: usize| owner[i].load(order::PLAIN);
    let key: ServiceKey = zerocopy::transmute!([word(0), word(1), word(2), word(3), word(4), word(5)]);
    platform.find_service(&key)
}

/// The identity of a service for the packet's address and protocol.
#[inline(always)]
fn service_key<F: Ip>(tuple: &Tuple<F>, port: [u8; 2]) -> ServiceKey {
    ServiceKey::new(tuple.protocol, F::NUMBER, F::words(tuple.destination), u16::from_ne_bytes(port))
}
