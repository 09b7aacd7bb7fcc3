//! The director's end of the control socket.
//!
//! Each client has a task of its own, which checks what the client may do, reads its messages and writes the
//! replies. The requests themselves reach the director over a bounded queue, those of a datagram that change something together: a
//! client has at most one such call there, and what it does not read of a reply waits with its task, not with the director.

mod peer;
mod session;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::message::{Reply, Request};
use crate::socket::Listener;

pub use peer::Readers;
pub(crate) use peer::is_administrator;

/// Clients at a time, beyond which new ones are turned away: those that may change things...
const PRIVILEGED_CLIENTS: usize = 192;
/// ...and all others, who thus cannot keep the former out.
const OTHER_CLIENTS: usize = 64;

/// Answers requests.
pub trait Handler {
    /// Answers one, or refuses it with IPVS's errno. For [`Request::ListDestinations`] ESRCH becomes an empty
    /// listing on the wire, as with IPVS.
    fn handle(&mut self, request: Request) -> Result<Reply, Errno>;
}

impl<F: FnMut(Request) -> Result<Reply, Errno>> Handler for F {
    fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
        self(request)
    }
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Abstract name without its leading NUL; normally [`crate::SOCKET_NAME`].
    pub name: String,
    /// Who, besides root and CAP_NET_ADMIN, may read.
    pub readers: Readers,
}

impl Default for ServerConfig {
    /// Serves [`crate::SOCKET_NAME`] to the privileged only, as IPVS does.
    fn default() -> Self {
        Self { name: crate::SOCKET_NAME.into(), readers: Readers::Privileged }
    }
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken.
    #[error(
        "a director already runs in this network namespace (control socket @{name} is in use); stop it first"
    )]
    AlreadyRunning {
        /// The abstract name.
        name: String,
    },
    /// Anything else.
    #[error("cannot listen on control socket @{name}: {reason}")]
    Socket {
        /// The abstract name.
        name: String,
        /// What the kernel says.
        reason: io::Error,
    },
}

/// Requests of a client that came together, and wait for their answers: one, or several that change something.
#[derive(Debug)]
pub struct Call {
    /// What is asked, in this order. The client may ask it.
    pub requests: Vec<Request>,
    reply_to: oneshot::Sender<Vec<Result<Reply, Errno>>>,
}

impl Call {
    /// Answers each; a client that has left meanwhile is no error.
    pub fn answer(self, replies: Vec<Result<Reply, Errno>>) {
        let _client_has_left = self.reply_to.send(replies);
    }
}

/// The control socket, served by tasks of the present tokio runtime until it is dropped.
#[derive(Debug)]
pub struct Server {
    calls: mpsc::Receiver<Call>,
    acceptor: JoinHandle<()>,
}

impl Server {
    /// Takes the address, in the network namespace of the calling thread, and begins to serve. Must be called within a
    /// tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`BindError::AlreadyRunning`] if another director has it.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        const QUEUE: usize = 16;
        let listener =
            Listener::bind_abstract(&config.name).map_err(|source| match source.raw_os_error() {
                Some(code) if code == Errno::ADDRINUSE.raw_os_error() => {
                    BindError::AlreadyRunning { name: config.name.clone() }
                }
                _ => BindError::Socket { name: config.name.clone(), reason: source },
            })?;
        let (sender, calls) = mpsc::channel(QUEUE);
        Ok(Self { calls, acceptor: tokio::spawn(accept(listener, config.readers, sender)) })
    }

    /// What is asked next; for directors that have a loop of their own. Safe to cancel.
    pub async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// Answers all requests by `handler`, one after the other.
    pub async fn serve(mut self, mut handler: impl Handler) {
        while let Some(mut call) = self.next().await {
            let replies =
                std::mem::take(&mut call.requests).into_iter().map(|request| handler.handle(request));
            let replies = replies.collect();
            call.answer(replies);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Accepts clients. Their tasks end with this one, since it owns them.
async fn accept(listener: Listener, readers: Readers, calls: mpsc::Sender<Call>) {
    let privileged = Arc::new(Semaphore::new(PRIVILEGED_CLIENTS));
    let others = Arc::new(Semaphore::new(OTHER_CLIENTS));
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        let Ok(channel) = listener.accept().await else {
            // Out of descriptors or memory: that passes when clients leave.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(access) = channel.peer().map(|peer| readers.access(&peer)) else { continue };
        let slots = if access.may_change() { &privileged } else { &others };
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            let calls = calls.clone();
            sessions.spawn(async move {
                session::run(channel, access, calls).await;
                drop(slot);
            });
        }
    }
}
