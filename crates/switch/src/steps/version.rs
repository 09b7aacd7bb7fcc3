//! Steps that are two programs, one for each IP version: what differs between the two.

use super::{Program, Step};
use crate::table::Family;

/// Declares a step for both IP versions, each of which runs a function that is generic over them. That gets where the packet
/// starts; one with `seen` in front needs no look at the frame, for an earlier step, or the director, has said which version it is.
macro_rules! steps {
    ($($(#[$doc:meta])* seen $step:ident, $step6:ident => $of:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $step<P: Platform>(platform: &P) -> Step {
                $of::<P, $crate::table::V4>(platform)
            }

            /// The same for IPv6.
            #[inline(always)]
            pub fn $step6<P: Platform>(platform: &P) -> Step {
                $of::<P, $crate::table::V6>(platform)
            }
        )*
    };
    ($($(#[$doc:meta])* $step:ident, $step6:ident => $of:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub fn $step<P: Platform>(platform: &P) -> Step {
                match $crate::frame::network(platform) {
                    $crate::frame::Network::V4(link) => $of::<P, $crate::table::V4>(platform, link),
                    _ => Step::Done(Verdict::Pass),
                }
            }

            /// The same for IPv6.
            #[inline(always)]
            pub fn $step6<P: Platform>(platform: &P) -> Step {
                match $crate::frame::network(platform) {
                    $crate::frame::Network::V6(link) => $of::<P, $crate::table::V6>(platform, link),
                    _ => Step::Done(Verdict::Pass),
                }
            }
        )*
    };
}

/// The program for packets of this IP version.
#[inline(always)]
pub(super) fn program<F: Family>(four: Program, six: Program) -> Program {
    if F::NUMBER == 6 { six } else { four }
}

/// [`program`], as the next step.
#[inline(always)]
pub(super) fn next<F: Family>(four: Program, six: Program) -> Step {
    Step::Next(program::<F>(four, six))
}
