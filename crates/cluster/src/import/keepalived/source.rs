//! The lines of a `keepalived.conf` as its parser sees them: without comments, with the files that it includes, for this
//! machine only, with definitions put in their places, with sequences written out.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::import::{Place, Problem};

/// A line, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) text: String,
}

/// As many lines, and files within files, as are followed; more of them go round in a circle.
const MOST_LINES: usize = 500_000;
const DEEPEST: usize = 40;
const LONGEST: usize = 65_536;

/// The lines of a text, and what is wrong with how they are made.
pub(super) fn lines(text: &str, path: &Path, config_id: &str) -> (Vec<Line>, Vec<Problem>) {
    let mut reader = Reader {
        config_id,
        definitions: HashMap::new(),
        lines: Vec::new(),
        problems: Vec::new(),
        definition: None,
        steps: 0,
    };
    reader.file(text, path, 0);
    (reader.lines, reader.problems)
}

struct Reader<'i> {
    config_id: &'i str,
    definitions: HashMap<String, String>,
    lines: Vec<Line>,
    problems: Vec<Problem>,
    /// Name and lines of the definition that goes on with the next line.
    definition: Option<(String, Vec<String>)>,
    steps: usize,
}

impl Reader<'_> {
    fn file(&mut self, text: &str, path: &Path, depth: usize) {
        let file: Arc<Path> = path.into();
        for (line, content) in (1..).zip(text.lines()) {
            let place = Place { file: Arc::clone(&file), line };
            let content = without_comment(content).trim();
            if self.definition.is_some() {
                self.go_on_defining(content);
            } else if let Some(pattern) = included(content) {
                self.include(&place, pattern, depth);
            } else {
                self.line(&place, content, 0);
            }
        }
        if let Some((name, lines)) = self.definition.take() {
            self.definitions.insert(name, lines.join("\n"));
        }
    }

    /// Lines of a definition end with a backslash, all but the last; empty ones do not end it.
    fn go_on_defining(&mut self, content: &str) {
        let Some((_, lines)) = &mut self.definition else { return };
        if let Some(content) = content.strip_suffix('\\') {
            lines.push(content.trim_end().to_owned());
        } else if !content.is_empty() {
            lines.push(content.to_owned());
            if let Some((name, lines)) = self.definition.take() {
                self.definitions.insert(name, lines.join("\n"));
            }
        }
    }

    fn line(&mut self, place: &Place, content: &str, depth: usize) {
        self.steps += 1;
        if depth > DEEPEST || self.steps > MOST_LINES || content.len() > LONGEST {
            if self.steps <= MOST_LINES {
                // Once is enough.
                self.steps = MOST_LINES;
                self.problem(
                    place,
                    "definitions and sequences come to too much",
                    "do they lead to themselves?",
                );
            }
            return;
        }
        let content = content.trim();
        if content.is_empty() {
        } else if let Some(condition) = content.strip_prefix('@') {
            let (id, rest) = condition.split_once(char::is_whitespace).unwrap_or((condition, ""));
            let wanted = match id.strip_prefix('^') {
                Some(id) => id != self.config_id,
                None => id == self.config_id,
            };
            if wanted {
                self.line(place, rest, depth + 1);
            }
        } else if content.starts_with("~SEQ") || content.starts_with("~LST") {
            self.repeat(place, content, depth);
        } else if let Some((name, value)) = definition(content) {
            match value.strip_suffix('\\') {
                // The last line of a definition of several lines may end one within it, too.
                Some(value) if value.trim().is_empty() => {
                    self.definition = Some((name.to_owned(), Vec::new()));
                }
                Some(value) => _ = self.definitions.insert(name.to_owned(), value.trim().to_owned()),
                None => _ = self.definitions.insert(name.to_owned(), value.to_owned()),
            }
        } else if let Some((at, value)) = self.replaceable(place, content) {
            let text = format!("{}{value}{}", &content[..at.start], &content[at.end..]);
            for line in text.lines() {
                match self.definition {
                    Some(_) => self.go_on_defining(line),
                    None => self.line(place, line, depth + 1),
                }
            }
        } else {
            self.lines.push(Line { place: place.clone(), text: content.to_owned() });
        }
    }

    /// The first definition that is used in a line: where, and its value.
    fn replaceable(&self, place: &Place, content: &str) -> Option<(Range<usize>, String)> {
        content.match_indices('$').find_map(|(at, _)| {
            let rest = &content[at + 1..];
            if let Some(braced) = rest.strip_prefix('{') {
                let name = &braced[..braced.find('}')?];
                return Some((at..at + name.len() + 3, self.value(place, name)?));
            }
            let length = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(length);
            let ends = behind.is_empty() || behind.starts_with(char::is_whitespace);
            ends.then(|| Some((at..at + 1 + length, self.value(place, name)?))).flatten()
        })
    }

    fn value(&self, place: &Place, name: &str) -> Option<String> {
        if let Some(value) = self.definitions.get(name) {
            return Some(value.clone());
        }
        let directory = place.file.parent().unwrap_or(Path::new(""));
        match name {
            "_PWD" => Some(directory.display().to_string()),
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_HASH" => Some("#".to_owned()),
            "_BANG" => Some("!".to_owned()),
            _ => None,
        }
    }

    /// `~SEQ(var, start, step, end)`, `~SEQx(...)`, `~LST(var, value, ...)` and `~LST({var, var}, {value, value}, ...)`:
    /// the rest of the line for each value.
    fn repeat(&mut self, place: &Place, content: &str, depth: usize) {
        let wrong = "a sequence that makes no sense";
        let help = "write ~SEQ(NAME, FIRST, STEP, LAST) or ~LST(NAME, VALUE, ...)";
        let (Some(open), Some(close)) = (content.find('('), content.find(')')) else {
            return self.problem(place, wrong, help);
        };
        let (Some(words), Some(kind)) = (content.get(open + 1..close), content.get(1..open)) else {
            return self.problem(place, wrong, help);
        };
        let mut words = words.to_owned();
        for _ in 0..DEEPEST {
            let Some((at, value)) = self.replaceable(place, &words) else { break };
            words.replace_range(at, &value);
        }
        let rest = &content[close + 1..];
        let arguments = arguments(&words);
        let rounds = match (kind, arguments.split_first()) {
            ("SEQ" | "SEQx", Some((name, numbers))) => sequence(numbers).map(|numbers| {
                let written = |n: i64| if kind == "SEQ" { n.to_string() } else { format!("{n:x}") };
                numbers.into_iter().map(|n| vec![(name.clone(), written(n))]).collect()
            }),
            ("LST", Some((names, values))) => list(names, values),
            _ => None,
        };
        let Some(rounds) = rounds else { return self.problem(place, wrong, help) };
        for round in rounds {
            self.definitions.extend(round);
            self.line(place, rest, depth + 1);
        }
    }

    fn include(&mut self, place: &Place, pattern: &str, depth: usize) {
        let directory = place.file.parent().unwrap_or(Path::new(""));
        let whole = directory.join(pattern);
        let found = whole.to_str().and_then(|pattern| glob::glob(pattern).ok());
        let mut paths: Vec<PathBuf> =
            found.into_iter().flatten().filter_map(Result::ok).filter(|path| path.is_file()).collect();
        paths.sort();
        if depth == DEEPEST {
            return self.problem(place, "files include each other", "break the circle");
        }
        if paths.is_empty() {
            self.problem(
                place,
                format!("there is no file {}", whole.display()),
                "its content is missing here",
            );
        }
        for path in paths {
            match read(&path) {
                Ok(text) => self.file(&text, &path, depth + 1),
                Err(error) => {
                    let what = format!("cannot read {}: {error}", path.display());
                    self.problem(place, what, "its content is missing here");
                }
            }
        }
    }

    fn problem(&mut self, place: &Place, what: impl Into<String>, help: &str) {
        self.problems.push(Problem { place: place.clone(), what: what.into(), help: Some(help.to_owned()) });
    }
}

fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// Comments begin with `#` or `!` that is not in quotation marks.
fn without_comment(line: &str) -> &str {
    let mut mark = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (mark, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => mark = None,
            (None, '"' | '\'') => mark = Some(c),
            (None, '#' | '!') => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The files of an `include` line.
fn included(content: &str) -> Option<&str> {
    let (keyword, pattern) = content.split_once(char::is_whitespace)?;
    let known = ["include", "includer", "includem", "includew", "includeb", "includea"];
    known.contains(&keyword).then(|| pattern.trim().trim_matches('"'))
}

/// `$NAME=value`.
fn definition(content: &str) -> Option<(&str, &str)> {
    let (name, value) = content.strip_prefix('$')?.split_once('=')?;
    let good = name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit());
    (good && !name.is_empty()).then(|| (name, value.trim()))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Splits at commas, but for those in braces.
fn arguments(words: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut braces = 0_u32;
    for c in words.chars() {
        match c {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if braces == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = arguments.last_mut() {
            last.push(c);
        }
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// `end`, `start, end` or `start, step, end`.
fn sequence(numbers: &[String]) -> Option<Vec<i64>> {
    let number = |text: &String| {
        let (negative, digits) =
            text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
        let number = match digits.strip_prefix("0x") {
            Some(hexadecimal) => i64::from(u32::from_str_radix(hexadecimal, 16).ok()?),
            None => i64::from(digits.parse::<u32>().ok()?),
        };
        Some(if negative { -number } else { number })
    };
    let numbers: Vec<i64> = numbers.iter().map(number).collect::<Option<_>>()?;
    let towards = |from: i64, to: i64| if from <= to { 1 } else { -1 };
    let (start, step, end) = match *numbers.as_slice() {
        [end] => (towards(0, end), towards(0, end), end),
        [start, end] => (start, towards(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return None,
    };
    if step == 0 || (end - start) / step > i64::try_from(MOST_LINES).unwrap_or(i64::MAX) {
        return None;
    }
    let within = |n: &i64| if step > 0 { *n <= end } else { *n >= end };
    Some(std::iter::successors(Some(start), |n| Some(n + step)).take_while(within).collect())
}

/// The names with the values of each round.
fn list(names: &str, values: &[String]) -> Option<Vec<Vec<(String, String)>>> {
    let members = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(text) => arguments(text),
        None => vec![text.to_owned()],
    };
    let names = members(names);
    let round = |value: &String| {
        let values = members(value);
        (values.len() == names.len()).then(|| names.iter().cloned().zip(values).collect())
    };
    values.iter().map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let (lines, problems) = lines(text, Path::new("/etc/k.conf"), "main");
        assert_eq!(problems, []);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn comments_and_blank_lines_are_nothing() {
        assert_eq!(read("a # b\n! c\n\n d \"e # f\" 'g!' ! h"), ["a", "d \"e # f\" 'g!'"]);
    }

    #[test]
    fn conditions_look_at_the_id() {
        assert_eq!(read("@main a\n@other b\n@^main c\n@^other d\n$IF=@main\n$IF e"), ["a", "d", "e"]);
    }

    #[test]
    fn definitions_are_replaced_where_they_are_used() {
        let text =
            "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100\n$SUB=10\n${BASE}.100\na $SUB b$SUB $SUB.c $NONE ${NONE}";
        assert_eq!(read(text), ["10.2.0.100", "10.2.10.100", "a 10 b10 $SUB.c $NONE ${NONE}"]);
        assert_eq!(read("x \"${_PWD}/y\" ${_HASH}1"), ["x \"/etc/y\" #1"]);
    }

    #[test]
    fn definitions_may_have_several_lines() {
        let text = "$RS= \\\n  real_server 10.0.0.${N} 80 { \\\n  weight 1 \\\n\n  }\n$VS= \\\n  virtual_server { \\\n  $N=1 \\\n  $RS \\\n  $N=2 \\\n  $RS \\\n }\n$VS\nafter";
        assert_eq!(
            read(text),
            [
                "virtual_server {",
                "real_server 10.0.0.1 80 {",
                "weight 1",
                "}",
                "real_server 10.0.0.2 80 {",
                "weight 1",
                "}",
                "}",
                "after"
            ]
        );
    }

    #[test]
    fn sequences_are_written_out() {
        assert_eq!(read("~SEQ(N, 0, 2) a $N"), ["a 0", "a 1", "a 2"]);
        assert_eq!(read("~SEQ(N, 2) ~SEQ(M, 1, -1, 0) a${N}.$M"), ["a1.1", "a1.0", "a2.1", "a2.0"]);
        assert_eq!(read("~SEQx(N, 0x90, 0x10, 0xb0) fe80::$N"), ["fe80::90", "fe80::a0", "fe80::b0"]);
        assert_eq!(read("~LST({A, B}, {10,1},{20,4}) x.${A}.$B"), ["x.10.1", "x.20.4"]);
        assert_eq!(read("$N=2\n~LST(I, 7, ${N}) x $I"), ["x 7", "x 2"]);
    }

    #[test]
    fn circles_end() {
        for text in
            ["$A=$A $A\n$A", "$A=${B}${B}\n$B=${A}${A}\n${A}", "~SEQ(I, 0, 999999) x", "~SEQ(I,1,0,2) x"]
        {
            let (_, problems) = lines(text, Path::new("k"), "main");
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        }
    }
}
