//! Asks a server, once. Whoever asks sets the time limit: a probe that is dropped leaves nothing behind.

mod command;
mod dialogue;
mod dns;
mod file;
mod grpc;
mod http;
mod ldap;
mod ping;
pub(crate) mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpStream, UdpSocket};

use crate::config::Probe;

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The address.
    pub address: IpAddr,
    /// The port; 0 for probes that need none.
    pub port: u16,
}

/// Why a server is taken for not serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It is not asked.
    #[error("it is out of service")]
    OutOfService,
    /// A socket or a program failed.
    #[error("cannot {action}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the kernel says.
        reason: io::Error,
    },
    /// TLS cannot be spoken.
    #[error("TLS: {0}")]
    Tls(String),
    /// The answer is not HTTP.
    #[error("no HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is not HTTP/2.
    #[error("no HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// It answers with another status.
    #[error("status {0}")]
    Status(u16),
    /// It answers something else; its beginning.
    #[error("unexpected answer: {0:?}")]
    Unexpected(String),
    /// It closes the connection without the answer; what came before.
    #[error("the connection ends after {0:?}")]
    Closed(String),
    /// Its answer is not well formed.
    #[error("the answer makes no sense")]
    Malformed,
    /// A DNS server answers with an error.
    #[error("DNS says {0}")]
    Dns(String),
    /// An LDAP server refuses a bind.
    #[error("LDAP says {code}{}", ldap_explained(*.code, .text))]
    Ldap {
        /// RFC 4511, appendix A.
        code: u8,
        /// What it says to people.
        text: String,
    },
    /// A gRPC server has no answer.
    #[error("gRPC says {code}{}", grpc_explained(*.code, .text))]
    Grpc {
        /// As the header `grpc-status` has it.
        code: u16,
        /// What it says to people.
        text: String,
    },
    /// A gRPC server says of itself, or of a service of its own, that it does not serve.
    #[error("it says {0}")]
    NotServing(String),
    /// A body has another digest.
    #[error("the body's digest is {0}")]
    Digest(String),
    /// A file's verdict.
    #[error("{0}")]
    File(String),
    /// A program's verdict.
    #[error("the program ended with {0}")]
    Exit(std::process::ExitStatus),
}

impl Target {
    /// Asks. The weight that the server should have, if the answer names one.
    ///
    /// # Errors
    /// [`Failure`] if it does not serve.
    pub async fn probe(&self, probe: &Probe) -> Result<Option<i32>, Failure> {
        match probe {
            Probe::Never => Err(Failure::OutOfService),
            Probe::Connect => self.connect().await.map(|_| None),
            Probe::Http(request) => http::probe(self, request).await.map(|()| None),
            Probe::Stream { dialogue, tls: None } => {
                dialogue::over_stream(self.connect().await?, dialogue).await.map(|()| None)
            }
            Probe::Stream { dialogue, tls: Some(tls) } => {
                let stream = tls::handshake(self, tls, &[]).await?;
                dialogue::over_stream(stream, dialogue).await.map(|()| None)
            }
            Probe::Datagram(dialogue) => {
                dialogue::over_datagrams(self.socket().await?, dialogue).await.map(|()| None)
            }
            Probe::Dns(question) => dns::probe(self.socket().await?, question).await.map(|()| None),
            Probe::Ldap { bind, tls: None } => ldap::probe(self.connect().await?, bind).await.map(|()| None),
            Probe::Ldap { bind, tls: Some(tls) } => {
                ldap::probe(tls::handshake(self, tls, &[]).await?, bind).await.map(|()| None)
            }
            Probe::Grpc(health) => grpc::probe(self, health).await.map(|()| None),
            Probe::File(file) => file::probe(self, file).await,
            Probe::Ping => ping::probe(self.address).await.map(|()| None),
            Probe::Command { command, output, weigh } => {
                command::probe(self, command, output.as_deref(), *weigh).await
            }
        }
    }

    fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// A word of the file with its `%h` and `%p`.
    fn filled_in(&self, word: &str) -> String {
        word.replace("%h", &self.address.to_string()).replace("%p", &self.port.to_string())
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream, Failure> {
        TcpStream::connect(self.endpoint()).await.map_err(io("connect"))
    }

    /// A UDP socket that only hears the target, and is told of its ICMP errors.
    async fn socket(&self) -> Result<UdpSocket, Failure> {
        let any: IpAddr =
            if self.address.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await.map_err(io("open a socket"))?;
        socket.connect(self.endpoint()).await.map_err(io("find a route"))?;
        Ok(socket)
    }
}

fn ldap_explained(code: u8, text: &str) -> String {
    let name = match code {
        _ if !text.is_empty() => text,
        32 => "no such object",
        48 => "inappropriate authentication",
        49 => "invalid credentials",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        _ => return String::new(),
    };
    format!(" ({name})")
}

/// The codes that a health check meets, where the server has no words of its own.
fn grpc_explained(code: u16, text: &str) -> String {
    let name = match code {
        _ if !text.is_empty() => text,
        5 => "no such service",
        7 => "permission denied",
        12 => "it has no health service",
        14 => "unavailable",
        16 => "unauthenticated",
        _ => return String::new(),
    };
    format!(" ({name})")
}

fn io(action: &'static str) -> impl Fn(io::Error) -> Failure {
    move |reason| Failure::Io { action, reason }
}

/// The beginning of an answer, for a message.
fn beginning(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned()
}
