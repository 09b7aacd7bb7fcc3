//! The Linux Virtual Server on XDP.
#![forbid(unsafe_code)]

mod ipvsadm;

use std::process::ExitCode;

use ipvsadm::Applet;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    // ipvsadm has a grammar of its own, so its words go past the parser of the other commands.
    let own_name = program.rsplit('/').next().unwrap_or(&program);
    if let Some(applet) = Applet::by_name(own_name) {
        return ipvsadm::run(applet, &program, &words).into();
    }
    if let Some((name, rest)) = words.split_first()
        && let Some(applet) = Applet::by_name(name)
    {
        return ipvsadm::run(applet, name, rest).into();
    }
    eprintln!("rlvs: unknown command; there are: ipvsadm, ipvsadm-save, ipvsadm-restore");
    ExitCode::from(2)
}
