//! Makes one check again and again, and tells when its verdict changes.

use std::time::Duration;

use rlvs_ipvs::{DestinationId, ServiceId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::judge::{Judge, Ruling};
use super::probe::Target;
use crate::config::Check;

/// A check that goes on until this is dropped.
#[derive(Debug)]
pub struct Monitor {
    service: ServiceId,
    server: DestinationId,
    check: Check,
    task: JoinHandle<()>,
}

/// A new verdict, or a new weight.
#[derive(Clone, Debug)]
pub struct News {
    /// The service that the server is checked for.
    pub service: ServiceId,
    /// The server.
    pub server: DestinationId,
    /// The check.
    pub check: Check,
    /// Good, with the weight that the check wants, or not good, and why.
    pub verdict: Result<Option<i32>, String>,
}

impl Monitor {
    /// Begins. Must be called within a tokio runtime.
    pub fn start(service: ServiceId, server: DestinationId, check: Check, to: mpsc::Sender<News>) -> Self {
        let task = tokio::spawn(watch(service, server, check.clone(), to));
        Self { service, server, check, task }
    }

    /// Whether it makes this very check.
    pub fn is(&self, service: &ServiceId, server: &DestinationId, check: &Check) -> bool {
        (&self.service, &self.server, &self.check) == (service, server, check)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(service: ServiceId, server: DestinationId, check: Check, to: mpsc::Sender<News>) {
    let schedule = &check.schedule;
    let target = Target { address: check.address.unwrap_or(server.address), port: check.port };
    let mut judge = Judge::new(schedule.rise, schedule.fall);
    let mut last_weight = None;
    // Not all at once at the start, nor ever after.
    tokio::time::sleep(up_to(schedule.jitter)).await;
    loop {
        let result = match tokio::time::timeout(schedule.timeout, target.probe(&check.probe)).await {
            Ok(result) => result.map_err(|failure| failure.to_string()),
            Err(_) => Err(format!("not done after {:?}", schedule.timeout)),
        };
        let ruling = judge.hear(result.is_ok());
        let told = match (&ruling, &result) {
            (Ruling::New(_), _) => true,
            (Ruling::Stands, Ok(weight)) => *weight != last_weight,
            _ => false,
        };
        if let (Ruling::Doubtful, Err(reason)) = (&ruling, &result) {
            tracing::debug!(%reason, "a check of {} failed", crate::plan::server_name(&server));
        }
        if told {
            last_weight = result.as_ref().ok().copied().flatten();
            if to.send(News { service, server, check: check.clone(), verdict: result }).await.is_err() {
                return;
            }
        }
        let pause = if ruling == Ruling::Doubtful { schedule.retry } else { schedule.interval };
        tokio::time::sleep(pause + up_to(schedule.jitter.min(pause))).await;
    }
}

fn up_to(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}
