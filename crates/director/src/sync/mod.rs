//! Connections synchronised with other directors, of this kind or IPVS: the daemons that `ipvsadm --start-daemon` starts.
//!
//! ```text
//!   master: the switch's changes (a ring, read every 10 ms), young UDP flows, and a walk through the table in two seconds
//!             -> those that others are to hear of -> messages -> group
//!   backup: group -> messages -> for each connection its destination -> the kernel runs the step `import`
//! ```
//!
//! A slot notes state and expiry at the time when its entry was last sent or received ([`rlvs_switch::table::Told`]); so nothing is sent
//! back to whom it came from, and what the ring had no room for is found by the walk.

mod backup;
mod due;
mod entry;
mod importer;
mod master;
mod seen;
mod socket;
mod ways;
mod young;

pub use importer::{Importer, Outcome};

use crate::egress::EgressTracker;
use crate::registry::Registry;
use crate::tables::Tables;
use aya::maps::{MapData, RingBuf};
use backup::Backup;
use master::Master;
use rlvs_ipvs::{Daemon, DaemonRole, Errno, Fact};
use rlvs_switch::sync::{Change, change};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use ways::Ways;
use zerocopy::FromBytes;

/// How often changes are read and messages sent: as long as that a connection may be unknown to backups.
const PACE: Duration = Duration::from_millis(10);

/// Changes that are read in a row.
const CHANGES_AT_ONCE: usize = 1 << 14;

/// Datagrams that may wait to be read; more wait in their sockets.
const DATAGRAMS: usize = 256;

/// The daemons of this director.
pub struct Synchronisation {
    tables: Arc<Tables>,
    importer: Importer,
    changes: RingBuf<MapData>,
    /// Who is to hear in the place of the group, if there are any.
    peers: Vec<IpAddr>,
    master: Option<Master>,
    backup: Option<Backup>,
    inbox: mpsc::Receiver<Datagram>,
    /// For the daemons' sockets.
    to_inbox: mpsc::Sender<Datagram>,
    ways: Ways,
    pace: Interval,
    /// A daemon did not start, which has been said.
    failed: bool,
}

/// What there is to do.
pub enum Event {
    /// Somebody sent something.
    Datagram(Datagram),
    /// It is time to look at changes.
    Tick,
}

/// What came by a daemon's socket.
pub struct Datagram {
    role: DaemonRole,
    from: SocketAddr,
    octets: Vec<u8>,
}

impl Synchronisation {
    /// No daemons yet; with `peers` they speak with these alone, without with their groups. Must be called within a tokio runtime.
    pub fn new(
        tables: Arc<Tables>,
        importer: Importer,
        changes: RingBuf<MapData>,
        peers: &[IpAddr],
    ) -> Synchronisation {
        let (to_inbox, inbox) = mpsc::channel(DATAGRAMS);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ways = Ways::default();
        let (master, backup) = (None, None);
        Synchronisation {
            tables,
            importer,
            changes,
            peers: peers.to_vec(),
            master,
            backup,
            inbox,
            to_inbox,
            ways,
            pace,
            failed: false,
        }
    }

    /// Runs these daemons, and no others.
    ///
    /// # Errors
    /// Those of the first daemon that does not start: the others run.
    pub fn follow(&mut self, wanted: &[Daemon]) -> Result<(), Errno> {
        let of = |role| wanted.iter().find(move |daemon| daemon.role == role);
        let (master, backup) = (of(DaemonRole::Master), of(DaemonRole::Backup));
        if self.master.as_ref().map(Master::daemon) != master {
            // First, for its port is its successor's.
            self.master = None;
        }
        if self.backup.as_ref().map(Backup::daemon) != backup {
            self.backup = None;
        }
        let (config, mut failure) = (self.tables.settings(), None);
        if let (Some(daemon), None) = (master, &self.master) {
            match Master::start(daemon, config, &self.peers, &self.to_inbox) {
                Ok(master) => self.master = Some(master),
                Err(error) => failure = Some((daemon, error)),
            }
        }
        if let (Some(daemon), None) = (backup, &self.backup) {
            match Backup::start(daemon, config, &self.peers, &self.to_inbox) {
                Ok(backup) => self.backup = Some(backup),
                Err(error) => failure = Some((daemon, error)),
            }
        }
        let Some((daemon, error)) = failure else {
            self.failed = false;
            return Ok(());
        };
        if !std::mem::replace(&mut self.failed, true) {
            tracing::warn!("no synchronisation daemon on {} as yet: {error}", daemon.interface);
        }
        Err(error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
    }

    /// What there is to do next; nothing while no daemon runs. Loses nothing when it is given up.
    pub async fn next(&mut self) -> Event {
        let runs = self.master.is_some() || self.backup.is_some();
        tokio::select! {
            Some(datagram) = self.inbox.recv() => Event::Datagram(datagram),
            _ = self.pace.tick(), if runs => Event::Tick,
        }
    }

    /// Does that.
    pub fn handle(&mut self, event: Event, registry: &Registry, tracker: &EgressTracker) {
        match event {
            Event::Datagram(datagram) => match (datagram.role, &mut self.master, &mut self.backup) {
                (DaemonRole::Master, Some(master), _) => master.receive(&datagram),
                (DaemonRole::Backup, _, Some(backup)) => backup.receive(&datagram, registry, &self.importer),
                // Of a daemon that has ended.
                _ => {}
            },
            Event::Tick => {
                self.read_changes(tracker);
                if let Some(master) = &mut self.master {
                    master.tick(&self.tables);
                }
                if let Some(backup) = &mut self.backup {
                    backup.tick(&self.tables, registry, &self.importer);
                }
                self.ways.tick(tracker);
            }
        }
    }

    fn read_changes(&mut self, tracker: &EgressTracker) {
        for _ in 0..CHANGES_AT_ONCE {
            let Some(octets) = self.changes.next() else { return };
            let Ok((change, _)) = Change::read_from_prefix(&octets) else { continue };
            if change.what == change::NO_WAY {
                self.ways.find(&self.tables, &change, tracker);
            } else if let Some(master) = &mut self.master {
                master.tell_change(&self.tables, &change);
            }
        }
    }

    /// What the daemons have done.
    pub fn facts(&self) -> Vec<Fact> {
        let master = self.master.iter().flat_map(Master::facts);
        master.chain(self.backup.iter().flat_map(Backup::facts)).collect()
    }
}

fn fact(name: String, value: impl ToString) -> Fact {
    Fact { name, value: value.to_string() }
}
