//! Values as TOML writes them.

use std::fmt::{self, Write};
use std::time::Duration;

/// A value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Value>),
    Table(Table),
}

/// A table that is written within a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(Vec<(&'static str, Value)>);

impl Table {
    /// A table with a key `type`: a check, a tunnel.
    pub(super) fn of_type(kind: &str) -> Self {
        Self::default().with("type", kind)
    }

    /// The same with one more key.
    pub(super) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    /// The same with one more key, if there is a value for it.
    pub(super) fn with_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The same with one more key, if there is a value for it and the key is not there yet.
    pub(super) fn or_some(self, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        let value = value.filter(|_| self.0.iter().all(|(known, _)| *known != key));
        self.with_some(key, value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Duration> for Value {
    /// Whole seconds where they are whole, else milliseconds, rounded up: 0 would be another thing than very little.
    fn from(duration: Duration) -> Self {
        let milliseconds = duration.as_nanos().div_ceil(1_000_000);
        Self::Text(match milliseconds % 1_000 {
            0 => format!("{}s", milliseconds / 1_000),
            _ => format!("{milliseconds}ms"),
        })
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_text(f, text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(list) => {
                f.write_char('[')?;
                for (at, value) in list.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    value.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Table(Table(entries)) => {
                f.write_str("{ ")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} = {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// Texts with backslashes or quotation marks are easier to read as literal strings, if they can be such.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let odd = text.chars().any(|c| c == '\'' || (c.is_control()));
    if text.contains(['\\', '"']) && !odd {
        return write!(f, "'{text}'");
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_short_as_they_can_be() {
        for (duration, text) in [(3_000, "\"3s\""), (250, "\"250ms\""), (1_500, "\"1500ms\""), (0, "\"0s\"")]
        {
            assert_eq!(Value::from(Duration::from_millis(duration)).to_string(), text);
        }
        assert_eq!(Value::from(Duration::from_micros(1)).to_string(), "\"1ms\"");
    }

    #[test]
    fn tables_and_lists_fit_into_a_line() {
        let check = Table::of_type("tcp").with("port", 80_u16).with("status", vec!["200", "204"]);
        assert_eq!(
            Value::from(check).to_string(),
            "{ type = \"tcp\", port = 80, status = [\"200\", \"204\"] }"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_as_it_was(text in ".*") {
            let written = format!("key = {}", Value::from(text.as_str()));
            let table: toml::Table = written.parse().unwrap();
            proptest::prop_assert_eq!(table["key"].as_str(), Some(text.as_str()));
        }
    }
}
