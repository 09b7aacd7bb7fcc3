//! The file that a cluster goes by, ours or another program's.

use std::path::{Path, PathBuf};

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
                let translation = import::translate(Format::LvsCf, &text, path, None)?;
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

impl<P: AsRef<Path> + ?Sized> From<&P> for Source {
    /// A file of ours.
    fn from(path: &P) -> Self {
        Self::Own(path.as_ref().to_owned())
    }
}
