//! What is wrong with a file, and where: all of it at once.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// It has mistakes, each with its place; at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Mistake>),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Its line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
    /// What to do about it, if there is something to say.
    pub help: Option<String>,
}

impl fmt::Display for Mistake {
    /// As compilers do, so that editors find the place: `FILE:LINE:COLUMN: reason`, and the help on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.reason)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// The mistakes found so far in a text.
#[derive(Debug, Default)]
pub(super) struct Mistakes(RefCell<Vec<Found>>);

#[derive(Debug)]
struct Found {
    offset: usize,
    reason: String,
    help: Option<String>,
}

impl Mistakes {
    pub(super) fn add(&self, place: &Range<usize>, reason: impl Into<String>) {
        self.0.borrow_mut().push(Found { offset: place.start, reason: reason.into(), help: None });
    }

    pub(super) fn add_with_help(
        &self,
        place: &Range<usize>,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) {
        let found = Found { offset: place.start, reason: reason.into(), help: Some(help.into()) };
        self.0.borrow_mut().push(found);
    }

    /// The value, or all mistakes in the order of their places.
    pub(super) fn or<T>(self, value: T, path: &Path, text: &str) -> Result<T, ConfigError> {
        let mut found = self.0.into_inner();
        if found.is_empty() {
            return Ok(value);
        }
        found.sort_by_key(|found| found.offset);
        let mistakes = found.into_iter().map(|Found { offset, reason, help }| {
            let before = text.get(..offset).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Mistake {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                reason,
                help,
            }
        });
        Err(ConfigError::Mistakes(mistakes.collect()))
    }
}
