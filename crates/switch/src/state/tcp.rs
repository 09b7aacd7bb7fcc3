//! TCP's states as a director sees them: from outside, often only one half of the conversation.

use super::Direction;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};

/// No packet yet.
pub const NONE: u8 = super::NONE;
/// Data flows.
pub const ESTABLISHED: u8 = 1;
/// The real server opened a connection.
pub const SYN_SENT: u8 = 2;
/// The client opened a connection.
pub const SYN_RECV: u8 = 3;
/// One side has ended.
pub const FIN_WAIT: u8 = 4;
/// Both sides have ended.
pub const TIME_WAIT: u8 = 5;
/// Reset.
pub const CLOSE: u8 = 6;
/// The client has ended, the real server has not.
pub const CLOSE_WAIT: u8 = 7;
/// The last acknowledgement is on its way.
pub const LAST_ACK: u8 = 8;
/// Waiting for a data connection that a helper foresaw.
pub const LISTEN: u8 = 9;
/// A SYN seen while connections are under suspicion.
pub const SYNACK: u8 = 10;
/// The number of states.
pub const STATES: usize = 11;

/// Names in listings.
pub const NAMES: [&str; STATES] = [
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
];

/// Seconds that a connection stays in a state without packets. Users change those of [`ESTABLISHED`] and
/// [`FIN_WAIT`].
pub const TIMEOUTS: [u32; STATES] = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];

/// Whether a connection in this state counts as active.
#[inline(always)]
pub fn is_active(state: u8) -> bool {
    const ACTIVE: u32 = 1 << ESTABLISHED | 1 << SYN_SENT | 1 << SYN_RECV | 1 << SYNACK;
    ACTIVE >> (state & 31) & 1 != 0
}

/// Whether a connection in this state has not been answered for by both sides.
#[inline(always)]
pub fn is_embryonic(state: u8) -> bool {
    const EMBRYONIC: u32 = 1 << NONE | 1 << SYN_SENT | 1 << SYN_RECV | 1 << SYNACK;
    EMBRYONIC >> (state & 31) & 1 != 0
}

/// The state after a packet with these flags; `secure`: by the table against SYN floods.
#[inline(always)]
pub fn next(state: u8, direction: Direction, flags: u8, secure: bool) -> u8 {
    let event = if flags & RST != 0 {
        3
    } else if flags & SYN != 0 {
        0
    } else if flags & FIN != 0 {
        1
    } else if flags & ACK != 0 {
        2
    } else {
        return CLOSE;
    };
    let index = (secure as usize) << 8 | (direction as usize) << 6 | event << 4 | (state & 15) as usize;
    match TRANSITIONS.get(index) {
        Some(next) => *next,
        None => CLOSE,
    }
}

/// Next state by table (256 each: usual, against SYN floods), direction (64 each), event (SYN, FIN, ACK, RST: 16 each)
/// and state.
static TRANSITIONS: [u8; 512] = transitions();

const fn transitions() -> [u8; 512] {
    let mut table = [CLOSE; 512];
    fill(&mut table, 0, &ROWS);
    fill(&mut table, 256, &secure_rows());
    table
}

const fn fill(table: &mut [u8; 512], start: usize, rows: &[[Next; 12]; STATES]) {
    let mut state = 0;
    while state < STATES {
        let mut column = 0;
        while column < 12 {
            let next = match rows[state][column] {
                Next::NO => NONE,
                Next::ES => ESTABLISHED,
                Next::SS => SYN_SENT,
                Next::SR => SYN_RECV,
                Next::FW => FIN_WAIT,
                Next::TW => TIME_WAIT,
                Next::CL => CLOSE,
                Next::CW => CLOSE_WAIT,
                Next::LA => LAST_ACK,
                Next::LI => LISTEN,
                Next::SA => SYNACK,
            };
            table[start | (column / 4) << 6 | (column % 4) << 4 | state] = next;
            column += 1;
        }
        state += 1;
    }
}

/// The rows of IPVS's `secure_tcp`: a client's handshake does not make a connection established, a packet of the real
/// server does, and what only clients have vouched for is [`SYNACK`] or [`SYN_RECV`].
const fn secure_rows() -> [[Next; 12]; STATES] {
    const INPUT: usize = 0;
    const OUTPUT: usize = 4;
    const INPUT_ONLY: usize = 8;
    let mut rows = ROWS;
    rows[SYNACK as usize][INPUT] = Next::SA;
    rows[SYNACK as usize][INPUT + 1] = Next::SA;
    rows[SYN_RECV as usize][INPUT + 2] = Next::SR;
    rows[SYNACK as usize][INPUT + 2] = Next::SA;
    rows[SYNACK as usize][INPUT + 3] = Next::CL;
    rows[SYN_RECV as usize][OUTPUT] = Next::SA;
    rows[SYNACK as usize][OUTPUT] = Next::SA;
    let vouched = [NONE, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, SYNACK];
    let mut i = 0;
    while i < vouched.len() {
        rows[vouched[i] as usize][INPUT_ONLY] = Next::SA;
        i += 1;
    }
    rows
}

