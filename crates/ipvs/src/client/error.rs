//! What can go wrong between a client and its director.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The director says no; the errno is IPVS's word for why.
    #[error("the director refused: {0}")]
    Refused(Errno),
    /// No rlvs director in this network namespace.
    #[error("no rlvs director runs in this network namespace (nobody listens on @{name}); start `rlvs run`")]
    NotRunning {
        /// Abstract name of the socket.
        name: String,
    },
    /// Neither rlvs nor the kernel's IPVS.
    #[error(
        "there is no director: rlvs does not run in this network namespace and the kernel has no IPVS; \
         start `rlvs run`"
    )]
    NoDirector,
    /// Somebody unprivileged has taken the director's address.
    #[error("user {uid} listens on the director's address @{name} and is not trusted; end that process")]
    Untrusted {
        /// Abstract name of the socket.
        name: String,
        /// The user.
        uid: u32,
    },
    /// The environment variable RLVS_BACKEND names something else.
    #[error("RLVS_BACKEND is `{0}`; it can be `rlvs` or `kernel`")]
    UnknownBackend(String),
    /// The kernel's IPVS has no such request.
    #[error("the kernel's IPVS cannot tell; only the rlvs director can")]
    NotOnKernel,
    /// The director's answer makes no sense.
    #[error("the director's answer is malformed; are client and director of the same version?")]
    Malformed,
    /// The director left in the middle of an answer.
    #[error("the director closed the connection")]
    Closed,
    /// The director does not answer.
    #[error("the director has not answered for {} s; it hangs, or the machine is overloaded", .0.as_secs())]
    Silent(Duration),
    /// The socket failed.
    #[error("cannot talk to the director: {0}")]
    Io(#[source] io::Error),
}

impl ClientError {
    /// The errno behind the error, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(errno) => Some(*errno),
            Self::Io(error) => Errno::from_io_error(error),
            Self::NotRunning { .. } | Self::NoDirector => Some(Errno::NOPROTOOPT),
            _ => None,
        }
    }
}
