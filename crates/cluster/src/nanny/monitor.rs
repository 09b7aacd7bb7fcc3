//! Makes one check again and again, and tells when its verdict changes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::judge::{Judge, Ruling};
use super::probe::Target;
use crate::config::{Check, Probe};

/// A check that goes on until this is dropped, for the sake of `S`.
#[derive(Debug)]
pub struct Monitor<S> {
    subject: S,
    check: Check,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was done.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Why the server is not good, if it is not.
    pub failure: Option<String>,
}

/// What a check has found so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    last: Option<Report>,
    verdict: Option<Verdict>,
}

/// Good, with the weight that the check wants, or not good, and why.
pub type Verdict = Result<Option<i32>, String>;

/// A new verdict, or a new weight.
#[derive(Clone, Debug)]
pub struct News<S> {
    /// What it is about.
    pub subject: S,
    /// The check.
    pub check: Check,
    /// What it says now.
    pub verdict: Verdict,
}

impl<S: Clone + PartialEq + Send + 'static> Monitor<S> {
    /// Begins; `address` is asked, if the check does not name another one. Must be called within a tokio runtime.
    pub fn start(subject: S, address: IpAddr, check: Check, to: mpsc::Sender<News<S>>) -> Self {
        let seen = Arc::default();
        let task = tokio::spawn(watch(subject.clone(), address, check.clone(), Arc::clone(&seen), to));
        Self { subject, check, seen, task }
    }

    /// What the last check has found; none if none is done yet.
    pub fn last(&self) -> Option<Report> {
        lock(&self.seen).last.clone()
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Option<Verdict> {
        lock(&self.seen).verdict.clone()
    }

    /// Whether it makes this very check.
    pub fn is(&self, subject: &S, check: &Check) -> bool {
        self.subject == *subject && self.check == *check
    }
}

impl<S> Drop for Monitor<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch<S: Clone>(
    subject: S,
    address: IpAddr,
    check: Check,
    seen: Arc<Mutex<Seen>>,
    to: mpsc::Sender<News<S>>,
) {
    let schedule = &check.schedule;
    let target = Target { address: check.address.unwrap_or(address), port: check.port };
    let mut judge = Judge::new(schedule.rise, schedule.fall);
    let mut last_weight = None;
    // Checks that only connect, until the next whole one.
    let mut connects = 0;
    // Not all at once at the start, nor ever after.
    tokio::time::sleep(up_to(schedule.jitter)).await;
    loop {
        let probe = if connects == 0 { &check.probe } else { &Probe::Connect };
        let start = Instant::now();
        let result = match tokio::time::timeout(schedule.timeout, target.probe(probe)).await {
            Ok(result) => result.map_err(|failure| failure.to_string()),
            Err(_) => Err(format!("not done after {:?}", schedule.timeout)),
        };
        connects = match (&result, connects) {
            (Err(_), _) => 0,
            (Ok(_), 0) => schedule.connects,
            (Ok(_), left) => left - 1,
        };
        let (at, failure) = (Instant::now(), result.as_ref().err().cloned());
        lock(&seen).last = Some(Report { at, took: at.duration_since(start), failure });
        let ruling = judge.hear(result.is_ok());
        let told = match (&ruling, &result) {
            (Ruling::New(_), _) => true,
            (Ruling::Stands, Ok(weight)) => *weight != last_weight,
            _ => false,
        };
        if let (Ruling::Doubtful, Err(reason)) = (&ruling, &result) {
            tracing::debug!(%reason, "a check of {} failed", target.address);
        }
        if told {
            last_weight = result.as_ref().ok().copied().flatten();
            lock(&seen).verdict = Some(result.clone());
            if to
                .send(News { subject: subject.clone(), check: check.clone(), verdict: result })
                .await
                .is_err()
            {
                return;
            }
        }
        let pause = if ruling == Ruling::Doubtful { schedule.retry } else { schedule.interval };
        tokio::time::sleep(pause + up_to(schedule.jitter.min(pause))).await;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Nobody can panic while holding it.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn up_to(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}
