//! Forgetting what the locality-based schedulers remembered.

use super::Registry;
use rlvs_switch::order;
use rlvs_switch::scheduler::Scheduler;
use std::time::Duration;

/// How often addresses that nobody wants any more are looked for, as in IPVS.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

impl Registry {
    /// Forgets addresses that were not wanted for the time in the settings; to be called every [`INTERVAL`].
    pub(crate) fn forget_unwanted(&self) {
        self.forget_unless(|_| true);
    }

    /// Forgets all addresses of a service: its scheduler changed.
    pub(super) fn forget_addresses_of(&self, sequence: u32) {
        self.forget_unless(|other| other != sequence);
    }

    fn forget_unless(&self, is_wanted: impl Fn(u32) -> bool) {
        let now = self.tables.now();
        let settings = &self.tables.settings().settings;
        for address in self.tables.localities.all().iter().flat_map(|bucket| &bucket.addresses) {
            let service = address.service.load(order::PLAIN);
            if service == 0 {
                // Free: to be read only, for there are many.
                continue;
            }
            let expiration = match self.scheduler_of(service) {
                Some(Scheduler::LocalityBased) => &settings.lblc_expiration,
                Some(Scheduler::LocalityBasedReplicated) => &settings.lblcr_expiration,
                _ => {
                    address.forget();
                    continue;
                }
            };
            if !is_wanted(service) || address.unused(now) > expiration.load(order::PLAIN) as i64 {
                address.forget();
            }
        }
    }

    fn scheduler_of(&self, sequence: u32) -> Option<Scheduler> {
        let entry = self.tables.services.get(self.services.get(&sequence)?.index)?;
        Scheduler::from_number(entry.scheduler.load(order::PLAIN))
    }
}
