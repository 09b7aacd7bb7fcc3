//! Sends and expects.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::{Failure, beginning, io};
use crate::config::Dialogue;

/// As much of an answer as is looked into.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How long silence must last, where nothing is expected, before a datagram counts as arrived.
const NO_ICMP_ERROR: std::time::Duration = std::time::Duration::from_millis(500);

/// Each step's answer begins where the one before ended.
pub(super) async fn over_stream(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    Dialogue(steps): &Dialogue,
) -> Result<(), Failure> {
    for step in steps {
        stream.write_all(&step.send).await.map_err(io("send"))?;
        stream.flush().await.map_err(io("send"))?;
        let Some(expected) = &step.expect else { continue };
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while !expected.is_in(&answer) {
            let length = stream.read(&mut part).await.map_err(io("receive"))?;
            if length == 0 {
                return Err(Failure::Closed(beginning(&answer)));
            }
            answer.extend_from_slice(&part[..length]);
            if answer.len() > LARGEST_ANSWER {
                return Err(Failure::Unexpected(beginning(&answer)));
            }
        }
    }
    Ok(())
}

/// An answer is one datagram; others than the expected one are failures.
pub(super) async fn over_datagrams(socket: UdpSocket, Dialogue(steps): &Dialogue) -> Result<(), Failure> {
    let mut answer = vec![0; LARGEST_ANSWER];
    if steps.is_empty() {
        socket.send(&[]).await.map_err(io("send"))?;
    }
    for step in steps {
        socket.send(&step.send).await.map_err(io("send"))?;
        let Some(expected) = &step.expect else { continue };
        let length = socket.recv(&mut answer).await.map_err(io("receive"))?;
        if !expected.is_in(&answer[..length]) {
            return Err(Failure::Unexpected(beginning(&answer[..length])));
        }
    }
    if steps.iter().any(|step| step.expect.is_some()) {
        return Ok(());
    }
    match tokio::time::timeout(NO_ICMP_ERROR, socket.recv(&mut answer)).await {
        Ok(Err(error)) => Err(io("receive")(error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
