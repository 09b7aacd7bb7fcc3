//! The connection table: how full it gets, what goes when it is full, and many CPUs at work on it at once.
#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod capacity;
mod full;
mod races;
mod threads;
