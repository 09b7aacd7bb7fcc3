//! Ways to clients whose connections began at another director.
//!
//! What a client sends is switched before this machine's kernel sees it, so the kernel does not learn of the neighbour behind
//! which it is. The first reply to such a client is lost; meanwhile the neighbour is resolved.

use crate::connections::Address;
use crate::egress::EgressTracker;
use crate::tables::Tables;
use rlvs_switch::sync::Change;
use rlvs_switch::table::{V4, V6, slot};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Clients whose ways are followed at a time. Most are behind a few routers, which the kernel then knows.
const CLIENTS: usize = 256;

/// How long a way is followed. Connections keep it after that, and the kernel its neighbour for as long as that answers.
const TIME: Duration = Duration::from_secs(60);

/// The clients, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ways(VecDeque<(IpAddr, Instant)>);

impl Ways {
    /// Has the way found to the client of this reply entry.
    pub(super) fn find(&mut self, tables: &Tables, change: &Change, tracker: &EgressTracker) {
        let client = match change.family {
            6 => client_of::<V6>(tables, change.slot),
            _ => client_of::<V4>(tables, change.slot),
        };
        let Some(client) = client else { return };
        if self.0.len() < CLIENTS && !self.0.iter().any(|(known, _)| *known == client) {
            tracker.watch(client);
            self.0.push_back((client, Instant::now()));
        }
    }

    /// Lets go of those that were followed long enough.
    pub(super) fn tick(&mut self, tracker: &EgressTracker) {
        while let Some((client, _)) = self.0.pop_front_if(|(_, since)| since.elapsed() >= TIME) {
            tracker.unwatch(client);
        }
    }
}

fn client_of<F: Address>(tables: &Tables, index: u32) -> Option<IpAddr> {
    let place = slot::<Tables, F>(tables, index)?;
    let meta = place.meta();
    let tuple = place.tuple(meta)?;
    (meta.is_live() && meta.is_reply()).then(|| F::ip(tuple.destination))
}
