//! The director's loop: commands, routes and neighbours, interfaces, time.
//!
//! - `start`: on a data plane of its own, or on one that is there
//! - `interfaces`, `ways`, `requests`: what the loop does about each of these

mod interfaces;
mod requests;
mod start;
mod ways;

use crate::config::Config;
use crate::dataplane::{self, Attachments};
use crate::defence;
use crate::egress::{EgressTracker, Event, Interface};
use crate::endings::Endings;
use crate::error::DirectorError;
use crate::estimator;
use crate::local_out::{self, LocalOut};
use crate::proc;
use crate::registry::{Registry, localities};
use crate::sweeper::Sweeper;
use crate::sync::Synchronisation;
use crate::tables::Tables;
use crate::totals::Totals;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use rlvs_ipvs::{SOCKET_NAME, Server, ServerConfig};
use rlvs_switch::order;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

/// Time in which both connection tables are swept once: an expired connection is gone that much later at most.
const SWEEP: Duration = Duration::from_secs(2);

/// Runs the director of this network namespace until it is told to end; the data plane goes on without it.
pub async fn run(config: &Config) -> Result<(), DirectorError> {
    // First, for only one director may touch the data plane.
    let mut server = Server::bind(ServerConfig { name: SOCKET_NAME.into(), readers: config.readers() })?;
    let mut director = Director::start(config).await?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut sweep = interval(SWEEP / Sweeper::PARTS as u32);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut estimate = interval(Duration::from_secs(estimator::INTERVAL));
    let mut defend = interval(Duration::from_secs(1));
    let (_mounted, mut asks) = mount_proc(&config.proc.mount, &director.tables);
    let mut forget = interval(localities::INTERVAL);
    director.announce();
    loop {
        tokio::select! {
            Some(ask) = asks.recv() => {
                let answer = director.handle(ask.request);
                let _reader_has_left = ask.answer.send(answer);
            }
            call = server.next() => match call {
                Some(call) => {
                    let answers = director.answer(&call.requests).await;
                    call.answer(answers);
                }
                None => return Err(DirectorError::System {
                    action: "serve the control socket",
                    reason: std::io::ErrorKind::ConnectionAborted.into(),
                }),
            },
            event = director.events.recv() => match event {
                Some(event) => director.follow(event),
                None => return Err(DirectorError::System {
                    action: "follow routes and neighbours",
                    reason: std::io::ErrorKind::ConnectionAborted.into(),
                }),
            },
            event = director.sync.next() => {
                director.sync.handle(event, &director.registry, &director.tracker);
            }
            _ = sweep.tick() => {
                director.sweeper.sweep(&director.tables);
                director.endings.advance(&director.registry);
            }
            _ = defend.tick() => defence::every_second(&director.tables),
            _ = estimate.tick() => {
                director.estimate();
                if let Some(local_out) = &director.local_out {
                    local_out.keep_settings();
                }
                director.registry.empty_trash();
                // Those whose interface was not there.
                let _told = director.sync.follow(&director.registry.daemons());
            }
            _ = forget.tick() => director.registry.forget_unwanted(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("the director's process ends; the switch stays attached (`rlvs detach` takes it off)");
    Ok(())
}

/// Mounts IPVS's files of `/proc`; a director that cannot says so and goes on.
fn mount_proc(path: &Path, tables: &Arc<Tables>) -> (Option<proc::Mounted>, UnboundedReceiver<proc::Ask>) {
    let nobody_asks = || (None, tokio::sync::mpsc::unbounded_channel().1);
    if path.as_os_str().is_empty() {
        return nobody_asks();
    }
    match proc::mount(path, Arc::clone(tables)) {
        Ok((mounted, asks)) => {
            tracing::info!("IPVS's files of /proc are at {}", path.display());
            (Some(mounted), asks)
        }
        Err(error) => {
            tracing::warn!("{error}");
            nobody_asks()
        }
    }
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DirectorError> {
    signal(kind).map_err(|source| DirectorError::System { action: "wait for signals", reason: source })
}

/// Takes the data plane of this network namespace away: the switch off all interfaces, and all that it knows. False if
/// there was none.
pub async fn detach() -> Result<bool, DirectorError> {
    let pair = local_out::remove().await?;
    Ok(dataplane::detach()? || pair)
}

struct Director {
    tables: Arc<Tables>,
    registry: Registry,
    totals: Totals,
    events_counted: PerCpuArray<MapData, u64>,
    samples: RingBuf<MapData>,
    attachments: Attachments,
    /// The way of the director's own packets into the switch, if they have one.
    local_out: Option<LocalOut>,
    sweeper: Sweeper,
    endings: Endings,
    tracker: EgressTracker,
    events: UnboundedReceiver<Event>,
    sync: Synchronisation,
    /// Interfaces to attach to; none: all that qualify.
    wanted: Vec<String>,
    interfaces: BTreeMap<u32, Interface>,
    adopted: bool,
    /// Addresses of destinations whose way is not known yet.
    unsettled: BTreeSet<IpAddr>,
    /// For how long commands may wait for these.
    patience: ways::Patience,
}

impl Director {
    /// Renews the rates, unless `run_estimation` says that they are to stay.
    fn estimate(&mut self) {
        if self.tables.settings().director.run_estimation.load(order::PLAIN) != 0 {
            self.registry.estimate();
            self.totals.estimate(&self.tables);
        }
    }
}
