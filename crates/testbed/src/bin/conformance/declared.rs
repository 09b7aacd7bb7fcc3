//! What is declared to differ from the original, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::case::{self, Case};

/// `deviations.toml`, with the answers that are expected instead of the original's (folder `ours`).
pub struct Declared {
    answers: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    deviation: Vec<Deviation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    cases: Vec<String>,
    reason: String,
    gains: String,
}

/// How a case came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the original, to the letter.
    Equal,
    /// As declared.
    Deviation,
    /// As the original, though something else is declared.
    Outdated,
    /// Neither.
    Different,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal",
            Self::Deviation => "deviation, as declared",
            Self::Outdated => "equal, but declared to deviate: take that out of deviations.toml",
            Self::Different => "DIFFERENT",
        })
    }
}

impl Declared {
    /// Reads `deviations.toml` and `ours/`, which must agree on which cases deviate.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("deviations.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let mut answers: BTreeMap<String, Case> =
            case::read_all(&folder.join("ours"))?.into_iter().map(|case| (case.name.clone(), case)).collect();
        let mut kept = BTreeMap::new();
        for deviation in file.deviation {
            ensure!(
                !deviation.reason.trim().is_empty() && !deviation.gains.trim().is_empty(),
                "{}: a deviation without a reason, or from which nobody gains: {:?}",
                path.display(),
                deviation.cases
            );
            for name in deviation.cases {
                let case = answers
                    .remove(&name)
                    .with_context(|| format!("there is no recording ours/{name}.txt"))?;
                kept.insert(name, case);
            }
        }
        ensure!(answers.is_empty(), "{} says nothing of ours/{:?}", path.display(), answers.keys());
        Ok(Self { answers: kept })
    }

    /// What a case is expected to answer: the declared answer, else the original's.
    pub fn expected(&self, case: &Case) -> Result<Case> {
        let expected = self.answers.get(&case.name).unwrap_or(case).clone();
        let commands = |case: &Case| case.steps.iter().map(|step| step.command.clone()).collect::<Vec<_>>();
        ensure!(commands(&expected) == commands(case), "ours/{}.txt has other commands", case.name);
        Ok(expected)
    }

    /// How `ours` came out beside the original's `case`.
    pub fn judge(&self, case: &Case, ours: &Case) -> Verdict {
        match self.answers.get(&case.name) {
            None if ours == case => Verdict::Equal,
            Some(_) if ours == case => Verdict::Outdated,
            Some(expected) if ours == expected => Verdict::Deviation,
            _ => Verdict::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_may_differ() {
        let case = |answer: &str| Case::parse("x", &format!("$ a\n{answer}= 0\n")).unwrap();
        let none = Declared { answers: BTreeMap::new() };
        assert_eq!(none.judge(&case(""), &case("")), Verdict::Equal);
        assert_eq!(none.judge(&case(""), &case("y\n")), Verdict::Different);
        let some = Declared { answers: BTreeMap::from([("x".into(), case("y\n"))]) };
        assert_eq!(some.judge(&case(""), &case("y\n")), Verdict::Deviation);
        assert_eq!(some.judge(&case(""), &case("")), Verdict::Outdated);
        assert_eq!(some.judge(&case(""), &case("z\n")), Verdict::Different);
    }

    #[test]
    fn the_projects_declarations_are_complete() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
        let declared = Declared::read(&folder).unwrap();
        let cases = case::read_all(&folder.join("ipvsadm")).unwrap();
        for case in &cases {
            declared.expected(case).unwrap();
        }
        for name in declared.answers.keys() {
            assert!(cases.iter().any(|case| case.name == *name), "no case {name}");
        }
    }
}
