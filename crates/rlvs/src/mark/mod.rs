//! `rlvs mark`: which packets carry which firewall mark.
//!
//! Netfilter's marks come after XDP, so the director has rules of its own.
//!
//! - [`listing`]: the rules for people and programs
//! - [`import`]: rules of iptables and nftables, translated

mod import;
mod listing;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, Subcommand};
use rlvs_ipvs::{Client, ClientError, Errno, Family, MarkRule, MarkRuleId, Network, Ports, Protocol};
use std::path::PathBuf;
use std::process::ExitCode;

/// Say which packets carry which firewall mark, for `ipvsadm -f`.
#[derive(Debug, Args)]
pub struct Mark {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a rule. A packet must have all that is said; of several rules the first that matches decides.
    Add {
        #[command(flatten)]
        words: Words,
        /// The mark; 0 leaves packets unmarked whatever later rules say.
        #[arg(long, value_name = "N", value_parser = MarkRule::parse_mark)]
        mark: u32,
        /// Put it before the rule of this number, not after all.
        #[arg(long, value_name = "NUMBER")]
        before: Option<u32>,
    },
    /// Show the rules with their numbers.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete a rule: that of a number, or by the words that it was added with.
    #[command(group = ArgGroup::new("which").args(["number", "mark"]).required(true))]
    Delete {
        /// The rule's number in the listing.
        #[arg(conflicts_with_all = Words::NAMES)]
        number: Option<u32>,
        #[command(flatten)]
        words: Words,
        /// The mark.
        #[arg(long, value_name = "N", value_parser = MarkRule::parse_mark)]
        mark: Option<u32>,
    },
    /// Translate the rules that set marks, from what `iptables-save`, `ip6tables-save` or `nft -j list ruleset` prints.
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// What iptables rules are for, where the file does not say it.
        #[arg(long)]
        ipv6: bool,
        /// Add the rules, instead of printing them as commands.
        #[arg(long)]
        add: bool,
        /// Add what could be translated even if something could not.
        #[arg(long, requires = "add")]
        partial: bool,
    },
}

/// What packets must have.
#[derive(Debug, Args)]
struct Words {
    /// IPv4 packets only.
    #[arg(long, short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 packets only.
    #[arg(long, short = '6')]
    ipv6: bool,
    /// tcp, udp or sctp.
    #[arg(long, short, value_parser = MarkRule::parse_protocol)]
    protocol: Option<Protocol>,
    /// Address that packets come from, or a network such as 192.0.2.0/24.
    #[arg(long, short, value_name = "NET")]
    source: Option<Network>,
    /// Address that they go to, or a network.
    #[arg(long, short, value_name = "NET")]
    destination: Option<Network>,
    /// Port that they come from, or a range such as 8000-8099.
    #[arg(long, value_name = "PORTS")]
    source_port: Option<Ports>,
    /// Port that they go to, or a range.
    #[arg(long, value_name = "PORTS")]
    destination_port: Option<Ports>,
    /// Interface that they come in by.
    #[arg(long, short, value_name = "IF")]
    interface: Option<String>,
}

impl Words {
    const NAMES: [&str; 8] =
        ["ipv4", "ipv6", "protocol", "source", "destination", "source_port", "destination_port", "interface"];

    fn rule(self, mark: u32) -> Result<MarkRule> {
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Inet),
            (_, true) => Some(Family::Inet6),
            _ => None,
        };
        let rule = MarkRule {
            mark,
            family,
            protocol: self.protocol,
            source: self.source,
            destination: self.destination,
            source_ports: self.source_port,
            destination_ports: self.destination_port,
            interface: self.interface,
        };
        Ok(rule.checked()?)
    }
}

/// Runs the command; the exit status is 1 if an import could not translate everything.
pub async fn run(command: Mark) -> Result<ExitCode> {
    match command.command {
        Command::Add { words, mark, before } => {
            let rule = words.rule(mark)?;
            add(&mut connect().await?, rule, before).await?;
        }
        Command::List { json } => {
            let rules = connect().await?.mark_rules().await.context("cannot list mark rules")?;
            listing::print(&rules, json)?;
        }
        Command::Delete { number, words, mark } => {
            let id = match (number, mark) {
                (Some(number), _) => MarkRuleId::Number(number),
                (None, mark) => MarkRuleId::Rule(words.rule(mark.unwrap_or_default())?),
            };
            connect().await?.delete_mark_rule(id).await.map_err(|error| match error {
                ClientError::Refused(Errno::NOENT) => {
                    anyhow::anyhow!("there is no such mark rule; `rlvs mark list` shows those that there are")
                }
                other => anyhow::Error::new(other).context("cannot delete the mark rule"),
            })?;
        }
        Command::Import { file, ipv6, add, partial } => {
            let family = if ipv6 { Family::Inet6 } else { Family::Inet };
            return import::run(&file, family, add, partial).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The rlvs director: the kernel's IPVS has netfilter for this.
async fn connect() -> Result<Client, ClientError> {
    Client::connect_rlvs(rlvs_ipvs::SOCKET_NAME).await
}

async fn add(client: &mut Client, rule: MarkRule, before: Option<u32>) -> Result<()> {
    let words = rule.to_string();
    client.new_mark_rule(rule, before).await.map_err(|error| match error {
        ClientError::Refused(Errno::EXIST) => anyhow::anyhow!("there is the rule `{words}` already"),
        ClientError::Refused(Errno::RANGE) => {
            anyhow::anyhow!(
                "there is no rule {} to put one before; see `rlvs mark list`",
                before.unwrap_or_default()
            )
        }
        ClientError::Refused(Errno::NOSPC) => {
            anyhow::anyhow!(
                "there are {} mark rules, the most that there can be",
                rlvs_director::MARK_RULES_MAX
            )
        }
        other => anyhow::Error::new(other).context(format!("cannot add the rule `{words}`")),
    })
}
