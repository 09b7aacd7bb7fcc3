//! A packet's way through the director, in steps.
//!
//! The switch is cut into steps because each is a program of its own in the kernel, with a stack and a verification of
//! its own; established connections need the first one only. What one step has to tell the next is in [`Handover`].

mod create;
mod create_reply;
mod established;
mod open;
mod reject;
mod schedule;

use crate::cell::AtomicU32;
use crate::counters::Event;
use crate::order;
use crate::platform::{Platform, Verdict};
use rlvs_packet::icmp::Cause;

/// What is to be done with a frame next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is decided.
    Done(Verdict),
    /// Go on with this program.
    Next(Program),
}

/// Declares [`Program`] with each one's name in the object and the function that it runs.
macro_rules! programs {
    ($($(#[$doc:meta])* $program:ident = $name:literal => $function:path,)*) => {
        /// The steps, as programs; their numbers are their places in the table that tail calls go through.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Program { $($(#[$doc])* $program,)* }

        impl Program {
            /// All programs, in the order of their numbers.
            pub const ALL: &'static [Program] = &[$(Program::$program,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The program's name in the object.
            pub const fn name(self) -> &'static str {
                match self { $(Program::$program => $name,)* }
            }

            /// Runs it on the platform's frame.
            #[inline(always)]
            pub fn run<P: Platform>(self, platform: &P) -> Step {
                match self { $(Program::$program => $function(platform),)* }
            }
        }
    };
}

programs! {
    /// First, for every frame: switches packets of known connections, and sees which packets are none of the switch's business.
    Director = "director" => established::process,
    /// The same for IPv6.
    Director6 = "director6" => established::process6,
    /// Finds the service for a packet that may open a connection.
    Open = "open" => open::open,
    /// Has the scheduler of the [`Handover::service`] choose a destination.
    Schedule = "schedule" => schedule::schedule,
    /// Puts the new connection to the [`Handover::destination`] into the table.
    Create = "create" => create::create,
    /// The same for IPv6.
    Create6 = "create6" => create::create6,
    /// With NAT: the entry for the replies of the [`Handover::connection`].
    CreateReply = "create_reply" => create_reply::create_reply,
    /// The same for IPv6.
    CreateReply6 = "create_reply6" => create_reply::create_reply6,
    /// Tells the packet's sender the [`Handover::cause`] that it cannot go on for.
    Reject = "reject" => reject::reject,
}

/// What a step leaves for the next: each CPU has its own, and a frame's steps run on one CPU without a break.
#[derive(Default)]
#[repr(C, align(8))]
pub struct Handover {
    /// The packet's IP version: 4 or 6.
    pub family: AtomicU32,
    /// Index of the virtual service.
    pub service: AtomicU32,
    /// Index of the destination that was chosen.
    pub destination: AtomicU32,
    /// Index of a slot: the connection's forward entry.
    pub connection: AtomicU32,
    /// [`Cause::pack`].
    pub cause: AtomicU32,
    /// Keeps the size a multiple of 8.
    reserved: AtomicU32,
}

/// Follows the steps to the end: the whole switch, where it need not be cut.
pub fn run<P: Platform>(platform: &P) -> Verdict {
    let mut program = Program::Director;
    for _ in 0..STEPS_MAX {
        match program.run(platform) {
            Step::Done(verdict) => return verdict,
            Step::Next(next) => program = next,
        }
    }
    platform.count(Event::NoStep);
    Verdict::Drop
}

/// Steps before a frame is given up; the kernel allows 33.
const STEPS_MAX: usize = 32;

/// No service, no destination, no slot.
const NONE: u32 = u32::MAX;

/// Reads a word that the step before left.
#[inline(always)]
fn handed_over<P: Platform>(platform: &P, word: impl FnOnce(&Handover) -> &AtomicU32) -> u32 {
    platform.handover().map_or(NONE, |handover| word(handover).load(order::PLAIN))
}

/// Leaves a word for the next step.
#[inline(always)]
fn hand_over<P: Platform>(platform: &P, word: impl FnOnce(&Handover) -> &AtomicU32, value: u32) {
    if let Some(handover) = platform.handover() {
        word(handover).store(value, order::PLAIN);
    }
}

/// The packet cannot go on, and its sender is to be told why.
#[inline(always)]
pub(crate) fn reject_for<P: Platform>(platform: &P, cause: Cause) -> Step {
    hand_over(platform, |words| &words.cause, cause.pack());
    Step::Next(Program::Reject)
}

#[inline(always)]
fn drop_for<P: Platform>(platform: &P, event: Event) -> Step {
    platform.count(event);
    Step::Done(Verdict::Drop)
}
