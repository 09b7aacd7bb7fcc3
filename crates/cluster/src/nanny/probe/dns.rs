//! A DNS question over UDP (RFC 1035).

use std::net::IpAddr;

use tokio::net::UdpSocket;

use super::{Failure, io};
use crate::config::{Dns, Record};

const HEADER: usize = 12;
/// Class IN.
const INTERNET: u16 = 1;

pub(super) async fn probe(socket: UdpSocket, question: &Dns) -> Result<(), Failure> {
    let id = fastrand::u16(..);
    socket.send(&query(id, question)).await.map_err(io("send"))?;
    let mut answer = [0; 4096];
    loop {
        let length = socket.recv(&mut answer).await.map_err(io("receive"))?;
        let answer = &answer[..length];
        // A late answer to an earlier question, or somebody's guess.
        if answer.get(..2) == Some(&id.to_be_bytes()) {
            return judge(answer, question);
        }
    }
}

fn query(id: u16, question: &Dns) -> Vec<u8> {
    const RECURSION_DESIRED: u16 = 0x0100;
    let mut query = Vec::with_capacity(HEADER + question.name.len() + 6);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    for label in question.name.split('.').filter(|label| !label.is_empty()) {
        // The configuration takes labels of 63 octets at most.
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    for word in [question.record as u16, INTERNET] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    query
}

fn judge(answer: &[u8], question: &Dns) -> Result<(), Failure> {
    let flags = word(answer, 2).ok_or(Failure::Malformed)?;
    if flags & 0x8000 == 0 {
        return Err(Failure::Malformed);
    }
    match flags & 0xf {
        0 => {}
        code => {
            const NAMES: [&str; 5] = ["FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
            let name = NAMES.get(usize::from(code) - 1);
            return Err(Failure::Dns(name.map_or_else(|| format!("RCODE {code}"), |name| (*name).into())));
        }
    }
    let Some(wanted) = question.answer else { return Ok(()) };
    let found = addresses(answer, question.record).ok_or(Failure::Malformed)?;
    if found.contains(&wanted) { Ok(()) } else { Err(Failure::Unexpected(format!("{found:?}"))) }
}

/// The addresses in the answer section.
fn addresses(message: &[u8], record: Record) -> Option<Vec<IpAddr>> {
    let (questions, answers) = (word(message, 4)?, word(message, 6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(message, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = after_name(message, at)?;
        let (kind, length) = (word(message, at)?, usize::from(word(message, at + 8)?));
        let data = message.get(at + 10..at + 10 + length)?;
        if kind == record as u16 {
            let v4 = <[u8; 4]>::try_from(data).map(IpAddr::from);
            found.extend(v4.or_else(|_| <[u8; 16]>::try_from(data).map(IpAddr::from)).ok());
        }
        at += 10 + length;
    }
    Some(found)
}

/// A name ends with an empty label or a pointer (4.1.4).
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(answer: Option<&str>) -> Dns {
        Dns { name: "a.example".into(), record: Record::A, answer: answer.map(|text| text.parse().unwrap()) }
    }

    /// The answer to [`question`] with a CNAME before the address, which stands behind a pointer.
    fn answer(code: u8) -> Vec<u8> {
        let mut message = query(7, &question(None));
        message[2..8].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, 2]);
        message.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'b', 0xc0, 14]);
        message.extend_from_slice(&[0xc0, 37, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        message
    }

    #[test]
    fn the_address_is_looked_for() {
        assert!(judge(&answer(0), &question(None)).is_ok());
        assert!(judge(&answer(0), &question(Some("192.0.2.7"))).is_ok());
        assert!(matches!(judge(&answer(0), &question(Some("192.0.2.8"))), Err(Failure::Unexpected(_))));
    }

    #[test]
    fn errors_have_their_names() {
        assert_eq!(judge(&answer(3), &question(None)).unwrap_err().to_string(), "DNS says NXDOMAIN");
        assert_eq!(judge(&answer(9), &question(None)).unwrap_err().to_string(), "DNS says RCODE 9");
    }

    #[test]
    fn a_cut_answer_is_malformed() {
        let whole = answer(0);
        for length in 0..whole.len() {
            assert!(judge(&whole[..length], &question(Some("192.0.2.7"))).is_err(), "{length}");
        }
    }
}
