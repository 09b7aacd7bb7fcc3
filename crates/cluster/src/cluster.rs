//! The running cluster: verdicts of checks and orders of the operator in, requests to the director out.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rlvs_ipvs::{ClientError, DestinationId, ServiceId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{Config, ConfigError, Others};
use crate::director::{Director, Place};
use crate::nanny::{Event, Monitor, News, Pool};
use crate::notify::Notifier;
use crate::plan::{self, Change, Setup};
use crate::pulse::{Pulse, PulseError};

/// How soon a director that could not be asked is asked again.
const RETRY: Duration = Duration::from_secs(1);

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
    Config(#[from] ConfigError),
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

/// A real server of a service.
type Subject = (ServiceId, DestinationId);

/// What a file makes of a director: the services to have, and what is known about their servers.
struct Cluster {
    path: PathBuf,
    config: Config,
    pools: Vec<Pool>,
    monitors: Vec<Monitor<Subject>>,
    director: Director,
    pulse: Option<Pulse>,
    notifier: Notifier,
    to_us: mpsc::Sender<News<Subject>>,
    /// When all is to be compared with the director again, because a request failed.
    settle_at: Option<Instant>,
}

/// Runs what a file says until told to stop, or until nobody can tell any more.
///
/// # Errors
/// [`ClusterError`] if the file cannot be used or the director refuses it at the start. Later, such a file is told about
/// in the log, and the old one stays in effect. A director that cannot be reached is waited for.
pub async fn run(path: &Path, place: Place, mut orders: mpsc::Receiver<Order>) -> Result<(), ClusterError> {
    let config = Config::read(path)?;
    let (notifier, calls) = Notifier::start();
    let (to_us, mut news) = mpsc::channel(64);
    let mut cluster = Cluster {
        path: path.to_owned(),
        config: Config::default(),
        pools: Vec::new(),
        monitors: Vec::new(),
        director: Director::new(place),
        pulse: None,
        notifier,
        to_us,
        settle_at: None,
    };
    let result = cluster.live(config, &mut orders, &mut news).await;
    if let Some(pulse) = cluster.pulse.take() {
        pulse.stop().await;
    }
    // Programs are still told of the end.
    drop(cluster);
    let _told = calls.await;
    result
}

impl Cluster {
    async fn live(
        &mut self,
        mut config: Config,
        orders: &mut mpsc::Receiver<Order>,
        news: &mut mpsc::Receiver<News<Subject>>,
    ) -> Result<(), ClusterError> {
        // Other machines are waited for by nobody: addresses do not depend on a director.
        self.beat(&config).await?;
        let mut complained = false;
        loop {
            match self.change_to(config.clone()).await {
                Ok(()) => break,
                Err(ClusterError::Director(error)) if !complained => {
                    tracing::warn!("waiting for a director: {error}");
                    complained = true;
                }
                Err(ClusterError::Director(_)) => {}
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                order = orders.recv() => match order {
                    Some(Order::Reload) => match Config::read(&self.path) {
                        Ok(new) => config = new,
                        Err(error) => tracing::error!("not reloaded: {error}"),
                    },
                    Some(Order::Stop) | None => return Ok(()),
                },
            }
        }
        tracing::info!("ready: {}", self.summary());
        loop {
            let settle_at = self.settle_at;
            let settle = async {
                match settle_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reload) => match self.reload().await {
                        Ok(()) => tracing::info!("reloaded: {}", self.summary()),
                        Err(error) => tracing::error!("not reloaded, the old file stays in effect: {error}"),
                    },
                    Some(Order::Stop) | None => return Ok(()),
                },
                Some(news) = news.recv() => self.hear(news).await,
                () = settle => self.settle().await,
            }
        }
    }

    fn summary(&self) -> String {
        let (services, checks) = (self.pools.len(), self.monitors.len());
        format!("{services} services, {checks} checks, {} virtual routers", self.config.instances.len())
    }

    /// Has the virtual routers of a file.
    async fn beat(&mut self, config: &Config) -> Result<(), PulseError> {
        if self.pulse.is_none() && !config.instances.is_empty() {
            self.pulse = Some(Pulse::start(self.notifier.clone()).await?);
        }
        if let Some(pulse) = &self.pulse {
            pulse.change(config.instances.clone(), config.groups.clone()).await;
        }
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), ClusterError> {
        self.change_to(Config::read(&self.path)?).await
    }

    /// Puts a file into effect, as a whole or not at all.
    async fn change_to(&mut self, config: Config) -> Result<(), ClusterError> {
        if config.services.is_empty() && config.others == Others::Keep && self.config.services.is_empty() {
            // It is about virtual routers only: no director is needed.
            self.beat(&config).await?;
            self.config = config;
            return Ok(());
        }
        let running = self.director.running().await?;
        // What the old file had and the new one has not is deleted.
        let (gone, running): (Vec<_>, _) = running
            .into_iter()
            .partition(|setup| self.config.has(&setup.service.id) && !config.has(&setup.service.id));
        let mut running = config.concerned(running);
        running.extend(gone);
        let pool = |service: &crate::config::Service| {
            let id = service.service.id;
            match self.pools.iter().find(|pool| pool.service().service.id == id) {
                Some(pool) => pool.reconfigured(service.clone()),
                None => {
                    let found = running.iter().find(|setup| setup.service.id == id);
                    Pool::new(service.clone(), found.map_or(&[], |setup| &setup.destinations))
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
            tracing::info!("{change}");
        }
        self.beat(&config).await?;
        self.config = config;
        self.pools = pools;
        self.settle_at = None;
        self.watch();
        Ok(())
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

    /// Begins the checks that are new, goes on with those that are not, ends the others.
    fn watch(&mut self) {
        let mut old = std::mem::take(&mut self.monitors);
        for service in &self.config.services {
            let id = service.service.id;
            for server in &service.servers {
                for check in &server.checks {
                    let running = old.iter().position(|monitor| monitor.is(&(id, server.id()), check));
                    self.monitors.push(match running {
                        Some(at) => old.swap_remove(at),
                        None => Monitor::start(
                            (id, server.id()),
                            server.id().address,
                            check.clone(),
                            self.to_us.clone(),
                        ),
                    });
                }
            }
        }
    }

    /// A check has a new verdict.
    async fn hear(&mut self, News { subject: (service, server), check, verdict }: News<Subject>) {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.service().service.id == service) else {
            return;
        };
        let before = pool.wanted();
        let events = pool.judge(server, &check, verdict);
        let changes = plan::destination_changes(service, &before, &pool.wanted());
        for event in &events {
            tell(&self.notifier, pool, event);
        }
        for change in changes {
            self.make(&change).await;
        }
    }

    /// Compares all with the director, and makes it right.
    async fn settle(&mut self) {
        self.settle_at = None;
        let running = match self.director.running().await {
            Ok(running) => running,
            Err(error) => return self.failed(&error),
        };
        let ours =
            |setup: &Setup| self.pools.iter().any(|pool| pool.service().service.id == setup.service.id);
        let running: Vec<_> = running.into_iter().filter(ours).collect();
        let wanted: Vec<_> = self.pools.iter().map(setup).collect();
        for change in plan::changes(&running, &wanted) {
            self.make(&change).await;
        }
    }

    async fn make(&mut self, change: &Change) {
        match self.director.apply(change).await {
            Ok(()) => tracing::info!("{change}"),
            Err(error) => {
                tracing::error!("`{change}`: {error}");
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &ClientError) {
        tracing::debug!(%error, "the director is asked again in {RETRY:?}");
        self.settle_at = Some(Instant::now() + RETRY);
    }
}

fn setup(pool: &Pool) -> Setup {
    Setup { service: pool.service().service.clone(), destinations: pool.wanted() }
}

/// To the log, and to the operator's program.
fn tell(notifier: &Notifier, pool: &Pool, event: &Event) {
    let service = pool.service();
    tracing::info!("{}: {event}", service.name);
    let words = match event {
        Event::Up(server) => {
            vec!["SERVER".into(), service.name.clone(), plan::server_name(server), "UP".into()]
        }
        Event::Down(server, _) => {
            vec!["SERVER".into(), service.name.clone(), plan::server_name(server), "DOWN".into()]
        }
        Event::Quorum(_) => vec!["SERVICE".into(), service.name.clone(), "UP".into()],
        Event::NoQuorum(_) => vec!["SERVICE".into(), service.name.clone(), "DOWN".into()],
        Event::Weight(..) => return,
    };
    if let Some(command) = &service.notify {
        notifier.tell(command, words);
    }
}
