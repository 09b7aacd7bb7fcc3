//! The words of a line.

/// What is wrong with a line, in the words of those who know Piranha.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("quotation mismatch: a quotation mark is never closed")]
    Quotation,
    #[error("unexpected end of file: a block is never closed by `}}`")]
    EndOfFile,
    #[error("unexpected arguments: there are more words than the keyword takes")]
    UnexpectedArguments,
    #[error("equal sign expected: write `keyword = value`, with blanks")]
    EqualSignExpected,
    #[error("missing arguments: the keyword takes more words")]
    MissingArguments,
    #[error("invalid host name or IP address; names are not looked up, write the address")]
    InvalidAddress,
    #[error("invalid argument")]
    InvalidArgument,
    #[error("integer expected")]
    IntegerExpected,
    #[error("boolean expected: 0 or 1")]
    BooleanExpected,
    #[error("unknown command")]
    UnknownCommand,
    #[error("list expected: a block begins with `{{` at the end of its line")]
    ListExpected,
    #[error("bad subnet mask")]
    BadMask,
    #[error("empty configuration")]
    Empty,
}

/// More than this Piranha does not read of a line.
const MOST: usize = 100;

/// Splits a line at blanks. In quotation marks blanks are ordinary, and so are backslashes but before the mark; outside a
/// backslash makes the next character ordinary.
pub(super) fn split(line: &str) -> Result<Vec<String>, Fault> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut mark = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (mark, c) {
            (Some(open), c) if c == open => mark = None,
            (Some(open), '\\') => {
                let next = rest.next().ok_or(Fault::Quotation)?;
                let word = word.get_or_insert_default();
                if next != open {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '"' | '\'') => {
                mark = Some(c);
                // There is a word even if nothing is in it.
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(rest.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if mark.is_some() {
        return Err(Fault::Quotation);
    }
    words.extend(word);
    if words.len() > MOST { Err(Fault::UnexpectedArguments) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotation_marks_keep_words_together() {
        let cases: [(&str, &[&str]); 6] = [
            ("a = 1", &["a", "=", "1"]),
            ("  send =\t\"GET / HTTP/1.0\\r\\n\"", &["send", "=", "GET / HTTP/1.0\\r\\n"]),
            (r#"x = "say \"no\"" 'it''s'"#, &["x", "=", "say \"no\"", "its"]),
            (r#"x = "" '"'"#, &["x", "=", "", "\""]),
            (r"a\ b c\\d", &["a b", "c\\d"]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_mark_that_is_never_closed_is_a_quotation_mismatch() {
        for line in ["x = \"", "x = 'a b", "x = \"a\\"] {
            assert_eq!(split(line), Err(Fault::Quotation), "{line}");
        }
        assert_eq!(split(&"a ".repeat(101)), Err(Fault::UnexpectedArguments));
    }
}
