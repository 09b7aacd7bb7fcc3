//! Running other programs: shown before they run, and an error that says what to do.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// `cargo` of the toolchain that runs this task (rustup hands its choice down), in the project's folder.
pub fn cargo(project: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project);
    cargo
}

/// Removes what an outer cargo or rustup tells its children, so that another toolchain's cargo can run under this one.
pub fn without_outer_cargo(command: &mut Command) -> &mut Command {
    for name in
        ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
    {
        command.env_remove(name);
    }
    command
}

/// Runs `command` with its output on ours. `advice` is the reader's next step when it fails.
pub fn run(command: &mut Command, advice: &str) -> Result<()> {
    eprintln!("xtask: {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}): {advice}", shown(command));
    }
    Ok(())
}

/// What `command` prints, or nothing when it fails or is not there.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The file that a shell would run for `program`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    // Administrators' programs are not on everybody's PATH.
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&paths).chain(sbin).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(value)))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("cargo");
        command.env("LLVM_PREFIX", "/usr/lib/llvm 22").args(["install", "it's"]);
        assert_eq!(shown(&command), r"LLVM_PREFIX='/usr/lib/llvm 22' cargo install 'it'\''s'");
    }

    #[test]
    fn a_failed_command_says_what_to_do() {
        let error = run(Command::new("false").arg("x"), "try true").unwrap_err().to_string();
        assert!(error.contains("`false x`") && error.ends_with("try true"), "{error}");
    }
}
