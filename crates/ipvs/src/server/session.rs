//! One client's connection.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use super::Call as Pending;
use super::peer::Access;
use crate::message::{self, Call, Reply, Request};
use crate::netlink::{self, Message, Writer};
use crate::socket::{Channel, LARGEST};

/// Datagrams are closed at this size; what is in them then still fits [`LARGEST`].
const FULL: usize = 12 * 1024;
/// How long a client may leave a reply unread before it is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the client until it leaves, breaks off or reads too slowly.
pub async fn run(channel: Channel, access: Access, calls: mpsc::Sender<Pending>) {
    let mut buffer = vec![0; LARGEST];
    while let Ok(datagram) = channel.receive(&mut buffer).await {
        if datagram.is_empty() {
            return;
        }
        // Requests that came together are answered together.
        let mut out = Out { channel: &channel, w: Writer::default() };
        for message in netlink::messages(datagram) {
            if serve(&message, access, &calls, &mut out).await.is_err() {
                return;
            }
        }
        if out.flush().await.is_err() {
            return;
        }
    }
}

/// Answers one message. An error ends the connection.
async fn serve(
    message: &Message<'_>,
    access: Access,
    calls: &mpsc::Sender<Pending>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let wants_ack = message.flags & netlink::ACK != 0;
    if message.flags & netlink::REQUEST == 0 || message.kind < netlink::MIN_TYPE {
        return if wants_ack { out.status(message, 0).await } else { Ok(()) };
    }
    let request = match message::decode_message(message) {
        Err(errno) => return out.status(message, refusal(access, message, errno).raw_os_error()).await,
        Ok(Call::Family(family)) => {
            message::encode_answer(&mut out.w, family, message.sequence);
            return if wants_ack { out.status(message, 0).await } else { Ok(()) };
        }
        Ok(Call::EmptyDump) if access.may_read() => return out.done(message).await,
        Ok(Call::EmptyDump) => return out.status(message, Errno::PERM.raw_os_error()).await,
        Ok(Call::Request(request)) => request,
    };
    let allowed = if request.is_read() { access.may_read() } else { access.may_change() };
    if !allowed {
        return out.status(message, Errno::PERM.raw_os_error()).await;
    }
    let is_dump = request.is_dump();
    let lists_destinations = matches!(request, Request::ListDestinations(_));
    match ask(calls, request).await? {
        Err(Errno::SRCH) if lists_destinations => out.done(message).await,
        Err(errno) => out.status(message, errno.raw_os_error()).await,
        Ok(reply) => {
            let flags = if is_dump { netlink::MULTI } else { 0 };
            for item in reply.into_items() {
                message::encode_item(&mut out.w, &item, flags, message.sequence);
                out.flush_if_full().await?;
            }
            match (is_dump, wants_ack) {
                (true, _) => out.done(message).await,
                (false, true) => out.status(message, 0).await,
                (false, false) => Ok(()),
            }
        }
    }
}

/// The kernel asks for privilege after it looked for family and command, before it looks at attributes.
fn refusal(access: Access, message: &Message<'_>, errno: Errno) -> Errno {
    match errno {
        Errno::NOENT | Errno::OPNOTSUPP => errno,
        _ if message.kind != message::CONTROL_FAMILY && !access.may_read() => Errno::PERM,
        _ => errno,
    }
}

/// Passes a request to the director.
async fn ask(calls: &mpsc::Sender<Pending>, request: Request) -> io::Result<Result<Reply, Errno>> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (reply_to, reply) = oneshot::channel();
    calls.send(Pending { request, reply_to }).await.map_err(|_| gone())?;
    reply.await.map_err(|_| gone())
}

/// What goes to the client: messages gathered to datagrams.
struct Out<'a> {
    channel: &'a Channel,
    w: Writer,
}

impl Out<'_> {
    /// A status message: an errno, or 0 as acknowledgement.
    async fn status(&mut self, message: &Message<'_>, errno: i32) -> io::Result<()> {
        self.w.message(netlink::ERROR, 0, message.sequence, |w| w.status(errno, message.header));
        self.flush_if_full().await
    }

    /// The end of a series.
    async fn done(&mut self, message: &Message<'_>) -> io::Result<()> {
        self.w.message(netlink::DONE, netlink::MULTI, message.sequence, |w| w.status(0, &[]));
        self.flush_if_full().await
    }

    async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.w.len() >= FULL {
            self.flush().await?;
            // A client that reads as fast as we write would otherwise keep this thread from the others.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.w.len() == 0 {
            return Ok(());
        }
        let datagram = self.w.take();
        tokio::time::timeout(PATIENCE, self.channel.send(&datagram)).await?
    }
}
