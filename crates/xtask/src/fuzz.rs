//! `cargo xtask fuzz`: random input for a time, on any stable compiler. What and how: `fuzz/src`, and the tests named
//! `any_...` of `crates/rlvs` and `crates/cluster`, for what can be read only inside those.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::command;

/// What `fuzz/src/main.rs` can fuzz, and where that is.
const PROGRAM_TARGETS: [(&str, &[&str]); 3] = [
    ("switch", &["crates/packet/src", "crates/switch/src"]),
    ("control", &["crates/ipvs/src"]),
    ("sync", &["crates/ipvs/src/sync"]),
];
/// ipvsadm's words, mark rules and other programs' configurations to import, `/proc`.
const TEXTS: &str = "texts";
/// Texts of each kind in one run of the tests: some seconds.
const TEXTS_AT_ONCE: &str = "1000";

/// Builds the fuzzer and runs each target, or this one, for so many seconds.
///
/// # Errors
///
/// When there is no such target, it does not build, or finds something.
pub fn fuzz(project: &Path, seconds: u32, target: Option<&str>) -> Result<()> {
    let wanted = |name: &str| target.is_none_or(|target| target == name);
    let names = PROGRAM_TARGETS.map(|(name, _)| name);
    ensure!(wanted(TEXTS) || names.into_iter().any(wanted), "the targets are {names:?} and {TEXTS:?}");
    for target in names.into_iter().filter(|name| wanted(name)) {
        run_program(&mut program(project), target, seconds)?;
    }
    if wanted(TEXTS) { texts(project, seconds) } else { Ok(()) }
}

/// The same for the fuzzer's own targets, built so that it notes what it goes through, and what that was.
///
/// # Errors
///
/// As [`fuzz`]; when LLVM's tools of the compiler's version are not there.
pub fn coverage(project: &Path, seconds: u32, target: Option<&str>) -> Result<()> {
    let [profdata, cov] = ["llvm-profdata", "llvm-cov"].map(llvm_tool);
    let (profdata, cov) = (profdata?, cov?);
    let folder = project.join("target/coverage");
    for (target, sources) in
        PROGRAM_TARGETS.iter().filter(|(name, _)| target.is_none_or(|target| target == *name))
    {
        let profiles = folder.join("profiles").join(target);
        // What an earlier run noted is not of this one.
        let _not_there = fs::remove_dir_all(&profiles);
        let mut fuzzer = program(project);
        fuzzer
            .env("RUSTFLAGS", "-C instrument-coverage")
            .env("CARGO_TARGET_DIR", &folder)
            .env("LLVM_PROFILE_FILE", profiles.join("%p.profraw"));
        run_program(&mut fuzzer, target, seconds)?;
        let merged = profiles.join("merged");
        let raw: Vec<PathBuf> = fs::read_dir(&profiles)
            .with_context(|| format!("no profiles in {}", profiles.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        let mut merge = Command::new(&profdata);
        merge.args(["merge", "--sparse", "-o"]).arg(&merged).args(&raw);
        command::run(&mut merge, "its version must be that of the compiler's LLVM")?;
        let mut report = Command::new(&cov);
        report.args(["report", "--use-color=false", "--show-region-summary=false"]);
        report.arg("--ignore-filename-regex=/simulation/");
        report.arg(format!("--instr-profile={}", merged.display())).arg(folder.join("release/rlvs-fuzz"));
        report.args(sources.iter().map(|source| project.join(source)));
        command::run(&mut report, "its version must be that of the compiler's LLVM")?;
    }
    Ok(())
}

fn program(project: &Path) -> Command {
    let mut fuzzer = command::cargo(project);
    fuzzer.args(["run", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--"]);
    fuzzer
}

fn run_program(fuzzer: &mut Command, target: &str, seconds: u32) -> Result<()> {
    fuzzer.arg(target).arg(seconds.to_string());
    command::run(fuzzer, "make the round that it names above a test, then correct the code")
}

/// Repeats the tests, which take other texts each time.
fn texts(project: &Path, seconds: u32) -> Result<()> {
    let (start, mut runs) = (Instant::now(), 0);
    while runs == 0 || start.elapsed() < Duration::from_secs(seconds.into()) {
        let mut tests = command::cargo(project);
        tests.args(["test", "--quiet", "--package", "rlvs", "--package", "rlvs-cluster"]);
        tests.args(["--bins", "--test", "import", "any_"]);
        tests.env("PROPTEST_CASES", TEXTS_AT_ONCE);
        ensure!(
            command::output(&mut tests).is_some(),
            "a text was found: `PROPTEST_CASES={TEXTS_AT_ONCE} cargo test any_` shows it, and \
             proptest-regressions keeps it"
        );
        runs += 1;
    }
    println!("{TEXTS}: {runs} times {TEXTS_AT_ONCE} texts of each kind, nothing found");
    Ok(())
}

/// A tool of the compiler's LLVM: Debian's have its version in their names, rustup's component llvm-tools is by the compiler.
fn llvm_tool(name: &str) -> Result<PathBuf> {
    let version = command::output(Command::new("rustc").arg("-vV")).context("`rustc -vV` fails")?;
    let field = |title| version.lines().find_map(|line: &str| line.strip_prefix(title));
    let major = field("LLVM version: ").and_then(|llvm| llvm.split('.').next());
    let major = major.context("`rustc -vV` names no LLVM version")?;
    let host = field("host: ").context("`rustc -vV` names no host")?;
    let root = command::output(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    let of_rustup = Path::new(root.trim()).join("lib/rustlib").join(host).join("bin").join(name);
    let tool = Some(of_rustup).filter(|tool| tool.is_file());
    tool.or_else(|| command::on_path(&format!("{name}-{major}"))).with_context(|| {
        format!("no {name} of LLVM {major}: `rustup component add llvm-tools`, or install llvm-{major}")
    })
}
