//! IPVS's files of `/proc` as a FUSE file system, for programs that read those: `net/ip_vs*`, and the writable
//! `sys/net/ipv4/vs/*`.
//!
//! The file system is served by a thread that is to the director what a client of the control socket is: it asks for
//! what the files show ([`Ask`]), and formats it.
//!
//! - `nodes`: which files there are
//! - `filesystem`: the kernel's requests
//! - `content`: a file's content while it is read
//! - `services`, `connections`, `statistics`: the formats

mod connections;
mod content;
mod filesystem;
mod nodes;
mod services;
mod statistics;

use crate::tables::Tables;
use filesystem::ProcFilesystem;
use fuser::{BackgroundSession, MountOption, SessionACL};
use rlvs_ipvs::{Errno, Reply, Request};
use rustix::mount::{UnmountFlags, unmount};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A question of the file system's thread to the director.
pub(crate) struct Ask {
    /// What is asked.
    pub(crate) request: Request,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Result<Reply, Errno>>,
}

/// The director, as the file system's thread sees it.
#[derive(Clone)]
struct Source {
    asks: mpsc::UnboundedSender<Ask>,
    tables: Arc<Tables>,
}

impl Source {
    /// Asks, and waits for the answer; EIO if the director is ending.
    fn ask(&self, request: Request) -> Result<Reply, Errno> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { request, answer }).map_err(|_| Errno::IO)?;
        answered.blocking_recv().unwrap_or(Err(Errno::IO))
    }
}

/// The mounted file system; unmounted when it is dropped.
pub(crate) struct Mounted(#[expect(dead_code, reason = "held for its drop")] BackgroundSession);

/// Why the files are not there. The director runs on without them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcError {
    #[error(
        "no files at {path}: something else is mounted there; [proc] in rlvs.toml(5) can name another place"
    )]
    Taken { path: PathBuf },
    #[error("no files at {path}: {action}: {reason}")]
    System { path: PathBuf, action: &'static str, reason: io::Error },
}

/// Mounts the files at `path`, in the place of a mount that a killed director has left.
pub(crate) fn mount(
    path: &Path,
    tables: Arc<Tables>,
) -> Result<(Mounted, mpsc::UnboundedReceiver<Ask>), ProcError> {
    let failed = |action| move |reason| ProcError::System { path: path.to_owned(), action, reason };
    unmount_stale(path).map_err(failed("cannot remove the mount of a director that was killed"))?;
    std::fs::create_dir_all(path).map_err(failed("cannot make the folder"))?;
    if is_mount_point(path).map_err(failed("cannot see what is mounted"))? {
        return Err(ProcError::Taken { path: path.to_owned() });
    }
    let (asks, asked) = mpsc::unbounded_channel();
    let mut options = fuser::Config::default();
    options.acl = SessionACL::All;
    options.mount_options = vec![
        MountOption::FSName("rlvs".into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    let files = ProcFilesystem::new(Source { asks, tables });
    let session = fuser::spawn_mount(files, path, &options).map_err(failed("cannot mount (FUSE)"))?;
    Ok((Mounted(session), asked))
}

/// Takes away what is mounted at `path` if nobody serves it any more; whether there was such a mount.
pub(crate) fn unmount_stale(path: &Path) -> io::Result<bool> {
    let mut found = false;
    // Not `stat`: attributes that the kernel remembers outlive whoever served them.
    while let Err(rustix::io::Errno::NOTCONN) = rustix::fs::statfs(path) {
        unmount(path, UnmountFlags::DETACH)?;
        found = true;
    }
    Ok(found)
}

/// Whether something is mounted right at the path.
fn is_mount_point(path: &Path) -> io::Result<bool> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    // "36 35 98:0 /root /mount/point options ..."; paths have blanks as \040.
    let wanted = path.display().to_string().replace(' ', "\\040");
    Ok(mounts.lines().any(|line| line.split(' ').nth(4) == Some(&wanted)))
}
