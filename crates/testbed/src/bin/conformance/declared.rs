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
    /// Cases that need what is not built yet, with its name.
    gaps: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    deviation: Vec<Deviation>,
    #[serde(default)]
    gap: Vec<Gap>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    cases: Vec<String>,
    missing: String,
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
    /// Not as the original, for it needs what is declared to be missing.
    Gap,
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
            Self::Gap => "gap, as declared",
            Self::Outdated => "equal, but declared otherwise: take that out of deviations.toml",
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
        let named = |gap: Gap| gap.cases.into_iter().map(move |case| (case, gap.missing.clone()));
        Ok(Self { answers: kept, gaps: file.gap.into_iter().flat_map(named).collect() })
    }

    /// What a case is expected to answer: the declared answer, else the original's.
    pub fn expected(&self, case: &Case) -> Result<Case> {
        let expected = self.answers.get(&case.name).unwrap_or(case).clone();
        let commands = |case: &Case| case.steps.iter().map(|step| step.command.clone()).collect::<Vec<_>>();
        ensure!(commands(&expected) == commands(case), "ours/{}.txt has other commands", case.name);
        Ok(expected)
    }

    /// What a case needs that is declared to be missing.
    pub fn missing(&self, case: &Case) -> Option<&str> {
        self.gaps.get(&case.name).map(String::as_str)
    }

    /// How `ours` came out beside the original's `case`.
    pub fn judge(&self, case: &Case, ours: &Case) -> Verdict {
        let declared = self.answers.get(&case.name);
        let gap = self.gaps.contains_key(&case.name);
        match declared {
            None if ours == case && !gap => Verdict::Equal,
            _ if ours == case => Verdict::Outdated,
            Some(expected) if ours == expected => Verdict::Deviation,
            _ if gap => Verdict::Gap,
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
        let none = Declared { answers: BTreeMap::new(), gaps: BTreeMap::new() };
        assert_eq!(none.judge(&case(""), &case("")), Verdict::Equal);
        assert_eq!(none.judge(&case(""), &case("y\n")), Verdict::Different);
        let some = Declared { answers: BTreeMap::from([("x".into(), case("y\n"))]), ..none };
        assert_eq!(some.judge(&case(""), &case("y\n")), Verdict::Deviation);
        assert_eq!(some.judge(&case(""), &case("")), Verdict::Outdated);
        assert_eq!(some.judge(&case(""), &case("z\n")), Verdict::Different);
        let gap = Declared { answers: BTreeMap::new(), gaps: BTreeMap::from([("x".into(), "y".into())]) };
        assert_eq!(gap.judge(&case(""), &case("z\n")), Verdict::Gap);
        assert_eq!(gap.judge(&case(""), &case("")), Verdict::Outdated);
    }

    #[test]
    fn the_projects_declarations_are_complete() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
        let declared = Declared::read(&folder).unwrap();
        let cases = case::read_all(&folder.join("ipvsadm")).unwrap();
        for case in &cases {
            declared.expected(case).unwrap();
        }
        for name in declared.answers.keys().chain(declared.gaps.keys()) {
            assert!(cases.iter().any(|case| case.name == *name), "no case {name}");
        }
    }
}
