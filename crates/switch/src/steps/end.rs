//! Connections of a destination that was deleted together with them ([`crate::destination::flag::ENDS`]).

use super::established::{self, may_open};
use super::{Program, Step, drop_for, ftp, handed_over, reject_for};
use crate::config::Config;
use crate::counters::Event;
use crate::destination::Destination;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::state::{self, Direction, tcp};
use crate::table::release::release;
use crate::table::{Meta, Slot, slot};
use rlvs_packet::icmp::Cause;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{ACK, RST};

steps! {
    /// Ends the connection, and tells the client.
    end, end6 => end_in;
}

#[inline(always)]
fn end_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    match end_connection::<P, F>(platform, link.pack()) {
        // It has changed hands meanwhile.
        OTHERS => Step::Next(Program::Director),
        told if told & 0xff == TOLD => {
            if reset::<P, F>(platform, link.l3 as u32, told >> 8) == 0 {
                return drop_for(platform, Event::NoRoom);
            }
            platform.count(Event::Reset);
            Step::Done(Verdict::Transmit)
        }
        MOVED => ftp::look_for_data::<F>(),
        REFUSED => {
            platform.count(Event::DestinationGone);
            reject_for(platform, Cause::PortUnreachable)
        }
        _ => drop_for(platform, Event::DestinationGone),
    }
}

/// The packet is not the connection's.
const OTHERS: u32 = 0;
/// The client is to get a reset. In the upper three octets: where the TCP header starts in the frame.
const TOLD: u32 = 1;
/// The packet opens another connection, to another server.
const MOVED: u32 = 2;
/// The client is to get an error.
const REFUSED: u32 = 3;
/// There is nothing to be said to the client.
const SILENT: u32 = 4;

/// More than a frame's headers are long: the verifier wants to see it.
const L4_MAX: u32 = 0x7fff;

/// Ends the packet's connection; what follows from that. Scalars only, as the next one, for both are BPF functions of their own: the stack is
/// short.
#[inline(never)]
fn end_connection<P: Platform, F: Ip>(platform: &P, link: u32) -> u32 {
    let Some((frame, tuple)) = F::parse(platform, Link::unpack(link)) else { return SILENT };
    let Some(config) = platform.config() else { return SILENT };
    let index = handed_over(platform, |words| &words.connection);
    let Some(this) = slot::<P, F>(platform, index) else { return SILENT };
    let meta = this.meta();
    if !meta.is_live() || !this.holds(&tuple) {
        return OTHERS;
    }
    if !frame.content.has_transport() {
        return SILENT;
    }
    if frame.protocol == protocol::TCP {
        close::<P, F>(platform, config, this, index, meta);
        // Not a packet that is a reset itself, or acknowledges nothing.
        return if frame.signal & (ACK | RST) == ACK {
            TOLD | (frame.l4 as u32 & L4_MAX) << 8
        } else {
            SILENT
        };
    }
    let moves = this
        .destination_and_peer(meta)
        .is_some_and(|(index, _)| platform.destination(index).is_some_and(Destination::moves));
    release::<P, F>(platform, index, meta);
    match may_open(config, &frame) {
        true if moves => MOVED,
        true => REFUSED,
        false => SILENT,
    }
}

/// Closes the connection, as if the real server had reset it. It stays as long as the client goes on with it: a reset may be lost, or
/// have crossed the server's last packets.
#[inline(always)]
fn close<P: Platform, F: Ip>(platform: &P, config: &Config, this: &Slot<F>, index: u32, meta: Meta) {
    let packet = established::packet(Direction::Input, RST, meta, config);
    established::transition::<P, F>(platform, index, packet, protocol::TCP as u32);
    this.refresh(state::expiry(config, protocol::TCP, tcp::CLOSE, platform.now()));
}

/// Whether (1) or not (0) the packet, whose headers start there, became a reset.
#[inline(never)]
fn reset<P: Platform, F: Ip>(platform: &P, l3: u32, l4: u32) -> u32 {
    F::reset(platform, (l3 & L4_MAX) as usize, (l4 & L4_MAX) as usize).is_some() as u32
}
