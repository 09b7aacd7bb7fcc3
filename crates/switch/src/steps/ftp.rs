//! FTP behind NAT: reading control connections, and making their data connections known.

use super::create_reply::way_back;
use super::established;
use super::open;
use super::seen::{Seen, keep, keep_hash};
use super::version::next;
use super::{Program, Step, drop_for, found_by, hand_over, handed_over};
use crate::config::{Config, Tick};
use crate::counters::Event;
use crate::destination::{Destination, method};
use crate::frame::{Content, Frame, Link, Sight};
use crate::ftp::{self, command, reply, text};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::state::tcp;
use crate::table::insert::{self, Half, Outcome};
use crate::table::lookup::{Found, is_expired, locate};
use crate::table::release::release;
use crate::table::{Binding, Entry, Kind, Meta, Slot, Target, Tuple, control, slot};
use rlvs_packet::checksum::Change;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{SYN, Tcp};

steps! {
    /// Reads what a client says on its control connection.
    command, command6 => command_in;
    /// Reads what a server says on a control connection.
    answer, answer6 => answer_in;
    /// Puts the data connection to come into the table.
    expect, expect6 => expect_in;
    /// The same for its replies, if the server opens it.
    expect_reply, expect_reply6 => expect_reply_in;
    /// Goes on with a control connection's packet as with others.
    deliver, deliver6 => deliver_in;
    /// Sees whether a packet opens a data connection that a server waits for.
    data, data6 => data_in;
}

/// Whether a packet is to be read: one of an established connection to this port of the VIP, over NAT.
#[inline(always)]
pub(super) fn is_control<F: Ip>(frame: &Frame, tuple: &Tuple<F>, meta: Meta, target: &Target<F>) -> bool {
    let port = if meta.is_reply() { target.port } else { tuple.ports[1] };
    port == ftp::CONTROL
        && frame.protocol == protocol::TCP
        && frame.content == Content::Transport
        && frame.signal & SYN == 0
        && target.method as u32 == method::MASQUERADE
        && meta.state() == tcp::ESTABLISHED
}

/// Has a packet read that was found to be the entry's in this slot.
#[inline(always)]
pub(super) fn read<P: Platform, F: Ip>(platform: &P, index: u32, meta: Meta) -> Step {
    hand_over(platform, |words| &words.connection, index);
    if meta.is_reply() {
        next::<F>(Program::FtpAnswer, Program::FtpAnswer6)
    } else {
        next::<F>(Program::FtpCommand, Program::FtpCommand6)
    }
}

/// Leaves a packet that may open a connection to [`data`], and so to its service if there is no data connection for it.
#[inline(always)]
pub(super) fn look_for_data<F: Ip>() -> Step {
    next::<F>(Program::FtpData, Program::FtpData6)
}

#[inline(always)]
fn on<F: Ip>() -> Step {
    next::<F>(Program::FtpDeliver, Program::FtpDeliver6)
}

#[inline(always)]
fn command_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Sight::Plain(frame, _) = F::sight(platform, link) else { return on::<F>() };
    let Some((start, end)) = text::payload(platform, &frame) else { return on::<F>() };
    if !text::copy(platform, start, end) {
        return on::<F>();
    }
    let Some(forward) = slot::<P, F>(platform, handed_over(platform, |words| &words.connection)) else {
        return on::<F>();
    };
    let mode = command::passive(platform, F::NUMBER as u32);
    if mode != ftp::ACTIVE {
        forward.set_ftp_mode(mode);
        return on::<F>();
    }
    if command::active(platform, F::NUMBER as u32) == 0 {
        return on::<F>();
    }
    forward.set_ftp_mode(ftp::ACTIVE);
    let Some(entry) = forward.entry(forward.meta()) else { return Step::Done(Verdict::Drop) };
    // The server connects from the port before that of its control connection.
    let before = |port: [u8; 2]| u16::from_be_bytes(port).wrapping_sub(1) as u32;
    hand_over(platform, |words| &words.vip_port, before(ftp::CONTROL));
    hand_over(platform, |words| &words.server_port, before(entry.port));
    if !bind::<P, F>(platform, handed_over(platform, |words| &words.connection)) {
        return on::<F>();
    }
    next::<F>(Program::FtpExpect, Program::FtpExpect6)
}

