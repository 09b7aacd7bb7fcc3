//! The toolchain of the XDP objects: a compiler that builds `core` for the BPF target, and a linker that fits it.
//!
//! Three compilers are known to work: the rustup toolchain that builds the rest, rustup's nightly, and Debian's
//! `rustc-web`, each with the source of `core`. What is complete is taken as it is. Else the first gets its source
//! (rustup's component rust-src), or where rustup is not there or has nothing to get it from, Debian's is installed. A
//! nightly is not: bpf-linker needs the compiler's LLVM, and a nightly's is often newer than any distribution's.
//!
//! `RUSTC_BOOTSTRAP=1` lets a stable compiler build `core`, which is the only unstable thing that we ask for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, distribution, linker};

/// What it takes to compile and link for the BPF target.
pub struct Toolchain {
    pub compiler: Compiler,
    /// Path of bpf-linker.
    pub linker: PathBuf,
}

/// A compiler that may use unstable features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compiler {
    /// The rustup toolchain that builds the rest, with rust-src.
    Same,
    /// rustup's nightly with rust-src.
    Nightly,
    /// Debian's rustc-web, cargo-web and rust-web-src.
    Distribution,
}

impl Toolchain {
    /// What is there already, or what can be installed.
    ///
    /// # Errors
    ///
    /// When no toolchain is complete and none can be completed: the message says why for each, and what to type.
    pub fn find_or_install(project: &Path) -> Result<Self> {
        if let Some(found) = Self::find(project) {
            return Ok(found);
        }
        let mut reasons = Vec::new();
        let mut compilers = [Compiler::Same, Compiler::Distribution];
        compilers.sort_by_key(|compiler| !compiler.has_source());
        for compiler in compilers {
            match Self::install(project, compiler) {
                Ok(toolchain) => return Ok(toolchain),
                Err(reason) => {
                    eprintln!("xtask: not {}: {reason:#}", compiler.name());
                    reasons.push(format!("\n- {}: {reason:#}", compiler.name()));
                }
            }
        }
        bail!("no toolchain for the XDP objects; any one of these will do:{}", reasons.concat())
    }

    fn find(project: &Path) -> Option<Self> {
        let mut compilers = [Compiler::Same, Compiler::Nightly, Compiler::Distribution]
            .into_iter()
            .filter(|compiler| compiler.has_source());
        compilers.find_map(|compiler| linker::find(project, compiler).map(|linker| Self { compiler, linker }))
    }

    fn install(project: &Path, compiler: Compiler) -> Result<Self> {
        if !compiler.has_source() {
            compiler.install()?;
        }
        let linker = match linker::find(project, compiler) {
            Some(linker) => linker,
            None => linker::install(project, compiler)?,
        };
        Ok(Self { compiler, linker })
    }
}

impl Compiler {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "the rustup toolchain in use with rust-src",
            Self::Nightly => "rustup's nightly with rust-src",
            Self::Distribution => "the distribution's rustc-web with rust-web-src",
        }
    }

    /// A command that runs this compiler's `cargo`.
    pub fn cargo(self) -> Command {
        self.program("cargo")
    }

    /// A command that runs this compiler's `rustc`.
    pub fn rustc(self) -> Command {
        self.program("rustc")
    }

    /// The major version of the LLVM that it was built with.
    pub fn llvm(self) -> Result<u32> {
        let version =
            command::output(self.rustc().arg("-vV")).with_context(|| format!("{} fails", self.name()))?;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let major = llvm.and_then(|llvm| llvm.split('.').next()?.parse().ok());
        major.with_context(|| format!("`rustc -vV` of {} names no LLVM version", self.name()))
    }

    /// Whether it is there together with the source of `core`.
    fn has_source(self) -> bool {
        let rustc = match self.rustup_name() {
            Some(toolchain) => {
                let mut which = Command::new("rustup");
                // Asking must not download.
                which.env("RUSTUP_AUTO_INSTALL", "0").args(["which", "--toolchain", &toolchain, "rustc"]);
                command::output(&mut which).map(PathBuf::from)
            }
            None => Some(PathBuf::from("/usr/bin/rustc")).filter(|rustc| rustc.is_file()),
        };
        let prefix = rustc.as_deref().and_then(|rustc| rustc.ancestors().nth(2));
        prefix.is_some_and(|prefix| prefix.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file())
    }

    fn install(self) -> Result<()> {
        eprintln!("xtask: getting {}, which builds `core` for the BPF target", self.name());
        match self.rustup_name() {
            Some(toolchain) => {
                if command::on_path("rustup").is_none() {
                    bail!("there is no rustup: install Rust by rustup, as its web site says");
                }
                let mut rustup = Command::new("rustup");
                rustup.args(["component", "add", "rust-src", "--toolchain", &toolchain]);
                command::run(&mut rustup, "when the network is back, type it again")
            }
            None => {
                distribution::install(&distribution::missing(&["rustc-web", "cargo-web", "rust-web-src"]))
            }
        }
    }

    /// rustup's name for it, if it is one of rustup's.
    fn rustup_name(self) -> Option<String> {
        match self {
            // rustup tells its children which toolchain they belong to.
            Self::Same => Some(std::env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".into())),
            Self::Nightly => Some("nightly".into()),
            Self::Distribution => None,
        }
    }

    fn program(self, program: &str) -> Command {
        let mut command;
        match self.rustup_name() {
            Some(toolchain) => {
                command = Command::new("rustup");
                command::without_outer_cargo(&mut command).args(["run", &toolchain, program]);
            }
            None => {
                command = Command::new(Path::new("/usr/bin").join(program));
                command::without_outer_cargo(&mut command).env("RUSTC", "/usr/bin/rustc");
            }
        }
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    }
}
