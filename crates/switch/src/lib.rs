//! The virtual server: what a director does with a packet.
//!
//! ```text
//!   steps::established: frame::sight -> table::lookup, by the packet's own tuple
//!     hit   -> state (track) -> forward (rewrite, encapsulate, next hop)
//!     miss  -> mark (rules), if marks have services -> steps::open (service) -> steps::schedule (scheduler) -> steps::create (table::insert) -> as a hit
//!     neither -> pass, untouched
//!   steps::uncommon: the same for fragments, ICMP errors and extension headers
//! ```
//!
//! The crate is `no_std`, free of unsafe code and generic over [`Platform`]: the same source runs as an XDP
//! program in the kernel and in tests, fuzzers and measurements on any machine. The structs of [`service`],
//! [`mark`], [`destination`], [`config`], [`counters`] and [`table`] lie in memory that the director, the switch on all CPUs
//! and the next director share; [`LAYOUT`] is their version.

#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![deny(unsafe_code)]

pub mod cell;
pub mod config;
pub mod counters;
mod defence;
pub mod destination;
mod extension;
pub mod forward;
pub mod fragment;
pub mod frame;
pub mod ftp;
#[cfg(feature = "host")]
pub mod host;
mod icmp;
mod ip;
pub mod mark;
pub mod order;
mod platform;
mod reset;
pub mod scheduler;
pub mod service;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod sip;
pub mod state;
pub mod steps;
pub mod sync;
pub mod table;
mod uncommon;

pub use platform::{Edit, Memory, Platform, Verdict, View};
pub use steps::{Program, Step, follow, run};

/// Version of the shared structs. Grows with every change of their layout or meaning, so that a director never
/// misreads what an older or newer one left behind.
pub const LAYOUT: u32 = 16;
