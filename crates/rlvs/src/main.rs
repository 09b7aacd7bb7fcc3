//! The Linux Virtual Server on XDP.

mod cluster;
mod drops;
mod explain;
mod import;
mod ipvsadm;
mod log;
mod mark;
mod realserver;
mod run;
mod send_arp;
mod service;
mod status;
mod sync;
mod sysctl;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ipvsadm::Applet;

/// The Linux Virtual Server on XDP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Direct: attach the switch to interfaces and serve ipvsadm, in the foreground.
    Run(run::Run),
    /// Take the switch off all interfaces and forget services and connections.
    Detach,
    /// By a file, check real servers, have the director use those that are up, and speak VRRP, in the foreground.
    Cluster(cluster::Options),
    /// Say whether a cluster's file can be used, and if not, where and why.
    Check(cluster::File),
    /// Say what a cluster's file would change.
    Diff(cluster::File),
    Import(import::Import),
    Status(status::Options),
    SendArp(send_arp::SendArp),
    Drops(drops::Drops),
    Explain(explain::Explain),
    Sync(sync::Sync),
    Sysctl(sysctl::Sysctl),
    /// Say which packets carry which firewall mark, for `ipvsadm -f`.
    Mark(mark::Mark),
    /// Prepare this host to be a real server for direct routing or tunnelling.
    Realserver(realserver::RealServer),
    /// Administer virtual services, with ipvsadm's words; also ipvsadm-save and ipvsadm-restore.
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// ipvsadm's words.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// The options that may come first of all; others are ipvsadm's.
const OWN_OPTIONS: [&str; 4] = ["-h", "--help", "-V", "--version"];

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
    // Whoever put rlvs in ipvsadm's place means ipvsadm's options: of rlvs itself there are but these.
    if words.first().is_some_and(|word| word.starts_with('-') && !OWN_OPTIONS.contains(&word.as_str())) {
        return ipvsadm::run(Applet::Ipvsadm, &program, &words).into();
    }
    match command(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rlvs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn command(command: Command) -> anyhow::Result<ExitCode> {
    log::start();
    match command {
        Command::Run(command) => run::run(command).await,
        Command::Detach => run::detach().await,
        Command::Cluster(options) => cluster::run(options).await,
        Command::Check(file) => cluster::check(file),
        Command::Diff(file) => Ok(cluster::diff(file).await),
        Command::Import(command) => Ok(import::run(&command)),
        Command::Status(options) => Ok(status::run(options).await),
        Command::SendArp(options) => send_arp::run(options).await,
        Command::Drops(command) => drops::run(command).await,
        Command::Explain(command) => explain::run(command).await,
        Command::Sync(command) => sync::run(command).await,
        Command::Sysctl(command) => sysctl::run(command).await,
        Command::Mark(command) => mark::run(command).await,
        Command::Realserver(command) => realserver::run(command).await,
        // Unreachable by name, which main has seen to; listed above for the help.
        Command::Ipvsadm { words } => Ok(ipvsadm::run(Applet::Ipvsadm, "ipvsadm", &words).into()),
    }
}
