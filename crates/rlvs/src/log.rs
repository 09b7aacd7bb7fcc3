//! Where the log goes: to standard error, or where that is systemd's journal, to the journal with all its fields.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::prelude::*;

/// Fields for programs that read the journal. The message says the same to people.
const FOR_PROGRAMS: &str = "rlvs_";

/// fuser warns of each kind of request that the files of `/proc` do without.
const DEFAULT: &str = "info,fuser=error";

/// Begins. Both ways, `RUST_LOG` says what is logged.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    // A journal that cannot be reached still reads standard error.
    if stderr_is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return registry.with(journal.with_field_prefix(None)).init();
    }
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name if name.starts_with(FOR_PROGRAMS) => Ok(()),
        name => write!(writer, "{name}={value:?}"),
    });
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(fields.delimited(" "))
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(std::io::stderr);
    registry.with(lines).init();
}

/// systemd tells a service by `JOURNAL_STREAM` which device and inode the journal has; standard error may have been
/// redirected since (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(own) = rustix::fs::fstat(std::io::stderr()) else { return false };
    told == format!("{}:{}", own.st_dev, own.st_ino)
}
