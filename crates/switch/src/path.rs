//! A packet's way through the director.

use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::destination::{Destination, Hop, method};
use crate::forward;
use crate::frame::{self, Frame, Link, Network};
use crate::icmp;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::scheduler;
use crate::service::ServiceKey;
use crate::state::{self, Direction, tcp};
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::{Found, find, is_expired};
use crate::table::release::release;
use crate::table::{Entry, Tuple, V4, V6, slot};
use rlvs_packet::ethernet::Ethernet;
use rlvs_packet::icmp::Cause;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};

/// What is to be done with a frame next. The switch is cut into steps because each is a program of its own in the
/// kernel, with a stack of its own; established connections need the first one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is decided.
    Done(Verdict),
    /// Run [`process`]: the packet's connection is there now, or another CPU changed it meanwhile.
    Process,
    /// Run [`process6`]: the same for IPv6.
    Process6,
    /// Run [`open`]: the packet may open a connection.
    Open,
    /// Run [`create`]: it opens one, to the destination of this index.
    Create(u32),
    /// Run [`create6`]: the same for IPv6.
    Create6(u32),
    /// Run [`create_reply`]: the connection of this index has replies to expect.
    CreateReply(u32),
    /// Run [`create_reply6`]: the same for IPv6.
    CreateReply6(u32),
    /// Run [`reject`]: its sender is to be told.
    Reject(Cause),
}

/// Follows the steps to the end: the whole switch, where it need not be cut.
pub fn run<P: Platform>(platform: &P) -> Verdict {
    let mut step = process(platform);
    for _ in 0..STEPS_MAX {
        step = match step {
            Step::Done(verdict) => return verdict,
            Step::Process => process(platform),
            Step::Process6 => process6(platform),
            Step::Open => open(platform),
            Step::Create(destination) => create(platform, destination),
            Step::Create6(destination) => create6(platform, destination),
            Step::CreateReply(index) => create_reply(platform, index),
            Step::CreateReply6(index) => create_reply6(platform, index),
            Step::Reject(cause) => Step::Done(reject(platform, cause)),
        };
    }
    platform.count(Event::Contended);
    Verdict::Drop
}

/// Steps before a frame is given up; the kernel allows 33.
const STEPS_MAX: usize = 32;

/// First step: switches packets of known connections, and sees which packets are none of the switch's business.
#[inline(always)]
pub fn process<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V4(link) => established::<P, V4>(platform, link),
        Network::V6(_) => Step::Process6,
        Network::Other => Step::Done(Verdict::Pass),
    }
}

/// First step for IPv6, whose addresses need a stack of their own.
#[inline(always)]
pub fn process6<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V6(link) => established::<P, V6>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn established<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let now = platform.now();
    let hash = F::hash(config, &tuple);
    if let Some(found) = find(platform, config, &tuple, hash)
        && !is_expired(platform, found.slot, found.index, now)
    {
        let Some(entry) = found.slot.entry(found.meta) else { return Step::Process };
        if found.meta.is_reply() {
            return reply(platform, config, &frame, &tuple, &found, &entry, now);
        }
        if !is_reusable(&frame, found.meta.state()) {
            return request(platform, config, &frame, &found, &entry, now);
        }
        release::<P, F>(platform, found.index, found.meta);
    }
    if link.multicast || !may_open(&frame) {
        return Step::Done(Verdict::Pass);
    }
    match platform.find_service(&service_key(&frame, &tuple)) {
        Some(_) => Step::Open,
        None => Step::Done(Verdict::Pass),
    }
}

/// Whether the packet may be a connection's first.
#[inline(always)]
fn may_open(frame: &Frame) -> bool {
    frame.protocol != protocol::TCP || frame.tcp_flags & (RST | SYN) == SYN
}

#[inline(always)]
fn service_key<F: Ip>(frame: &Frame, tuple: &Tuple<F>) -> ServiceKey {
    ServiceKey {
        address: F::words(tuple.destination),
        reserved: 0,
        port: u16::from_ne_bytes(tuple.ports[1]),
        protocol: frame.protocol,
        family: F::NUMBER,
    }
}

