//! Programs that keepalived calls, as our file has them.

use std::path::Path;

use super::context::Context;
use super::tree::Statement;

/// Where a program without a path is looked for.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program of a statement with its arguments; `whole`: unquoted, all words are one command.
pub(super) fn command(context: &mut Context, statement: &Statement, whole: bool) -> Option<Vec<String>> {
    let arguments = statement.arguments();
    let text = match arguments.split_first() {
        Some((_, rest)) if whole && !rest.is_empty() => arguments.join(" "),
        Some((first, rest)) => {
            if !rest.is_empty() {
                let help =
                    "programs run as the user of `rlvs cluster`; let the program be setpriv or runuser";
                context.untranslated(statement, help);
            }
            (*first).to_owned()
        }
        None => {
            context.wrong(statement, "a program is expected");
            return None;
        }
    };
    let mut words = split(&text);
    let program = words.first_mut()?;
    if !program.starts_with('/') {
        let found = PATH.iter().map(|folder| Path::new(folder).join(&*program)).find(|path| path.is_file());
        match found.and_then(|path| path.to_str().map(str::to_owned)) {
            Some(path) if !program.contains('/') => *program = path,
            _ => {
                let help = "write the absolute path of a program; no shell is between, but /bin/sh -c can be";
                context.untranslated(statement, help);
                return None;
            }
        }
    }
    Some(words)
}

/// Splits at blanks that are not in quotation marks.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut mark = None;
    for c in text.chars() {
        match (mark, c) {
            (Some(open), c) if c == open => mark = None,
            (None, '"' | '\'') => {
                mark = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split(" /bin/a 'b c' \"d 'e\"f  "), ["/bin/a", "b c", "d 'ef"]);
    }
}
