//! The Linux Virtual Server on XDP.

mod realserver;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The Linux Virtual Server on XDP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prepare this host to be a real server for direct routing or tunnelling.
    Realserver(realserver::RealServer),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Realserver(command) => realserver::run(command).await,
    }
}
