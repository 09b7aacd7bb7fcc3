//! Another commit of this project, built beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// A commit, unpacked and built in a folder of its own.
pub struct Other {
    /// The first digits of its hash.
    pub commit: String,
    /// `target/compare/<hash>`. It stays, so that the next comparison need not build it again.
    pub folder: PathBuf,
}

impl Other {
    /// Unpacks the commit and has its own tasks build its objects, its `rlvs` and its measurement.
    ///
    /// # Errors
    ///
    /// When there is no such commit, or it does not build.
    pub fn build(project: &Path, reference: &str) -> Result<Other> {
        let name = format!("{reference}^{{commit}}");
        let commit =
            command::output(git(project).args(["rev-parse", "--verify", "--quiet", "--short=12", &name]))
                .with_context(|| {
                    format!("git knows no commit {reference:?}: give a hash, a branch or a tag")
                })?;
        let other = Other { folder: project.join("target/compare").join(&commit), commit };
        if !other.folder.is_dir() {
            eprintln!("xtask: {} is built first; that takes as long as it does for this tree", other.commit);
            other.unpack(project)?;
        }
        let mut objects = command::cargo(&other.folder);
        command::run(
            objects.args(["xtask", "build"]),
            "this commit does not build here: compare with another",
        )?;
        super::build(&other.folder)?;
        Ok(other)
    }

    /// Unpacks it beside its place first, so that what is there is whole.
    fn unpack(&self, project: &Path) -> Result<()> {
        let part = self.folder.with_extension("part");
        let archive = self.folder.with_extension("tar");
        let _left_by_an_interrupted_one = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        let advice = "see its message above";
        command::run(git(project).args(["archive", "--output"]).arg(&archive).arg(&self.commit), advice)?;
        command::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&part), advice)?;
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        fs::rename(&part, &self.folder).with_context(|| format!("cannot make {}", self.folder.display()))
    }
}

/// What this tree is: the commit that it comes from, and whether it was changed since.
pub fn this_tree(project: &Path) -> String {
    let name =
        command::output(git(project).args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]));
    name.unwrap_or_else(|| "this tree".into())
}

fn git(project: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(project);
    git
}
