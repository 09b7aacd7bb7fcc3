//! Programs that others call for one event each, and we for all.

use super::value::Value;

/// Programs by what happens, which our `notify` has as words.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks {
    /// Beginnings of these words, and what is called then.
    cases: Vec<(String, Vec<String>)>,
    /// Called each time, with the words.
    all: Option<Vec<String>>,
}

impl Hooks {
    /// Calls a program when the words begin like that.
    pub(super) fn on(&mut self, words: impl Into<String>, command: Option<Vec<String>>) {
        self.cases.extend(command.map(|command| (words.into(), command)));
    }

    /// Calls a program each time, after the others.
    pub(super) fn always(&mut self, command: Option<Vec<String>>) {
        self.all = command;
    }

    /// The value of `notify`: the program itself, or a shell that chooses.
    pub(super) fn notify(&self) -> Option<Value> {
        if self.cases.is_empty() {
            return self.all.clone().map(Value::from);
        }
        let quoted = |words: &[String]| words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        let case = |(words, command): &(String, Vec<String>)| {
            format!("{}|{}\\ *) {};;", quote(words), quote(words), quoted(command))
        };
        let cases: Vec<_> = self.cases.iter().map(case).collect();
        let mut script = format!("case \"$*\" in {} esac", cases.join(" "));
        if let Some(all) = &self.all {
            script += &format!("; exec {} \"$@\"", quoted(all));
        }
        Some(Value::from(vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]))
    }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// What the shell says when it is called with words.
    fn told(hooks: &Hooks, words: &[&str]) -> String {
        let Some(Value::List(notify)) = hooks.notify() else { panic!("no list") };
        let mut notify = notify.into_iter().map(|value| match value {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        });
        let output =
            std::process::Command::new(notify.next().unwrap()).args(notify).args(words).output().unwrap();
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn one_program_stands_as_it_is() {
        let mut hooks = Hooks::default();
        assert_eq!(hooks.notify(), None);
        hooks.always(strings(&["/bin/tell", "it"]));
        assert_eq!(hooks.notify().unwrap().to_string(), r#"["/bin/tell", "it"]"#);
    }

    #[test]
    fn the_shell_calls_the_program_of_the_event() {
        let mut hooks = Hooks::default();
        hooks.on("INSTANCE VI 1 MASTER", strings(&["/bin/echo", "it's", "$up *"]));
        hooks.on("INSTANCE VI 1 BACKUP", strings(&["/bin/echo", "down"]));
        assert_eq!(told(&hooks, &["INSTANCE", "VI 1", "MASTER", "100"]), "it's $up *\n");
        assert_eq!(told(&hooks, &["INSTANCE", "VI 1", "MASTER"]), "it's $up *\n");
        assert_eq!(told(&hooks, &["INSTANCE", "VI 1", "MASTERS"]), "");
        hooks.always(strings(&["/bin/echo", "all"]));
        assert_eq!(told(&hooks, &["INSTANCE", "VI 1", "BACKUP", "9"]), "down\nall INSTANCE VI 1 BACKUP 9\n");
        assert_eq!(told(&hooks, &["INSTANCE", "VI 1", "FAULT", "9"]), "all INSTANCE VI 1 FAULT 9\n");
    }
}
