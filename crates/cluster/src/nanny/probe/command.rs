//! A program decides.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command as Process;

use super::{Failure, Target, beginning, io};
use crate::config::Command;
use crate::program;

/// Success is status 0, or if `output` is given, that text on standard output. With `weigh`, status n of 2 or more is
/// success with weight n - 2. The program is killed when this is dropped.
pub(super) async fn probe(
    target: &Target,
    command: &Command,
    output: Option<&str>,
    weigh: bool,
) -> Result<Option<i32>, Failure> {
    let arguments = command.arguments.iter().map(|word| target.filled_in(word));
    let mut process = Process::new(&command.program);
    process.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    process.stdout(if output.is_some() { Stdio::piped() } else { Stdio::null() });
    process.process_group(0);
    let running = async move {
        let child = process.spawn()?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let result = child.wait_with_output().await;
        group.0 = None;
        result
    };
    let result = program::run(&command.run_as, running).await.map_err(io("run the program"))?;
    if let Some(expected) = output {
        let printed = result.stdout.strip_suffix(b"\n").unwrap_or(&result.stdout);
        let good = printed == expected.as_bytes();
        return if good { Ok(None) } else { Err(Failure::Unexpected(beginning(printed))) };
    }
    match result.status.code() {
        Some(0) => Ok(None),
        Some(code) if weigh && code >= 2 => Ok(Some(code - 2)),
        _ => Err(Failure::Exit(result.status)),
    }
}

/// A program with its children. A time limit must not leave the `sleep` of a shell behind.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails if all have ended. The leader has not been waited for, so its number is nobody else's.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
