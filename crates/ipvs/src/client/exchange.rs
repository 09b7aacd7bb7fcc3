//! A request and its answer, over either socket.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::ClientError;
use crate::message::{self, FamilyName, Item, Request};
use crate::netlink::{self, Message};
use crate::socket::{Channel, LARGEST};

/// How long a director may say nothing. The kernel's can take seconds, when it waits for its estimators.
const PATIENCE: Duration = Duration::from_secs(60);

/// A socket on which requests are made one at a time.
#[derive(Debug)]
pub struct Exchange {
    channel: Channel,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Exchange {
    pub fn new(channel: Channel) -> Self {
        Self { channel, sequence: 0, buffer: vec![0; LARGEST] }
    }

    /// Number of a family: ENOENT if there is none such.
    pub async fn resolve(&mut self, family: FamilyName) -> Result<u16, ClientError> {
        let sequence = self.next_sequence();
        let mut id = None;
        self.converse(message::encode_family_query(family, sequence), sequence, true, |attributes| {
            id = message::decode_family_id(attributes);
            Ok(())
        })
        .await?;
        id.ok_or(ClientError::Malformed)
    }

    /// Makes a request and shows the messages of its answer to `each`.
    pub async fn ask(
        &mut self,
        family: u16,
        request: &Request,
        mut each: impl FnMut(Item),
    ) -> Result<(), ClientError> {
        let sequence = self.next_sequence();
        self.converse(message::encode(request, family, sequence), sequence, false, |attributes| {
            each(message::decode_item(request, attributes)?);
            Ok(())
        })
        .await
    }

    /// Sends and reads until the answer is complete: with its first message (`single`), or with the DONE or
    /// acknowledgement after it.
    async fn converse(
        &mut self,
        datagram: Vec<u8>,
        sequence: u32,
        single: bool,
        mut each: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), ClientError> {
        self.channel.send(&datagram).await.map_err(disconnected)?;
        loop {
            let datagram = tokio::time::timeout(PATIENCE, self.channel.receive(&mut self.buffer))
                .await
                .map_err(|_| ClientError::Silent(PATIENCE))?
                .map_err(disconnected)?;
            if datagram.is_empty() {
                return Err(ClientError::Closed);
            }
            // Other numbers answer an earlier request that was given up half-way.
            for message in netlink::messages(datagram).filter(|m| m.sequence == sequence) {
                match message.kind {
                    netlink::ERROR | netlink::DONE => return status(&message),
                    kind if kind < netlink::MIN_TYPE => {}
                    _ => {
                        let (_, attributes) = message.generic().ok_or(ClientError::Malformed)?;
                        each(attributes).map_err(|_| ClientError::Malformed)?;
                        if single {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

fn status(message: &Message<'_>) -> Result<(), ClientError> {
    match message.status() {
        // The kernel's DONE of old versions carries no status.
        Some(0) => Ok(()),
        None if message.kind == netlink::DONE => Ok(()),
        None => Err(ClientError::Malformed),
        Some(errno) => Err(ClientError::Refused(Errno::from_raw_os_error(errno))),
    }
}

fn disconnected(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Closed,
        _ => ClientError::Io(error),
    }
}
