//! The original itself, asked in a guest that has the kernel's IPVS.
//!
//! The guest is a folder with two programs: `vm --kernel uml --rw FOLDER -- COMMAND` runs a command in it, and
//! `golden-run OUT`, in it, puts the cases of the file `$LVS_CASES` to ipvsadm and writes the recordings `OUT/NAME.out`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::case::{Case, Step};

/// Replaces the recorded answers by those of now.
pub fn ask(lab: &Path, cases: &mut [Case]) -> Result<()> {
    let lab = lab.canonicalize().with_context(|| format!("no folder {}", lab.display()))?;
    let work = std::env::temp_dir().join(format!("rlvs-original-{}", std::process::id()));
    fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let asked = ask_in(&lab, &work, cases);
    // What cannot be removed is a folder in the place for such folders.
    let _ = fs::remove_dir_all(&work);
    asked
}

/// Whether a guest's original refuses a scheduler that the one that was recorded had.
pub fn lacks_scheduler(asked: &Case, recorded: &Case) -> bool {
    let refuses = |step: &Step| step.answer.contains("Scheduler or persistence engine not found");
    asked.steps.iter().zip(&recorded.steps).any(|(asked, recorded)| refuses(asked) && !refuses(recorded))
}

fn ask_in(lab: &Path, work: &Path, cases: &mut [Case]) -> Result<()> {
    let mut list = String::new();
    for case in &*cases {
        list += &format!("== {}\n", case.name);
        for step in &case.steps {
            list += &format!("{}\n", step.command);
        }
    }
    fs::write(work.join("cases"), list)?;
    let script = format!("LVS_CASES={0}/cases {1}/golden-run {0}/out", work.display(), lab.display());
    let mut vm = Command::new(lab.join("vm"));
    vm.args(["--kernel", "uml", "--rw"]).arg(work).args(["--", &script]);
    let status = vm.status().with_context(|| format!("cannot start {}/vm", lab.display()))?;
    ensure!(status.success(), "the guest ends with {status}");
    for case in cases {
        let path = work.join("out").join(&case.name).with_added_extension("out");
        let text = fs::read_to_string(&path).with_context(|| format!("no answers to {}", case.name))?;
        *case = Case::parse(&case.name, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_original_lacks_a_scheduler_that_was_recorded() {
        let case = |answer: &str| Case::parse("x", &format!("$ ipvsadm -A -f 1 -s twos\n{answer}")).unwrap();
        let (has, refuses) = (case("= 0\n"), case("2> Scheduler or persistence engine not found\n= 255\n"));
        assert!(lacks_scheduler(&refuses, &has));
        for (asked, recorded) in [(&has, &has), (&refuses, &refuses), (&has, &refuses)] {
            assert!(!lacks_scheduler(asked, recorded));
        }
    }
}
