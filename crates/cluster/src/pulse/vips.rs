//! The addresses of whoever is master: put on their interfaces, taken off, kept there, announced.

use super::announce::Announcer;
use super::kernel::{Addresses, Interface};
use crate::config::Vip;

/// Moves addresses in the name of somebody, whom the log calls `owner`.
#[derive(Clone)]
pub(super) struct Vips {
    addresses: Addresses,
    owner: String,
}

impl Vips {
    pub(super) fn new(addresses: Addresses, owner: &str) -> Self {
        Self { addresses, owner: owner.to_owned() }
    }

    pub(super) async fn put(&self, vip: &Vip) {
        if let Err(error) = self.addresses.put(vip).await {
            tracing::error!("({}) cannot put {} on {}: {error}", self.owner, vip.address, vip.interface);
        }
    }

    pub(super) async fn take(&self, vip: &Vip) {
        if let Err(error) = self.addresses.take(vip).await {
            tracing::error!("({}) cannot take {} off {}: {error}", self.owner, vip.address, vip.interface);
        }
    }

    /// Puts back what is not there; whether anything was missing.
    pub(super) async fn restore(&self, all: &[Vip]) -> bool {
        let is_missing = |vip: &&Vip| {
            !Interface::look(&vip.interface).is_ok_and(|found| found.addresses.contains(&vip.address))
        };
        let missing: Vec<_> = all.iter().filter(is_missing).collect();
        for vip in &missing {
            tracing::warn!("({}) {} is not on {}: putting it there", self.owner, vip.address, vip.interface);
            self.put(vip).await;
        }
        !missing.is_empty()
    }

    /// Tells neighbours who has the addresses, so many times each.
    ///
    /// # Errors
    /// The last one's, in words, after all have been tried.
    pub(super) fn announce(&self, all: &[Vip], times: u32) -> Result<(), String> {
        let mut result = Ok(());
        for vip in all {
            let sent = Announcer::open(&vip.interface)
                .and_then(|mut announcer| (0..times).try_for_each(|_| announcer.send(vip.address)));
            if let Err(error) = sent {
                result = Err(format!("cannot announce {} on {}: {error}", vip.address, vip.interface));
            }
        }
        result
    }
}