/// Last step for a packet that cannot go on: turns it into an ICMP error for its sender.
#[inline(always)]
pub fn reject<P: Platform>(platform: &P, cause: Cause) -> Verdict {
    let answered = match frame::network(platform) {
        Network::V4(link) => reject4(platform, link.pack(), cause.pack()),
        Network::V6(link) => reject6(platform, link.pack(), cause.pack()),
        Network::Other => 0,
    };
    if answered != 0 { Verdict::Transmit } else { Verdict::Drop }
}

/// Whether (1) or not (0) the packet became an error; a number, for it is a BPF function of its own.
#[inline(never)]
fn reject4<P: Platform>(platform: &P, link: u32, cause: u32) -> u32 {
    let Some((frame, _)) = V4::parse(platform, Link::unpack(link)) else { return 0 };
    (icmp::reject4(platform, &frame, Cause::unpack(cause)) == Verdict::Transmit) as u32
}

/// The same for IPv6.
#[inline(never)]
fn reject6<P: Platform>(platform: &P, link: u32, cause: u32) -> u32 {
    let Some((frame, _)) = V6::parse(platform, Link::unpack(link)) else { return 0 };
    (icmp::reject6(platform, &frame, Cause::unpack(cause)) == Verdict::Transmit) as u32
}

/// Whether this packet opens a connection anew whose entry is at its end (IPVS's `conn_reuse_mode` 1).
#[inline(always)]
fn is_reusable(frame: &Frame, state: u8) -> bool {
    frame.protocol == protocol::TCP
        && frame.tcp_flags & SYN != 0
        && (state == tcp::TIME_WAIT || state == tcp::CLOSE)
}

/// A client's packet of a known connection.
#[inline(always)]
fn request<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    entry: &Entry<F>,
    now: Tick,
) -> Step {
    let Some(destination) = platform.destination(entry.destination) else {
        return Step::Done(Verdict::Drop);
    };
    if !destination.is_available() {
        // Unlike IPVS, a client that opens a new connection from a port that it used before the server was deleted
        // gets another server. Whoever goes on with the old one does not.
        if frame.protocol == protocol::TCP && frame.tcp_flags & (SYN | ACK | RST) == SYN {
            release::<P, F>(platform, found.index, found.meta);
            return Step::Open;
        }
        platform.count(Event::DestinationGone);
        return Step::Done(Verdict::Drop);
    }
    if let Some(counters) = platform.counters(entry.destination) {
        counters.packet_in(frame.length);
    }
    track(platform, config, frame, found, request_direction(entry.method), now);
    forward::to_destination(platform, frame, entry, destination)
}

/// A real server's packet of a NATed connection.
#[inline(always)]
fn reply<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    tuple: &Tuple<F>,
    found: &Found<'_, F>,
    entry: &Entry<F>,
    now: Tick,
) -> Step {
    if platform.destination(entry.destination).is_some_and(Destination::is_available)
        && let Some(counters) = platform.counters(entry.destination)
    {
        counters.packet_out(frame.length);
    }
    track(platform, config, frame, found, Direction::Output, now);
    Step::Done(forward::to_client(platform, config, frame, tuple, found.slot, entry))
}

/// Only a NATed connection's replies pass the director.
#[inline(always)]
fn request_direction(method: u8) -> Direction {
    if method as u32 == method::MASQUERADE { Direction::Input } else { Direction::InputOnly }
}

/// Follows the connection's state and puts its expiry off.
#[inline(always)]
fn track<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    direction: Direction,
    now: Tick,
) {
    let mut state = found.meta.state();
    let plain = frame.tcp_flags & (SYN | FIN | RST | ACK) == ACK && state == tcp::ESTABLISHED;
    if frame.protocol == protocol::TCP && !plain {
        let packet = direction as u32 | (frame.tcp_flags as u32) << 8 | found.meta.version() << 16;
        state = transition::<P, F>(platform, found.index, packet) as u8;
    }
    found.slot.refresh(state::expiry(config, frame.protocol, state, now));
}

