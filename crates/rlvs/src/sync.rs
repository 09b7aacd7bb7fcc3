//! `rlvs sync`: what the synchronisation daemons have done.

use anyhow::Result;
use clap::Args;
use rlvs_ipvs::{Client, Fact, SOCKET_NAME};
use serde_json::{Map, Value};
use std::process::ExitCode;

/// What the director's facts about its daemons begin with.
const PREFIX: &str = "sync ";

/// Show what the synchronisation daemons have sent and taken over, and whether the backup is in sync.
#[derive(Debug, Args)]
pub struct Sync {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(options: Sync) -> Result<ExitCode> {
    let facts = Client::connect_rlvs(SOCKET_NAME).await?.facts().await?;
    let facts = facts.iter().filter_map(of_a_daemon);
    if options.json {
        println!("{:#}", as_json(facts));
    } else {
        facts.for_each(|(role, what, value)| println!("{role} {what}: {value}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Role, what, and value; `None` of other facts.
fn of_a_daemon(fact: &Fact) -> Option<(&str, &str, &str)> {
    let (role, what) = fact.name.strip_prefix(PREFIX)?.split_once(' ')?;
    Some((role, what, &fact.value))
}

/// An object for each daemon; numbers as such.
fn as_json<'a>(facts: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> Value {
    let mut daemons = Map::new();
    for (role, what, value) in facts {
        let daemon = daemons.entry(role).or_insert_with(|| Map::new().into());
        daemon[what.replace(' ', "_")] = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
    }
    daemons.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_of_daemons_are_grouped_by_role() {
        let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
        let facts = [
            fact("version", "1"),
            fact("sync master interface", "eth1"),
            fact("sync master messages sent", "12"),
            fact("sync backup in sync", "yes"),
        ];
        let expected = json!({
            "master": { "interface": "eth1", "messages_sent": 12 },
            "backup": { "in_sync": "yes" },
        });
        assert_eq!(as_json(facts.iter().filter_map(of_a_daemon)), expected);
    }
}
