//! A table of the file, read key by key. What was not asked for is a mistake, as is what has the wrong type; all
//! mistakes of a file are told at once, so reading goes on after each.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistakes;
use super::value;

/// A table, with the keys that were asked for.
pub(super) struct Section<'t> {
    table: &'t DeTable<'t>,
    place: Range<usize>,
    mistakes: &'t Mistakes,
    asked: RefCell<Vec<&'static str>>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Range<usize>,
}

impl<'t> Section<'t> {
    pub(super) fn new(table: &'t DeTable<'t>, place: Range<usize>, mistakes: &'t Mistakes) -> Self {
        Self { table, place, mistakes, asked: RefCell::default() }
    }

    /// Tells that the section as a whole is not right.
    pub(super) fn mistake(&self, reason: impl Into<String>) {
        self.mistakes.add(&self.place, reason);
    }

    /// Tells that a value is not right.
    pub(super) fn mistake_at(&self, place: &Range<usize>, reason: impl Into<String>) {
        self.mistakes.add(place, reason);
    }

    /// Tells about the keys that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let place = key.span();
            let near = asked.iter().map(|known| (strsim::damerau_levenshtein(known, name), known));
            let near = near.filter(|(distance, known)| *distance <= 1 + known.len() / 4).min();
            let help = match near {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("here can be: {}", asked.join(", ")),
            };
            self.mistakes.add_with_help(&place, format!("unknown key `{name}`"), help);
        }
    }

    /// Whether a key is there; it counts as asked for.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool).map(|flag| flag.value)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<Placed<&'t str>> {
        self.typed(key, "a text", DeValue::as_str)
    }

    /// A name for the log and for programs.
    pub(super) fn name(&self, key: &'static str) -> Option<String> {
        let name = self.parsed(key, "at least one character, and none of control", value::name);
        name.map(|name| name.value)
    }

    /// A network interface's name.
    pub(super) fn interface(&self, key: &'static str) -> Option<String> {
        let name = self.parsed(key, "an interface's name, such as \"eth0\"", value::interface);
        name.map(|name| name.value)
    }

    /// A whole number within a range.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<Placed<i64>> {
        let found = self.typed(key, "a whole number", |value| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        })?;
        if range.contains(&found.value) {
            return Some(found);
        }
        let (least, most) = (range.start(), range.end());
        self.mistakes.add(&found.place, format!("`{key}` is {}, must be {least} to {most}", found.value));
        None
    }

    /// A number that fits its type, within a range of that type.
    pub(super) fn integer<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Into<i64> + TryFrom<i64>,
    {
        let found = self.number(key, (*range.start()).into()..=(*range.end()).into())?;
        T::try_from(found.value).ok()
    }

    /// A text that stands for a value: "expects `what`" is told of others.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Placed<T>> {
        self.text(key).and_then(|text| self.parse_one(key, text, what, parse))
    }

    /// A text in the standard form of its type.
    pub(super) fn standard<T: FromStr>(&self, key: &'static str, what: &str) -> Option<Placed<T>> {
        self.parsed(key, what, |text| text.parse().ok())
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let known = known.join(", ");
            self.mistakes.add(&text.place, format!("`{key}` is \"{}\", can be {known}", text.value));
        }
        found.map(|(_, value)| *value)
    }

    /// A duration such as "500ms" within a range.
    pub(super) fn duration(&self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = self.get(key)?;
        let place = value.span();
        let Some(text) = value.get_ref().as_str() else {
            self.mistakes.add(&place, format!("`{key}` needs a unit: write \"500ms\", \"5s\" or \"2m\""));
            return None;
        };
        match value::duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => {
                let (least, most) = (range.start(), range.end());
                self.mistakes.add(&place, format!("`{key}` is {text}, must be {least:?} to {most:?}"));
                None
            }
            Err(reason) => {
                self.mistakes.add(&place, format!("`{key}` is \"{text}\": {reason}"));
                None
            }
        }
    }

    /// A list of texts, or one text for a list of one. Empty if it is not there.
    pub(super) fn texts(&self, key: &'static str) -> Vec<Placed<&'t str>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let one = |value: &'t Spanned<DeValue<'t>>| {
            let text = value.get_ref().as_str();
            if text.is_none() {
                self.wrong_type(key, "a text, or a list of texts", value);
            }
            text.map(|text| Placed { value: text, place: value.span() })
        };
        match value.get_ref().as_array() {
            Some(array) => array.iter().filter_map(one).collect(),
            None => one(value).into_iter().collect(),
        }
    }

    /// A list of texts that stand for values.
    pub(super) fn all_parsed<T>(
        &self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<Placed<T>> {
        let texts = self.texts(key).into_iter();
        texts.filter_map(|text| self.parse_one(key, text, what, &parse)).collect()
    }

    /// The tables of this name: `[[key]]`, several or one, or `[key]`.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'t>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let one = |value: &'t Spanned<DeValue<'t>>| match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(table, value.span(), self.mistakes)),
            _ => {
                self.wrong_type(key, "a table", value);
                None
            }
        };
        match value.get_ref().as_array() {
            Some(array) => array.iter().filter_map(one).collect(),
            None => one(value).into_iter().collect(),
        }
    }

    /// The one table of this name.
    pub(super) fn section(&self, key: &'static str) -> Option<Section<'t>> {
        self.typed(key, "a table", DeValue::as_table)
            .map(|table| Section::new(table.value, table.place, self.mistakes))
    }

    fn get(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key)
    }

    fn typed<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<Placed<T>> {
        let value = self.get(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.wrong_type(key, what, value);
        }
        read.map(|read| Placed { value: read, place: value.span() })
    }

    fn parse_one<T>(
        &self,
        key: &str,
        text: Placed<&str>,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Placed<T>> {
        let parsed = parse(text.value);
        if parsed.is_none() {
            self.mistakes.add(&text.place, format!("`{key}` is \"{}\", must be {what}", text.value));
        }
        parsed.map(|value| Placed { value, place: text.place })
    }

    fn wrong_type(&self, key: &str, what: &str, value: &Spanned<DeValue<'_>>) {
        let is = value.get_ref().type_str();
        self.mistakes.add(&value.span(), format!("`{key}` must be {what}; this is of the type {is}"));
    }
}
