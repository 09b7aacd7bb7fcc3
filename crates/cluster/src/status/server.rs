//! The cluster's end of the socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Status, Time};
use crate::notify::{Dated, Notice};

/// Clients at a time; more are turned away.
const CLIENTS: u16 = 64;
/// So long a client may take for its question.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long those who follow may take for the last events.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A question is not longer than this.
const LONGEST: u64 = 64;

/// Somebody wants to know something.
pub(crate) enum Question {
    /// The status.
    Status(oneshot::Sender<Status>),
    /// Whether anybody answers at all.
    Alive(oneshot::Sender<()>),
}

/// Clients are answered while this is there.
pub(crate) struct Server {
    acceptor: JoinHandle<()>,
    slots: Arc<Semaphore>,
}

impl Server {
    /// Takes the name. `questions` leads to who knows; `followers` is where events come from.
    ///
    /// # Errors
    /// Those of the kernel: EADDRINUSE if another cluster of this network namespace has the name.
    pub(crate) fn start(
        name: &str,
        questions: mpsc::Sender<Question>,
        followers: broadcast::Sender<Dated>,
    ) -> io::Result<Self> {
        // A path that begins with NUL is an abstract name.
        let listener = UnixListener::bind(format!("\0{name}"))?;
        let slots = Arc::new(Semaphore::new(CLIENTS.into()));
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&slots), questions, followers));
        Ok(Self { acceptor, slots })
    }

    /// Turns away new clients. Those who follow hear the end, if nobody else has a sender of events any more.
    pub(crate) async fn stop(self) {
        self.acceptor.abort();
        let _ended = self.acceptor.await;
        let all = self.slots.acquire_many(CLIENTS.into());
        let _all_have_left = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

async fn accept(
    listener: UnixListener,
    slots: Arc<Semaphore>,
    questions: mpsc::Sender<Question>,
    followers: broadcast::Sender<Dated>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors or memory: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        if is_trusted(&stream) {
            let (questions, followers) = (questions.clone(), followers.clone());
            tokio::spawn(async move {
                let _client_has_left = attend(stream, questions, followers).await;
                drop(slot);
            });
        }
    }
}

/// Root, or who runs the cluster.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn attend(
    stream: UnixStream,
    questions: mpsc::Sender<Question>,
    followers: broadcast::Sender<Dated>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST));
    let mut question = String::new();
    tokio::time::timeout(PATIENCE, reader.read_line(&mut question)).await??;
    match question.trim_end() {
        "status" => {
            let (asker, answer) = oneshot::channel();
            if questions.send(Question::Status(asker)).await.is_ok()
                && let Ok(status) = answer.await
            {
                writer.write_all(&line(&status)?).await?;
            }
            Ok(())
        }
        "alive" => {
            let (asker, answer) = oneshot::channel();
            if questions.send(Question::Alive(asker)).await.is_ok() && answer.await.is_ok() {
                writer.write_all(format!("{}\n", std::process::id()).as_bytes()).await?;
            }
            Ok(())
        }
        "follow" => {
            let mut notices = followers.subscribe();
            drop(followers);
            // The client knows by this that it misses nothing from here on.
            writer.write_all(b"\n").await?;
            let mut rest = [0; 1];
            loop {
                let notice = tokio::select! {
                    notice = notices.recv() => notice,
                    // Clients say nothing more: this is their end.
                    _ = reader.read(&mut rest) => return Ok(()),
                };
                let notice = match notice {
                    Ok(notice) => notice,
                    Err(RecvError::Lagged(count)) => {
                        Dated { time: Time::now(), notice: Notice::Lost { count } }
                    }
                    Err(RecvError::Closed) => return Ok(()),
                };
                writer.write_all(&line(&notice)?).await?;
            }
        }
        _ => writer.write_all(b"{\"error\":\"the question must be status, alive or follow\"}\n").await,
    }
}

fn line(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
