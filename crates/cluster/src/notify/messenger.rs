//! Mail and webhooks: they hear of events as any follower does, so nobody ever waits for them.

mod mail;
mod smtp;
mod webhook;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

use super::{Dated, Notice};
use crate::config::Recipient;
use crate::nanny::probe::Failure;
use crate::status::Time;

/// What happens within so long goes along in one mail.
const GATHER: Duration = Duration::from_secs(2);
/// The largest number of events in one mail.
const MOST: usize = 500;
/// A message takes no longer than this.
const LIMIT: Duration = Duration::from_secs(30);
/// Pauses before a message is tried again.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// At the end, messages may take so long together.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The tasks that write to the recipients of a file.
#[derive(Debug)]
pub(crate) struct Messengers {
    followers: broadcast::WeakSender<Dated>,
    running: Vec<Messenger>,
}

#[derive(Debug)]
struct Messenger {
    recipient: Recipient,
    /// Told to end, it still delivers what has happened so far.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Messengers {
    pub(crate) fn new(followers: &broadcast::Sender<Dated>) -> Self {
        Self { followers: followers.downgrade(), running: Vec::new() }
    }

    /// Writes to these from now on. Must be called within a tokio runtime.
    pub(crate) fn set(&mut self, recipients: &[Recipient]) {
        let Some(followers) = self.followers.upgrade() else { return };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| recipients.contains(&running.recipient));
        self.running = kept;
        for old in gone {
            let _ended = old.stop.send(());
        }
        for recipient in recipients {
            if self.running.iter().all(|running| running.recipient != *recipient) {
                let (stop, stopped) = oneshot::channel();
                let task = tokio::spawn(attend(recipient.clone(), followers.subscribe(), stopped));
                self.running.push(Messenger { recipient: recipient.clone(), stop, task });
            }
        }
    }

    /// Waits until all is delivered, but not for ever.
    pub(crate) async fn finish(self) {
        let all = async {
            for messenger in self.running {
                let _ended = messenger.stop.send(());
                let _ended = messenger.task.await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::error!("the last messages are not delivered");
        }
    }
}

async fn attend(
    recipient: Recipient,
    mut events: broadcast::Receiver<Dated>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut going_on = true;
    while going_on {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Err(RecvError::Closed) => return,
                event => batch.extend(worth_telling(event)),
            },
            _ = &mut stop => going_on = false,
        }
        if batch.is_empty() {
            continue;
        }
        if let Recipient::Mail(_) = recipient {
            let gather = async {
                while batch.len() < MOST {
                    match events.recv().await {
                        Err(RecvError::Closed) => break,
                        event => batch.extend(worth_telling(event)),
                    }
                }
            };
            tokio::select! {
                () = gather => {}
                () = tokio::time::sleep(GATHER) => {}
                _ = &mut stop, if going_on => going_on = false,
            }
        }
        deliver(&recipient, &batch, &mut stop, &mut going_on).await;
    }
    // Told to end: what is there goes along.
    let mut rest = Vec::new();
    while let Ok(event) = events.try_recv() {
        rest.extend(worth_telling(Ok(event)));
    }
    let parts = if matches!(recipient, Recipient::Mail(_)) { MOST } else { 1 };
    for batch in rest.chunks(parts) {
        deliver(&recipient, batch, &mut stop, &mut going_on).await;
    }
}

/// Tries, and tries again, unless the end has come.
async fn deliver(
    recipient: &Recipient,
    batch: &[Dated],
    stop: &mut oneshot::Receiver<()>,
    going_on: &mut bool,
) {
    let mut pauses = PAUSES.iter();
    loop {
        let sent = match recipient {
            Recipient::Mail(mail) => tokio::time::timeout(LIMIT, mail::send(mail, batch)).await,
            Recipient::Webhook(hook) => tokio::time::timeout(LIMIT, webhook::send(hook, batch)).await,
        };
        let Err(reason) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) else { return };
        let pause = pauses.next().filter(|_| *going_on);
        let Some(pause) = pause else {
            tracing::error!("{recipient} is not told of {} events: {reason}", batch.len());
            return;
        };
        tracing::warn!("cannot tell {recipient}, trying again in {pause:?}: {reason}");
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            _ = &mut *stop => *going_on = false,
        }
    }
}

/// Connects to a host that may have a name, and several addresses; which one it was.
async fn connect(host: &str, port: u16) -> io::Result<(TcpStream, IpAddr)> {
    let stream = TcpStream::connect((host, port)).await?;
    let address = stream.peer_addr()?.ip();
    Ok((stream, address))
}

fn refused(failure: Failure) -> io::Error {
    io::Error::other(failure.to_string())
}

/// People and their programs want to hear what programs of the operator are told, what was lost, and that a file is refused.
fn worth_telling(event: Result<Dated, RecvError>) -> Option<Dated> {
    match event {
        Ok(event) => {
            let refused = matches!(event.notice, Notice::Reload { reason: Some(_), .. });
            Some(event).filter(|event| refused || event.notice.words().is_some())
        }
        Err(RecvError::Lagged(count)) => Some(Dated { time: Time::now(), notice: Notice::Lost { count } }),
        Err(RecvError::Closed) => None,
    }
}
