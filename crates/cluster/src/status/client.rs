//! Who asks a running cluster.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Status;
use crate::notify::Dated;

/// A cluster that is waiting for its director answers after that.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// Nobody listens.
    #[error(
        "no cluster runs in this network namespace (nobody listens on @{0}); start one with `rlvs cluster`"
    )]
    NotRunning(String),
    /// The connection fails.
    #[error("cannot ask the cluster on @{name}: {reason}")]
    Socket {
        /// The abstract name.
        name: String,
        /// What the kernel says.
        reason: io::Error,
    },
    /// It closes the connection without an answer.
    #[error("the cluster on @{0} does not answer; is this root, or who runs it?")]
    Closed(String),
    /// It answers something that is no status.
    #[error("the cluster on @{name} answers in other words, perhaps those of another version: {reason}")]
    Words {
        /// The abstract name.
        name: String,
        /// What is not understood.
        reason: serde_json::Error,
    },
}

/// Asks for the status once.
///
/// # Errors
/// [`StatusError`]
pub async fn ask(name: &str) -> Result<Status, StatusError> {
    let mut conversation = Conversation::start(name, "status").await?;
    let line = tokio::time::timeout(PATIENCE, conversation.line())
        .await
        .map_err(|_| StatusError::Socket { name: name.into(), reason: io::ErrorKind::TimedOut.into() })??;
    let line = line.ok_or_else(|| StatusError::Closed(name.into()))?;
    serde_json::from_str(&line).map_err(|reason| StatusError::Words { name: name.into(), reason })
}

/// Asks which process answers; its loop is at work then.
///
/// # Errors
/// [`StatusError`]
pub async fn ask_alive(name: &str) -> Result<u32, StatusError> {
    let closed = || StatusError::Closed(name.into());
    let line = Conversation::start(name, "alive").await?.line().await?.ok_or_else(closed)?;
    line.parse().map_err(|_| closed())
}

/// Hears of events.
#[derive(Debug)]
pub struct Follow(Conversation);

impl Follow {
    /// Of those from now on.
    ///
    /// # Errors
    /// [`StatusError`]
    pub async fn start(name: &str) -> Result<Self, StatusError> {
        let mut conversation = Conversation::start(name, "follow").await?;
        match conversation.line().await? {
            Some(_) => Ok(Self(conversation)),
            None => Err(StatusError::Closed(name.into())),
        }
    }

    /// The next event; none when the cluster has ended.
    ///
    /// # Errors
    /// [`StatusError`]
    pub async fn next(&mut self) -> Result<Option<Dated>, StatusError> {
        let Some(line) = self.0.line().await? else { return Ok(None) };
        let name = || self.0.name.clone();
        serde_json::from_str(&line).map(Some).map_err(|reason| StatusError::Words { name: name(), reason })
    }
}

#[derive(Debug)]
struct Conversation {
    name: String,
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Its end would be the end of the conversation.
    _ours: OwnedWriteHalf,
}

impl Conversation {
    async fn start(name: &str, question: &str) -> Result<Self, StatusError> {
        let failed = |reason: io::Error| match reason.kind() {
            io::ErrorKind::ConnectionRefused => StatusError::NotRunning(name.into()),
            _ => StatusError::Socket { name: name.into(), reason },
        };
        let stream = UnixStream::connect(format!("\0{name}")).await.map_err(failed)?;
        let (reader, mut writer) = stream.into_split();
        let asked = writer.write_all(format!("{question}\n").as_bytes()).await;
        if asked.is_err() {
            return Err(StatusError::Closed(name.into()));
        }
        Ok(Self { name: name.into(), lines: BufReader::new(reader).lines(), _ours: writer })
    }

    /// None at the end.
    async fn line(&mut self) -> Result<Option<String>, StatusError> {
        match self.lines.next_line().await {
            Ok(line) => Ok(line),
            // It has closed without having read the question: we are not trusted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(reason) => Err(StatusError::Socket { name: self.name.clone(), reason }),
        }
    }
}