#[inline(always)]
fn answer_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Sight::Plain(frame, tuple) = F::sight(platform, link) else { return on::<F>() };
    let Some((start, end)) = text::payload(platform, &frame) else { return on::<F>() };
    if !text::copy(platform, start, end) {
        return on::<F>();
    }
    let Some(this) = slot::<P, F>(platform, handed_over(platform, |words| &words.connection)) else {
        return on::<F>();
    };
    let Some(forward) = slot::<P, F>(platform, this.peer()) else { return on::<F>() };
    let port = match forward.ftp_mode() {
        ftp::PASSIVE if F::NUMBER == 4 => {
            let Some(entry) = this.entry(this.meta()) else { return Step::Done(Verdict::Drop) };
            let host_order = |address| u32::from_be(F::words(address)[0]);
            let (server, vip) = (host_order(tuple.source), host_order(entry.address));
            rewritten(platform, &frame, [start, end, server, vip]).unwrap_or(reply::TOO_SHORT)
        }
        ftp::EXTENDED => reply::extended(platform),
        _ => 0,
    };
    if port == 0 {
        return on::<F>();
    }
    if port == reply::TOO_SHORT {
        return drop_for(platform, Event::NoRoom);
    }
    forward.set_ftp_mode(ftp::ACTIVE);
    if let Some(handover) = platform.handover() {
        let client = F::words(tuple.destination);
        let mut i = 0;
        while i < 4 {
            handover.client[i].store(client[i], order::PLAIN);
            i += 1;
        }
    }
    hand_over(platform, |words| &words.client_port, 0);
    hand_over(platform, |words| &words.vip_port, port);
    hand_over(platform, |words| &words.server_port, port);
    if !bind::<P, F>(platform, this.peer()) {
        return on::<F>();
    }
    next::<F>(Program::FtpExpect, Program::FtpExpect6)
}

/// [`reply::passive`], with TCP's checksum following.
#[inline(always)]
fn rewritten<P: Platform>(platform: &P, frame: &Frame, [start, end, server, vip]: [u32; 4]) -> Option<u32> {
    let length = text::length(start, end);
    let before = platform.sum(start as usize, length)?;
    let port = reply::passive(platform, start, end, server, vip);
    let after = platform.sum(start as usize, length)?;
    let offset = frame.l4 + Tcp::CHECKSUM;
    let checksum = platform.read::<[u8; 2]>(offset)?;
    let change = Change::new().word(before.to_ne_bytes(), after.to_ne_bytes());
    platform.write(offset, change.apply(checksum))?;
    Some(port)
}

#[inline(always)]
fn expect_in<P: Platform, F: Ip>(platform: &P, _: Link) -> Step {
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    let Some(half) = expected::<P, F>(platform, config) else { return Step::Done(Verdict::Drop) };
    if let Some((index, meta)) = locate(platform, &half.tuple, half.hash) {
        // Of an earlier command that was the same, or of another server's.
        release::<P, F>(platform, index, meta);
    }
    match insert::create(platform, config, &half, (Kind::Forward, tcp::LISTEN), platform.now()) {
        Outcome::Created(index) if handover.client_port.load(order::PLAIN) != 0 => {
            handover.data.store(index, order::PLAIN);
            next::<F>(Program::FtpExpectReply, Program::FtpExpectReply6)
        }
        Outcome::Created(_) => {
            let ticks = config.tcp_timeouts[tcp::LISTEN as usize].load(order::PLAIN);
            config.ftp_data_until.store(platform.now().plus(ticks).0, order::PLAIN);
            on::<F>()
        }
        outcome => {
            control::unbind::<P, F>(platform, handover.template.load(order::PLAIN));
            match outcome {
                Outcome::Full => drop_for(platform, Event::TableFull),
                Outcome::Contended => drop_for(platform, Event::Contended),
                _ => on::<F>(),
            }
        }
    }
}

