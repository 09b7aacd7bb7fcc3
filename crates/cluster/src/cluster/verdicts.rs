//! What checks find, and what time brings: requests to the director that follow from these.

use std::net::IpAddr;
use std::time::Duration;

use rlvs_ipvs::ClientError;
use tokio::time::Instant;

use super::{Cluster, setup};
use crate::config::Check;
use crate::nanny::rounds::Subject;
use crate::nanny::{Event, News, Pool, Verdict};
use crate::notify::{Health, Notice};
use crate::plan::{self, Change, Setup};

/// How soon a director that could not be asked is asked again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How often the director is asked whether a server that leaves still has connections.
const LEAVING: Duration = Duration::from_secs(1);

impl Cluster {
    /// Makes the checks of the file in effect; none while this machine has no network. What they would say then is nothing about the
    /// servers, and they must not be taken for dead when it has one again, and takes over.
    pub(super) fn check(&mut self) {
        if *self.cut_off.borrow() {
            self.rounds.pause();
        } else {
            self.rounds.set(&self.config);
        }
    }

    /// A server that is new to a service may be known from another one: that check tells only what changes.
    pub(super) async fn catch_up(&mut self) {
        let mut known = Vec::new();
        for pool in &self.pools {
            for (server, member) in pool.members().filter(|(_, member)| member.state().0 == Health::Unknown) {
                for check in member.unanswered(server) {
                    let verdict = self.rounds.verdict(server, check);
                    known.extend(
                        verdict.map(|verdict| {
                            ((pool.service().service.id, server.id()), check.clone(), verdict)
                        }),
                    );
                }
            }
        }
        for (subject, check, verdict) in known {
            self.judge(subject, &check, verdict).await;
        }
    }

    /// A check has a new verdict.
    pub(super) async fn hear(&mut self, News { subject: address, check, verdict }: News<IpAddr>) {
        for subject in self.rounds.subjects(address, &check) {
            self.judge(subject, &check, verdict.clone()).await;
        }
    }

    pub(super) async fn judge(&mut self, (service, server): Subject, check: &Check, verdict: Verdict) {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.service().service.id == service) else {
            return;
        };
        let before = pool.wanted();
        let events = pool.judge(server, check, verdict, Instant::now().into_std());
        let changes = plan::destination_changes(service, &before, &pool.wanted());
        for event in events {
            let service = pool.service();
            self.notifier.tell(service.notify.as_ref(), notice(&service.name, event));
        }
        self.advance_at = [self.advance_at, deadline(pool)].into_iter().flatten().min();
        for change in changes {
            self.make(change).await;
        }
    }

    pub(super) fn plan_advance(&mut self) {
        self.advance_at = self.pools.iter().filter_map(deadline).min();
    }

    /// Raises weights, and deletes servers that have left.
    pub(super) async fn advance(&mut self) {
        let mut changes = Vec::new();
        for pool in &mut self.pools {
            if pool.deadline().is_none() {
                continue;
            }
            let (service, before) = (pool.service().service.id, pool.wanted());
            if pool.leaving().next().is_some() {
                match self.director.connections(service).await {
                    Ok(all) => {
                        let idle = all.into_iter().filter(|(_, connections)| *connections == 0);
                        idle.for_each(|(server, _)| pool.release(server));
                    }
                    // The time limit counts all the same.
                    Err(error) => tracing::debug!(%error, "nobody knows who still has connections"),
                }
            }
            pool.advance(Instant::now().into_std());
            changes.extend(plan::destination_changes(service, &before, &pool.wanted()));
        }
        for change in changes {
            self.make(change).await;
        }
        self.plan_advance();
    }

    /// Compares all with the director, and makes it right.
    pub(super) async fn settle(&mut self) {
        (self.settle_at, self.trouble) = (None, None);
        let running = match self.director.running().await {
            Ok(running) => running,
            Err(error) => return self.failed(&error),
        };
        let ours =
            |setup: &Setup| self.pools.iter().any(|pool| pool.service().service.id == setup.service.id);
        let running: Vec<_> = running.into_iter().filter(ours).collect();
        let wanted: Vec<_> = self.pools.iter().map(setup).collect();
        for change in plan::changes(&running, &wanted) {
            self.make(change).await;
        }
    }

    pub(super) async fn make(&mut self, change: Change) {
        let change = self.with_connections(change);
        let result = self.director.apply(&change).await;
        let reason = result.as_ref().err().map(ToString::to_string);
        self.notifier.tell(None, Notice::Change { change: change.to_string(), reason });
        if let Err(error) = result {
            self.failed(&error);
        }
    }

    /// A server that is deleted because it is down may take its connections with it.
    fn with_connections(&self, change: Change) -> Change {
        let Change::Delete(service, server) = change else { return change };
        let pool = self.pools.iter().find(|pool| pool.service().service.id == service);
        match pool.and_then(|pool| pool.ending(server)) {
            Some(ending) => Change::End(service, server, ending),
            None => change,
        }
    }

    pub(super) fn failed(&mut self, error: &ClientError) {
        tracing::debug!(%error, "the director is asked again in {RETRY:?}");
        self.settle_at = Some(Instant::now() + RETRY);
        self.trouble = Some(error.to_string());
    }
}

/// When a pool must be looked at, because a weight rises or a server leaves.
fn deadline(pool: &Pool) -> Option<Instant> {
    let look = pool.leaving().next().map(|_| Instant::now() + LEAVING);
    [pool.deadline().map(Instant::from_std), look].into_iter().flatten().min()
}

fn notice(service: &str, event: Event) -> Notice {
    let service = service.to_owned();
    let server = |server| plan::server_name(&server);
    match event {
        Event::Up(up) => Notice::Server { service, server: server(up), state: Health::Up, reason: None },
        Event::Down(down, reason) => {
            Notice::Server { service, server: server(down), state: Health::Down, reason: Some(reason) }
        }
        Event::Weight(of, weight) => Notice::Weight { service, server: server(of), weight },
        Event::Quorum(live) => Notice::Service { service, state: Health::Up, live },
        Event::NoQuorum(live) => Notice::Service { service, state: Health::Down, live },
    }
}
