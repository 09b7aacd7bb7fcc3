//! A mail to people (RFC 5322), by a mail server.

use std::io;

use super::smtp;
use crate::config::Mail;
use crate::notify::Dated;

pub(super) async fn send(mail: &Mail, batch: &[Dated]) -> io::Result<()> {
    smtp::send(mail, &message(mail, batch)).await
}

/// The whole message with its final dot.
fn message(mail: &Mail, batch: &[Dated]) -> String {
    let first = batch.first().map(|event| event.notice.to_string()).unwrap_or_default();
    let more = match batch.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    // A header has no room for other characters, and none of ours may end it.
    let subject: String =
        first.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(120).collect();
    let mut text = format!(
        "From: <{}>\r\nTo: {}\r\nSubject: rlvs: {subject}{more}\r\n{}MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n",
        mail.from,
        mail.to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", "),
        batch.first().map(|event| date(&event.time.to_string())).unwrap_or_default(),
    );
    for event in batch {
        for line in format!("{} {}", event.time, event.notice).lines() {
            // A dot at the beginning of a line is doubled (RFC 5321, 4.5.2).
            text.push_str(if line.starts_with('.') { "." } else { "" });
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text + ".\r\n"
}

/// The header of a time that RFC 3339 has as `2026-11-21T22:00:00.000Z`.
fn date(time: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts = || {
        let (year, month, day) = (time.get(..4)?, time.get(5..7)?, time.get(8..10)?);
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(format!("Date: {day} {month} {year} {} +0000\r\n", time.get(11..19)?))
    };
    parts().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Security;

    #[test]
    fn a_message_is_complete_and_ends_where_it_should() {
        let mail = Mail {
            host: "127.0.0.1".into(),
            port: 25,
            security: Security::None,
            login: None,
            from: "rlvs@lb1.example".into(),
            to: vec!["a@example.org".into(), "b@example.org".into()],
        };
        let event = |service: &str| -> Dated {
            serde_json::from_value(serde_json::json!({
                "time": "2026-02-03T04:05:06Z", "event": "service", "service": service, "state": "DOWN", "live": 0
            }))
            .unwrap()
        };
        let text = message(&mail, &[event("w\u{e4}b\r\nBcc: x"), event("x\n.\nQUIT")]);
        let expected = "From: <rlvs@lb1.example>\r\nTo: <a@example.org>, <b@example.org>\r\n\
            Subject: rlvs: w?b??Bcc: x: quorum lost: live servers weigh 0 (and 1 more)\r\n\
            Date: 03 Feb 2026 04:05:06 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n\
            2026-02-03T04:05:06.000Z w\u{e4}b\r\nBcc: x: quorum lost: live servers weigh 0\r\n\
            2026-02-03T04:05:06.000Z x\r\n..\r\nQUIT: quorum lost: live servers weigh 0\r\n.\r\n";
        assert_eq!(text, expected);
    }
}
