//! The file that a cluster goes by, ours or another program's.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Config, ConfigError};
use crate::import::{self, Format, ImportError};

/// Where a configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of ours.
    Own(PathBuf),
    /// Piranha's `lvs.cf`: translated each time that it is read.
    LvsCf(PathBuf),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It is ours, and has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is another program's, and has faults.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl Source {
    /// Reads it. What of another program's file has no counterpart is told in the log.
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn read(&self) -> Result<Config, SourceError> {
        match self {
            Self::Own(path) => Ok(Config::read(path)?),
            Self::LvsCf(path) => {
                let text = import::read(path)?;
                let translation = import::translate(Format::LvsCf, &text, path, None, import::look_up)?;
                for problem in &translation.problems {
                    tracing::warn!("not translated: {problem}");
                }
                Ok(Config::parse(&translation.text, path)?)
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::LvsCf(path) => path,
        }
    }
}

/// Notices that a file has another content than when it was last read.
#[derive(Debug)]
pub(crate) struct Watcher {
    modified: Option<SystemTime>,
    content: Option<Vec<u8>>,
    /// When it was modified that was seen at the last look, if that is news.
    seen: Option<SystemTime>,
}

impl Watcher {
    /// What is there now is known.
    pub(crate) fn new(path: &Path) -> Self {
        Self { modified: modified(path), content: std::fs::read(path).ok(), seen: None }
    }

    /// Whether it has another content, and has had it at the last look, too: a file that is being written may be half of one. A
    /// file that is not there, as while an editor replaces it, has none; one that was only touched has the same.
    pub(crate) fn has_changed(&mut self, path: &Path) -> bool {
        let now = modified(path).filter(|now| Some(*now) != self.modified);
        let before = std::mem::replace(&mut self.seen, now);
        if now.is_none() || now != before {
            return false;
        }
        let Ok(content) = std::fs::read(path) else { return false };
        (self.modified, self.seen) = (now, None);
        let known = self.content.replace(content);
        known != self.content
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Source {
    /// A file of ours.
    fn from(path: &P) -> Self {
        Self::Own(path.as_ref().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_another_content_is_a_change() {
        let path = std::env::temp_dir().join(format!("rlvs-watcher-{}", std::process::id()));
        let write = |text: &str, seconds| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        write("a", 1);
        let mut watcher = Watcher::new(&path);
        let mut looks = |many: u32| (0..many).map(|_| watcher.has_changed(&path)).collect::<Vec<_>>();
        assert_eq!(looks(2), [false; 2]);
        write("a", 2);
        assert_eq!(looks(3), [false; 3], "it was only touched");
        write("", 3);
        assert_eq!(looks(1), [false], "it is being written, perhaps");
        write("b", 4);
        assert_eq!(looks(4), [false, true, false, false]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(looks(2), [false; 2], "an editor may be about to replace it");
    }
}
