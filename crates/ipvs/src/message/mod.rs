//! Requests and replies, and their generic-netlink form in both directions: a client encodes a [`Request`] and
//! decodes the reply's messages into [`Item`]s; a server decodes the request and encodes the [`Reply`].
//!
//! Two families: `IPVS`, the kernel's own, and `RLVS` for what IPVS has no word for.

mod connection;
mod control;
mod daemon;
mod destination;
mod explain;
mod mark;
mod numbers;
mod reply;
mod request;
mod service;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;

use rustix::io::Errno;

use crate::model::*;

pub use control::{CONTROL_FAMILY, FamilyName, decode_family_id, encode_family_query};
pub use reply::{Item, decode_item};
pub use request::{Call, decode, encode, encode_to};

pub(crate) use control::encode_answer;
pub(crate) use reply::encode_item;
pub(crate) use request::decode_message;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Add a service (EEXIST if there).
    NewService(Service),
    /// Edit a service (ESRCH if not there).
    SetService(Service),
    /// Delete a service and its destinations.
    DeleteService(ServiceId),
    /// One service.
    GetService(ServiceId),
    /// All services.
    ListServices,
    /// Add a destination. IPVS looks the service up (ESRCH) before it minds a malformed destination, hence the `Result`.
    NewDestination(ServiceId, Result<Destination, Errno>),
    /// Edit a destination.
    SetDestination(ServiceId, Result<Destination, Errno>),
    /// Delete a destination.
    DeleteDestination(ServiceId, Result<DestinationId, Errno>),
    /// The destinations of a service, newest first.
    ListDestinations(ServiceId),
    /// Start a sync daemon.
    NewDaemon(Daemon),
    /// Stop a sync daemon.
    DeleteDaemon(DaemonRole),
    /// The sync daemons that run, master first.
    ListDaemons,
    /// Change timeouts.
    SetTimeouts(Timeouts),
    /// The timeouts.
    GetTimeouts,
    /// Version and table size.
    GetInfo,
    /// Zero the counters of a service, or all.
    Zero(Option<ServiceId>),
    /// Delete all services.
    Flush,
    /// RLVS: delete a destination, and end its connections (ESRCH, ENOENT).
    EndDestination(ServiceId, DestinationId, Ending),
    /// RLVS: the connection table.
    ListConnections,
    /// RLVS: facts about the director.
    GetFacts,
    /// RLVS: all of IPVS's sysctls, by name.
    ListSettings,
    /// RLVS: one of them (ENOENT if there is none such).
    GetSetting(String),
    /// RLVS: changes one (ENOENT; EINVAL if it does not take the value).
    SetSetting(Setting),
    /// RLVS: how often what happened to packets other than being switched.
    ListEvents,
    /// RLVS: packets dropped since the last such request, as many as may be copied from one to the next. Who does not
    /// ask again ends the copying.
    TakeSamples,
    /// RLVS: statistics of all services together, deleted ones included.
    GetTotals,
    /// RLVS: add a mark rule (EEXIST if there).
    NewMarkRule {
        /// The rule.
        rule: MarkRule,
        /// Number of the rule that it goes before (ERANGE if there is none); `None`: after all.
        before: Option<u32>,
    },
    /// RLVS: delete a mark rule (ENOENT if not there).
    DeleteMarkRule(MarkRuleId),
    /// RLVS: all mark rules, in their order.
    ListMarkRules,
    /// RLVS: what would become of a packet, and why (ENODEV if there is no such interface; EPROTONOSUPPORT).
    Explain(Probe),
}

impl Request {
    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::GetService(_)
                | Self::ListServices
                | Self::ListDestinations(_)
                | Self::ListDaemons
                | Self::GetTimeouts
                | Self::GetInfo
                | Self::ListConnections
                | Self::GetFacts
                | Self::ListSettings
                | Self::GetSetting(_)
                | Self::ListEvents
                | Self::GetTotals
                | Self::ListMarkRules
                | Self::Explain(_)
        )
    }

    /// Whether the answer is a series of messages.
    pub fn is_dump(&self) -> bool {
        matches!(
            self,
            Self::ListServices
                | Self::ListDestinations(_)
                | Self::ListDaemons
                | Self::ListConnections
                | Self::GetFacts
                | Self::ListSettings
                | Self::ListEvents
                | Self::TakeSamples
                | Self::ListMarkRules
                | Self::Explain(_)
        )
    }

    /// The family that has the request.
    pub fn family(&self) -> FamilyName {
        match self {
            Self::EndDestination(..)
            | Self::ListConnections
            | Self::GetFacts
            | Self::ListSettings
            | Self::GetSetting(_)
            | Self::SetSetting(_)
            | Self::ListEvents
            | Self::TakeSamples
            | Self::GetTotals
            | Self::NewMarkRule { .. }
            | Self::DeleteMarkRule(_)
            | Self::ListMarkRules
            | Self::Explain(_) => FamilyName::Rlvs,
            _ => FamilyName::Ipvs,
        }
    }
}

/// What the director answers. Each request has one fitting variant; any other is a fault of the director.
pub enum Reply {
    /// Done: all requests that change something.
    Done,
    /// To [`Request::GetService`].
    Service(ServiceEntry),
    /// To [`Request::ListServices`].
    Services(Vec<ServiceEntry>),
    /// To [`Request::ListDestinations`].
    Destinations(Vec<DestinationEntry>),
    /// To [`Request::ListDaemons`].
    Daemons(Vec<Daemon>),
    /// To [`Request::GetTimeouts`].
    Timeouts(Timeouts),
    /// To [`Request::GetInfo`].
    Info(Info),
    /// To [`Request::ListConnections`]: drawn from, batch by batch, as fast as the client reads, on the task
    /// of that client.
    Connections(Box<dyn Iterator<Item = Connection> + Send>),
    /// To [`Request::GetFacts`].
    Facts(Vec<Fact>),
    /// To [`Request::ListSettings`] and, one of them, to [`Request::GetSetting`].
    Settings(Vec<Setting>),
    /// To [`Request::ListEvents`].
    Events(Vec<EventCount>),
    /// To [`Request::TakeSamples`].
    Samples(Vec<Sample>),
    /// To [`Request::GetTotals`].
    Totals(Totals),
    /// To [`Request::ListMarkRules`].
    MarkRules(Vec<MarkRuleEntry>),
    /// To [`Request::Explain`].
    Findings(Vec<Finding>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Service(v) => f.debug_tuple("Service").field(v).finish(),
            Self::Services(v) => f.debug_tuple("Services").field(v).finish(),
            Self::Destinations(v) => f.debug_tuple("Destinations").field(v).finish(),
            Self::Daemons(v) => f.debug_tuple("Daemons").field(v).finish(),
            Self::Timeouts(v) => f.debug_tuple("Timeouts").field(v).finish(),
            Self::Info(v) => f.debug_tuple("Info").field(v).finish(),
            Self::Connections(_) => f.write_str("Connections(..)"),
            Self::Facts(v) => f.debug_tuple("Facts").field(v).finish(),
            Self::Settings(v) => f.debug_tuple("Settings").field(v).finish(),
            Self::Events(v) => f.debug_tuple("Events").field(v).finish(),
            Self::Samples(v) => f.debug_tuple("Samples").field(v).finish(),
            Self::Totals(v) => f.debug_tuple("Totals").field(v).finish(),
            Self::MarkRules(v) => f.debug_tuple("MarkRules").field(v).finish(),
            Self::Findings(v) => f.debug_tuple("Findings").field(v).finish(),
        }
    }
}
