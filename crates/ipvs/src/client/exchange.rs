//! A request and its answer, over either socket.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::ClientError;
use crate::message::{self, FamilyName, Item, Request};
use crate::netlink::{self, Message, Writer};
use crate::socket::{Channel, LARGEST};

/// How long a director may say nothing. The kernel's can take seconds, when it waits for its estimators.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests that travel in one datagram: the kernel answers each by one of its own, which wait in the socket's buffer.
const TOGETHER: usize = 64;

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

    /// Makes requests, each with its family's number, and gives the status of each. Those of a datagram are answered before the next
    /// one is sent: neither side's socket need hold more.
    pub async fn ask_all(
        &mut self,
        requests: &[(u16, &Request)],
    ) -> Result<Vec<Result<(), Errno>>, ClientError> {
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(TOGETHER) {
            let mut w = Writer::default();
            let first = self.sequence.wrapping_add(1);
            for (family, request) in some {
                let sequence = self.next_sequence();
                message::encode_to(&mut w, request, *family, sequence);
            }
            self.channel.send(&w.take()).await.map_err(disconnected)?;
            let mut statuses = vec![None; some.len()];
            while statuses.contains(&None) {
                for message in netlink::messages(self.receive().await?) {
                    let place = statuses.get_mut(message.sequence.wrapping_sub(first) as usize);
                    if let (Some(place), netlink::ERROR | netlink::DONE) = (place, message.kind) {
                        *place = Some(status(&message)?);
                    }
                }
            }
            answers.extend(statuses.into_iter().flatten());
        }
        Ok(answers)
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
            // Other numbers answer an earlier request that was given up half-way.
            for message in netlink::messages(self.receive().await?).filter(|m| m.sequence == sequence) {
                match message.kind {
                    netlink::ERROR | netlink::DONE => {
                        return status(&message)?.map_err(ClientError::Refused);
                    }
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

    /// The next datagram.
    async fn receive(&mut self) -> Result<&[u8], ClientError> {
        let datagram = tokio::time::timeout(PATIENCE, self.channel.receive(&mut self.buffer))
            .await
            .map_err(|_| ClientError::Silent(PATIENCE))?
            .map_err(disconnected)?;
        if datagram.is_empty() { Err(ClientError::Closed) } else { Ok(datagram) }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// What an ERROR or DONE message says.
fn status(message: &Message<'_>) -> Result<Result<(), Errno>, ClientError> {
    match message.status() {
        // The kernel's DONE of old versions carries no status.
        Some(0) => Ok(Ok(())),
        None if message.kind == netlink::DONE => Ok(Ok(())),
        None => Err(ClientError::Malformed),
        Some(errno) => Ok(Err(Errno::from_raw_os_error(errno))),
    }
}

fn disconnected(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Closed,
        _ => ClientError::Io(error),
    }
}
