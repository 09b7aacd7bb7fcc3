//! One client's connection.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use super::Call as Pending;
use super::peer::Access;
use crate::message::{self, Call, FamilyName, Reply, Request};
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
        if serve(datagram, access, &calls, &mut out).await.is_err() || out.flush().await.is_err() {
            return;
        }
    }
}

/// Answers the messages of a datagram. An error ends the connection.
async fn serve(
    datagram: &[u8],
    access: Access,
    calls: &mpsc::Sender<Pending>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let mut changes = Vec::new();
    for message in netlink::messages(datagram) {
        match admit(&message, access) {
            Ok(request) if !request.is_read() => changes.push((message, request)),
            other => {
                change(std::mem::take(&mut changes), calls, out).await?;
                match other {
                    Ok(request) => show(&message, request, calls, out).await?,
                    Err(said) => out.say(&message, said).await?,
                }
            }
        }
    }
    change(changes, calls, out).await
}

/// What is answered without the director.
enum Said {
    Nothing,
    /// An errno, or 0.
    Status(i32),
    /// A listing of nothing.
    EmptyDump,
    /// The number of a family.
    Family(FamilyName),
}

/// What the director is to be asked, if the client may ask it.
fn admit(message: &Message<'_>, access: Access) -> Result<Request, Said> {
    if message.flags & netlink::REQUEST == 0 || message.kind < netlink::MIN_TYPE {
        return Err(if wants_ack(message) { Said::Status(0) } else { Said::Nothing });
    }
    let refused = |errno: Errno| Said::Status(errno.raw_os_error());
    let request = match message::decode_message(message) {
        Err(errno) => return Err(refused(refusal(access, message, errno))),
        Ok(Call::Family(family)) => return Err(Said::Family(family)),
        Ok(Call::EmptyDump) if access.may_read() => return Err(Said::EmptyDump),
        Ok(Call::EmptyDump) => return Err(refused(Errno::PERM)),
        Ok(Call::Request(request)) => request,
    };
    let allowed = if request.is_read() { access.may_read() } else { access.may_change() };
    if allowed { Ok(request) } else { Err(refused(Errno::PERM)) }
}

/// Has the director carry changes out, and says what became of each.
async fn change(
    changes: Vec<(Message<'_>, Request)>,
    calls: &mpsc::Sender<Pending>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let (messages, requests): (Vec<Message<'_>>, Vec<Request>) = changes.into_iter().unzip();
    for (message, reply) in messages.iter().zip(ask(calls, requests).await?) {
        match reply {
            Err(errno) => out.status(message, errno.raw_os_error()).await?,
            Ok(_) if wants_ack(message) => out.status(message, 0).await?,
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Has the director answer a question.
async fn show(
    message: &Message<'_>,
    request: Request,
    calls: &mpsc::Sender<Pending>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let is_dump = request.is_dump();
    let lists_destinations = matches!(request, Request::ListDestinations(_));
    let reply = ask(calls, vec![request]).await?.pop().ok_or(io::ErrorKind::BrokenPipe)?;
    match reply {
        Err(Errno::SRCH) if lists_destinations => out.done(message).await,
        Err(errno) => out.status(message, errno.raw_os_error()).await,
        Ok(reply) => {
            let flags = if is_dump { netlink::MULTI } else { 0 };
            for item in reply.into_items() {
                message::encode_item(&mut out.w, &item, flags, message.sequence);
                out.flush_if_full().await?;
            }
            match (is_dump, wants_ack(message)) {
                (true, _) => out.done(message).await,
                (false, true) => out.status(message, 0).await,
                (false, false) => Ok(()),
            }
        }
    }
}

fn wants_ack(message: &Message<'_>) -> bool {
    message.flags & netlink::ACK != 0
}

/// The kernel asks for privilege after it looked for family and command, before it looks at attributes.
fn refusal(access: Access, message: &Message<'_>, errno: Errno) -> Errno {
    match errno {
        Errno::NOENT | Errno::OPNOTSUPP => errno,
        _ if message.kind != message::CONTROL_FAMILY && !access.may_read() => Errno::PERM,
        _ => errno,
    }
}

/// Passes requests to the director.
async fn ask(calls: &mpsc::Sender<Pending>, requests: Vec<Request>) -> io::Result<Vec<Result<Reply, Errno>>> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (reply_to, reply) = oneshot::channel();
    calls.send(Pending { requests, reply_to }).await.map_err(|_| gone())?;
    reply.await.map_err(|_| gone())
}

/// What goes to the client: messages gathered to datagrams.
struct Out<'a> {
    channel: &'a Channel,
    w: Writer,
}

impl Out<'_> {
    async fn say(&mut self, message: &Message<'_>, said: Said) -> io::Result<()> {
        match said {
            Said::Nothing => Ok(()),
            Said::Status(errno) => self.status(message, errno).await,
            Said::EmptyDump => self.done(message).await,
            Said::Family(family) => {
                message::encode_answer(&mut self.w, family, message.sequence);
                if wants_ack(message) { self.status(message, 0).await } else { Ok(()) }
            }
        }
    }

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
