//! Words into options, by popt's rules: short options cluster, values are glued or follow, long names are whole,
//! and words that are no options are put aside.

use super::failure::Failure;
use super::option::{Option as Opt, Takes};

/// Walks along the words of a command line.
#[derive(Debug)]
pub struct Words<'a> {
    words: std::iter::Peekable<std::slice::Iter<'a, String>>,
    /// Rest of a cluster of short options.
    cluster: &'a str,
    /// The word that was taken last, which is how complaints name an option.
    last: &'a str,
    strays: Vec<&'a str>,
}

/// An option and its value.
pub type Found<'a> = (Opt, Option<&'a str>);

impl<'a> Words<'a> {
    /// From the words after the program's name.
    pub fn new(words: &'a [String]) -> Self {
        Self { words: words.iter().peekable(), cluster: "", last: "", strays: Vec::new() }
    }

    /// The next option.
    pub fn next(&mut self) -> Result<Option<Found<'a>>, Failure> {
        while self.cluster.is_empty() {
            let Some(word) = self.words.next() else { return Ok(None) };
            if word == "--" {
                self.strays.extend(self.words.by_ref().map(String::as_str));
            } else if let Some(long) = word.strip_prefix("--") {
                self.last = word;
                return self.long(long).map(Some);
            } else if word.len() > 1 && word.starts_with('-') {
                self.last = word;
                self.cluster = &word[1..];
            } else {
                self.strays.push(word);
            }
        }
        self.short().map(Some)
    }

    /// The word that was taken last.
    pub fn last(&self) -> &'a str {
        self.last
    }

    /// Words that are no options and no values.
    pub fn strays(self) -> Vec<&'a str> {
        self.strays
    }

    fn long(&mut self, word: &'a str) -> Result<Found<'a>, Failure> {
        let (name, glued) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let option = Opt::by_long(name).ok_or_else(|| self.bad("unknown option"))?;
        let value = match (option.takes(), glued) {
            (Takes::Nothing, Some(_)) => return Err(self.bad("option does not take an argument")),
            (Takes::Nothing, None) => None,
            (_, Some(value)) => Some(value),
            (takes, None) => self.following(takes)?,
        };
        Ok((option, value))
    }

    fn short(&mut self) -> Result<Found<'a>, Failure> {
        let mut letters = self.cluster.chars();
        let option = letters.next().and_then(Opt::by_short);
        let rest = letters.as_str();
        let option = option.ok_or_else(|| self.bad("unknown option"))?;
        if option.takes() == Takes::Nothing {
            if rest.starts_with('=') {
                return Err(self.bad("option does not take an argument"));
            }
            self.cluster = rest;
            return Ok((option, None));
        }
        self.cluster = "";
        let value = match rest {
            "" => self.following(option.takes())?,
            glued => Some(glued.strip_prefix('=').unwrap_or(glued)),
        };
        Ok((option, value))
    }

    /// A value in the next word: whatever it is if there must be one, else what does not look like an option.
    fn following(&mut self, takes: Takes) -> Result<Option<&'a str>, Failure> {
        let value = match takes {
            Takes::Value => Some(self.words.next().ok_or_else(|| self.bad("missing argument"))?),
            _ => self.words.next_if(|word| !word.starts_with('-')),
        };
        self.last = value.map_or(self.last, String::as_str);
        Ok(value.map(String::as_str))
    }

    fn bad(&self, what: &'static str) -> Failure {
        Failure::BadOption { word: self.last.into(), what }
    }
}
