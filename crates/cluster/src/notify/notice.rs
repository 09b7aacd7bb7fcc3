//! What has happened, as the log, programs of the operator and followers of the status hear of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::Time;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Notice {
    /// A real server is up, or down.
    Server {
        /// The service's name.
        service: String,
        /// Address and port.
        server: String,
        /// What it is now.
        state: Health,
        /// Why it is down.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A check has changed the weight of a real server.
    Weight {
        /// The service's name.
        service: String,
        /// Address and port.
        server: String,
        /// The new weight.
        weight: i32,
    },
    /// The quorum of a service was gained, or lost.
    Service {
        /// Its name.
        service: String,
        /// What it is now.
        state: Health,
        /// What the live servers weigh.
        live: u64,
    },
    /// A virtual router has a new state.
    Instance {
        /// Its name.
        instance: String,
        /// MASTER, BACKUP, FAULT or STOP.
        state: String,
        /// Its priority.
        priority: u8,
        /// Why.
        reason: String,
    },
    /// All virtual routers of a group have a new state.
    Group {
        /// Its name.
        group: String,
        /// MASTER, BACKUP, FAULT or STOP.
        state: String,
    },
    /// The director was asked for a change.
    Change {
        /// The change, as `rlvs diff` has it.
        change: String,
        /// Why it was not made.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The file was read again.
    Reload {
        /// What it has, if it is in effect.
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        /// Why it is not in effect.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// So many events went to a follower who did not read them in time.
    Lost {
        /// How many.
        count: u64,
    },
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Health {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// Nobody knows yet.
    Unknown,
}

/// A notice and when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated {
    /// When.
    pub time: Time,
    /// What.
    #[serde(flatten)]
    pub notice: Notice,
}

impl Notice {
    /// What a program gets as its last words; nothing if programs are not told.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        let words = match self {
            Self::Server { service, server, state, .. } => {
                vec!["SERVER".into(), service.clone(), server.clone(), state.to_string()]
            }
            Self::Service { service, state, .. } => {
                vec!["SERVICE".into(), service.clone(), state.to_string()]
            }
            Self::Instance { instance, state, priority, .. } => {
                vec!["INSTANCE".into(), instance.clone(), state.clone(), priority.to_string()]
            }
            Self::Group { group, state } => vec!["GROUP".into(), group.clone(), state.clone()],
            Self::Weight { .. } | Self::Change { .. } | Self::Reload { .. } | Self::Lost { .. } => {
                return None;
            }
        };
        Some(words)
    }

    /// To the log, with fields for programs that read it: a journal has them as `RLVS_SERVICE` and so on.
    pub(super) fn log(&self) {
        let (mut service, mut server, mut instance, mut state, mut why) = (None, None, None, None, None);
        match self {
            Self::Server { service: of, server: which, state: now, reason } => {
                (service, server, state, why) =
                    (Some(of), Some(which), Some(now.to_string()), reason.as_ref());
            }
            Self::Weight { service: of, server: which, .. } => (service, server) = (Some(of), Some(which)),
            Self::Service { service: which, state: now, .. } => {
                (service, state) = (Some(which), Some(now.to_string()));
            }
            Self::Instance { instance: which, state: now, reason, .. } => {
                (instance, state, why) = (Some(which), Some(now.clone()), Some(reason));
            }
            Self::Group { state: now, .. } => state = Some(now.clone()),
            Self::Change { reason, .. } | Self::Reload { reason, .. } => why = reason.as_ref(),
            Self::Lost { .. } => {}
        }
        let (service, server, instance) =
            (service.map(String::as_str), server.map(String::as_str), instance.map(String::as_str));
        let (state, why) = (state.as_deref(), why.map(String::as_str));
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    rlvs_event = self.kind(),
                    rlvs_service = service,
                    rlvs_server = server,
                    rlvs_instance = instance,
                    rlvs_state = state,
                    rlvs_reason = why,
                    "{self}"
                )
            };
        }
        match (self, state) {
            (Self::Change { .. } | Self::Reload { .. }, _) if why.is_some() => log!(error),
            (_, Some("DOWN" | "FAULT")) => log!(warn),
            _ => log!(info),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Server { .. } => "server",
            Self::Weight { .. } => "weight",
            Self::Service { .. } => "service",
            Self::Instance { .. } => "instance",
            Self::Group { .. } => "group",
            Self::Change { .. } => "change",
            Self::Reload { .. } => "reload",
            Self::Lost { .. } => "lost",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { service, server, state: Health::Down, reason } => {
                write!(f, "{service}: {server} is down: {}", reason.as_deref().unwrap_or("nobody knows why"))
            }
            Self::Server { service, server, .. } => write!(f, "{service}: {server} is up"),
            Self::Weight { service, server, weight } => write!(f, "{service}: {server} has weight {weight}"),
            Self::Service { service, state, live } => {
                let what = if *state == Health::Up { "gained" } else { "lost" };
                write!(f, "{service}: quorum {what}: live servers weigh {live}")
            }
            // As keepalived words it, for scripts that look for that.
            Self::Instance { instance, state, reason, .. } => {
                write!(f, "({instance}) Entering {state} STATE: {reason}")
            }
            Self::Group { group, state } => write!(f, "group {group} is {state}"),
            Self::Change { change, reason: None } => write!(f, "{change}"),
            Self::Change { change, reason: Some(reason) } => write!(f, "`{change}`: {reason}"),
            Self::Reload { reason: Some(reason), .. } => {
                write!(f, "not reloaded, the old file stays in effect: {reason}")
            }
            Self::Reload { summary, .. } => write!(f, "reloaded: {}", summary.as_deref().unwrap_or_default()),
            Self::Lost { count } => write!(f, "{count} events were lost: they were not read in time"),
        }
    }
}

impl fmt::Display for Health {
    /// As programs and logs have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Unknown => "UNKNOWN",
        })
    }
}
