//! Why a director cannot run.

use std::io;
use std::path::PathBuf;

/// Why a director cannot run. Nothing was changed, unless a variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectorError {
    /// The binary carries no XDP object.
    #[error("this binary was built without its XDP programs; build it with `cargo xtask build`")]
    NoObject,
    /// The user may not load BPF programs.
    #[error("{action} needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN: {reason}")]
    NoPrivilege {
        /// What was tried.
        action: &'static str,
        /// What the kernel says.
        reason: io::Error,
    },
    /// The kernel lacks something.
    #[error("this kernel ({release}) is too old: rlvs needs Linux 6.1 or later")]
    KernelTooOld {
        /// As `uname -r` says.
        release: String,
    },
    /// No such interface.
    #[error("no Ethernet interface {name:?} in this network namespace; `ip link` shows those that there are")]
    NoInterface {
        /// The name as given.
        name: String,
    },
    /// Another director serves the namespace.
    #[error(transparent)]
    Control(#[from] rlvs_ipvs::BindError),
    /// What an earlier director left behind has another layout.
    #[error(
        "{path} holds the state of another version of rlvs ({found}, this one has {expected}): end that version's \
         connections and services with `rlvs detach`, then start anew"
    )]
    OtherLayout {
        /// Where it is.
        path: PathBuf,
        /// Its name there.
        found: String,
        /// What it would have to be.
        expected: String,
    },
    /// The file system for pins.
    #[error("cannot use {path} for pinned BPF objects: {reason}")]
    Pins {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        reason: io::Error,
    },
    /// The kernel refused the programs or maps.
    #[error("cannot load the XDP programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("cannot load or attach an XDP program: {0}")]
    Program(#[from] aya::programs::ProgramError),
    /// A map could not be used.
    #[error("cannot use map {name}: {reason}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A pin could not be made.
    #[error("cannot pin {path}: {reason}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The director's own packets.
    #[error(transparent)]
    LocalOut(#[from] crate::local_out::LocalOutError),
    /// Routes and neighbours.
    #[error(transparent)]
    Egress(#[from] crate::egress::EgressError),
    /// Something of the operating system.
    #[error("cannot {action}: {reason}")]
    System {
        /// What was tried, to follow "cannot".
        action: &'static str,
        /// What the kernel says.
        reason: io::Error,
    },
}
