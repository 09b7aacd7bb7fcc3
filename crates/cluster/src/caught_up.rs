//! Whether this machine's director knows the connections that it would take over, were this machine master.
//!
//! A machine that comes back and takes over at once breaks all connections that began while it was away. So it puts up with a master of
//! lower priority until its director has heard of them; if there is no master, there is nothing to wait for.

use std::time::{Duration, Instant};

use rlvs_ipvs::{Client, ClientError, SOCKET_NAME};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::director::Place;

/// How often the director is asked.
const ASK: Duration = Duration::from_millis(500);
/// After so long a director has noticed that there is a master, or that it missed something: masters say each second how much they
/// have sent.
const NOTICE: Duration = Duration::from_secs(3);
/// A director that has not caught up after so long is taken as it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fact that tells, and what it says.
const IN_SYNC: &str = "sync backup in sync";

/// What a director knows of other directors' connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// It is not told of any: it has no backup daemon, or is not rlvs's.
    NotAsked,
    /// It has not heard of a master that can say how much there is to know.
    Unknown,
    /// It knows that it misses some.
    Partial,
    /// It has heard of all.
    Whole,
}

/// The task that asks.
#[derive(Debug)]
pub(crate) struct CaughtUp {
    task: JoinHandle<()>,
}

impl CaughtUp {
    /// Begins to ask the director at this place, and tells `hold` whether it lacks connections. Must be called within a tokio runtime.
    pub(crate) fn start(place: &Place, cut_off: watch::Receiver<bool>, hold: watch::Sender<bool>) -> Self {
        let name = match place {
            Place::Here => SOCKET_NAME.to_owned(),
            Place::Socket(name) => name.clone(),
        };
        Self { task: tokio::spawn(follow(name, cut_off, hold)) }
    }
}

impl Drop for CaughtUp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(name: String, mut cut_off: watch::Receiver<bool>, hold: watch::Sender<bool>) {
    let mut client = None;
    let mut since = Instant::now();
    let mut ask = interval(ASK);
    loop {
        tokio::select! {
            _ = ask.tick() => {}
            changed = cut_off.changed() => match changed {
                Ok(()) => since = Instant::now(),
                Err(_) => return,
            },
        }
        let holds = *cut_off.borrow() || holds(knowledge(&mut client, &name).await, since.elapsed());
        hold.send_if_modified(|before| std::mem::replace(before, holds) != holds);
    }
}

/// Whether to leave another master alone, so long after this machine came to the network.
fn holds(knowledge: Knowledge, since: Duration) -> bool {
    match knowledge {
        Knowledge::NotAsked => false,
        // What it missed while it was away it may not know yet.
        Knowledge::Unknown | Knowledge::Whole => since < NOTICE,
        Knowledge::Partial => since < PATIENCE,
    }
}

async fn knowledge(client: &mut Option<Client>, name: &str) -> Knowledge {
    match in_sync(client, name).await {
        Ok(Some(in_sync)) => match in_sync.as_str() {
            "yes" => Knowledge::Whole,
            "no" => Knowledge::Partial,
            _ => Knowledge::Unknown,
        },
        Ok(None) => Knowledge::NotAsked,
        Err(_) => {
            *client = None;
            Knowledge::NotAsked
        }
    }
}

/// What the director says of its backup daemon, if it has one.
async fn in_sync(client: &mut Option<Client>, name: &str) -> Result<Option<String>, ClientError> {
    let connected = match client.take() {
        Some(client) => client,
        None => Client::connect_rlvs(name).await?,
    };
    let facts = client.insert(connected).facts().await?;
    Ok(facts.into_iter().find(|fact| fact.name == IN_SYNC).map(|fact| fact.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_connections_waits_but_not_for_ever() {
        let (at_once, soon, later) = (Duration::ZERO, NOTICE, PATIENCE);
        for (knowledge, expected) in [
            (Knowledge::NotAsked, [false, false, false]),
            (Knowledge::Unknown, [true, false, false]),
            (Knowledge::Whole, [true, false, false]),
            (Knowledge::Partial, [true, true, false]),
        ] {
            assert_eq!(
                [at_once, soon, later].map(|since| holds(knowledge, since)),
                expected,
                "{knowledge:?}"
            );
        }
    }
}
