//! `rlvs cluster`, `rlvs check` and `rlvs diff`: a cluster by one file.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::service;
use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::FutureExt;
use rlvs_cluster::director::{Director, Place};
use rlvs_cluster::{Order, Source, plan, pulse, status};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The words after `rlvs cluster`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    file: File,
    /// Take off the virtual addresses that a killed cluster has left in this network namespace, and end.
    #[arg(long, exclusive = true)]
    clean: bool,
}

/// The words after `rlvs check` and `rlvs diff`.
#[derive(Debug, Args)]
pub struct File {
    /// The configuration, see rlvs-cluster.toml(5).
    #[arg(value_name = "FILE", required_unless_present = "lvs_cf")]
    path: Option<PathBuf>,
    /// Instead: go by Piranha's file, translated as `rlvs import` does it.
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    lvs_cf: Option<PathBuf>,
}

impl File {
    fn source(self) -> Source {
        match (self.path, self.lvs_cf) {
            (_, Some(path)) => Source::LvsCf(path),
            (path, None) => Source::Own(path.unwrap_or_default()),
        }
    }
}

/// Differences were found: as diff(1) has it.
const DIFFERENT: u8 = 1;
/// There is no knowing: likewise.
const TROUBLE: u8 = 2;

/// Checks real servers, and has the director use those that are up, until a signal.
pub async fn run(options: Options) -> Result<ExitCode> {
    if options.clean {
        return clean().await;
    }
    run_by(options.file.source(), Place::Here, std::future::pending()).await
}

/// The same by any file, with the director at a place, until a signal or until something `ends`.
pub async fn run_by(source: Source, place: Place, ends: impl Future<Output = ()>) -> Result<ExitCode> {
    let name = status::socket_name(&place);
    let (orders, to_cluster) = mpsc::channel(1);
    let mut reload = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let pass_on = async move {
        let mut ends = std::pin::pin!(ends.fuse());
        loop {
            let order = tokio::select! {
                () = &mut ends => Order::Stop,
                _ = reload.recv() => Order::Reload,
                _ = terminate.recv() => Order::Stop,
                _ = interrupt.recv() => Order::Stop,
            };
            if order == Order::Stop {
                service::ends();
            }
            if orders.send(order).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ended = rlvs_cluster::run(source, place, to_cluster) => ended?,
        () = pass_on => {}
        () = service::report(async || answers(&name).await) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether our own loop goes round. Another cluster may have the socket.
async fn answers(name: &str) -> bool {
    status::ask_alive(name).await.is_ok_and(|process| process == std::process::id())
}

async fn clean() -> Result<ExitCode> {
    let name = status::socket_name(&Place::Here);
    if let Ok(process) = status::ask_alive(&name).await {
        bail!(
            "process {process} runs a cluster here, and needs its addresses; stop it, which takes them off"
        );
    }
    for (address, prefix, interface) in pulse::clean().await? {
        println!("{address}/{prefix} is off {interface}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether a file can be used. Asks nobody.
pub fn check(file: File) -> Result<ExitCode> {
    let source = file.source();
    let (config, path) = (source.read()?, source.path());
    let servers = config.services.iter().map(|service| service.servers.len()).sum::<usize>();
    println!("{}: services: {}, real servers: {servers}", path.display(), config.services.len());
    Ok(ExitCode::SUCCESS)
}

/// Says what a file would change if all its servers were up.
pub async fn diff(file: File) -> ExitCode {
    match differences(file).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => DIFFERENT.into(),
        Err(error) => {
            eprintln!("rlvs: {error:#}");
            TROUBLE.into()
        }
    }
}

async fn differences(file: File) -> Result<usize> {
    let config = file.source().read()?;
    let running = Director::new(Place::Here).running().await?;
    let changes = plan::changes(&config.concerned(running), &config.wanted());
    for change in &changes {
        println!("{change}");
    }
    Ok(changes.len())
}
