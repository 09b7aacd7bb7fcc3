//! A program on a host, with what it printed so far.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::wait;

/// A running program, killed when this is dropped.
pub struct Process {
    command: String,
    child: Child,
    stdout: Printed,
    stderr: Printed,
}

/// What a finished program left.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`; it gets SIGKILL when the calling thread ends.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        let stdout = Printed::follow(child.stdout.take().context("no standard output")?)?;
        let stderr = Printed::follow(child.stderr.take().context("no standard error")?)?;
        Ok(Self { command: shown, child, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far on standard output.
    pub fn stdout(&self) -> String {
        self.stdout.text().clone()
    }

    /// What it printed so far on standard error.
    pub fn stderr(&self) -> String {
        self.stderr.text().clone()
    }

    /// Waits until it has printed `text` on either output.
    ///
    /// # Errors
    ///
    /// When it ends before that, or `limit` passes: with all that it printed.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let seen = wait::until(limit, || {
            let ended = self.child.try_wait()?;
            if self.stdout.text().contains(text) || self.stderr.text().contains(text) {
                return Ok(Some(()));
            }
            match ended {
                Some(status) => bail!("it ended ({status})"),
                None => Ok(None),
            }
        });
        let printed = || format!("{}{}", self.stdout().trim_end(), self.stderr().trim_end());
        seen.with_context(|| format!("`{}` did not print \"{text}\", but: {}", self.command, printed()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // An ended child keeps its id until it is waited for, so this hits nobody else.
        if let Some(status) = self.child.try_wait()? {
            bail!("`{}` has ended ({status}): {}", self.command, self.stderr());
        }
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal `{}`", self.command))
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = wait::until(limit, || Ok(self.child.try_wait()?));
        ended.with_context(|| format!("`{}` does not end", self.command))
    }

    /// Waits for its end, and returns all that it printed.
    ///
    /// # Errors
    ///
    /// When it is still running after `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let status = self.wait(limit)?;
        Ok(Output { status, stdout: self.stdout.all(), stderr: self.stderr.all() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream's text, read as it comes by a thread of its own.
struct Printed {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Printed {
    fn follow(stream: impl Read + Send + 'static) -> Result<Self> {
        let text = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&text);
        let reader = std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        })?;
        Ok(Self { text, reader })
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text to its end; for a program that has ended.
    fn all(&mut self) -> String {
        // A grandchild may hold the stream open for good: what is there after a moment is all.
        let _ = wait::until(Duration::from_secs(1), || Ok(self.reader.is_finished().then_some(())));
        self.text().clone()
    }
}

#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only one system call is made; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command).unwrap()
    }

    #[test]
    fn both_outputs_and_the_status_come_back() {
        let output = shell("echo one; echo two >&2; exit 3").finish(LIMIT).unwrap();
        assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), "one\n", "two\n"));
    }

    #[test]
    fn a_printed_word_is_waited_for() {
        let mut process = shell("echo starting; sleep 0.1; echo ready >&2; exec sleep 100");
        process.wait_for("ready", LIMIT).unwrap();
        assert!(process.is_running());
        process.signal(Signal::TERM).unwrap();
        assert!(!process.wait(LIMIT).unwrap().success());
        assert!(process.signal(Signal::TERM).is_err());
    }

    #[test]
    fn an_early_end_is_told_with_what_was_printed() {
        let error = shell("echo no such device >&2; exit 1").wait_for("ready", LIMIT).unwrap_err();
        assert!(format!("{error:#}").contains("no such device"), "{error:#}");
    }

    #[test]
    fn what_does_not_end_is_given_up() {
        assert!(shell("exec sleep 100").finish(Duration::from_millis(50)).is_err());
    }
}
