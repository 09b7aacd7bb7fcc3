//! Packets of known connections.

use super::ftp;
use super::open;
use super::seen::Seen;
use super::version::next;
use super::{Program, Step, drop_for, hand_over};
use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::destination::{Destination, Hop, method};
use crate::forward;
use crate::fragment;
use crate::frame::{self, Content, Frame, Link, Network, Sight};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::scheduler::ranking;
use crate::state::sctp::{self, event};
use crate::state::{self, Direction, tcp};
use crate::sync::{Change, change};
use crate::table::lookup::{Found, find, is_expired};
use crate::table::release::release;
use crate::table::{Meta, Target, Tuple, V4, V6, insert, slot, template};
use rlvs_packet::protocol;
use rlvs_packet::tcp::{RST, SYN};

/// Switches packets of known connections, and sees which packets are none of the switch's business.
#[inline(always)]
pub fn process<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V4(link) => established::<P, V4>(platform, link),
        Network::V6(link) => established::<P, V6>(platform, link),
        Network::Other => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn established<P: Platform, F: Seen>(platform: &P, link: Link) -> Step {
    let (frame, tuple) = match F::sight(platform, link) {
        Sight::Plain(frame, tuple) => (frame, tuple),
        Sight::Uncommon => return next::<F>(Program::Uncommon, Program::Uncommon6),
        Sight::Foreign => return Step::Done(Verdict::Pass),
    };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let hash = F::hash(config, &tuple);
    let found = find(platform, config, &tuple, hash);
    switch(platform, config, link, &frame, (&tuple, hash), found)
}

/// What becomes of a packet that is read, and whose tuple was looked up by its hash.
#[inline(always)]
pub(super) fn switch<P: Platform, F: Seen>(
    platform: &P,
    config: &Config,
    link: Link,
    frame: &Frame,
    (tuple, hash): (&Tuple<F>, u64),
    found: Option<Found<'_, F>>,
) -> Step {
    let now = platform.now();
    if let Some(found) = found
        && !is_expired(platform, found.slot, found.index, now)
    {
        let Some(target) = found.slot.target(found.meta) else { return Step::Next(Program::Director) };
        if !found.meta.is_reply() && config.is_standby() {
            return Step::Done(Verdict::Pass);
        }
        if ftp::is_control(frame, tuple, found.meta, &target) {
            return ftp::read::<P, F>(platform, found.index, found.meta);
        }
        if found.meta.is_reply() {
            let Some(hop) = found.slot.hop(found.meta) else { return Step::Next(Program::Director) };
            return reply(platform, config, frame, &found, (&target, hop), now);
        }
        if !is_reusable(platform, config, frame, &found, &target) {
            return request(platform, config, frame, &found, &target, now);
        }
        release::<P, F>(platform, found.index, found.meta);
    }
    if link.multicast || config.is_standby() || !may_open(config, frame) {
        return Step::Done(Verdict::Pass);
    }
    open::begin(platform, config, link, frame, tuple, hash, now)
}

/// Whether the packet may be a connection's first.
#[inline(always)]
pub(super) fn may_open(config: &Config, frame: &Frame) -> bool {
    match frame.content {
        Content::Transport | Content::FirstFragment => {}
        Content::LaterFragment | Content::EarlyFragment => return false,
        Content::Error => return config.settings.schedule_icmp.load(order::PLAIN) != 0,
    }
    let settings = &config.settings;
    match frame.protocol {
        protocol::TCP => {
            frame.signal & (RST | SYN) == SYN
                || (frame.signal & RST == 0 && settings.sloppy_tcp.load(order::PLAIN) != 0)
        }
        protocol::SCTP => {
            frame.signal == event::INIT
                || (frame.signal != event::ABORT && settings.sloppy_sctp.load(order::PLAIN) != 0)
        }
        protocol::AH | protocol::ESP => false,
        _ => true,
    }
}

/// Whether this packet opens a connection anew whose entry is at its end (`conn_reuse_mode`), or leads to a destination
/// that takes no new connections (`expire_nodest_conn`).
#[inline(always)]
fn is_reusable<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    target: &Target<F>,
) -> bool {
    let opens = match frame.protocol {
        protocol::TCP => frame.signal & SYN != 0,
        protocol => state::opens(protocol, frame.signal),
    };
    if !opens || found.slot.is_in_control(found.meta) {
        return false;
    }
    if config.settings.expire_nodest_conn.load(order::PLAIN) != 0
        && platform.destination(target.destination).is_some_and(|d| d.weight.load(order::PLAIN) == 0)
    {
        return true;
    }
    let mode = config.settings.conn_reuse_mode.load(order::PLAIN);
    if mode == 0 || found.slot.controller().is_some() {
        return false;
    }
    match found.meta.state() {
        state if frame.protocol == protocol::SCTP => state == sctp::CLOSED,
        tcp::TIME_WAIT | tcp::CLOSE => true,
        // As far as connections get whose other direction is not seen.
        tcp::FIN_WAIT => mode & 2 != 0 && target.method as u32 != method::MASQUERADE,
        _ => false,
    }
}

