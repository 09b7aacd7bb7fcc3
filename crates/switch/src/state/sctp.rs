//! SCTP's states as a director sees them: from outside, and only as far as the first chunk of each packet tells.

use super::Direction;
use crate::platform::View;
use rlvs_packet::sctp::{Chunk, chunk};

/// No packet yet.
pub const NONE: u8 = super::NONE;
/// The client opened an association.
pub const INIT1: u8 = 1;
/// The client did so again.
pub const INIT: u8 = 2;
/// The real server answered with a cookie.
pub const COOKIE_SENT: u8 = 3;
/// The client returned a cookie that nobody was seen to send.
pub const COOKIE_REPLIED: u8 = 4;
/// The real server opened an association.
pub const COOKIE_WAIT: u8 = 5;
/// The client answered with a cookie.
pub const COOKIE: u8 = 6;
/// The real server returned a cookie.
pub const COOKIE_ECHOED: u8 = 7;
/// Data flow.
pub const ESTABLISHED: u8 = 8;
/// The real server has nothing more to say.
pub const SHUTDOWN_SENT: u8 = 9;
/// The client has nothing more to say.
pub const SHUTDOWN_RECEIVED: u8 = 10;
/// Neither has.
pub const SHUTDOWN_ACK_SENT: u8 = 11;
/// Refused.
pub const REJECTED: u8 = 12;
/// Ended.
pub const CLOSED: u8 = 13;
/// The number of states.
pub const STATES: usize = 14;

/// Names in listings.
pub const NAMES: [&str; STATES] = [
    "NONE",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "ESTABLISHED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
];

/// Seconds that an association stays in a state without packets. Users do not change them.
pub const TIMEOUTS: [u32; STATES] = [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61];

/// What a packet does to an association: its event, by its first chunk.
pub mod event {
    /// Data, acknowledgements, heartbeats, all else.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 3;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 4;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 5;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 6;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 7;
    /// ERROR.
    pub const ERROR: u8 = 8;
    /// ABORT.
    pub const ABORT: u8 = 9;
}

/// Whether a connection in this state counts as active.
#[inline(always)]
pub fn is_active(state: u8) -> bool {
    state == ESTABLISHED
}

/// [`super::is_told`].
#[inline(always)]
pub fn is_told(state: u8) -> bool {
    matches!(state, ESTABLISHED | SHUTDOWN_SENT | SHUTDOWN_RECEIVED | SHUTDOWN_ACK_SENT | CLOSED)
}

/// Whether a connection in this state has not been answered for by both sides.
#[inline(always)]
pub fn is_embryonic(state: u8) -> bool {
    state <= INIT
}

/// The [`event`] of a packet whose chunks are from `offset` to `end`; `None` if there is none. An ABORT behind the
/// cookie of a packet counts more than that.
#[inline(always)]
pub(crate) fn event_of<P: View>(platform: &P, offset: usize, end: usize) -> Option<u8> {
    match first_event(platform, offset as u32, end as u32) {
        NO_EVENT => None,
        event => Some(event as u8),
    }
}

/// No chunk, no event.
const NO_EVENT: u32 = 0xff;

/// Scalars only, for it is a BPF function of its own.
#[inline(never)]
fn first_event<P: View>(platform: &P, offset: u32, end: u32) -> u32 {
    // Offsets that the verifier can follow: IP headers and extensions are short.
    let offset = (offset & 0x3ff) as usize;
    let end = end as usize;
    if offset + Chunk::LENGTH > end {
        return NO_EVENT;
    }
    let Some(first) = platform.read::<Chunk>(offset) else { return NO_EVENT };
    let event = match EVENTS.get(first.kind as usize) {
        Some(event) => *event as u32,
        None => event::DATA as u32,
    };
    if event != event::COOKIE_ECHO as u32 && event != event::COOKIE_ACK as u32 {
        return event;
    }
    // No chunk is longer than a frame.
    let next = offset + ((first.length.get() as usize + 3) & 0x1ffc);
    if next + Chunk::LENGTH > end {
        return event;
    }
    match platform.read::<Chunk>(next) {
        Some(second) if second.kind == chunk::ABORT => event::ABORT as u32,
        _ => event,
    }
}

