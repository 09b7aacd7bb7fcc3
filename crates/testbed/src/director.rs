//! The program under test: `rlvs run` on the director's host, and the commands that an operator gives it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::process::Process;

/// Loading programs takes its time, minutes on an emulated machine: the verifier follows each of them.
const START_LIMIT: Duration = Duration::from_secs(400);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running director. Dropping it kills the process, as a crash would; the data plane goes with the host.
pub struct Director {
    process: Process,
}

impl Director {
    /// Starts the director on `host` and waits until it is ready. It switches on `wan` and `lan`.
    ///
    /// # Errors
    ///
    /// When the binary is not built, or the director ends or is not ready in time: with all that it printed.
    pub fn start(host: &Namespace) -> Result<Self> {
        let binary = binary()?;
        let mut process = host.spawn(&[&binary, "run", "--interface", "wan", "--interface", "lan"])?;
        process.wait_for("ready", START_LIMIT)?;
        Ok(Self { process })
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Ends the process as a service manager does. The data plane stays.
    ///
    /// # Errors
    ///
    /// When it fails, or does not end in time.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::TERM)?;
        let status = self.process.wait(STOP_LIMIT)?;
        ensure!(status.success(), "`rlvs run` ends with {status} on SIGTERM: {}", self.log());
        Ok(())
    }

    /// Ends the process as a crash does. The data plane stays.
    ///
    /// # Errors
    ///
    /// When it has ended before.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(STOP_LIMIT)?;
        Ok(())
    }
}

/// Runs `rlvs` on `host` with the words of `arguments`; what it printed.
///
/// # Errors
///
/// When it is not built, or fails: with what it printed.
pub fn rlvs(host: &Namespace, arguments: &str) -> Result<String> {
    let binary = binary()?;
    let words: Vec<_> = std::iter::once(binary.as_str()).chain(arguments.split_whitespace()).collect();
    host.output(&words)
}

/// The path of the `rlvs` binary: `RLVS` from the environment, else the project's release build.
///
/// # Errors
///
/// When it is not built.
pub fn binary() -> Result<String> {
    let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/rlvs"));
    let path = std::env::var_os("RLVS").map_or_else(built, PathBuf::from);
    ensure!(path.is_file(), "there is no {}: run `cargo xtask build`", path.display());
    Ok(path.display().to_string())
}
