//! The pulse: VRRP, so that of several machines one has the virtual addresses, and another one when that fails.
//!
//! [`machine`] is the protocol as a pure function of events, [`packet`] its messages. A [`Pulse`] is the task that runs
//! virtual routers on this machine: it hears other machines, follows interfaces, moves addresses and tells neighbours
//! ([`announce`]).

pub mod announce;
mod carrier;
mod inspect;
mod kernel;
pub mod machine;
pub mod packet;
mod router;
mod series;
mod status;
mod task;
mod wire;

pub use kernel::Interface;
pub use status::{InstanceStatus, PeerStatus};
pub use task::{Pulse, PulseError};