/// Events by the first chunk's type.
static EVENTS: [u8; 16] = {
    let mut events = [event::DATA; 16];
    events[chunk::INIT as usize] = event::INIT;
    events[chunk::INIT_ACK as usize] = event::INIT_ACK;
    events[chunk::COOKIE_ECHO as usize] = event::COOKIE_ECHO;
    events[chunk::COOKIE_ACK as usize] = event::COOKIE_ACK;
    events[chunk::SHUTDOWN as usize] = event::SHUTDOWN;
    events[chunk::SHUTDOWN_ACK as usize] = event::SHUTDOWN_ACK;
    events[chunk::SHUTDOWN_COMPLETE as usize] = event::SHUTDOWN_COMPLETE;
    events[chunk::ERROR as usize] = event::ERROR;
    events[chunk::ABORT as usize] = event::ABORT;
    events
};

/// The state after a packet with this [`event`].
#[inline(always)]
pub fn next(state: u8, direction: Direction, event: u8) -> u8 {
    let index = (direction as usize) << 8 | ((event & 15) as usize) << 4 | (state & 15) as usize;
    match TRANSITIONS.get(index) {
        Some(next) => *next,
        None => CLOSED,
    }
}

/// Next state by direction (256 each), event (16 each) and state.
static TRANSITIONS: [u8; 768] = transitions();

const fn transitions() -> [u8; 768] {
    let mut table = [0; 768];
    let mut index = 0;
    while index < table.len() {
        let state = index & 15;
        let (direction, event) = (index >> 8, index >> 4 & 15);
        // What is no event or no state changes nothing.
        table[index] = state as u8;
        if event < 10 && state < STATES {
            let next = ROWS[direction][event].as_bytes();
            let code = [next[3 * state], next[3 * state + 1]];
            let mut to = 0;
            while to < STATES {
                if code[0] == CODES[to][0] && code[1] == CODES[to][1] {
                    table[index] = to as u8;
                }
                to += 1;
            }
        }
        index += 1;
    }
    table
}

/// The states in the rows below.
#[rustfmt::skip]
const CODES: [&[u8; 2]; STATES] =
    [b"NO", b"I1", b"IN", b"CS", b"CR", b"CW", b"CO", b"CE", b"ES", b"SS", b"SR", b"SA", b"RJ", b"CL"];

