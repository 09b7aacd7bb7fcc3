//! ipvsadm's command line, as the original answers and as rlvs does: a table, and exit status 1 if they differ where
//! nobody said so.
//!
//!     conformance FOLDER [--original LAB] [NAME...]
//!
//! FOLDER has the recordings and what is declared about them; `--original` asks the original anew, by LAB's `vm` and
//! `golden-run`, instead of taking what was recorded of it, and plays LAB's scheduler scenarios to both ([`scheduling`]).
//! With NAMEs only those cases and scenarios are run.
#![forbid(unsafe_code)]

mod case;
mod declared;
mod original;
mod scheduling;
mod site;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use case::Case;
use declared::{Declared, Verdict};
use site::Site;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all cases come out as they should.
fn run() -> Result<bool> {
    let (folder, lab, names) = arguments()?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces and XDP need root: run `cargo xtask conformance` as root"
    );
    let mut cases = case::read_all(&folder.join("ipvsadm"))?;
    cases.retain(|case| names.is_empty() || names.contains(&case.name));
    ensure!(!cases.is_empty() || lab.is_some(), "there is no such case in {}", folder.display());
    let cases_equal = cases.is_empty() || compare(&folder, lab.as_deref(), &mut cases)?;
    let schedulers_equal = lab.as_deref().map_or(Ok(true), |lab| scheduling::compare(lab, &names))?;
    Ok(cases_equal && schedulers_equal)
}

/// Puts the cases to rlvs, and to the original if there is one to ask; whether all come out as they should.
fn compare(folder: &Path, lab: Option<&Path>, cases: &mut [Case]) -> Result<bool> {
    let recorded = cases.to_vec();
    if let Some(lab) = lab {
        original::ask(lab, cases)?;
    }
    let declared = Declared::read(folder)?;
    let site = Site::new()?;
    let mut counts = [0; 5];
    for (asked, recorded) in cases.iter().zip(&recorded) {
        // For what this original does not have there is the answer of one that has it.
        let lacks_scheduler = original::lacks_scheduler(asked, recorded);
        let case = if lacks_scheduler { recorded } else { asked };
        let ours = site.answers(case)?;
        let verdict = declared.judge(case, &ours);
        let missing = declared.missing(case).filter(|_| verdict == Verdict::Gap);
        let missing = missing.map(|what| format!(": {what}")).unwrap_or_default();
        let lacks =
            if lacks_scheduler { " as recorded: the original here has no such scheduler" } else { "" };
        println!("{:<40} {:>3} commands  {verdict}{missing}{lacks}", case.name, case.steps.len());
        if verdict == Verdict::Different {
            show_differences(&declared.expected(case)?, &ours);
        }
        counts[verdict as usize] += 1;
    }
    let [equal, deviation, gap, outdated, different] = counts;
    println!(
        "{equal} cases equal, {deviation} deviate as declared, {gap} need what is missing, {outdated} are declared wrongly, \
         {different} differ"
    );
    // An outdated declaration is no harm: something was built.
    Ok(different == 0)
}

fn arguments() -> Result<(PathBuf, Option<PathBuf>, Vec<String>)> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().context("usage: conformance FOLDER [--original LAB] [NAME...]")?;
    let (mut lab, mut names) = (None, Vec::new());
    while let Some(word) = words.next() {
        if word == "--original" {
            lab = Some(PathBuf::from(words.next().context("--original needs the lab's folder")?));
        } else {
            names.push(word);
        }
    }
    Ok((Path::new(&folder).to_owned(), lab, names))
}

/// Shows the commands whose answers differ.
fn show_differences(expected: &Case, ours: &Case) {
    for (expected, ours) in expected.steps.iter().zip(&ours.steps).filter(|(expected, ours)| expected != ours)
    {
        println!("    $ {}", expected.command);
        for (whose, step) in [("expected", expected), ("answered", ours)] {
            for line in step.answer.lines() {
                println!("    {whose}: {line}");
            }
        }
    }
}