/// The data connection to come, from what was handed over and the control connection's entry.
#[inline(always)]
fn expected<P: Platform, F: Ip>(platform: &P, config: &Config) -> Option<Half<F>> {
    let handover = platform.handover()?;
    let control: &Slot<F> = slot::<P, F>(platform, handover.template.load(order::PLAIN))?;
    let meta = control.meta();
    if !meta.is_live() || meta.is_reply() {
        return None;
    }
    let tuple = control.tuple(meta)?;
    let entry = control.entry(meta)?;
    let word = |i: usize| handover.client[i].load(order::PLAIN);
    let port = |port: u32| (port as u16).to_be_bytes();
    let tuple = Tuple {
        source: F::address([word(0), word(1), word(2), word(3)]),
        ports: [port(handover.client_port.load(order::PLAIN)), port(handover.vip_port.load(order::PLAIN))],
        ..tuple
    };
    let entry = Entry {
        port: port(handover.server_port.load(order::PLAIN)),
        hop: Binding::Controlled(handover.template.load(order::PLAIN)).pack(),
        ..entry
    };
    Some(Half::new(config, tuple, entry))
}

#[inline(always)]
fn expect_reply_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let Some(back) = way_back(platform, config, link) else { return Step::Done(Verdict::Pass) };
    let index = handed_over(platform, |words| &words.data);
    match insert::create_reply::<P, F>(platform, config, index, back) {
        Outcome::Full => drop_for(platform, Event::TableFull),
        _ => on::<F>(),
    }
}

#[inline(always)]
fn deliver_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let index = handed_over(platform, |words| &words.connection);
    let Some(this) = slot::<P, F>(platform, index) else { return Step::Done(Verdict::Drop) };
    let meta = this.meta();
    let Some(target) = this.target(meta) else { return Step::Done(Verdict::Drop) };
    if !meta.is_live() || !this.holds(&tuple) {
        // Another connection's by now: the sender repeats the packet.
        return drop_for(platform, Event::Contended);
    }
    let found = Found { slot: this, index, meta };
    if meta.is_reply() {
        let Some(hop) = this.hop(meta) else { return Step::Done(Verdict::Drop) };
        return established::reply(platform, config, &frame, &found, (&target, hop), platform.now());
    }
    established::request(platform, config, &frame, &found, &target, platform.now())
}

#[inline(always)]
fn data_in<P: Platform, F: Seen>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let wanted = Tuple { ports: [[0; 2], tuple.ports[1]], ..tuple };
    let now = platform.now();
    if let Some((index, meta)) = locate(platform, &wanted, F::hash(config, &wanted))
        && let Some(place) = slot::<P, F>(platform, index)
        && !is_expired(platform, place, index, now)
        && let Some((destination, _)) = place.destination_and_peer(meta)
        && platform.destination(destination).is_some_and(Destination::is_available)
    {
        // Done with, but for a packet that is repeated right now.
        place.refresh(now.plus(Tick::in_seconds(LINGER_SECONDS)));
        keep(platform, link, &frame, &tuple);
        keep_hash(platform, F::hash(config, &tuple), now);
        hand_over(platform, |words| &words.destination, destination);
        bind::<P, F>(platform, place.controller().unwrap_or(super::NONE));
        hand_over(platform, |words| &words.from_server, 0);
        hand_over(platform, |words| &words.again, 0);
        hand_over(platform, |words| &words.keep_port, 1);
        hand_over(platform, |words| &words.found_by, found_by::FTP_DATA);
        return next::<F>(Program::Create, Program::Create6);
    }
    open::by_service(platform, config, link, &frame, &tuple, F::hash(config, &tuple), now)
}

/// Has the control connection in the slot `index` control another data connection: [`super::Handover::template`] is that
/// index then, else [`super::NONE`], and the result false.
#[inline(always)]
fn bind<P: Platform, F: Ip>(platform: &P, index: u32) -> bool {
    let version = slot::<P, F>(platform, index).map_or(0, |control| control.meta().version());
    let bound = control::bind::<P, F>(platform, index, version, platform.now().0, 1) != 0;
    hand_over(platform, |words| &words.template, if bound { index } else { super::NONE });
    bound
}

/// How long an entry without the client's port stays when the client has come.
const LINGER_SECONDS: u32 = 2;