/// Moves the TCP connection of the entry `index` to the state that follows from direction (low octet) and flags
/// (next octet) of a packet that was found to belong to this version (upper half) of the slot; the new state. Scalars only, for it is a BPF function of its own.
#[inline(never)]
fn transition<P: Platform, F: Ip>(platform: &P, index: u32, packet: u32) -> u32 {
    let direction = match packet & 0xff {
        0 => Direction::Input,
        1 => Direction::Output,
        _ => Direction::InputOnly,
    };
    let flags = (packet >> 8) as u8;
    let version = packet >> 16;
    let Some(this) = slot::<P, F>(platform, index) else { return tcp::CLOSE as u32 };
    let forward_index = if this.meta().is_reply() { this.peer() } else { index };
    let Some(forward) = slot::<P, F>(platform, forward_index) else { return tcp::CLOSE as u32 };
    let mut tries = 0;
    while tries < 4 {
        tries += 1;
        let meta = forward.meta();
        if !meta.is_live() || meta.is_reply() || (forward_index != index && forward.peer() != index) {
            break;
        }
        // Both were one connection when `meta` was read, and the exchange below tells whether they still are.
        if this.meta().version() != version {
            break;
        }
        let next = tcp::next(meta.state(), direction, flags);
        if next == meta.state() {
            return next as u32;
        }
        let Some((destination, peer)) = forward.destination_and_peer(meta) else { break };
        platform.interleave();
        if !platform.exchange(&forward.meta, meta.0, meta.with_state(next).0) {
            continue;
        }
        move_between_counts(platform, destination, meta.state(), next);
        let Some(config) = platform.config() else { break };
        let expires = state::expiry(config, protocol::TCP, next, platform.now());
        forward.refresh(expires);
        if peer != forward_index
            && let Some(reply) = slot::<P, F>(platform, peer)
        {
            reply.refresh(expires);
            insert::copy_state::<P, F>(platform, forward_index, peer);
        }
        return next as u32;
    }
    this.meta().state() as u32
}

/// A destination's active and inactive connections, when one of them goes from a state to another.
#[inline(always)]
fn move_between_counts<P: Platform>(platform: &P, destination: u32, from: u8, to: u8) {
    let (was, is) = (tcp::is_active(from), tcp::is_active(to));
    if was == is {
        return;
    }
    let Some(destination) = platform.destination(destination) else { return };
    let (less, more) = if is {
        (&destination.inactive, &destination.active)
    } else {
        (&destination.active, &destination.inactive)
    };
    platform.add(less, 1u32.wrapping_neg());
    platform.add(more, 1);
}

/// Second step: has the service's scheduler choose a destination for a packet that may open a connection.
#[inline(always)]
pub fn open<P: Platform>(platform: &P) -> Step {
    let service = match frame::network(platform) {
        Network::V4(link) => service4(platform, link.pack()),
        Network::V6(link) => service6(platform, link.pack()),
        Network::Other => NONE,
    };
    if service == NONE {
        return Step::Done(Verdict::Pass);
    }
    let chosen = choose(platform, service);
    if chosen == NONE {
        platform.count(Event::NoDestination);
        return Step::Reject(Cause::PortUnreachable);
    }
    // Read anew, or the compiler would make two ways of it from the start, each with its scheduler.
    match frame::network(platform) {
        Network::V6(_) => Step::Create6(chosen),
        _ => Step::Create(chosen),
    }
}

/// No service, no destination.
const NONE: u32 = u32::MAX;

#[inline(never)]
fn service4<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V4>(platform, Link::unpack(link))
}

#[inline(never)]
fn service6<P: Platform>(platform: &P, link: u32) -> u32 {
    service_for::<P, V6>(platform, Link::unpack(link))
}

#[inline(always)]
fn service_for<P: Platform, F: Ip>(platform: &P, link: Link) -> u32 {
    let Some((frame, tuple)) = F::parse(platform, link) else { return NONE };
    if tuple.ports[0] == 20u16.to_be_bytes() {
        // FTP's data port: such connections are made from the control connection, never scheduled.
        return NONE;
    }
    platform.find_service(&service_key(&frame, &tuple)).unwrap_or(NONE)
}

