//! A file put into effect: as a whole, or not at all.

use rlvs_ipvs::ClientError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Cluster, ClusterError, setup};
use crate::caught_up::CaughtUp;
use crate::config::{Config, Others};
use crate::nanny::Pool;
use crate::notify::Notice;
use crate::plan::{self, Setup};
use crate::pulse::{Heartbeat, Pulse, PulseError};
use crate::status::Time;

impl Cluster {
    /// Has the virtual routers and the heartbeat of a file.
    pub(super) async fn beat(&mut self, config: &Config) -> Result<(), PulseError> {
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

    pub(super) async fn reload(&mut self) {
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

    /// Puts a file into effect, as a whole or not at all.
    pub(super) async fn change_to(&mut self, config: Config) -> Result<(), ClusterError> {
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

    pub(super) fn adopt(&mut self, config: Config) {
        self.messengers.set(&config.recipients);
        (self.config, self.read) = (config, Time::now());
    }

    /// Back to how it was before some changes towards `wanted`.
    pub(super) async fn undo(&mut self, before: &[Setup], wanted: &[Setup]) {
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
}
