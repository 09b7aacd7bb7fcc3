//! The backup: takes over what masters tell of their connections.

use super::entry;
use super::importer::{Importer, Outcome};
use super::seen::{Masters, News};
use super::socket::{Receiver, Sender, receivers, senders};
use super::{Datagram, fact};
use crate::error::DirectorError;
use crate::registry::Registry;
use crate::tables::Tables;
use rlvs_ipvs::sync::{Note, read};
use rlvs_ipvs::{Daemon, Fact};
use rlvs_switch::config::Config;
use rlvs_switch::table::{V4, V6, WAYS};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Masters are asked for all of their connections no more often than that.
const ASK: Duration = Duration::from_secs(10);

/// How often connections that wait for their destination are looked for, if destinations were added.
const BIND: Duration = Duration::from_secs(1);

/// The backup daemon at work.
pub(super) struct Backup {
    daemon: Daemon,
    senders: Vec<Sender>,
    _receivers: Vec<Receiver>,
    masters: Masters,
    /// When masters were last asked; `None`: never.
    asked: Option<Instant>,
    /// They are to be asked when it is time.
    to_ask: bool,
    /// Destinations that were known when those were looked for last.
    destinations: u32,
    bound: Instant,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    messages: u64,
    refused_messages: u64,
    connections: u64,
    refused_connections: u64,
    no_room: u64,
}

impl Backup {
    /// Starts it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If its sockets cannot be opened.
    pub(super) fn start(
        daemon: &Daemon,
        config: &Config,
        peers: &[IpAddr],
        inbox: &mpsc::Sender<Datagram>,
    ) -> io::Result<Backup> {
        let backup = Backup {
            daemon: daemon.clone(),
            senders: senders(daemon, config, peers)?,
            _receivers: receivers(daemon, config, peers, inbox)?,
            masters: Masters::default(),
            asked: None,
            to_ask: true,
            destinations: 0,
            bound: Instant::now(),
            counts: Counts::default(),
        };
        tracing::info!("synchronisation: backup on {}", daemon.interface);
        Ok(backup)
    }

    /// What it was started with.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Takes over what a datagram tells.
    pub(super) fn receive(&mut self, datagram: &Datagram, registry: &Registry, importer: &Importer) {
        let Datagram { octets, from, .. } = datagram;
        if let Some(note) = Note::read(octets, self.daemon.sync_id) {
            self.to_ask |= self.masters.note(*from, note) == News::Gap;
            return;
        }
        self.counts.messages += 1;
        let entries = match read(octets, self.daemon.sync_id) {
            Ok(entries) => entries,
            Err(error) => {
                self.counts.refused_messages += 1;
                tracing::debug!("synchronisation: a message of {from} {error}");
                return;
            }
        };
        self.masters.message(*from);
        for entry in entries {
            match entry {
                Ok(connection) => self.count(importer.take_over(registry, &connection)),
                Err(error) => {
                    self.counts.refused_connections += 1;
                    tracing::debug!("synchronisation: an entry of {from} {error}");
                }
            }
        }
    }

    fn count(&mut self, outcome: Result<Outcome, DirectorError>) {
        match outcome {
            Ok(Outcome::Taken) => self.counts.connections += 1,
            Ok(Outcome::NoRoom) => self.counts.no_room += 1,
            Ok(Outcome::Useless) => self.counts.refused_connections += 1,
            Err(error) => {
                self.counts.refused_connections += 1;
                tracing::debug!("synchronisation: {error}");
            }
        }
    }

    /// Asks masters, and gives connections their destinations. To be called every [`super::PACE`].
    pub(super) fn tick(&mut self, tables: &Tables, registry: &Registry, importer: &Importer) {
        if self.to_ask && self.asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            self.asked = Some(Instant::now());
            self.to_ask = false;
            self.ask();
        }
        let newest = registry.newest();
        if self.destinations != newest && self.bound.elapsed() >= BIND {
            self.bound = Instant::now();
            self.destinations = newest;
            self.bind(tables, registry, importer);
        }
    }

    fn ask(&self) {
        for sender in &self.senders {
            if let Err(error) = sender.send(&Note::Ask.write(self.daemon.sync_id as u8)) {
                tracing::warn!("synchronisation: cannot ask on {}: {error}", self.daemon.interface);
            }
        }
    }

    /// Looks whether connections that wait for their destination have one now.
    fn bind(&mut self, tables: &Tables, registry: &Registry, importer: &Importer) {
        for index in 0..(tables.connections4.all().len() * WAYS) as u32 {
            if let Some(connection) = entry::bind::<V4>(registry, tables, index) {
                self.count(importer.import(4, &connection));
            }
        }
        for index in 0..(tables.connections6.all().len() * WAYS) as u32 {
            if let Some(connection) = entry::bind::<V6>(registry, tables, index) {
                self.count(importer.import(6, &connection));
            }
        }
    }

    /// What it has done.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let name = |what: &str| format!("sync backup {what}");
        let whole = self.masters.whole();
        vec![
            fact(name("interface"), &self.daemon.interface),
            fact(name("id"), self.daemon.sync_id),
            fact(
                name("in sync"),
                self.masters.in_sync().map_or("unknown", |in_sync| if in_sync { "yes" } else { "no" }),
            ),
            fact(
                name("connections of the masters"),
                whole.map_or_else(|| "unknown".into(), |n| n.to_string()),
            ),
            fact(name("connections taken over"), self.counts.connections),
            fact(name("connections refused"), self.counts.refused_connections),
            fact(name("connections without room"), self.counts.no_room),
            fact(name("messages received"), self.counts.messages),
            fact(name("messages refused"), self.counts.refused_messages),
            fact(name("messages lost"), self.masters.lost()),
        ]
    }
}
