//! `rlvs run` and `rlvs detach`.

use anyhow::Context;
use clap::Args;
use rlvs_director::config::Config;
use rlvs_ipvs::{Client, SOCKET_NAME, Server, ServerConfig};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

use crate::service;

/// The words after `rlvs run`.
#[derive(Args)]
pub struct Run {
    /// Attach to this interface (may be given several times) instead of every Ethernet interface.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// Do not switch what this machine itself sends: clients and NAT real servers on the director.
    #[arg(long)]
    no_local: bool,
    /// Read this configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub async fn run(words: Run) -> anyhow::Result<ExitCode> {
    let mut config = match &words.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if !words.interfaces.is_empty() {
        config.interfaces = words.interfaces;
    }
    config.local &= !words.no_local;
    tokio::select! {
        ended = rlvs_director::run(&config) => ended?,
        () = service::report(answers) => {}
        failed = ignore_hangup() => return failed,
    }
    Ok(ExitCode::SUCCESS)
}

/// A signal that means "read your file again" to other daemons must not end this one.
async fn ignore_hangup() -> anyhow::Result<ExitCode> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    loop {
        hangup.recv().await;
        tracing::warn!(
            "SIGHUP: the file is read at the start only; restart to have it read, the switch goes on meanwhile"
        );
    }
}

/// Whether our own loop answers as it answers others.
async fn answers() -> bool {
    let Ok(mut client) = Client::connect_rlvs(SOCKET_NAME).await else { return false };
    client.timeouts().await.is_ok()
}

pub async fn detach() -> anyhow::Result<ExitCode> {
    // As long as this process has the control socket no director can come up, and none may be running.
    let _no_director = Server::bind(ServerConfig::default()).context("cannot detach")?;
    if rlvs_director::detach().await? {
        println!("The switch is off all interfaces; services and connections are forgotten.");
    } else {
        println!("There is no switch in this network namespace.");
    }
    Ok(ExitCode::SUCCESS)
}