/// Short names, so that the table below can be read.
#[derive(Clone, Copy)]
#[allow(
    clippy::upper_case_acronyms,
    dead_code,
    reason = "IPVS's codes; not each of them is somebody's successor"
)]
enum Next {
    NO,
    ES,
    SS,
    SR,
    FW,
    TW,
    CL,
    CW,
    LA,
    LI,
    SA,
}

/// Rows: the present state. Columns: input, output and input-only, each with SYN, FIN, ACK, RST.
#[rustfmt::skip]
const ROWS: [[Next; 12]; STATES] = {
    use Next::*;
    [
        //       input           output          input only
        /*NO*/ [SR, CL, ES, CL,  SS, TW, ES, CL,  SR, CL, ES, CL],
        /*ES*/ [ES, CW, ES, CL,  ES, FW, ES, CL,  ES, FW, ES, CL],
        /*SS*/ [ES, SS, SS, CL,  SS, SS, SS, SS,  ES, SS, SS, CL],
        /*SR*/ [SR, TW, ES, SR,  SR, TW, ES, CL,  SR, TW, ES, SR],
        /*FW*/ [SR, TW, FW, CL,  SS, FW, FW, CL,  SR, FW, FW, CL],
        /*TW*/ [SR, TW, TW, CL,  SS, TW, TW, TW,  SR, TW, TW, CL],
        /*CL*/ [SR, CL, CL, CL,  SS, CL, CL, CL,  SR, CL, CL, CL],
        /*CW*/ [SR, CW, CW, CL,  SS, TW, CW, CL,  SR, CW, CW, CL],
        /*LA*/ [SR, LA, CL, LA,  SS, LA, LA, CL,  SR, LA, CL, LA],
        /*LI*/ [SR, LI, LI, LI,  LI, LI, ES, CL,  SR, LI, LI, LI],
        /*SA*/ [SR, TW, ES, SR,  SR, TW, ES, CL,  SR, TW, ES, CL],
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows packets from the first on.
    fn after(packets: &[(Direction, u8)]) -> &'static str {
        NAMES[packets.iter().fold(NONE, |state, (direction, flags)| next(state, *direction, *flags, false))
            as usize]
    }

    #[test]
    fn life_of_a_translated_connection() {
        use Direction::{Input, Output};
        let open = [(Input, SYN), (Output, SYN | ACK), (Input, ACK)];
        assert_eq!(after(&open[..1]), "SYN_RECV");
        assert_eq!(after(&open[..2]), "SYN_RECV");
        assert_eq!(after(&open), "ESTABLISHED");
        let client_ends = [&open[..], &[(Input, FIN | ACK)]].concat();
        assert_eq!(after(&client_ends), "CLOSE_WAIT");
        assert_eq!(after(&[&client_ends[..], &[(Output, FIN | ACK)]].concat()), "TIME_WAIT");
        let server_ends = [&open[..], &[(Output, FIN | ACK)]].concat();
        assert_eq!(after(&server_ends), "FIN_WAIT");
        assert_eq!(after(&[&server_ends[..], &[(Input, FIN | ACK)]].concat()), "TIME_WAIT");
    }

    #[test]
    fn life_of_a_directly_routed_connection() {
        use Direction::InputOnly;
        let packets = [(InputOnly, SYN), (InputOnly, ACK), (InputOnly, FIN | ACK), (InputOnly, ACK)];
        assert_eq!(after(&packets[..1]), "SYN_RECV");
        assert_eq!(after(&packets[..2]), "ESTABLISHED");
        assert_eq!(after(&packets[..3]), "FIN_WAIT");
        assert_eq!(after(&packets), "FIN_WAIT");
    }

    #[test]
    fn reset_outranks_all_other_flags_and_no_flag_closes() {
        assert_eq!(next(ESTABLISHED, Direction::Input, RST | SYN | FIN | ACK, false), CLOSE);
        assert_eq!(next(ESTABLISHED, Direction::Output, 0, false), CLOSE);
    }

    #[test]
    fn an_established_connection_stays_so_by_acknowledgements() {
        let directions = [Direction::Input, Direction::Output, Direction::InputOnly];
        for (direction, secure) in directions.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            assert_eq!(next(ESTABLISHED, direction, ACK, secure), ESTABLISHED);
        }
    }

    #[test]
    fn against_floods_a_clients_word_is_not_enough() {
        use Direction::{Input, InputOnly, Output};
        let open = |packets: &[(Direction, u8)]| {
            let state =
                packets.iter().fold(NONE, |state, (direction, flags)| next(state, *direction, *flags, true));
            NAMES[state as usize]
        };
        assert_eq!(open(&[(Input, SYN), (Input, ACK)]), "SYN_RECV");
        assert_eq!(open(&[(Input, SYN), (Output, SYN | ACK)]), "SYNACK");
        assert_eq!(open(&[(Input, SYN), (Output, SYN | ACK), (Input, ACK)]), "SYNACK");
        assert_eq!(open(&[(Input, SYN), (Output, SYN | ACK), (Input, ACK), (Output, ACK)]), "ESTABLISHED");
        assert_eq!(open(&[(Input, SYN), (Output, SYN | ACK), (Input, RST)]), "CLOSE");
        assert_eq!(open(&[(InputOnly, SYN)]), "SYNACK");
        assert_eq!(open(&[(InputOnly, SYN), (InputOnly, ACK)]), "ESTABLISHED");
    }
}
