//! The pulse: VRRP, so that of several machines one has the virtual addresses, and another one when that fails.
//!
//! [`machine`] is the protocol as a pure function of events, [`packet`] its messages. A [`Pulse`] is the task that runs
//! virtual routers on this machine: it hears other machines, follows interfaces, moves addresses and tells neighbours
//! ([`announce`]). A [`Heartbeat`] does the same for two machines by Piranha's protocol.

pub mod announce;
mod carrier;
mod clean;
mod heartbeat;
mod inspect;
mod kernel;
pub mod machine;
pub mod packet;
mod router;
mod series;
mod status;
mod task;
mod vips;
mod wire;

pub use clean::{CleanError, clean};
pub use heartbeat::Heartbeat;
pub use kernel::Interface;
pub use status::{InstanceStatus, PeerStatus};
pub use task::{Pulse, PulseError};
