//! `rlvs drops`: what happened to packets other than being switched as usual.

use anyhow::Result;
use clap::Args;
use rlvs_director::flow::Flow;
use rlvs_ipvs::{Client, EventCount, SOCKET_NAME, Sample};
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Show how many packets were dropped, passed or answered with an error, and why.
#[derive(Debug, Args)]
pub struct Drops {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Show packets as they are dropped, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Between two requests for packets.
const INTERVAL: Duration = Duration::from_millis(200);

pub async fn run(options: Drops) -> Result<ExitCode> {
    let mut client = Client::connect_rlvs(SOCKET_NAME).await?;
    if options.watch {
        return watch(&mut client, options.json).await;
    }
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

/// Shows packets until nobody reads the output any more.
async fn watch(client: &mut Client, json: bool) -> Result<ExitCode> {
    let mut output = io::stdout();
    // What is left of an earlier watch is of no interest; and from here on packets are copied.
    client.take_samples().await?;
    if !json {
        writeln!(output, "PROTOCOL SOURCE DESTINATION WHY")?;
    }
    loop {
        for sample in client.take_samples().await? {
            let shown = if json {
                writeln!(output, "{}", sample_as_json(&sample))
            } else {
                writeln!(output, "{} {}", Flow::of_frame(&sample.frame), sample.words)
            };
            match shown {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                shown => shown?,
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn sample_as_json(sample: &Sample) -> serde_json::Value {
    let flow = Flow::of_frame(&sample.frame);
    json!({
        "event": sample.event,
        "words": sample.words,
        "protocol": flow.protocol,
        "source": flow.source,
        "source_port": flow.ports.map(|[source, _]| source),
        "destination": flow.destination,
        "destination_port": flow.ports.map(|[_, destination]| destination),
    })
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

    #[test]
    fn a_packets_json_has_null_for_what_is_not_there() {
        let sample = Sample { event: "NoRoom".into(), words: "dropped".into(), frame: vec![0; 14] };
        let expected = r#"{"destination":null,"destination_port":null,"event":"NoRoom","protocol":null,"source":null,"source_port":null,"words":"dropped"}"#;
        assert_eq!(sample_as_json(&sample).to_string(), expected);
    }
}