/// Next states by direction and event, a column for each present state in the order of [`CODES`]; dots: it stays.
#[rustfmt::skip]
const ROWS: [[&str; 10]; 3] = [
    // Input.        NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
    [
        /* DATA */  "ES .. .. .. .. .. .. .. .. .. .. .. .. ..",
        /* INIT */  "I1 IN .. .. .. .. .. .. .. .. .. .. IN IN",
        /* IACK */  "CW CW CW .. .. CO .. .. .. .. .. .. .. ..",
        /* CECH */  "CR IN .. CR .. .. .. .. .. .. .. .. .. ..",
        /* CACK */  "ES .. .. .. .. .. .. ES .. .. .. .. .. ..",
        /* SHUT */  "SR .. .. .. .. .. .. .. SR .. .. .. .. ..",
        /* SACK */  "CL IN .. .. .. .. .. .. .. CL .. CL .. ..",
        /* SCOM */  "CL CL CL .. .. .. .. .. .. .. .. CL .. ..",
        /* ERRO */  "CL .. .. .. .. .. .. CL .. .. .. .. .. ..",
        /* ABOR */  "CL CL CL CL CL RJ CL CL CL CL CL CL CL ..",
    ],
    // Output.       NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
    [
        /* DATA */  "ES .. .. .. .. .. .. .. .. .. .. .. .. ..",
        /* INIT */  "CW CW CW CW CW .. CW CW .. CW CW CW CW CW",
        /* IACK */  "CS CS CS .. .. .. .. .. .. .. .. .. .. ..",
        /* CECH */  "CE CE CE CE CE CE CE .. .. .. .. .. .. ..",
        /* CACK */  "ES ES ES ES ES ES ES ES .. .. .. .. .. ..",
        /* SHUT */  "SS SS SS SS SS SS SS SS SS .. .. .. .. ..",
        /* SACK */  "SA SA SA SA SA .. .. .. .. SA SA .. .. ..",
        /* SCOM */  "CL .. .. .. .. .. .. .. .. .. .. .. .. ..",
        /* ERRO */  "CL CL CL CL CL .. .. .. .. .. .. .. .. ..",
        /* ABOR */  "CL RJ CL CL CL CL CL CL CL CL CL CL CL ..",
    ],
    // Input only.   NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
    [
        /* DATA */  "ES .. .. .. .. ES .. .. .. .. .. .. .. ..",
        /* INIT */  "I1 IN .. IN IN IN .. .. .. .. .. .. IN IN",
        /* IACK */  "CE CE CE CE CE CE .. .. .. .. .. .. .. ..",
        /* CECH */  "ES ES ES ES ES ES .. .. .. .. .. .. .. ..",
        /* CACK */  "ES .. .. ES ES .. ES ES .. .. .. .. .. ..",
        /* SHUT */  "SR .. .. .. .. .. .. .. SR .. .. .. .. ..",
        /* SACK */  "CL IN .. .. .. .. .. .. CL CL .. CL .. ..",
        /* SCOM */  "CL CL CL CL CL .. .. .. .. .. CL CL .. ..",
        /* ERRO */  "CL .. .. .. .. .. .. .. .. .. .. .. .. ..",
        /* ABOR */  "CL CL CL CL CL RJ CL CL CL CL CL CL CL ..",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Input, InputOnly, Output};

    /// Follows packets from the first on.
    fn after(packets: &[(Direction, u8)]) -> &'static str {
        NAMES[packets.iter().fold(NONE, |state, (direction, event)| next(state, *direction, *event)) as usize]
    }

    #[test]
    fn life_of_a_translated_association() {
        let packets = [
            (Input, event::INIT, "INIT1"),
            (Output, event::INIT_ACK, "C-SENT"),
            (Input, event::COOKIE_ECHO, "C-REPLIED"),
            (Output, event::COOKIE_ACK, "ESTABLISHED"),
            (Input, event::DATA, "ESTABLISHED"),
            (Input, event::SHUTDOWN, "S-RECEIVED"),
            (Output, event::SHUTDOWN_ACK, "S-ACK-SENT"),
            (Input, event::SHUTDOWN_COMPLETE, "CLOSED"),
        ];
        let events: Vec<_> = packets.iter().map(|(direction, event, _)| (*direction, *event)).collect();
        for (count, (_, _, state)) in (1..).zip(packets) {
            assert_eq!(after(&events[..count]), state);
        }
    }

    #[test]
    fn life_of_a_directly_routed_association() {
        use event::{COOKIE_ECHO, DATA, INIT, SHUTDOWN, SHUTDOWN_COMPLETE};
        let events = [INIT, COOKIE_ECHO, DATA, SHUTDOWN, SHUTDOWN_COMPLETE].map(|event| (InputOnly, event));
        let states = ["INIT1", "ESTABLISHED", "ESTABLISHED", "S-RECEIVED", "CLOSED"];
        for (count, state) in (1..).zip(states) {
            assert_eq!(after(&events[..count]), state);
        }
    }

    #[test]
    fn an_abort_ends_all_but_what_has_ended() {
        for direction in [Input, Output, InputOnly] {
            for state in NONE..CLOSED {
                let next = next(state, direction, event::ABORT);
                assert!(next == CLOSED || next == REJECTED, "{state} {direction:?}");
            }
            assert_eq!(next(CLOSED, direction, event::ABORT), CLOSED);
        }
        assert_eq!(next(COOKIE_WAIT, Input, event::ABORT), REJECTED);
        assert_eq!(next(INIT1, Output, event::ABORT), REJECTED);
    }

    #[test]
    fn an_established_association_stays_so_by_data() {
        for direction in [Input, Output, InputOnly] {
            assert_eq!(next(ESTABLISHED, direction, event::DATA), ESTABLISHED);
        }
    }

    #[test]
    fn every_cell_of_the_tables_names_a_state() {
        for row in ROWS.as_flattened() {
            let cells: Vec<_> = row.split(' ').collect();
            assert_eq!(cells.len(), STATES, "{row}");
            for cell in cells {
                assert!(cell == ".." || CODES.iter().any(|code| *code == cell.as_bytes()), "{cell}");
            }
        }
    }
}
