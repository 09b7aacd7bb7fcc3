//! Addresses that a process left when it was killed.

use std::net::IpAddr;

use super::kernel::Addresses;

/// Why addresses are still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot take virtual addresses off: {0}")]
pub struct CleanError(String);

/// Takes all addresses off the interfaces of this network namespace that a virtual router has put there, for one whose process
/// was killed; these, with their prefix lengths and interfaces. Must not be called while a [`Pulse`](super::Pulse) runs here: it would put them
/// back. Must be called within a tokio runtime.
///
/// # Errors
/// [`CleanError`], with the kernel's reason.
pub async fn clean() -> Result<Vec<(IpAddr, u8, String)>, CleanError> {
    let addresses = Addresses::open().map_err(|reason| CleanError(reason.to_string()))?;
    addresses.take_all().await.map_err(|reason| CleanError(reason.to_string()))
}
