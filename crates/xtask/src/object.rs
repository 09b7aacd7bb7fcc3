//! The XDP objects: every program of `crates/xdp`, built for the BPF target into `target/bpf/<name>.o`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::command;
use crate::toolchain::Toolchain;

/// The target's name: BPF, little-endian, an object without a loader.
pub const TARGET: &str = "bpfel-unknown-none";

/// The only place where the compiler's flags for the BPF target are written.
///
/// `v3` is the instruction set of kernels since 5.1: 32-bit arithmetic and jumps. Debug information and `--btf` make
/// the type information without which the kernel refuses maps. Packet headers are read where they lie: the kernel
/// sets `NET_IP_ALIGN` or runs where misaligned access is free, and the verifier checks it.
pub const RUSTFLAGS: [&str; 8] = [
    "-C",
    "target-cpu=v3",
    "-C",
    "debuginfo=2",
    "-C",
    "link-arg=--btf",
    "-C",
    "target-feature=+allows-misaligned-mem-access",
];

/// Builds all objects and copies those that changed to `target/bpf`, where the director's build takes them from.
///
/// # Errors
///
/// When there is no toolchain, the build fails, or an object could panic: BPF has nowhere to go then.
pub fn build(project: &Path) -> Result<()> {
    let toolchain = Toolchain::find_or_install(project)?;
    let build_folder = project.join("target/bpf-build");
    let linker = format!("target.{TARGET}.linker={:?}", toolchain.linker);
    let flags = format!("target.{TARGET}.rustflags={RUSTFLAGS:?}");

    let mut cargo = toolchain.compiler.cargo();
    cargo.current_dir(project.join("crates/xdp"));
    cargo.args(["build", "--release", "--bins", "-Z", "build-std=core", "--target", TARGET]);
    cargo.args(["--config", &linker, "--config", &flags]).arg("--target-dir").arg(&build_folder);
    eprintln!(
        "xtask: the XDP objects, with {} and {}",
        toolchain.compiler.name(),
        toolchain.linker.display()
    );
    command::run(&mut cargo, "correct what the compiler says above")?;

    let built = programs(&build_folder.join(TARGET).join("release"))?;
    if built.is_empty() {
        bail!("crates/xdp has no program: add a [[bin]] to its Cargo.toml");
    }
    let objects = project.join("target/bpf");
    fs::create_dir_all(&objects).with_context(|| format!("cannot make {}", objects.display()))?;
    for program in built {
        let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        check(&bytes).with_context(|| program.display().to_string())?;
        let name = program.file_name().context("a program without a name")?;
        copy_if_changed(&bytes, &objects.join(name).with_extension("o"))?;
    }
    Ok(())
}

/// The programs that cargo left in `folder`: files whose `.d` file is beside them.
fn programs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut programs = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if path.extension().is_none() && path.with_extension("d").is_file() {
            programs.push(path);
        }
    }
    programs.sort();
    Ok(programs)
}

/// A panic in BPF is a program that the verifier refuses, or an endless loop: the object must have no way to one.
fn check(object: &[u8]) -> Result<()> {
    let object = object::File::parse(object).context("not an ELF object")?;
    let names = object.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned));
    let panics: Vec<_> =
        names.filter(|name| name.contains("panic") || name.contains("rust_begin_unwind")).collect();
    if !panics.is_empty() {
        bail!(
            "the program can panic ({}): an index, a division or an arithmetic overflow is unproven",
            panics.join(", ")
        );
    }
    Ok(())
}

/// Writes `to` only when its content differs, so that nothing is rebuilt for an object that is the same.
fn copy_if_changed(bytes: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
