//! What the switch does to packets, connections and counts, told packet by packet.
//!
//! Frames are made by [`rlvs_switch::simulation::Packet`] and read back by a parser that shares nothing with the switch.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod bypass;
mod calls;
mod choices;
mod defence;
mod direct_route;
mod ends;
mod errors;
mod extensions;
mod fixture;
mod foreign;
mod fragments;
mod ftp;
mod imported;
mod ipsec;
mod large;
mod life;
mod link;
mod local_out;
mod look_up;
mod nat;
mod persistence;
mod related;
mod scheduling;
mod sctp;
mod tunnel;
mod tunnel_errors;
