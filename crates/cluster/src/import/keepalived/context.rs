//! What all parts of the translation share: the file to be, and how words are read.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::tree::Statement;
use crate::import::draft::Draft;

/// A translation at work.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) draft: Draft,
}

impl Context {
    /// Tells that keepalived would not take a statement, either.
    pub(super) fn wrong(&mut self, statement: &Statement, what: impl AsRef<str>) {
        let what = format!("`{}`: {}", statement.words.join(" "), what.as_ref());
        self.draft.problem(&statement.place, what, "keepalived complains about it, too: correct it");
    }

    /// Tells that a statement has no counterpart.
    pub(super) fn untranslated(&mut self, statement: &Statement, help: impl Into<String>) {
        self.draft.problem(&statement.place, format!("`{}`", statement.words.join(" ")), help);
    }

    /// A statement that its block has no meaning for: `known` are those with a meaning and no counterpart, and what to do
    /// about them.
    pub(super) fn other(&mut self, statement: &Statement, known: &[(&str, &str)]) {
        match known.iter().find(|(keyword, _)| *keyword == statement.keyword()) {
            Some((_, help)) => self.untranslated(statement, *help),
            None => self.wrong(statement, "an unknown keyword"),
        }
    }

    /// The word behind the keyword as a value.
    pub(super) fn value<T: FromStr>(&mut self, statement: &Statement, what: &str) -> Option<T> {
        let value = statement.argument().and_then(|text| text.parse().ok());
        if value.is_none() {
            self.wrong(statement, format!("{what} is expected"));
        }
        value
    }

    pub(super) fn number<T: FromStr>(&mut self, statement: &Statement) -> Option<T> {
        self.value(statement, "a number that fits")
    }

    pub(super) fn address(&mut self, statement: &Statement) -> Option<IpAddr> {
        self.value(statement, "an address")
    }

    pub(super) fn text(&mut self, statement: &Statement) -> Option<String> {
        self.value(statement, "a word")
    }

    /// Seconds, also with a fraction.
    pub(super) fn timer(&mut self, statement: &Statement) -> Option<Duration> {
        let seconds = self.value::<f64>(statement, "a number of seconds")?;
        let duration = Duration::try_from_secs_f64(seconds).ok();
        if duration.is_none() {
            self.wrong(statement, "a number of seconds is expected");
        }
        duration
    }

    /// `smtp_alert`: our mails are about everything.
    pub(super) fn alert(&mut self, statement: &Statement) {
        if self.flag(statement) == Some(false) {
            self.untranslated(
                statement,
                "a [mail] is about all that happens; take it out of the file to have none",
            );
        }
    }

    /// On or off; a keyword alone is on.
    pub(super) fn flag(&mut self, statement: &Statement) -> Option<bool> {
        match statement.argument() {
            None | Some("on" | "true" | "yes") => Some(true),
            Some("off" | "false" | "no") => Some(false),
            Some(_) => {
                self.wrong(statement, "on or off is expected");
                None
            }
        }
    }
}
