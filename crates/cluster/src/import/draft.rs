//! The file to be: blocks of lines, each of which knows where it comes from.

use std::fmt::Write;
use std::path::Path;

use super::value::Value;
use super::{Place, Problem, Translation};
use crate::config::{Config, ConfigError};

/// A file that is being written, and what will not be in it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) blocks: Vec<Block>,
    problems: Vec<Problem>,
}

/// A section: a header, its lines, and the sections within it.
#[derive(Debug)]
pub(super) struct Block {
    place: Place,
    /// What it is called where it comes from, such as `virtual web`.
    origin: String,
    /// Such as `[[service]]`; none of what stands at the top of a file.
    header: &'static str,
    keys: Vec<(&'static str, Value)>,
    parts: Vec<Block>,
}

impl Block {
    pub(super) fn new(header: &'static str, place: &Place, origin: impl Into<String>) -> Self {
        let (place, origin) = (place.clone(), origin.into());
        Self { place, origin, header, keys: Vec::new(), parts: Vec::new() }
    }

    /// Sets a key; the last value counts.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.keys.retain(|(old, _)| *old != key);
        self.keys.push((key, value.into()));
    }

    /// Sets a key, if there is a value for it.
    pub(super) fn set_some(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Adds a section within this one.
    pub(super) fn add(&mut self, part: Block) {
        self.parts.push(part);
    }

    fn print(&self, path: Vec<usize>, to: &mut Printer) {
        to.line("");
        to.starts.push((to.lines + 1, path.clone()));
        to.line(&comment(&format!("{}: {}", self.place, self.origin)));
        if !self.header.is_empty() {
            to.line(self.header);
        }
        for (key, value) in &self.keys {
            to.line(&format!("{key} = {value}"));
        }
        for (at, part) in self.parts.iter().enumerate() {
            part.print([path.as_slice(), &[at]].concat(), to);
        }
    }
}

/// A text, and in which line each block begins.
#[derive(Default)]
struct Printer {
    text: String,
    lines: usize,
    starts: Vec<(usize, Vec<usize>)>,
}

impl Printer {
    fn line(&mut self, content: &str) {
        self.text.push_str(content);
        self.text.push('\n');
        self.lines += 1;
    }
}

impl Draft {
    /// Tells of something that the file will not say.
    pub(super) fn problem(&mut self, place: &Place, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), what: what.into(), help: Some(help.into()) });
    }

    /// The text. What our own file cannot say, for whatever reason its reader has, is left out: the smallest section
    /// around it, with a word to the user.
    pub(super) fn finish(mut self, from: &Path) -> Translation {
        loop {
            let Printer { text, starts, .. } = self.print(from);
            let Err(ConfigError::Mistakes(mistakes)) = Config::parse(&text, Path::new("")) else {
                self.problems
                    .sort_by(|a, b| (&a.place.file, a.place.line).cmp(&(&b.place.file, b.place.line)));
                return Translation { text, problems: self.problems };
            };
            let mut wrong: Vec<(Vec<usize>, String)> = Vec::new();
            for mistake in mistakes {
                let block = starts.iter().rev().find(|(line, _)| *line <= mistake.line).or(starts.first());
                let Some((_, path)) = block else { continue };
                match wrong.iter_mut().find(|(known, _)| known == path) {
                    Some((_, reasons)) => _ = write!(reasons, "; {}", mistake.reason),
                    None => wrong.push((path.clone(), mistake.reason)),
                }
            }
            // Parts before what they are part of, later ones before earlier ones: then paths stay right.
            wrong.sort_by(|(one, _), (other, _)| other.cmp(one));
            for (path, reason) in wrong {
                if let Some(block) = remove(&mut self.blocks, &path) {
                    let help = "left out as a whole; write this section by hand";
                    self.problem(&block.place, format!("{}: {reason}", block.origin), help);
                }
            }
        }
    }

    fn print(&self, from: &Path) -> Printer {
        let mut printer = Printer::default();
        printer.line(&comment(&format!("Translated from {}.", from.display())));
        for (at, block) in self.blocks.iter().enumerate() {
            block.print(vec![at], &mut printer);
        }
        printer
    }
}

fn remove(blocks: &mut Vec<Block>, path: &[usize]) -> Option<Block> {
    match path {
        [] => None,
        [at] => (*at < blocks.len()).then(|| blocks.remove(*at)),
        [at, rest @ ..] => remove(&mut blocks.get_mut(*at)?.parts, rest),
    }
}

/// A line that says nothing to a program, whatever is in the text.
fn comment(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("# {plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize) -> Place {
        Place { file: Path::new("old.conf").into(), line }
    }

    #[test]
    fn a_section_that_cannot_be_is_left_out_alone() {
        let mut draft = Draft::default();
        let mut service = Block::new("[[service]]", &place(1), "good");
        service.set("tcp", "192.0.2.1:80");
        for (line, address) in [(2, "10.0.0.1"), (3, "nowhere"), (4, "10.0.0.2"), (5, "10.0.0.1")] {
            let mut server = Block::new("[[service.server]]", &place(line), address);
            server.set("address", address);
            service.add(server);
        }
        draft.blocks.push(service);
        let mut service = Block::new("[[service]]", &place(6), "bad");
        service.set("tcp", "192.0.2.1:99999");
        draft.blocks.push(service);
        let Translation { text, problems } = draft.finish(Path::new("old.conf"));
        let config = Config::parse(&text, Path::new("")).unwrap();
        let [service] = config.services.as_slice() else { panic!("{text}") };
        assert_eq!(service.servers.len(), 2, "{text}");
        let lines: Vec<_> = problems.iter().map(|problem| problem.place.line).collect();
        assert_eq!(lines, [3, 5, 6], "{problems:?}");
        assert!(text.contains("\n# old.conf:4: 10.0.0.2\n[[service.server]]\n"), "{text}");
    }

    #[test]
    fn what_comes_of_what_was_left_out_is_left_out_too() {
        let mut draft = Draft::default();
        let mut router = Block::new("[[vrrp]]", &place(1), "vrrp_instance VI_1");
        router.set("name", "VI_1");
        draft.blocks.push(router);
        let mut group = Block::new("[[sync_group]]", &place(2), "vrrp_sync_group G1");
        group.set("name", "G1");
        group.set("members", vec!["VI_1"]);
        draft.blocks.push(group);
        let Translation { text, problems } = draft.finish(Path::new("old.conf"));
        assert_eq!(Config::parse(&text, Path::new("")).unwrap(), Config::default());
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
