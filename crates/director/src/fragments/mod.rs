//! What the switch cannot do with fragments, frame by frame, and the director's process does for it.
//!
//! - `early`: fragments that came before the first of their packet
//! - `large`: packets that are to leave in fragments; `cut` makes these, `wire` sends them

mod cut;
mod early;
mod large;
mod wire;

pub use early::EarlyFragments;
pub use large::LargePackets;

use std::time::Duration;

/// Frames that are taken in a row, and the pause after so many: a flood of them takes a part of one CPU.
const BATCH: usize = 128;
/// See [`BATCH`].
const PAUSE: Duration = Duration::from_millis(5);
