//! `rlvs ipvsadm`: ipvsadm 1.31, word for word, for rlvs's director and the kernel's IPVS.
//!
//! Words (`words`) are options (`option`), which make an action (`parse`, `checks`, `action`), which is carried out
//! (`execute`) and shown (`listing`, `save`, `connections`). Where ipvsadm is odd, the oddity is kept if scripts can
//! see it, and said so where it is.

mod action;
mod address;
#[cfg(test)]
mod any_words;
mod checks;
mod connections;
mod execute;
mod failure;
mod help;
mod listing;
mod number;
mod option;
mod order;
mod parse;
mod save;
mod scheduler_flags;
mod services;
mod words;

use std::io::{self, BufWriter, Read, Write};

use execute::Session;
use failure::Failure;

/// The names that this program goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applet {
    /// The tool itself.
    Ipvsadm,
    /// Prints the table as commands.
    Save,
    /// Empties the table and carries out commands.
    Restore,
}

impl Applet {
    /// The applet of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "ipvsadm" => Some(Self::Ipvsadm),
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => None,
        }
    }
}

/// Runs an applet on the words after its name; `program` is that name as typed. The exit status is ipvsadm's.
pub fn run(applet: Applet, program: &str, words: &[String]) -> u8 {
    let (mut out, mut err) = (BufWriter::new(io::stdout().lock()), io::stderr().lock());
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Err(error) => Err(error.into()),
        Ok(runtime) => runtime.block_on(async {
            match applet {
                Applet::Ipvsadm => {
                    Session::new(program, &mut out, &mut err).command(words, &mut io::stdin().lock()).await
                }
                Applet::Save => save_table(Session::new("ipvsadm", &mut out, &mut err), program, words).await,
                Applet::Restore => restore_table(Session::new("ipvsadm", &mut out, &mut err)).await,
            }
        }),
    };
    let flushed = out.flush().map_err(Failure::from);
    match outcome.and_then(|status| flushed.map(|()| status)) {
        Ok(status) => status,
        Err(failure) => {
            // A reader that has seen enough (head, grep -q) is no mistake worth a word.
            let closed = matches!(&failure, Failure::Stream(e) if e.kind() == io::ErrorKind::BrokenPipe);
            if !closed {
                let _nobody_to_tell = writeln!(err, "{failure}");
            }
            failure.status()
        }
    }
}

/// `ipvsadm-save [-n]`.
async fn save_table(mut session: Session<'_>, program: &str, words: &[String]) -> Result<u8, Failure> {
    let mut command = vec!["-S".to_string()];
    for word in words.iter().filter(|word| word.starts_with('-')) {
        if word != "-n" {
            let text = format!(
                "{program}: {word} is no option\n\
                 {program} [-n] prints the IPVS table as commands, with -n in numbers only"
            );
            return Err(Failure::Listing(text));
        }
        command = vec!["-S".into(), "-n".into()];
    }
    session.command(&command, &mut io::empty()).await
}

/// `ipvsadm-restore`: empties the table first, and takes comments.
async fn restore_table(mut session: Session<'_>) -> Result<u8, Failure> {
    let mut rules = Vec::new();
    io::stdin().lock().read_to_end(&mut rules)?;
    let kept: Vec<&[u8]> =
        rules.split_inclusive(|&b| b == b'\n').filter(|line| !line.starts_with(b"#")).collect();
    session.command(&["-C".into()], &mut io::empty()).await?;
    session.restore(&mut kept.concat().as_slice()).await
}

#[cfg(test)]
mod tests;
