//! Cases: commands, and what was answered to each.
//!
//! A recording is a text file with, for each command, a line `$ COMMAND`, its standard output, its standard error with
//! `2> ` before each line, and `= STATUS`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Commands that are run one after the other on an empty director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The recording's name.
    pub name: String,
    /// The commands.
    pub steps: Vec<Step>,
}

/// A command and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// For bash.
    pub command: String,
    /// Both outputs and the exit status, as recorded.
    pub answer: String,
}

impl Case {
    /// Reads a recording.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut steps: Vec<Step> = Vec::new();
        let mut ended = true;
        for line in text.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) if ended => {
                    steps.push(Step { command: command.into(), answer: String::new() });
                    ended = false;
                }
                (_, Some(step)) if !ended => {
                    step.answer += line;
                    step.answer.push('\n');
                    ended = line.strip_prefix("= ").is_some_and(|status| status.parse::<u8>().is_ok());
                }
                _ => bail!("recording {name}: `{line}` is outside of a command's answer"),
            }
        }
        if !ended {
            bail!("recording {name} ends without an exit status");
        }
        Ok(Self { name: name.into(), steps })
    }
}

/// Reads all recordings of a folder, in the order of their names.
pub fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            cases.push(Case::parse(&name, &text)?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_commands_and_answers() {
        let case = Case::parse("x", "$ a b\nout\n2> err\n= 2\n$ c\n= 0\n").unwrap();
        let step = |command: &str, answer: &str| Step { command: command.into(), answer: answer.into() };
        assert_eq!(case.steps, [step("a b", "out\n2> err\n= 2\n"), step("c", "= 0\n")]);
        assert!(Case::parse("x", "out\n").is_err());
        assert!(Case::parse("x", "$ a\nout\n").is_err());
    }
}
