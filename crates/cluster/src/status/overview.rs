//! The status of services, put together from what is known of them.

use std::collections::HashMap;

use super::{CheckResult, CheckStatus, ServerStatus, ServiceStatus, SorryStatus};
use crate::config::{Check, Server};
use crate::nanny::{Member, Pool, Report, Rounds};
use crate::notify::Health;
use crate::plan::{server_name, service_name};

/// A service as its pool and the checks of its servers have it.
pub(crate) fn service(pool: &Pool, rounds: &Rounds) -> ServiceStatus {
    let service = pool.service();
    let weights: HashMap<_, _> = pool.wanted().into_iter().map(|wanted| (wanted.id, wanted.weight)).collect();
    let server = |(server, member): (&Server, &Member)| {
        let (state, since) = member.state();
        let check = |check: &Check| CheckStatus {
            kind: check.kind.into(),
            last: rounds.last(server, check).map(CheckResult::from),
        };
        ServerStatus {
            address: server_name(&server.id()),
            state,
            since: since.into(),
            weight: weights.get(&server.id()).copied(),
            checks: server.checks.iter().map(check).collect(),
        }
    };
    let (state, since) = pool.health();
    let sorry = service
        .sorry_server
        .as_ref()
        .map(|sorry| SorryStatus { address: server_name(&sorry.id), in_use: state == Health::Down });
    ServiceStatus {
        name: service.name.clone(),
        service: service_name(&service.service.id),
        state,
        since: since.into(),
        live: pool.live(),
        quorum: service.quorum,
        hysteresis: service.hysteresis,
        sorry_server: sorry,
        servers: pool.members().map(server).collect(),
    }
}

impl From<Report> for CheckResult {
    fn from(report: Report) -> Self {
        Self {
            time: report.at.into(),
            took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            good: report.failure.is_none(),
            reason: report.failure,
        }
    }
}