/// The index of the destination that the service's scheduler chooses.
#[inline(never)]
fn choose<P: Platform>(platform: &P, service: u32) -> u32 {
    platform.service(service).and_then(|service| scheduler::choose(platform, service)).unwrap_or(NONE)
}

/// Third step: puts the new connection into the table.
#[inline(always)]
pub fn create<P: Platform>(platform: &P, chosen: u32) -> Step {
    match frame::network(platform) {
        Network::V4(link) => create_in::<P, V4>(platform, link, chosen),
        _ => Step::Done(Verdict::Pass),
    }
}

/// Third step for IPv6.
#[inline(always)]
pub fn create6<P: Platform>(platform: &P, chosen: u32) -> Step {
    match frame::network(platform) {
        Network::V6(link) => create_in::<P, V6>(platform, link, chosen),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn create_in<P: Platform, F: Ip>(platform: &P, link: Link, chosen: u32) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(destination) = platform.destination(chosen) else { return Step::Done(Verdict::Drop) };
    let half = Half { entry: forward_entry::<F>(destination, chosen, &tuple), tuple };
    let direction = request_direction(half.entry.method);
    let state = state::next(frame.protocol, tcp::NONE, direction, frame.tcp_flags);
    match insert::create(platform, config, &half, state) {
        Outcome::Created(index) => {
            if let Some(counters) = platform.counters(chosen) {
                counters.connection();
            }
            if half.entry.method as u32 == method::MASQUERADE {
                return if F::NUMBER == 6 { Step::CreateReply6(index) } else { Step::CreateReply(index) };
            }
            // The packet is now one of a known connection.
            Step::Process
        }
        Outcome::Exists => Step::Process,
        Outcome::Full => drop_for(platform, Event::TableFull),
        Outcome::Contended => drop_for(platform, Event::Contended),
    }
}

#[inline(always)]
fn drop_for<P: Platform>(platform: &P, event: Event) -> Step {
    platform.count(event);
    Step::Done(Verdict::Drop)
}

/// Fourth step, with NAT: the entry for the replies of the connection at this index.
#[inline(always)]
pub fn create_reply<P: Platform>(platform: &P, index: u32) -> Step {
    match frame::network(platform) {
        Network::V4(link) => create_reply_in::<P, V4>(platform, link, index),
        _ => Step::Done(Verdict::Pass),
    }
}

/// Fourth step for IPv6.
#[inline(always)]
pub fn create_reply6<P: Platform>(platform: &P, index: u32) -> Step {
    match frame::network(platform) {
        Network::V6(link) => create_reply_in::<P, V6>(platform, link, index),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn create_reply_in<P: Platform, F: Ip>(platform: &P, link: Link, index: u32) -> Step {
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(header) = platform.read::<Ethernet>(0) else { return Step::Done(Verdict::Pass) };
    // Until a way to the client is looked up: the way that the request came.
    let back = Hop::new(platform.ingress(), header.source, header.destination, link.vlan)
        .in_generation(config.generation().wrapping_sub(1));
    match insert::create_reply::<P, F>(platform, config, index, back) {
        Outcome::Full => drop_for(platform, Event::TableFull),
        _ => Step::Process,
    }
}

#[inline(always)]
fn forward_entry<F: Ip>(destination: &Destination, index: u32, tuple: &Tuple<F>) -> Entry<F> {
    let port = destination.port.load(crate::order::PLAIN) as u16;
    let load = |i: usize| destination.address[i].load(crate::order::PLAIN);
    Entry {
        destination: index,
        peer: 0,
        address: F::address([load(0), load(1), load(2), load(3)]),
        port: if port == 0 { tuple.ports[1] } else { port.to_ne_bytes() },
        method: destination.method.load(crate::order::PLAIN) as u8,
        hop: Hop::UNKNOWN,
    }
}
