//! `rlvs run` and `rlvs detach`.

use anyhow::Context;
use clap::Args;
use rlvs_cluster::Source;
use rlvs_cluster::director::Place;
use rlvs_director::config::Config;
use rlvs_ipvs::{Client, SOCKET_NAME, Server, ServerConfig};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::{cluster, service};

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
    /// Besides do what `rlvs cluster --lvs-cf` does: services, checks and addresses by Piranha's file.
    #[arg(long, value_name = "FILE")]
    lvs_cf: Option<PathBuf>,
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
    let Some(source) = words.lvs_cf.map(Source::LvsCf) else {
        tokio::select! {
            ended = rlvs_director::run(&config) => ended?,
            () = service::report(answers) => {}
            failed = ignore_hangup() => return failed,
        }
        return Ok(ExitCode::SUCCESS);
    };
    // A file that cannot be used is told before anything is attached.
    source.read()?;
    // A signal ends both. If the director ends for another reason, addresses must not stay here.
    let (ending, ends) = oneshot::channel::<()>();
    let director = async {
        let ended = rlvs_director::run(&config).await;
        drop(ending);
        Ok(ended)
    };
    let cluster = cluster::run_by(source, Place::Socket(SOCKET_NAME.to_owned()), async {
        let _it_ended = ends.await;
    });
    let (directed, code) = tokio::try_join!(director, cluster)?;
    directed?;
    Ok(code)
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
