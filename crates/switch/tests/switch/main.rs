//! What the switch does to packets, connections and counts, told packet by packet.
//!
//! Frames are made by [`rlvs_switch::simulation::Packet`] and read back by a parser that shares nothing with the switch.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod direct_route;
mod errors;
mod fixture;
mod foreign;
mod ftp;
mod life;
mod link;
mod look_up;
mod nat;
mod persistence;
mod scheduling;
mod tunnel;
