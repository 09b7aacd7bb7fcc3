//! Fuzzing on any stable compiler: `rlvs-fuzz TARGET SECONDS`, or `rlvs-fuzz TARGET --seed SEED` for one round again.
//!
//! A round is made from its seed alone: a world and some hundred inputs, most of them valid and then spoilt here and
//! there. A round that fails names its seed; the finding becomes a test of the crate that it is in.
#![forbid(unsafe_code)]

mod control;
mod frames;
mod random;
mod synchronisation;

use random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One round of a target.
type Round = fn(&mut Random);

/// What can be fuzzed.
const TARGETS: [(&str, Round); 3] =
    [("switch", frames::round), ("control", control::round), ("sync", synchronisation::round)];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let parsed = match words[..] {
        [target, "--seed", seed] => seed.parse().ok().map(|seed| (target, Job::Again(seed))),
        [target, seconds] => {
            seconds.parse().ok().map(|seconds| (target, Job::For(Duration::from_secs(seconds))))
        }
        _ => None,
    };
    let Some((name, job)) = parsed else { return usage() };
    let Some((_, round)) = TARGETS.iter().find(|(target, _)| *target == name) else { return usage() };
    match job {
        Job::Again(seed) => run(name, *round, seed),
        Job::For(time) => {
            let start = Instant::now();
            let mut seed = 0;
            while start.elapsed() < time {
                if run(name, *round, seed) != ExitCode::SUCCESS {
                    return ExitCode::FAILURE;
                }
                seed += 1;
            }
            println!("{name}: {seed} rounds in {} s, nothing found", time.as_secs());
            ExitCode::SUCCESS
        }
    }
}

enum Job {
    For(Duration),
    Again(u64),
}

fn usage() -> ExitCode {
    let names = TARGETS.map(|(name, _)| name).join(", ");
    eprintln!(
        "rlvs-fuzz: type `rlvs-fuzz TARGET SECONDS` or `rlvs-fuzz TARGET --seed SEED`; TARGET is one of {names}"
    );
    ExitCode::FAILURE
}

fn run(name: &str, round: Round, seed: u64) -> ExitCode {
    if catch_unwind(AssertUnwindSafe(|| round(&mut Random::new(seed)))).is_ok() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{name}: the round of seed {seed} failed; `rlvs-fuzz {name} --seed {seed}` repeats it");
    ExitCode::FAILURE
}