/// A client's packet of a known connection.
#[inline(always)]
pub(super) fn request<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    target: &Target<F>,
    now: Tick,
) -> Step {
    let known = platform.destination(target.destination);
    let Some(destination) = known.filter(|destination| destination.is_available()) else {
        if target.method as u32 == method::BYPASS {
            hand_over(platform, |words| &words.connection, found.index);
            return next::<F>(Program::Bypass, Program::Bypass6);
        }
        // Unlike IPVS, a client that opens a new connection from a port that it used before the server was deleted
        // gets another server. Whoever goes on with the old one does not.
        let may_end = !found.slot.is_in_control(found.meta);
        let opens = may_end && state::opens(frame.protocol, frame.signal);
        if !opens && known.is_some_and(Destination::ends) {
            hand_over(platform, |words| &words.connection, found.index);
            return next::<F>(Program::End, Program::End6);
        }
        let expire = may_end && config.settings.expire_nodest_conn.load(order::PLAIN) != 0;
        if opens || expire {
            release::<P, F>(platform, found.index, found.meta);
        }
        if opens || (expire && may_open(config, frame)) {
            return ftp::look_for_data::<F>();
        }
        if expire {
            return Step::Done(Verdict::Pass);
        }
        return drop_for(platform, Event::DestinationGone);
    };
    if let Some(counters) = platform.counters(target.destination) {
        counters.packet_in(frame.length);
    }
    track(platform, config, frame, found, request_direction(target.method), now);
    forward::to_destination(platform, frame, target, destination)
}

/// A real server's packet of a NATed connection.
#[inline(always)]
pub(super) fn reply<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    (target, hop): (&Target<F>, Hop),
    now: Tick,
) -> Step {
    if platform.destination(target.destination).is_some_and(Destination::is_available)
        && let Some(counters) = platform.counters(target.destination)
    {
        counters.packet_out(frame.length);
    }
    track(platform, config, frame, found, Direction::Output, now);
    forward::to_client(platform, config, frame, found, (target, hop))
}

/// Only a NATed connection's replies pass the director.
#[inline(always)]
pub(super) fn request_direction(method: u8) -> Direction {
    if method as u32 == method::MASQUERADE { Direction::Input } else { Direction::InputOnly }
}

/// Follows the connection's state and puts its expiry off.
#[inline(always)]
pub(super) fn track<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    direction: Direction,
    now: Tick,
) {
    match frame.content {
        Content::Transport => {}
        Content::FirstFragment => {
            // The packet's own tuple, read from where it was found: the stack is short.
            if let Some(tuple) = found.slot.tuple(found.meta) {
                fragment::remember(platform, &tuple, frame.detail);
            }
        }
        // Its first one said all there is to know. An error is no sign of life.
        Content::LaterFragment | Content::EarlyFragment | Content::Error => return,
    }
    let mut state = found.meta.state();
    if !state::is_plain(frame.protocol, state, frame.signal) {
        let packet = packet(direction, frame.signal, found.meta, config);
        state = transition::<P, F>(platform, found.index, packet, frame.protocol as u32) as u8;
    }
    found.slot.refresh(state::expiry(config, frame.protocol, state, now));
}

/// What [`transition`] is to know of a packet with this signal, found to belong to the entry with this meta.
#[inline(always)]
pub(super) fn packet(direction: Direction, signal: u8, meta: Meta, config: &Config) -> u32 {
    let secure = if state::is_secure(config) { SECURE } else { 0 };
    direction as u32 | secure | (signal as u32) << 8 | meta.version() << 16
}

/// In the word that [`transition`] takes: TCP's state table is the one against floods.
const SECURE: u32 = 0x80;

/// Moves the connection of the entry `index` to the state that follows from direction (low octet) and signal
/// (next octet) of a packet that was found to belong to this version (upper half) of the slot; the new state. Scalars only, for it is a BPF function of its own.
#[inline(never)]
pub(super) fn transition<P: Platform, F: Ip>(platform: &P, index: u32, packet: u32, protocol: u32) -> u32 {
    let direction = match packet & 0x7f {
        0 => Direction::Input,
        1 => Direction::Output,
        _ => Direction::InputOnly,
    };
    let (protocol, signal) = (protocol as u8, (packet >> 8) as u8);
    let version = packet >> 16;
    let Some(this) = slot::<P, F>(platform, index) else { return state::NONE as u32 };
    let forward_index = if this.meta().is_reply() { this.peer() } else { index };
    let Some(forward) = slot::<P, F>(platform, forward_index) else { return state::NONE as u32 };
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
        let next = state::next(protocol, meta.state(), direction, signal, packet & SECURE != 0);
        if next == meta.state() {
            return next as u32;
        }
        let Some((destination, _)) = forward.destination_and_peer(meta) else { break };
        platform.interleave();
        if !platform.exchange(&forward.meta, meta.0, meta.with_state(next).0) {
            continue;
        }
        move_between_counts(platform, destination, protocol, meta.state(), next);
        if state::is_told(protocol, next) {
            tell::<P, F>(platform, forward_index);
        }
        if state::is_established(protocol, next)
            && let Some(template) = forward.controller()
        {
            template::assure::<P, F>(platform, template);
        }
        let Some(config) = platform.config() else { break };
        let expires = state::expiry(config, protocol, next, platform.now());
        forward.refresh(expires);
        // It may have got its peer since `meta` was read, and look the same again.
        let peer = forward.peer();
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

/// Has other directors hear of the connection or template in this slot, if there is a master to tell them.
#[inline(always)]
pub(super) fn tell<P: Platform, F: Ip>(platform: &P, slot: u32) {
    if platform.config().is_some_and(Config::has_master) {
        platform.tell(Change::new::<F>(slot, change::STATE));
    }
}

/// A destination's active and inactive connections, when one of them goes from a state to another.
#[inline(always)]
pub(super) fn move_between_counts<P: Platform>(
    platform: &P,
    destination: u32,
    protocol: u8,
    from: u8,
    to: u8,
) {
    let (was, is) = (state::is_active(protocol, from), state::is_active(protocol, to));
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
    if was {
        ranking::forget(platform, destination);
    }
}
