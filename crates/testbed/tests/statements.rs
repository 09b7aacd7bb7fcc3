//! `docs/statements.toml`: each statement has a proof that is there, or says what is missing.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statements {
    ipvsadm: BTreeMap<String, Statement>,
    ipvs: BTreeMap<String, Statement>,
    cluster: BTreeMap<String, Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    says: String,
    #[serde(default)]
    proof: Vec<String>,
    gap: Option<String>,
}

#[test]
fn every_statement_has_a_proof_or_names_its_gap() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(project.join("docs/statements.toml")).unwrap();
    let statements: Statements = toml::from_str(&text).unwrap();
    let lists = [
        (&statements.ipvsadm, "ipvsadm", 65),
        (&statements.ipvs, "ipvs", 104),
        (&statements.cluster, "cluster", 90),
    ];
    for (list, name, last) in lists {
        assert_eq!(list.len(), last, "{name}");
        for number in 1..=last {
            let statement = list.get(&number.to_string());
            let statement = statement.unwrap_or_else(|| panic!("{name} {number} is left out"));
            let shown = format!("{name} {number} ({})", statement.says);
            let has_gap = statement.gap.as_ref().is_some_and(|gap| !gap.trim().is_empty());
            assert!(has_gap == statement.proof.is_empty(), "{shown}: a proof, or else a gap");
            for proof in &statement.proof {
                assert!(is_there(&project, proof), "{shown}: there is no {proof}");
            }
        }
    }
}

/// Whether a test function or a recording exists.
fn is_there(project: &Path, proof: &str) -> bool {
    match proof.split_once("::") {
        None => project.join(proof).is_file(),
        Some((file, function)) => {
            let Ok(text) = fs::read_to_string(project.join(file)) else { return false };
            let head = format!("fn {function}(");
            let mut before = "";
            for line in text.lines() {
                if line.trim_start().trim_start_matches("async ").starts_with(&head) {
                    return before.starts_with("#[")
                        && (before.contains("test") || before.contains("ignore"));
                }
                before = line.trim_start();
            }
            false
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = "crates/testbed/tests/statements.rs";
    assert!(is_there(&project, &format!("{file}::what_is_not_there_is_not_found")));
    assert!(!is_there(&project, &format!("{file}::no_such_test")));
    assert!(!is_there(&project, &format!("{file}::is_there")));
    assert!(!is_there(&project, "crates/testbed/conformance/ipvsadm/nosuch.txt"));
}
