//! Where the data plane is pinned.

use crate::error::DirectorError;
use crate::{namespace, object};
use rlvs_switch::LAYOUT;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where bpffs is mounted by convention.
const BPFFS: &str = "/sys/fs/bpf";
/// What `statfs` says of a bpffs (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The folders of one network namespace.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    programs: String,
}

impl Pins {
    /// Opens the folders, making them (and mounting bpffs) where they are not there.
    pub(super) fn open() -> Result<Pins, DirectorError> {
        mount()?;
        let home = home()?;
        let layout = format!("layout-{LAYOUT}");
        for entry in fs::read_dir(&home).into_iter().flatten().flatten() {
            let found = entry.file_name().to_string_lossy().into_owned();
            if found != layout {
                return Err(DirectorError::OtherLayout { path: home, found, expected: layout });
            }
        }
        let pins = Pins { root: home.join(layout), programs: format!("programs-{:016x}", object_hash()) };
        for folder in [pins.root.join("maps"), pins.links()] {
            fs::create_dir_all(&folder).map_err(|reason| match reason.kind() {
                io::ErrorKind::PermissionDenied => {
                    DirectorError::NoPrivilege { action: "pinning BPF objects", reason }
                }
                _ => DirectorError::Pins { path: folder, reason },
            })?;
        }
        Ok(pins)
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.root.join(&self.programs).join(name)
    }

    pub(super) fn make_program_folder(&self) -> Result<(), DirectorError> {
        let path = self.root.join(&self.programs);
        fs::create_dir_all(&path).map_err(|source| DirectorError::Pins { path, reason: source })
    }

    /// Removes programs of other objects; what still runs of them ends with their last packet.
    pub(super) fn forget_other_programs(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("programs-")
                && name != self.programs
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}

/// Takes the data plane of this network namespace away: links (so the programs are detached), programs, maps. False
/// if there was none.
pub fn detach() -> Result<bool, DirectorError> {
    let home = home()?;
    let mut found = false;
    // Links first: packets go to the kernel from then on, rather than to a switch that loses its tables.
    for layout in fs::read_dir(&home).into_iter().flatten().flatten() {
        found = true;
        let links = layout.path().join("links");
        remove(&links)?;
        remove(&layout.path())?;
    }
    remove(&home)?;
    if let Some(all) = home.parent() {
        // Unless another network namespace has its folder there.
        let _not_empty = fs::remove_dir(all);
    }
    Ok(found)
}

fn remove(path: &Path) -> Result<(), DirectorError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DirectorError::Pins { path: path.to_owned(), reason: source })
        }
        _ => Ok(()),
    }
}

/// The folder of this network namespace.
fn home() -> Result<PathBuf, DirectorError> {
    let name = namespace::name().map_err(|source| DirectorError::System {
        action: "tell which network namespace this is",
        reason: source,
    })?;
    Ok(Path::new(BPFFS).join("rlvs").join(name))
}

fn mount() -> Result<(), DirectorError> {
    let failed = |source: rustix::io::Errno| match source {
        rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => DirectorError::NoPrivilege {
            action: "mounting the file system for pinned BPF objects",
            reason: source.into(),
        },
        _ => DirectorError::Pins { path: BPFFS.into(), reason: source.into() },
    };
    let there = rustix::fs::statfs(BPFFS).map_err(failed)?;
    if there.f_type as u64 == BPF_FS_MAGIC {
        return Ok(());
    }
    rustix::mount::mount("bpf", BPFFS, "bpf", rustix::mount::MountFlags::empty(), Some(c"mode=0700"))
        .map_err(failed)?;
    tracing::info!("mounted bpffs at {BPFFS}");
    Ok(())
}

/// Tells one build's object from another's.
fn object_hash() -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(object::DIRECTOR);
    hasher.finish()
}
