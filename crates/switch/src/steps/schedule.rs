//! Having the service's scheduler choose a destination.

use super::{NONE, Program, Step, hand_over, handed_over, leave};
use crate::platform::Platform;
use crate::scheduler;

/// Chooses a destination for a connection to the service that was found.
#[inline(always)]
pub fn schedule<P: Platform>(platform: &P) -> Step {
    let chosen = choose(platform, handed_over(platform, |words| &words.service));
    if chosen == NONE {
        return leave(platform);
    }
    hand_over(platform, |words| &words.destination, chosen);
    let program =
        if handed_over(platform, |words| &words.family) == 6 { Program::Create6 } else { Program::Create };
    Step::Next(program)
}

/// The index of the destination that the service's scheduler chooses.
#[inline(never)]
fn choose<P: Platform>(platform: &P, service: u32) -> u32 {
    platform.service(service).and_then(|service| scheduler::choose(platform, service)).unwrap_or(NONE)
}
