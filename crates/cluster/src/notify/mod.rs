//! Tells what has happened: the log, whoever follows the status, programs of the operator, mail and webhooks.
//!
//! A program gets what happened as its last arguments: `SERVER` or `SERVICE`, the service's name, for a server its address
//! and port, and then `UP` or `DOWN`; or `INSTANCE`, a virtual router's name, its state and its priority; or `GROUP`, a
//! group's name and its state. Programs run one after the other, in the order of events.

mod messenger;
mod notice;

use std::process::Stdio;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::config::Command;
use crate::program;
use crate::status::Time;

pub(crate) use messenger::Messengers;
pub use notice::{Dated, Health, Notice};

/// Longer than this no program may keep the next one waiting.
const LIMIT: Duration = Duration::from_secs(60);
/// Calls that may wait.
const QUEUE: usize = 1024;
/// Notices that a follower may leave unread.
const UNREAD: usize = 4096;

/// Where notices are left. Nobody who leaves one waits for anybody.
#[derive(Clone, Debug)]
pub struct Notifier {
    calls: mpsc::Sender<(Command, Vec<String>)>,
    followers: broadcast::Sender<Dated>,
}

impl Notifier {
    /// Begins, with nothing to do. Must be called within a tokio runtime. The task ends when all clones of this are
    /// dropped and all is told.
    pub fn start() -> (Self, JoinHandle<()>) {
        let (queue, mut calls) = mpsc::channel::<(Command, Vec<String>)>(QUEUE);
        let task = tokio::spawn(async move {
            while let Some((command, words)) = calls.recv().await {
                call(&command, &words).await;
            }
        });
        (Self { calls: queue, followers: broadcast::channel(UNREAD).0 }, task)
    }

    /// Tells everybody, and if there is a program for it, that one, too.
    pub fn tell(&self, command: Option<&Command>, notice: Notice) {
        notice.log();
        if let (Some(command), Some(words)) = (command, notice.words())
            && self.calls.try_send((command.clone(), words)).is_err()
        {
            tracing::error!("{} is not called: too many calls wait", command.program.display());
        }
        let _nobody_follows = self.followers.send(Dated { time: Time::now(), notice });
    }

    /// Where those subscribe who want to hear of everything.
    pub(crate) fn followers(&self) -> broadcast::Sender<Dated> {
        self.followers.clone()
    }
}

async fn call(command: &Command, words: &[String]) {
    let name = command.program.display();
    let mut process = tokio::process::Command::new(&command.program);
    process.args(&command.arguments).args(words).stdin(Stdio::null()).kill_on_drop(true);
    let running = program::run(&command.run_as, async move { process.status().await });
    match tokio::time::timeout(LIMIT, running).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!("{name} {} ended with {status}", words.join(" ")),
        Ok(Err(error)) => tracing::error!("cannot call {name}: {error}"),
        Err(_) => tracing::error!("{name} {} ran for {LIMIT:?} and was killed", words.join(" ")),
    }
}
