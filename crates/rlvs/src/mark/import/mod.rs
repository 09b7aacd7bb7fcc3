//! `rlvs mark import`: netfilter's rules that set marks, translated.
//!
//! - [`iptables`], [`nft`]: read what the tools print
//! - [`chain`]: what the rules come to, when the first that matches decides

mod chain;
mod iptables;
mod nft;

use anyhow::{Context, Result, bail};
use chain::Chains;
use rlvs_ipvs::{Family, MarkRule};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Something that could not be translated.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    /// Where it is.
    place: String,
    /// Why.
    reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Translates a file, prints the rules as commands or adds them, and tells what could not be translated.
pub async fn run(file: &Path, family: Family, add: bool, partial: bool) -> Result<ExitCode> {
    let text = read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (rules, problems) =
        translate(&text, family).with_context(|| format!("cannot translate {}", file.display()))?;
    for problem in &problems {
        eprintln!("not translated: {problem}");
    }
    if !add {
        for rule in &rules {
            println!("rlvs mark add {rule}");
        }
    } else {
        if !problems.is_empty() && !partial {
            bail!("nothing was added, for not all could be translated; --partial adds what could be");
        }
        let mut client = super::connect().await?;
        let present = client.mark_rules().await.context("cannot list mark rules")?;
        for rule in rules {
            if present.iter().any(|entry| entry.rule == rule) {
                eprintln!("there already: {rule}");
            } else {
                super::add(&mut client, rule, None).await?;
            }
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

fn translate(text: &str, family: Family) -> Result<(Vec<MarkRule>, Vec<Problem>)> {
    let mut chains = Chains::default();
    if text.trim_start().starts_with('{') {
        nft::read(text, &mut chains)?;
    } else {
        iptables::read(text, family, &mut chains)?;
    }
    chains.finish()
}

#[cfg(test)]
mod tests;
