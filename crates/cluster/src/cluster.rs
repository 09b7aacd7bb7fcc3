//! The running cluster: verdicts of checks and orders of the operator in, requests to the director out.

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use rlvs_ipvs::ClientError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::caught_up::CaughtUp;
use crate::config::{Check, Config, Others};
use crate::director::{Director, Place};
use crate::nanny::rounds::Subject;
use crate::nanny::{Event, News, Pool, Rounds, Verdict};
use crate::notify::{Health, Messengers, Notice, Notifier};
use crate::plan::{self, Change, Setup};
use crate::pulse::{Heartbeat, Pulse, PulseError};
use crate::source::{Source, SourceError, Watcher};
use crate::status::{self, Question, Status, Time, overview};

/// How soon a director that could not be asked is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a file that is to be read again by itself is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the director is asked whether a server that leaves still has connections.
const LEAVING: Duration = Duration::from_secs(1);

/// What an operator wants of a running cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the file again.
    Reload,
    /// End. What the director has stays.
    Stop,
}

/// Why a file is not in effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// It cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The director does not take it. What was changed before has been undone.
    #[error("the director refuses `{change}`: {reason}; nothing was changed")]
    Refused {
        /// The change.
        change: String,
        /// Its reason.
        reason: ClientError,
    },
    /// The director cannot be asked.
    #[error(transparent)]
    Director(#[from] ClientError),
    /// There can be no VRRP.
    #[error(transparent)]
    Pulse(#[from] PulseError),
}

/// What a file makes of a director: the services to have, and what is known about their servers.
struct Cluster {
    source: Source,
    watcher: Watcher,
    config: Config,
    pools: Vec<Pool>,
    rounds: Rounds,
    director: Director,
    pulse: Option<Pulse>,
    /// Has `pulse` wait while the director lacks connections.
    caught_up: Option<CaughtUp>,
    heartbeat: Option<Heartbeat>,
    /// Whether no virtual router has a network.
    cut_off: watch::Sender<bool>,
    notifier: Notifier,
    messengers: Messengers,
    /// When all is to be compared with the director again, because a request failed.
    settle_at: Option<Instant>,
    /// When a weight rises, or a server that leaves is looked at.
    advance_at: Option<Instant>,
    /// Why the director does not have what it should have.
    trouble: Option<String>,
    since: Time,
    /// When the file that is in effect was read, and why a later version is not.
    read: Time,
    refused: Option<String>,
}

/// What a cluster listens to.
struct Ears {
    orders: mpsc::Receiver<Order>,
    news: mpsc::Receiver<News<IpAddr>>,
    questions: mpsc::Receiver<Question>,
    cut_off: watch::Receiver<bool>,
}

/// Runs what a file says until told to stop, or until nobody can tell any more. Meanwhile it answers on the socket
/// [`status::socket_name`].
///
/// # Errors
/// [`ClusterError`] if the file cannot be used or the director refuses it at the start. Later, such a file is told about
/// in the log, and the old one stays in effect. A director that cannot be reached is waited for.
pub async fn run(
    source: impl Into<Source>,
    place: Place,
    orders: mpsc::Receiver<Order>,
) -> Result<(), ClusterError> {
    let source = source.into();
    let config = source.read()?;
    let (notifier, calls) = Notifier::start();
    let (to_us, news) = mpsc::channel(64);
    let (asker, questions) = mpsc::channel(16);
    let (cut_off, is_cut_off) = watch::channel(false);
    let name = status::socket_name(&place);
    let server = status::Server::start(&name, asker, notifier.followers());
    let server = server.inspect_err(|reason| tracing::warn!("no status on @{name}: {reason}")).ok();
    let mut cluster = Cluster {
        watcher: Watcher::new(source.path()),
        source,
        config: Config::default(),
        pools: Vec::new(),
        rounds: Rounds::new(to_us),
        director: Director::new(place),
        pulse: None,
        caught_up: None,
        heartbeat: None,
        cut_off,
        messengers: Messengers::new(&notifier.followers()),
        notifier,
        settle_at: None,
        advance_at: None,
        trouble: None,
        since: Time::now(),
        read: Time::now(),
        refused: None,
    };
    let result = cluster.live(config, Ears { orders, news, questions, cut_off: is_cut_off }).await;
    if let Some(pulse) = cluster.pulse.take() {
        pulse.stop().await;
    }
    if let Some(heartbeat) = cluster.heartbeat.take() {
        heartbeat.stop().await;
    }
    // Programs, followers and recipients are still told of the end.
    let Cluster { messengers, notifier, .. } = cluster;
    drop(notifier);
    if let Some(server) = server {
        server.stop().await;
    }
    messengers.finish().await;
    let _told = calls.await;
    result
}

impl Cluster {
    async fn live(&mut self, mut config: Config, mut ears: Ears) -> Result<(), ClusterError> {
        self.messengers.set(&config.recipients);
        // Other machines are waited for by nobody: addresses do not depend on a director.
        self.beat(&config).await?;
        loop {
            match self.change_to(config.clone()).await {
                Ok(()) => break,
                Err(ClusterError::Director(error)) => {
                    if self.trouble.is_none() {
                        tracing::warn!("waiting for a director: {error}");
                    }
                    self.trouble = Some(error.to_string());
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                Some(question) = ears.questions.recv() => self.answer(question).await,
                order = ears.orders.recv() => match order {
                    Some(Order::Reload) => match self.source.read() {
                        Ok(new) => {
                            self.beat(&new).await?;
                            config = new;
                        }
                        Err(error) => tracing::error!("not reloaded: {error}"),
                    },
                    Some(Order::Stop) | None => return Ok(()),
                },
            }
        }
        tracing::info!("ready: {}", self.summary());
        let mut look = tokio::time::interval(LOOK);
        loop {
            let (settle, advance) = (until(self.settle_at), until(self.advance_at));
            tokio::select! {
                _ = look.tick(), if self.config.auto_reload => {
                    if self.watcher.has_changed(self.source.path()) {
                        self.reload().await;
                    }
                }
                order = ears.orders.recv() => match order {
                    Some(Order::Reload) => self.reload().await,
                    Some(Order::Stop) | None => return Ok(()),
                },
                Some(question) = ears.questions.recv() => self.answer(question).await,
                // What was found before the network was lost counts; what is still on its way does not.
                Some(news) = ears.news.recv() => if !*self.cut_off.borrow() { self.hear(news).await },
                Ok(()) = ears.cut_off.changed() => self.check(),
                () = settle => self.settle().await,
                () = advance => self.advance().await,
            }
        }
    }

    fn summary(&self) -> String {
        let (services, checks) = (self.pools.len(), self.rounds.count());
        format!("{services} services, {checks} checks, {} virtual routers", self.config.instances.len())
    }

    /// Has the virtual routers and the heartbeat of a file.
    async fn beat(&mut self, config: &Config) -> Result<(), PulseError> {
        if self.pulse.is_none() && !config.instances.is_empty() {
            // Until the director has been asked for the first time.
            let (hold, is_held) = watch::channel(true);
            self.caught_up = Some(CaughtUp::start(self.director.place(), self.cut_off.subscribe(), hold));
            self.pulse = Some(Pulse::start(self.notifier.clone(), self.cut_off.clone(), is_held).await?);
        }
        if let Some(pulse) = &self.pulse {
            pulse.change(config.instances.clone(), config.groups.clone()).await;
        }
        match (&config.heartbeat, self.heartbeat.take()) {
            (Some(new), Some(running)) => {
                running.change(new.clone()).await;
                self.heartbeat = Some(running);
            }
            (Some(new), None) => self.heartbeat = Some(Heartbeat::start(new.clone(), self.notifier.clone())?),
            (None, Some(running)) => running.stop().await,
            (None, None) => {}
        }
        Ok(())
    }

    async fn reload(&mut self) {
        // A large file takes its time, and so may the look-up of a user; checks go on meanwhile.
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let result = match read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(config) => self.change_to(config).await,
            Err(error) => Err(error.into()),
        };
        let (summary, reason) = match result {
            Ok(()) => (Some(self.summary()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.refused = reason.clone();
        self.notifier.tell(None, Notice::Reload { summary, reason });
    }

    async fn answer(&self, question: Question) {
        let asker = match question {
            Question::Status(asker) => asker,
            Question::Alive(asker) => {
                let _asker_has_left = asker.send(());
                return;
            }
        };
        let mut instances = match &self.pulse {
            Some(pulse) => pulse.status().await,
            None => Vec::new(),
        };
        instances.extend(self.heartbeat.as_ref().map(Heartbeat::status));
        let _asker_has_left = asker.send(Status {
            file: self.source.path().display().to_string(),
            since: self.since,
            read: self.read,
            refused: self.refused.clone(),
            director: self.trouble.clone(),
            instances,
            services: self.pools.iter().map(|pool| overview::service(pool, &self.rounds)).collect(),
        });
    }

    /// Puts a file into effect, as a whole or not at all.
    async fn change_to(&mut self, config: Config) -> Result<(), ClusterError> {
        if config.services.is_empty() && config.others == Others::Keep && self.config.services.is_empty() {
            // It is about virtual routers only: no director is needed.
            self.beat(&config).await?;
            self.adopt(config);
            return Ok(());
        }
        let running = self.director.running().await?;
        // What the old file had and the new one has not is deleted.
        let (gone, running): (Vec<_>, _) = running
            .into_iter()
            .partition(|setup| self.config.has(&setup.service.id) && !config.has(&setup.service.id));
        let mut running = config.concerned(running);
        running.extend(gone);
        let now = Instant::now().into_std();
        let pool = |service: &crate::config::Service| {
            let id = service.service.id;
            match self.pools.iter().find(|pool| pool.service().service.id == id) {
                Some(pool) => pool.reconfigured(service.clone(), now),
                None => {
                    let found = running.iter().find(|setup| setup.service.id == id);
                    Pool::new(service.clone(), found.map_or(&[], |setup| &setup.destinations), now)
                }
            }
        };
        let pools: Vec<_> = config.services.iter().map(pool).collect();
        let wanted: Vec<_> = pools.iter().map(setup).collect();
        for change in plan::changes(&running, &wanted) {
            if let Err(reason) = self.director.apply(&change).await {
                self.undo(&running, &wanted).await;
                return Err(match reason {
                    ClientError::Refused(_) => ClusterError::Refused { change: change.to_string(), reason },
                    reason => ClusterError::Director(reason),
                });
            }
            self.notifier.tell(None, Notice::Change { change: change.to_string(), reason: None });
        }
        self.beat(&config).await?;
        self.adopt(config);
        self.pools = pools;
        (self.settle_at, self.trouble) = (None, None);
        self.check();
        self.catch_up().await;
        self.plan_advance();
        Ok(())
    }

    fn adopt(&mut self, config: Config) {
        self.messengers.set(&config.recipients);
        (self.config, self.read) = (config, Time::now());
    }

    /// Makes the checks of the file in effect; none while this machine has no network. What they would say then is nothing about the
    /// servers, and they must not be taken for dead when it has one again, and takes over.
    fn check(&mut self) {
        if *self.cut_off.borrow() {
            self.rounds.pause();
        } else {
            self.rounds.set(&self.config);
        }
    }

    /// A server that is new to a service may be known from another one: that check tells only what changes.
    async fn catch_up(&mut self) {
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

    /// Back to how it was before some changes towards `wanted`.
    async fn undo(&mut self, before: &[Setup], wanted: &[Setup]) {
        let mut now = match self.director.running().await {
            Ok(now) => now,
            // It is compared with what there should be when it is back.
            Err(error) => return self.failed(&error),
        };
        let ours = |setups: &[Setup], id| setups.iter().any(|setup| setup.service.id == id);
        now.retain(|setup| ours(before, setup.service.id) || ours(wanted, setup.service.id));
        for change in plan::changes(&now, before) {
            match self.director.apply(&change).await {
                Ok(()) => tracing::info!("undone: {change}"),
                Err(error) => tracing::error!("cannot undo with `{change}`: {error}"),
            }
        }
    }

    /// A check has a new verdict.
    async fn hear(&mut self, News { subject: address, check, verdict }: News<IpAddr>) {
        for subject in self.rounds.subjects(address, &check) {
            self.judge(subject, &check, verdict.clone()).await;
        }
    }

    async fn judge(&mut self, (service, server): Subject, check: &Check, verdict: Verdict) {
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

    fn plan_advance(&mut self) {
        self.advance_at = self.pools.iter().filter_map(deadline).min();
    }

    /// Raises weights, and deletes servers that have left.
    async fn advance(&mut self) {
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
    async fn settle(&mut self) {
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

    async fn make(&mut self, change: Change) {
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

    fn failed(&mut self, error: &ClientError) {
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

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn setup(pool: &Pool) -> Setup {
    Setup { service: pool.service().service.clone(), destinations: pool.wanted() }
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
