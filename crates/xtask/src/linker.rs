//! bpf-linker: found, checked against a compiler, or built.
//!
//! The linker reads the compiler's bitcode, so its LLVM must not be older than the compiler's. No version number
//! tells that reliably: a program of one empty function is linked instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::Compiler;
use crate::{command, distribution, object};

/// The release that the objects are known to link with.
const RELEASE: &str = "0.13.0";

/// A program that needs neither `core` nor anything else, so that it is compiled and linked in a tenth of a second.
const PROBE: &str = r#"
#![feature(no_core, lang_items)]
#![allow(internal_features)]
#![no_core]
#![no_main]
#[lang = "pointee_sized"] pub trait PointeeSized {}
#[lang = "meta_sized"] pub trait MetaSized: PointeeSized {}
#[lang = "sized"] pub trait Sized: MetaSized {}
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
extern "C" fn probe() {}
"#;

/// A bpf-linker that links what `compiler` makes: the project's own first, then one on PATH.
pub fn find(project: &Path, compiler: Compiler) -> Option<PathBuf> {
    let own = tools(project).join("bin/bpf-linker");
    let candidates = [Some(own).filter(|own| own.is_file()), command::on_path("bpf-linker")];
    candidates.into_iter().flatten().find(|linker| links(project, compiler, linker))
}

/// Builds bpf-linker into the project's target folder, with the LLVM of `compiler`.
///
/// # Errors
///
/// When LLVM's libraries cannot be installed, or the build fails, or its result does not link.
pub fn install(project: &Path, compiler: Compiler) -> Result<PathBuf> {
    let llvm = compiler.llvm()?;
    eprintln!("xtask: building bpf-linker with LLVM {llvm}, the compiler's; about a minute");
    let (headers, polly) = (format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"));
    let needed = [headers.as_str(), &polly, "zlib1g-dev", "libzstd-dev", "libxml2-dev", "g++"];
    distribution::install(&distribution::missing(&needed))
        .with_context(|| format!("bpf-linker needs LLVM {llvm} with its headers"))?;

    let mut cargo = command::cargo(project);
    cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    cargo.args(["install", "bpf-linker", "--version", RELEASE, "--locked", "--no-default-features"]);
    cargo.args(["--features", &format!("llvm-{llvm}"), "--force", "--root"]).arg(tools(project));
    command::run(&mut cargo, "see its messages above; any bpf-linker of that LLVM on PATH will do, too")?;
    match find(project, compiler) {
        Some(linker) => Ok(linker),
        None => bail!("the new bpf-linker in {} does not link what rustc makes", tools(project).display()),
    }
}

fn tools(project: &Path) -> PathBuf {
    project.join("target/tools")
}

fn links(project: &Path, compiler: Compiler, linker: &Path) -> bool {
    let folder = tools(project).join("probe");
    let source = folder.join("probe.rs");
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&source, PROBE)).is_err() {
        return false;
    }
    let mut rustc: Command = compiler.rustc();
    rustc.args(["--edition=2024", "--crate-type=bin", "--target", object::TARGET, "-Cpanic=abort"]);
    rustc.arg(format!("-Clinker={}", linker.display())).args(object::RUSTFLAGS).current_dir(&folder);
    command::output(rustc.arg(&source)).is_some()
}
