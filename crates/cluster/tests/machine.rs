//! VRRP's state machine, by files of events and of what must come of each: `vrrp/*.events`.
//!
//! A file begins with rules, `version 2`, `priority 100`, `interval 1000`, and so on. Then each line is a time in
//! milliseconds, an event, and after an arrow the actions and the new deadline. Times are rounded down to milliseconds.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rlvs_cluster::config::Version;
use rlvs_cluster::pulse::machine::{Action, Event, Machine, Rules};

#[test]
fn events_have_their_actions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vrrp");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(replay(&text), text, "{}", path.display());
        files += 1;
    }
    assert!(files >= 9, "only {files} files");
}

/// The file as it would be if what came of each event were right.
fn replay(text: &str) -> String {
    let mut rules = Rules {
        version: Version::V2,
        priority: 100,
        interval: Duration::from_secs(1),
        preempt: true,
        preempt_delay: Duration::ZERO,
    };
    let mut machine = Machine::new(rules.clone());
    machine.set_own_address(Some("192.0.2.1".parse().unwrap()));
    let mut replayed = String::new();
    for line in text.lines() {
        let words: Vec<_> =
            line.split_once(" -> ").map_or(line, |(event, _)| event).split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            [time, event @ ..] if time.bytes().all(|b| b.is_ascii_digit()) => {
                let actions = machine.handle(milliseconds(time), self::event(event));
                let result = shown(&actions, machine.deadline());
                writeln!(replayed, "{} -> {result}", words.join(" ")).unwrap();
                continue;
            }
            [rule, value] => {
                match *rule {
                    "version" => rules.version = if *value == "2" { Version::V2 } else { Version::V3 },
                    "priority" => rules.priority = value.parse().unwrap(),
                    "interval" => rules.interval = milliseconds(value),
                    "preempt" => rules.preempt = *value == "yes",
                    "preempt_delay" => rules.preempt_delay = milliseconds(value),
                    other => panic!("no such rule: {other}"),
                }
                machine.set_rules(rules.clone());
            }
            other => panic!("not understood: {other:?}"),
        }
        writeln!(replayed, "{line}").unwrap();
    }
    replayed
}

fn event(words: &[&str]) -> Event {
    match words {
        ["start"] => Event::Start,
        ["stop"] => Event::Stop,
        ["deadline"] => Event::Deadline,
        ["fault"] => Event::Fault(true),
        ["no-fault"] => Event::Fault(false),
        ["follow-master"] => Event::FollowMaster,
        ["follow-backup"] => Event::FollowBackup,
        ["hear", from, priority, interval] => Event::Advertisement {
            from: from.parse().unwrap(),
            priority: priority.parse().unwrap(),
            interval: milliseconds(interval),
        },
        other => panic!("no such event: {other:?}"),
    }
}

fn shown(actions: &[Action], deadline: Option<Duration>) -> String {
    let action = |action: &Action| match action {
        Action::Send(priority) => format!("send {priority}"),
        Action::Enter(state) => state.to_string(),
        Action::Announce => "announce".into(),
    };
    let deadline = deadline.map_or("no deadline".into(), |at| format!("deadline {}", at.as_millis()));
    actions.iter().map(action).chain([deadline]).collect::<Vec<_>>().join(", ")
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}
