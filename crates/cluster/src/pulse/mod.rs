//! The pulse: VRRP, so that of several machines one has the virtual addresses, and another one when that fails.
//!
//! [`machine`] is the protocol as a pure function of events, [`packet`] its messages. A [`Pulse`] is the task that runs
//! virtual routers on this machine: it hears other machines, follows interfaces, moves addresses and tells neighbours
//! ([`announce`]). A [`Heartbeat`] does the same for two machines by Piranha's protocol.

pub mod announce;
mod carrier;
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

use std::net::IpAddr;

pub use heartbeat::Heartbeat;
pub use kernel::Interface;
pub use status::{InstanceStatus, PeerStatus};
pub use task::{Pulse, PulseError};

/// Why addresses are still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot take virtual addresses off: {0}")]
pub struct CleanError(String);

/// Takes all addresses off the interfaces of this network namespace that a virtual router has put there, for one whose process
/// was killed; these, with their prefix lengths and interfaces. Must not be called while a [`Pulse`] runs here: it would put them
/// back. Must be called within a tokio runtime.
///
/// # Errors
/// [`CleanError`], with the kernel's reason.
pub async fn clean() -> Result<Vec<(IpAddr, u8, String)>, CleanError> {
    let addresses = kernel::Addresses::open().map_err(|reason| CleanError(reason.to_string()))?;
    addresses.take_all().await.map_err(|reason| CleanError(reason.to_string()))
}
