//! What a running cluster says of itself when it is asked: who is master, who serves, and why.
//!
//! It is asked on a Unix socket ([`socket_name`]) that belongs to a network namespace, as the director's does, by a
//! line of text: `status` is answered with a [`Status`], `alive` by a process whose main loop goes round with its id, `follow` with a [`Dated`](crate::notify::Dated) notice for each
//! event from then on, as JSON, a line each.

mod client;
pub(crate) mod overview;
mod server;
mod time;

use serde::{Deserialize, Serialize};

use rlvs_ipvs::SOCKET_NAME;

use crate::director::Place;
use crate::notify::Health;
use crate::pulse::InstanceStatus;

pub use client::{Follow, StatusError, ask, ask_alive};
pub(crate) use server::{Question, Server};
pub use time::Time;

/// The abstract name, without its leading NUL, on which the cluster of a director is asked.
pub fn socket_name(place: &Place) -> String {
    match place {
        Place::Here => "rlvs/cluster".into(),
        Place::Socket(director) if director == SOCKET_NAME => "rlvs/cluster".into(),
        Place::Socket(director) => format!("{director}/cluster"),
    }
}

/// A running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its file.
    pub file: String,
    /// When it was started.
    pub since: Time,
    /// When the file that is in effect was read.
    pub read: Time,
    /// Why a later version of the file is not in effect.
    pub refused: Option<String>,
    /// Why the director does not have what it should have.
    pub director: Option<String>,
    /// The virtual routers, in their order.
    pub instances: Vec<InstanceStatus>,
    /// The services, in their order.
    pub services: Vec<ServiceStatus>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// In IPVS's words, such as `TCP 192.0.2.1:80`.
    pub service: String,
    /// Whether there is a quorum.
    pub state: Health,
    /// Since when.
    pub since: Time,
    /// What its live servers weigh.
    pub live: u64,
    /// What they must weigh...
    pub quorum: u32,
    /// ...and how much more to begin, how much less to give up.
    pub hysteresis: u32,
    /// Who serves without a quorum.
    pub sorry_server: Option<SorryStatus>,
    /// Its real servers, in their order.
    pub servers: Vec<ServerStatus>,
}

/// A sorry server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryStatus {
    /// Address and port.
    pub address: String,
    /// It serves now.
    pub in_use: bool,
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Address and port.
    pub address: String,
    /// What it is taken for.
    pub state: Health,
    /// Since when.
    pub since: Time,
    /// Its weight with the director; none if it is not there.
    pub weight: Option<i32>,
    /// Its checks; without any it is always up.
    pub checks: Vec<CheckStatus>,
}

/// A check of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its kind, such as `http`.
    pub kind: String,
    /// What the last one found; none if none is done yet.
    pub last: Option<CheckResult>,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// When it was done.
    pub time: Time,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The server is good.
    pub good: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How grave a state is, as monitoring programs (Nagios and its kin) grade it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// All is as it should be.
    Good,
    /// Not all is, but everything is served: a server is down or not known yet, or a file was refused.
    Warning,
    /// A service has no quorum, a virtual router is at fault, or the director does not have what it should have.
    Critical,
}

impl Status {
    /// The gravest of what it says.
    pub fn grade(&self) -> Grade {
        let down = |service: &ServiceStatus| service.state == Health::Down;
        let well = |service: &ServiceStatus| {
            service.state == Health::Up && service.servers.iter().all(|server| server.state == Health::Up)
        };
        if self.director.is_some()
            || self.services.iter().any(down)
            || self.instances.iter().any(|instance| instance.state == "FAULT")
        {
            Grade::Critical
        } else if self.refused.is_some() || !self.services.iter().all(well) {
            Grade::Warning
        } else {
            Grade::Good
        }
    }
}
