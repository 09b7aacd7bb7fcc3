//! The running cluster: verdicts of checks and orders of the operator in, requests to the director out.

mod change;
mod verdicts;

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use rlvs_ipvs::ClientError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::caught_up::CaughtUp;
use crate::config::Config;
use crate::director::{Director, Place};
use crate::nanny::{News, Pool, Rounds};
use crate::notify::{Messengers, Notifier};
use crate::plan::Setup;
use crate::pulse::{Heartbeat, Pulse, PulseError};
use crate::source::{Source, SourceError, Watcher};
use crate::status::{self, Question, Status, Time, overview};

use verdicts::RETRY;

/// How often a file that is to be read again by itself is looked at.
const LOOK: Duration = Duration::from_secs(1);

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
