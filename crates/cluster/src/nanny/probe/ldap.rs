//! A simple bind to an LDAP server (RFC 4511, 4.2), anonymous or with a name and a password.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Failure, beginning, io};
use crate::config::Ldap;

/// BER's tags (X.690), as far as a bind needs them.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SIMPLE: u8 = 0x80;
/// An answer that is longer makes no sense.
const LARGEST: usize = 16 * 1024;

pub(super) async fn probe(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bind: &Ldap,
) -> Result<(), Failure> {
    stream.write_all(&request(bind)).await.map_err(io("send"))?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.map_err(io("receive"))?;
    let mut message = head.to_vec();
    // A length of more than seven bits stands in so many further octets.
    if head[1] & 0x80 != 0 {
        let mut length = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut length).await.map_err(io("receive"))?;
        message.extend_from_slice(&length);
    }
    let Some((_, length)) = header(&message).filter(|(_, length)| *length <= LARGEST) else {
        return Err(Failure::Unexpected(beginning(&message)));
    };
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await.map_err(io("receive"))?;
    message.extend_from_slice(&content);
    judge(&message)?;
    // Whoever does not say goodbye fills the server's log.
    let goodbye = element(SEQUENCE, &[element(INTEGER, &[2]), element(UNBIND_REQUEST, &[])].concat());
    stream.write_all(&goodbye).await.map_err(io("send"))
}

fn request(bind: &Ldap) -> Vec<u8> {
    const VERSION: u8 = 3;
    let bind = [
        element(INTEGER, &[VERSION]),
        element(OCTETS, bind.name.as_bytes()),
        element(SIMPLE, bind.password.as_bytes()),
    ];
    element(SEQUENCE, &[element(INTEGER, &[1]), element(BIND_REQUEST, &bind.concat())].concat())
}

fn judge(message: &[u8]) -> Result<(), Failure> {
    match result(message) {
        Some((0, _)) => Ok(()),
        Some((code, text)) => Err(Failure::Ldap { code, text: String::from_utf8_lossy(text).into_owned() }),
        None => Err(Failure::Malformed),
    }
}

/// Result code and diagnostic message of an answer to our bind.
fn result(message: &[u8]) -> Option<(u8, &[u8])> {
    let (_, message) = take(message, SEQUENCE)?;
    let (rest, number) = take(message, INTEGER)?;
    let (_, response) = take(rest, BIND_RESPONSE).filter(|_| number == [1])?;
    let (rest, code) = take(response, ENUMERATED)?;
    let (rest, _matched_name) = take(rest, OCTETS)?;
    let (_, text) = take(rest, OCTETS)?;
    Some((*code.first()?, text))
}

/// What follows an element of this tag, and its content.
fn take(data: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (start, length) = header(data).filter(|_| data.first() == Some(&tag))?;
    let content = data.get(start..start.checked_add(length)?)?;
    Some((&data[start + length..], content))
}

/// Where an element's content begins, and its length.
fn header(data: &[u8]) -> Option<(usize, usize)> {
    let first = *data.get(1)?;
    if first & 0x80 == 0 {
        return Some((2, first.into()));
    }
    let octets = data.get(2..2 + usize::from(first & 0x7f))?;
    if octets.len() > 4 {
        return None;
    }
    let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
    Some((2 + octets.len(), length))
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len();
    // Names and passwords are at most 1,024 octets: see the configuration.
    match length {
        0..=0x7f => element.push(length as u8),
        _ => element.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of OpenLDAP's slapd 2.5: to an anonymous bind, and to one with a wrong password.
    const WELCOME: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    const WRONG: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00";

    #[test]
    fn a_bind_is_that_of_others() {
        let anonymous = Ldap { name: String::new(), password: String::new() };
        assert_eq!(request(&anonymous), b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00");
        let long = Ldap { name: "n".repeat(200), password: String::new() };
        assert_eq!(&request(&long)[..8], b"\x30\x82\x00\xd8\x02\x01\x01\x60");
    }

    #[test]
    fn slapds_answers_are_understood() {
        assert!(judge(WELCOME).is_ok());
        assert_eq!(judge(WRONG).unwrap_err().to_string(), "LDAP says 49 (invalid credentials)");
        for length in 0..WELCOME.len() {
            assert!(judge(&WELCOME[..length]).is_err(), "{length}");
        }
        assert!(judge(b"\x30\x84\xff\xff\xff\xff\x02").is_err());
    }

    #[tokio::test]
    async fn a_server_that_talks_otherwise_is_none() {
        for answer in [&b"SSH-2.0-zork\r\n"[..], b"\x30\x89", b"\x30\x84\xff\xff\xff\xff", b""] {
            let (mut server, client) = tokio::io::duplex(1024);
            server.write_all(answer).await.unwrap();
            server.shutdown().await.unwrap();
            let bind = Ldap { name: String::new(), password: String::new() };
            assert!(probe(client, &bind).await.is_err(), "{answer:?}");
        }
    }
}
