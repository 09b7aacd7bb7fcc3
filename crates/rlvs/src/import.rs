//! `rlvs import`: other programs' configurations as a file for `rlvs cluster`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rlvs_cluster::import::{self, Format, translate};

/// Translate the configuration of Piranha, keepalived or ldirectord into one for `rlvs cluster`, printed; what has no counterpart is told.
#[derive(Debug, Args)]
pub struct Import {
    /// The file; `-` for standard input.
    file: PathBuf,
    /// Whose it is, if that cannot be guessed from the file.
    #[arg(long, value_name = "PROGRAM", value_parser = format())]
    from: Option<Format>,
    /// Of keepalived's lines that begin with `@`, take those of this id, as its option -i says; by default the host's name.
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,
}

/// Something was not translated.
const PARTIAL: u8 = 1;
/// Nothing was.
const TROUBLE: u8 = 2;

/// Prints the translation, and what is not in it on standard error.
pub fn run(words: &Import) -> ExitCode {
    match print(words) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => PARTIAL.into(),
        Err(error) => {
            eprintln!("rlvs: {error:#}");
            TROUBLE.into()
        }
    }
}

fn print(Import { file, from, config_id }: &Import) -> Result<usize> {
    let text = read(file)?;
    let format = from.or_else(|| Format::guess(&text));
    let format =
        format.context("it does not look like any program's configuration: say whose it is by --from")?;
    let translation = translate(format, &text, file, config_id.as_deref(), import::look_up)?;
    std::io::stdout().write_all(translation.text.as_bytes()).context("cannot print the translation")?;
    for problem in &translation.problems {
        eprintln!("not translated: {problem}");
    }
    Ok(translation.problems.len())
}

fn read(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        return Ok(import::read(file)?);
    }
    let mut octets = Vec::new();
    std::io::stdin().lock().read_to_end(&mut octets).context("cannot read standard input")?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::NAMES.map(|(name, _)| name)).try_map(|name| name.parse::<Format>())
}
