//! Tells programs of the operator what has changed.
//!
//! A program gets what happened as its last arguments: `SERVER` or `SERVICE`, the service's name, for a server its address
//! and port, and then `UP` or `DOWN`; or `INSTANCE`, a virtual router's name, its state and its priority; or `GROUP`, a
//! group's name and its state. Programs run one after the other, in the order of events.

use std::process::Stdio;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::Command;

/// Longer than this no program may keep the next one waiting.
const LIMIT: Duration = Duration::from_secs(60);
/// Calls that may wait.
const QUEUE: usize = 1024;

/// Where calls are left.
#[derive(Clone, Debug)]
pub struct Notifier {
    queue: mpsc::Sender<(Command, Vec<String>)>,
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
        (Self { queue }, task)
    }

    /// Has a program called with words after its own.
    pub fn tell(&self, command: &Command, words: Vec<String>) {
        if self.queue.try_send((command.clone(), words)).is_err() {
            tracing::error!("{} is not called: too many calls wait", command.program.display());
        }
    }
}

async fn call(command: &Command, words: &[String]) {
    let program = command.program.display();
    let mut process = tokio::process::Command::new(&command.program);
    process.args(&command.arguments).args(words).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(LIMIT, process.status()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::warn!("{program} {} ended with {status}", words.join(" ")),
        Ok(Err(error)) => tracing::error!("cannot call {program}: {error}"),
        Err(_) => tracing::error!("{program} {} ran for {LIMIT:?} and was killed", words.join(" ")),
    }
}
