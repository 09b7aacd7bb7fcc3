//! Words, and blocks of statements.

use super::source::Line;
use crate::import::{Place, Problem};

/// A keyword with what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    /// At least one.
    pub(super) words: Vec<String>,
    /// What stands in braces behind it.
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words behind the keyword.
    pub(super) fn arguments(&self) -> Vec<&str> {
        self.words.iter().skip(1).map(String::as_str).collect()
    }

    /// The word behind the keyword.
    pub(super) fn argument(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }

    pub(super) fn block(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

type Rest<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// Blocks within blocks; keepalived has four of them at most.
const DEEPEST: usize = 32;

/// The statements of the file.
///
/// # Errors
/// What keepalived would not take: braces and quotation marks without their other half.
pub(super) fn parse(lines: &[Line]) -> Result<Vec<Statement>, Vec<Problem>> {
    let mut problems = Vec::new();
    // The blocks that are open, outermost first; the last of each is what the next one belongs to.
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    for Line { place, text } in lines {
        let mut problem =
            |what: &str| problems.push(Problem { place: place.clone(), what: what.into(), help: None });
        let tokens = match tokens(text) {
            Some(tokens) => tokens,
            None => {
                problem("a quotation mark is never closed");
                continue;
            }
        };
        let mut words = Vec::new();
        let end = |words: &mut Vec<String>, open: &mut Vec<Vec<Statement>>| {
            if !words.is_empty()
                && let Some(level) = open.last_mut()
            {
                level.push(Statement { place: place.clone(), words: std::mem::take(words), block: None });
            }
        };
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    end(&mut words, &mut open);
                    let owner = open.last().and_then(|level| level.last());
                    if owner.is_none_or(|owner| owner.block.is_some()) || open.len() > DEEPEST {
                        problem("unexpected `{`");
                        return Err(problems);
                    }
                    open.push(Vec::new());
                }
                Token::Close => {
                    end(&mut words, &mut open);
                    if open.len() == 1 {
                        problem("there is a `}` too many");
                    } else if let Some(block) = open.pop()
                        && let Some(owner) = open.last_mut().and_then(|level| level.last_mut())
                    {
                        owner.block = Some(block);
                    }
                }
            }
        }
        end(&mut words, &mut open);
    }
    if open.len() > 1
        && let Some(last) = lines.last()
    {
        let unclosed = open[..open.len() - 1].iter().filter_map(|level| level.last());
        let unclosed: Vec<_> = unclosed.map(|owner| owner.words.join(" ")).collect();
        let what = format!("a `}}` is missing: {} is not closed", unclosed.join(", "));
        problems.push(Problem { place: last.place.clone(), what, help: None });
    }
    match open.into_iter().next() {
        Some(statements) if problems.is_empty() => Ok(statements),
        _ => Err(problems),
    }
}

/// None if a quotation mark is missing.
fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut mark = None;
    let mut rest: Rest<'_> = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (mark, c) {
            (Some(open), c) if c == open => mark = None,
            (Some(_), '\\') => word.get_or_insert_default().push(escaped(&mut rest)?),
            (None, '"' | '\'') => {
                mark = Some(c);
                word.get_or_insert_default();
            }
            (None, '{' | '}') => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            (None, c) if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    mark.is_none().then_some(tokens)
}

/// What a backslash in quotation marks makes of what follows it.
fn escaped(rest: &mut Rest<'_>) -> Option<char> {
    Some(match rest.next()? {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => number(rest, 0, 16),
        c @ '0'..='7' => number(rest, c.to_digit(8)?, 8),
        c => c,
    })
}

/// With up to two more digits.
fn number(rest: &mut Rest<'_>, first: u32, radix: u32) -> char {
    let mut number = first;
    for _ in 0..2 {
        let Some(digit) = rest.peek().and_then(|c| c.to_digit(radix)) else { break };
        number = number * radix + digit;
        rest.next();
    }
    char::from(number.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> Result<Vec<Statement>, Vec<String>> {
        let (lines, _) = crate::import::keepalived::source::lines(text, Path::new("k"), "id");
        parse(&lines).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// With braces around what is in blocks.
    fn shown(statements: &[Statement]) -> String {
        let one = |statement: &Statement| match &statement.block {
            Some(block) => format!("{} {{{}}}", statement.words.join("_"), shown(block)),
            None => statement.words.join("_"),
        };
        statements.iter().map(one).collect::<Vec<_>>().join(";")
    }

    #[test]
    fn braces_stand_anywhere() {
        for text in ["a b {\n c d\n e {\n }\n}\nf", "a b{ c d\n e { } }\n f", "a b\n{\nc d\ne\n{ }\n}\nf"] {
            assert_eq!(shown(&read(text).unwrap()), "a_b {c_d;e {}};f", "{text}");
        }
    }

    #[test]
    fn words_may_be_quoted() {
        let statements = read(r#"a "b c" d" e {"f "\x41\101\n\"\\ 'x'" '' "#).unwrap();
        assert_eq!(statements[0].words, ["a", "b c", "d e {f", "AA\n\"\\ 'x'", ""]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (text, expected) in [
            ("a {\n b {\n}\n", "k:3: a `}` is missing: a is not closed"),
            ("a\n}\n", "k:2: there is a `}` too many"),
            ("{\n}\n", "k:1: unexpected `{`"),
            ("a { } {\n }", "k:1: unexpected `{`"),
            ("a \"b\nc", "k:1: a quotation mark is never closed"),
        ] {
            assert_eq!(read(text), Err(vec![expected.to_owned()]), "{text}");
        }
        assert!(read(&"a {".repeat(1_000)).is_err());
    }
}
