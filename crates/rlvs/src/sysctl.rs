//! `rlvs sysctl`: IPVS's sysctls, in the form of sysctl(8).

use anyhow::{Context, Result, bail};
use clap::Args;
use rlvs_ipvs::{Client, ClientError, Errno, SOCKET_NAME, Setting};
use std::process::ExitCode;

/// What all names begin with.
const PREFIX: &str = "net.ipv4.vs.";

/// Read and change IPVS's sysctls, in the form of sysctl(8).
#[derive(Debug, Args)]
pub struct Sysctl {
    /// Show all.
    #[arg(short = 'a', long = "all", short_alias = 'A')]
    all: bool,
    /// Change: all words are NAME=VALUE.
    #[arg(short = 'w', long = "write")]
    write: bool,
    /// Show values without names.
    #[arg(short = 'n', long = "values", conflicts_with = "names")]
    values: bool,
    /// Show names without values.
    #[arg(short = 'N', long = "names")]
    names: bool,
    /// Do not show what was changed.
    #[arg(short = 'q', long = "quiet")]
    quiet: bool,
    /// Pass over names that there are none of.
    #[arg(short = 'e', long = "ignore")]
    ignore: bool,
    /// NAME to show, NAME=VALUE to change; a name is `net.ipv4.vs.drop_entry`, or short `drop_entry`.
    #[arg(value_name = "NAME[=VALUE]", required_unless_present = "all")]
    words: Vec<String>,
}

/// Carries all words out; one that fails is told and does not keep the others from it, as with sysctl(8).
pub async fn run(options: Sysctl) -> Result<ExitCode> {
    let mut client = Client::connect_rlvs(SOCKET_NAME).await?;
    if options.all {
        for setting in client.settings().await? {
            options.show(&setting);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for word in &options.words {
        if let Err(error) = one(&mut client, &options, word).await {
            eprintln!("rlvs sysctl: {error:#}");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

async fn one(client: &mut Client, options: &Sysctl, word: &str) -> Result<()> {
    let (name, value) = split(word)?;
    let result = match value {
        Some(value) => {
            let setting = Setting { name: name.clone(), value: value.to_owned() };
            client.set_setting(setting.clone()).await.map(|()| setting)
        }
        None if options.write => bail!("{word:?} must be of the form NAME=VALUE"),
        None => client.setting(&name).await,
    };
    match result {
        Ok(setting) => {
            if value.is_none() || !options.quiet {
                options.show(&setting);
            }
            Ok(())
        }
        Err(ClientError::Refused(Errno::NOENT)) if options.ignore => Ok(()),
        Err(ClientError::Refused(Errno::NOENT)) => {
            bail!("there is no {PREFIX}{name}; `rlvs sysctl -a` lists all")
        }
        Err(ClientError::Refused(Errno::INVAL)) => {
            bail!("{PREFIX}{name} does not take that value; rlvs-sysctl(8) has the ranges")
        }
        Err(error) => Err(error).with_context(|| format!("{PREFIX}{name}")),
    }
}

impl Sysctl {
    fn show(&self, Setting { name, value }: &Setting) {
        match (self.values, self.names) {
            (true, _) => println!("{value}"),
            (_, true) => println!("{PREFIX}{name}"),
            _ => println!("{PREFIX}{name} = {value}"),
        }
    }
}

/// Short name and value of a word; names may have slashes in the place of dots.
fn split(word: &str) -> Result<(String, Option<&str>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (word.trim(), None),
    };
    let dotted = name.replace('/', ".");
    let short = dotted.strip_prefix(PREFIX).unwrap_or(&dotted);
    if short.is_empty() {
        bail!("{word:?} has no name before the equals sign");
    }
    Ok((short.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_sysctl_does() {
        let split = |word| split(word).unwrap();
        assert_eq!(split("net.ipv4.vs.drop_entry"), ("drop_entry".into(), None));
        assert_eq!(split("net/ipv4/vs/drop_entry=1"), ("drop_entry".into(), Some("1")));
        assert_eq!(split("sync_threshold = 3 50"), ("sync_threshold".into(), Some("3 50")));
        assert!(super::split("=1").is_err());
    }
}
