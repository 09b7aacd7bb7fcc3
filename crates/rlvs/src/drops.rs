//! `rlvs drops`: what happened to packets other than being switched as usual.

use anyhow::Result;
use clap::Args;
use rlvs_ipvs::{Client, EventCount, SOCKET_NAME};
use serde_json::json;
use std::process::ExitCode;

/// Show how many packets were dropped, passed or answered with an error, and why.
#[derive(Debug, Args)]
pub struct Drops {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(options: Drops) -> Result<ExitCode> {
    let mut client = Client::connect_rlvs(SOCKET_NAME).await?;
    let events = client.events().await?;
    if options.json {
        println!("{:#}", as_json(&events));
    } else {
        for EventCount { count, words, .. } in &events {
            println!("{count:>12}  {words}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(events: &[EventCount]) -> serde_json::Value {
    events
        .iter()
        .map(|event| json!({ "event": event.name, "words": event.words, "count": event.count }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_name_words_and_count() {
        let event = EventCount { name: "TableFull".into(), words: "dropped: full".into(), count: 1 << 60 };
        let expected = r#"[{"count":1152921504606846976,"event":"TableFull","words":"dropped: full"}]"#;
        assert_eq!(as_json(&[event]).to_string(), expected);
    }
}
