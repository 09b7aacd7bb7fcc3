//! The socket of one of the networks by which the two machines hear each other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::machine::Word;

/// Sends and receives. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) own: IpAddr,
    partner: SocketAddr,
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Path {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If this machine does not have the address, or the port is taken.
    pub(super) async fn open(
        (own, partner): (IpAddr, IpAddr),
        port: u16,
        heard: mpsc::Sender<Word>,
    ) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((own, port)).await?);
        let reader = tokio::spawn(read(Arc::clone(&socket), partner, heard));
        Ok(Self { own, partner: SocketAddr::new(partner, port), socket, reader })
    }

    /// Whether it is the socket between these.
    pub(super) fn is(&self, (own, partner): (IpAddr, IpAddr), port: u16) -> bool {
        self.own == own && self.partner == SocketAddr::new(partner, port)
    }

    pub(super) async fn send(&self, word: Word) -> io::Result<()> {
        self.socket.send_to(&word.octets(), self.partner).await.map(drop)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Who is not the partner is not heard.
async fn read(socket: Arc<UdpSocket>, partner: IpAddr, heard: mpsc::Sender<Word>) {
    let mut buffer = [0; 64];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // Such as that nobody listens at the other end.
            Err(error) => {
                tracing::debug!(%error, "no heartbeat");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        if from.ip() != partner {
            tracing::debug!("a heartbeat from {from}, who is not the partner");
        } else if let Some(word) = Word::of(&buffer[..length])
            && heard.send(word).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_partner_is_heard() {
        let (own, partner) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3]));
        // A port that is free now.
        let port = UdpSocket::bind((own, 0)).await.unwrap().local_addr().unwrap().port();
        let (to_us, mut heard) = mpsc::channel(9);
        let path = Path::open((own, partner), port, to_us).await.unwrap();
        let other = UdpSocket::bind("127.0.0.4:0").await.unwrap();
        other.send_to(&Word::Running.octets(), (own, port)).await.unwrap();
        let theirs = UdpSocket::bind((partner, port)).await.unwrap();
        theirs.send_to(b"nonsense", (own, port)).await.unwrap();
        theirs.send_to(&Word::Stopped.octets(), (own, port)).await.unwrap();
        assert_eq!(heard.recv().await, Some(Word::Stopped));
        path.send(Word::Running).await.unwrap();
        let mut received = [0; 9];
        let (length, from) = theirs.recv_from(&mut received).await.unwrap();
        assert_eq!((&received[..length], from), (&Word::Running.octets()[..], (own, port).into()));
    }
}
