//! What can go wrong, in ipvsadm's words and with its exit statuses, which scripts know.

use std::io;

use rlvs_ipvs::{ClientError, Errno};

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Options or values that make no sense.
    #[error("{0}")]
    Usage(String),
    /// The first option is no command.
    #[error("Try `{program} -h' or '{program} --help' for more information.")]
    NoCommand {
        /// Name that we were called by.
        program: String,
    },
    /// A word that is no option, or lacks its value.
    #[error("{word}: {what}")]
    BadOption {
        /// The word as typed.
        word: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The director said no to a change.
    #[error("{0}")]
    Refused(String),
    /// A listing cannot be had.
    #[error("{0}")]
    Listing(String),
    /// There is no director, or none that we may talk to.
    #[error("{0}")]
    NoDirector(String),
    /// Standard input or output failed.
    #[error("{0}")]
    Stream(#[from] io::Error),
}

impl Failure {
    /// ipvsadm's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Listing(_) | Self::Stream(_) => 1,
            Self::Usage(_) | Self::NoDirector(_) => 2,
            Self::NoCommand { .. } | Self::BadOption { .. } | Self::Refused(_) => 255,
        }
    }

    /// Whether a restore goes on with the next line, as ipvsadm's does.
    pub fn lets_restore_go_on(&self) -> bool {
        matches!(self, Self::BadOption { .. } | Self::Refused(_))
    }

    /// The failure of a change that the director refused.
    pub fn refused(during: During, error: ClientError) -> Self {
        Self::Refused(reason(during, &error))
    }

    /// The failure of a listing.
    pub fn listing(during: During, error: ClientError) -> Self {
        Self::Listing(reason(during, &error))
    }
}

/// What was going on when the director refused; the same errno has different words for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// -A
    AddService,
    /// -E
    EditService,
    /// -D, -Z, -L of one
    FindService,
    /// -a
    AddDestination,
    /// -e, -d
    FindDestination,
    /// --start-daemon
    StartDaemon,
    /// --stop-daemon
    StopDaemon,
    /// All else.
    Other,
}

/// The words for an error.
pub fn reason(during: During, error: &ClientError) -> String {
    match error.errno() {
        Some(errno) => errno_text(during, errno),
        None => error.to_string(),
    }
}

fn errno_text(during: During, errno: Errno) -> String {
    use During::{
        AddDestination, AddService, EditService, FindDestination, FindService, StartDaemon, StopDaemon,
    };
    match (during, errno) {
        (AddService, Errno::EXIST) => "Service already exists",
        (AddService | EditService, Errno::NOENT) => "Scheduler or persistence engine not found",
        (EditService | FindService, Errno::SRCH) => "No such service",
        (AddDestination | FindDestination, Errno::SRCH) => "Service not defined",
        (AddDestination, Errno::EXIST) => "Destination already exists",
        (FindDestination, Errno::NOENT) => "No such destination",
        (StartDaemon, Errno::EXIST) => "Daemon has already run",
        (StopDaemon, Errno::SRCH) => "No daemon is running",
        (_, Errno::PERM) => "Permission denied (you must be root)",
        (_, Errno::INVAL) => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        (_, Errno::NOPROTOOPT) => "Protocol not available",
        (_, Errno::NOMEM) => "Memory allocation problem",
        (_, Errno::OPNOTSUPP) => "Operation not supported with IPv6",
        (_, Errno::AFNOSUPPORT) => "Operation not supported with specified address family",
        (_, Errno::MSGSIZE) => "Module is wrong version",
        (_, other) => return system_text(other),
    }
    .into()
}

/// The C library's text alone: Rust appends the number in brackets.
fn system_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_errno_has_words_for_each_command() {
        let cases = [
            (During::AddService, Errno::EXIST, "Service already exists"),
            (During::AddDestination, Errno::EXIST, "Destination already exists"),
            (During::StartDaemon, Errno::EXIST, "Daemon has already run"),
            (During::FindService, Errno::SRCH, "No such service"),
            (During::AddDestination, Errno::SRCH, "Service not defined"),
            (During::StopDaemon, Errno::SRCH, "No daemon is running"),
            (During::EditService, Errno::NOENT, "Scheduler or persistence engine not found"),
            (During::FindDestination, Errno::NOENT, "No such destination"),
            (During::Other, Errno::PERM, "Permission denied (you must be root)"),
            (During::AddDestination, Errno::RANGE, "Numerical result out of range"),
            (During::StartDaemon, Errno::NODEV, "No such device"),
        ];
        for (during, errno, text) in cases {
            assert_eq!(reason(during, &ClientError::Refused(errno)), text);
        }
    }
}
