//! The nanny: checks real servers, and has the director use those that are up.
//!
//! [`probe`] asks one server once. A [`monitor`] does so again and again, and judges by [`judge`] when that makes the
//! server good or bad; [`Rounds`] are the monitors of all servers. A [`Pool`] is what this means for a service: who serves, with which weight, whether there is a
//! quorum. Judges and pools are pure: they know neither time nor network.

pub mod judge;
pub mod monitor;
pub mod pool;
pub mod probe;
pub mod rounds;

pub use judge::Judge;
pub use monitor::{Monitor, News, Report, Verdict};
pub use pool::{Event, Member, Pool};
pub use rounds::Rounds;
