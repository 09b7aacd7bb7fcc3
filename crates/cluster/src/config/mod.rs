//! The configuration file, in TOML: what should be. Reading it checks all that can be checked without a network.

mod check;
mod heartbeat;
mod mistake;
mod programs;
mod recipients;
mod section;
mod service;
mod value;
mod vrrp;

use std::path::Path;
use std::time::Duration;

use rlvs_ipvs::{Destination, DestinationId, ServiceId};
use toml::de::DeTable;

use crate::plan::Setup;

pub use check::{
    Account, Check, Command, Dialogue, Digest, Dns, Expected, Grpc, Http, Identity, Ldap, Method, Probe,
    Record, RunAs, Schedule, Step, Tls, Watch,
};
pub use heartbeat::{Ends, Heartbeat};
use mistake::Mistakes;
pub use mistake::{ConfigError, Mistake};
pub use recipients::{Login, Mail, Recipient, Security, Webhook};
use section::Section;
pub use vrrp::{Announce, Instance, SyncGroup, Tracked, Version, Vip, Watched};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What becomes of services that run and are not in the file.
    pub others: Others,
    /// The file is read again when its content has changed, without being told.
    pub auto_reload: bool,
    /// The services, in their order.
    pub services: Vec<Service>,
    /// The virtual routers, in their order, each name once.
    pub instances: Vec<Instance>,
    /// Virtual routers that are master together.
    pub groups: Vec<SyncGroup>,
    /// Addresses that one of two machines has, by Piranha's protocol.
    pub heartbeat: Option<Heartbeat>,
    /// Who else is told of events.
    pub recipients: Vec<Recipient>,
}

/// Services that run and are not in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They are somebody else's, and stay.
    #[default]
    Keep,
    /// The file is all that should run.
    Delete,
}

/// A virtual service with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in the log and for programs; of the file, or its address, such as `TCP 192.0.2.10:80`.
    pub name: String,
    /// The service as the director knows it.
    pub service: rlvs_ipvs::Service,
    /// Its real servers, in their order, each address and port once.
    pub servers: Vec<Server>,
    /// Who serves while there is no quorum.
    pub sorry_server: Option<Destination>,
    /// The weights of live servers that it takes to serve...
    pub quorum: u32,
    /// ...and how many more it takes to begin, how many fewer to give up.
    pub hysteresis: u32,
    /// Called with what has changed: see [`crate::notify`].
    pub notify: Option<Command>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The server as the director knows it, with its full weight.
    pub destination: Destination,
    /// How it is checked; it is up while all of these succeed, and always if there are none.
    pub checks: Vec<Check>,
    /// What it is taken for until it has been checked.
    pub start: Start,
    /// What becomes of it while it is down.
    pub when_down: WhenDown,
    /// So long it may keep its connections, with weight 0, before it is deleted.
    pub drain: Duration,
    /// Its weight rises to the full one in so long.
    pub slow_start: Duration,
}

impl Server {
    /// What identifies it within its service.
    pub fn id(&self) -> DestinationId {
        self.destination.id
    }
}

/// What a real server is taken for until its first check is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// If it serves already, it goes on; if not, it does not begin.
    #[default]
    AsFound,
    /// It serves.
    Up,
    /// It does not serve.
    Down,
}

/// What becomes of a real server that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// It is deleted.
    #[default]
    Remove,
    /// It gets weight 0: its connections go on, new ones go elsewhere.
    Quiesce,
    /// The same, and it is deleted when it has no more connections, or after [`Server::drain`].
    Drain,
    /// It is deleted, and the clients of its connections are told.
    Reset,
    /// The same, but what another server can go on with goes to one.
    Move,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], with all mistakes that are in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mistakes = Mistakes::default();
        let config = match DeTable::parse(text) {
            Ok(table) => {
                let place = table.span();
                Self::of(Section::new(table.get_ref(), place, &mistakes))
            }
            Err(error) => {
                mistakes.add(&error.span().unwrap_or_default(), error.message());
                Self::default()
            }
        };
        mistakes.or(config, path, text)
    }

    /// What of a director's services this file is about: its own, or if it is all that should run, all of them.
    pub fn concerned(&self, mut running: Vec<Setup>) -> Vec<Setup> {
        running.retain(|setup| self.others == Others::Delete || self.has(&setup.service.id));
        running
    }

    /// What a director has when all servers are up.
    pub fn wanted(&self) -> Vec<Setup> {
        let setup = |service: &Service| Setup {
            service: service.service.clone(),
            destinations: service.servers.iter().map(|server| server.destination.clone()).collect(),
        };
        self.services.iter().map(setup).collect()
    }

    /// Whether a service is in the file.
    pub(crate) fn has(&self, id: &ServiceId) -> bool {
        self.services.iter().any(|service| service.service.id == *id)
    }

    fn of(file: Section<'_>) -> Self {
        let others = [("keep", Others::Keep), ("delete", Others::Delete)];
        let others = file.choice("other_services", &others).unwrap_or_default();
        let auto_reload = file.flag("auto_reload").unwrap_or(false);
        let notify = check::command(&file, "notify");
        let services = service::all(&file, notify.as_ref());
        let instances = vrrp::instances(&file, notify.as_ref());
        let groups = vrrp::groups(&file, &instances, notify.as_ref());
        let heartbeat = heartbeat::read(&file, &instances, notify.as_ref());
        let recipients = recipients::all(&file);
        let run_as = programs::run_as(&file);
        file.finish();
        let mut config = Self { others, auto_reload, services, instances, groups, heartbeat, recipients };
        programs::all(&mut config).for_each(|program| program.run_as = run_as.clone());
        config
    }
}

#[cfg(test)]
mod mistake_tests;
#[cfg(test)]
mod tests;
