//! `rlvs realserver`: makes this host fit to be a real server behind direct routing or tunnelling, undoes it, and
//! checks it.
//!
//! A real server must own the VIP without answering ARP for it, and, for tunnelling, take the outer header off.
//!
//! - [`host`]: interfaces and addresses of this network namespace, and changes to them
//! - [`sysctl`]: the settings under net.ipv4.conf
//! - [`tunnel`], [`decapsulation`]: the two ways to unwrap: the kernel's tunnel devices, or our XDP program
//! - [`state`]: what was there before, so that `remove` can bring it back
//! - [`add`], [`remove`], [`check`]: the commands

mod add;
mod check;
mod decapsulation;
mod host;
mod remove;
mod state;
mod sysctl;
mod tunnel;

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};

/// Prepare this host to be a real server for direct routing or tunnelling.
#[derive(Debug, Args)]
pub struct RealServer {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Own VIPs without answering ARP for them; with --tunnel, unwrap tunnelled packets too.
    Add(Add),
    /// Undo what `add` did: for the given VIPs, or for all.
    Remove {
        /// Virtual address to give up; all of them if none is given.
        #[arg(long = "vip", value_name = "ADDR", num_args = 1..)]
        vips: Vec<IpAddr>,
    },
    /// Say line by line what is right and what is wrong; exit status 1 if anything is wrong.
    Check {
        /// Virtual address to check, besides those that were added.
        #[arg(long = "vip", value_name = "ADDR", num_args = 1..)]
        vips: Vec<IpAddr>,
        /// Check for tunnelling too, even if `add` was not told to prepare it.
        #[arg(long)]
        tunnel: bool,
        /// Interface that faces director and clients; default: those of `add`, or all Ethernet ones with an address.
        #[arg(long = "interface", value_name = "IF")]
        interfaces: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// Virtual address to own.
    #[arg(long = "vip", value_name = "ADDR", num_args = 1.., required = true)]
    vips: Vec<IpAddr>,
    /// Prepare for tunnelling (ipvsadm -i), not only for direct routing (-g).
    #[arg(long)]
    tunnel: bool,
    /// Interface that faces director and clients; default: all Ethernet ones with an address.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// How the director wraps them (its ipvsadm --tun-type).
    #[arg(long, value_enum, default_value_t = TunType::Ipip, requires = "tunnel")]
    tun_type: TunType,
    /// UDP port of GUE (the director's ipvsadm --tun-port).
    #[arg(
        long,
        value_name = "PORT",
        required_if_eq("tun_type", "gue"),
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    tun_port: Option<u16>,
    /// Who unwraps tunnelled packets.
    #[arg(long, value_enum, default_value_t = Unwrap::Auto, requires = "tunnel")]
    unwrap: Unwrap,
}

/// What is between the outer and the inner IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TunType {
    /// Nothing.
    Ipip,
    /// A UDP and a GUE header.
    Gue,
    /// A GRE header.
    Gre,
}

/// Who takes the outer header off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unwrap {
    /// The kernel's tunnel devices where it has them, else the XDP program, as for GUE and GRE.
    Auto,
    /// The kernel's tunnel devices (tunl0, sit0, ip6tnl0); IPIP only.
    Kernel,
    /// The XDP program, on each interface.
    Xdp,
}

/// Runs the command; the exit status is 1 if `check` found something wrong.
///
/// # Errors
///
/// If the command could not be carried out; what was done up to there can be undone by `remove`.
pub async fn run(command: RealServer) -> Result<ExitCode> {
    match command.command {
        Command::Add(options) => {
            require_root()?;
            add::add(&options).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Remove { vips } => {
            require_root()?;
            remove::remove(&vips).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { vips, tunnel, interfaces } => {
            let right = check::check(&vips, tunnel, &interfaces).await?;
            Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn require_root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "addresses, sysctls and XDP programs are for root only: run this with sudo"
    );
    Ok(())
}
