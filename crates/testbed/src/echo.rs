//! A real server that says its name, over HTTP and UDP, and clients that ask for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;

use crate::namespace::Namespace;

/// How long a client waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// A request line or header longer than this is nobody's that we know.
const LINE_LIMIT: usize = 8192;

/// A server on a host that answers each HTTP request and each datagram with its name.
pub struct EchoServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Starts to serve on `address` and `port`, TCP and UDP. The address is given, and not "any", because a datagram's
    /// answer must come from the address that was asked: the virtual one in direct routing and tunnelling.
    ///
    /// # Errors
    ///
    /// When the host has no such address, or the port is taken.
    pub fn start(host: &Namespace, address: IpAddr, port: u16, name: &str) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (at, name) = (SocketAddr::new(address, port), name.to_owned());
        let thread = host.run(move || {
            let tcp = std::net::TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
            let udp = UdpSocket::bind(at).with_context(|| format!("cannot bind UDP {at}"))?;
            tcp.set_nonblocking(true)?;
            udp.set_nonblocking(true)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let serve = move || {
                runtime.block_on(async {
                    tokio::select! {
                        // Ending is the only thing that this can be told.
                        _ = stopped => {}
                        Err(error) = serve_http(tcp, &name) => eprintln!("{name}: HTTP: {error}"),
                        Err(error) = serve_udp(udp, &name) => eprintln!("{name}: UDP: {error}"),
                    }
                });
            };
            Ok(std::thread::Builder::new().name(format!("server {at}")).spawn(serve)?)
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        // Dropping the sender is the signal; a panic in the thread has been printed.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve_http(listener: std::net::TcpListener, name: &str) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let name = name.to_owned();
        // A connection's error is its client's business.
        tokio::spawn(async move { serve_connection(stream, &name).await.ok() });
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, name: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let body = format!("{name}\n");
    loop {
        let mut keep_alive = true;
        let mut request = String::new();
        loop {
            let mut line = String::new();
            let length = stream.read_line(&mut line).await?;
            if length == 0 {
                return Ok(());
            }
            if length > LINE_LIMIT {
                return Err(ErrorKind::InvalidData.into());
            }
            if line.trim_end().is_empty() {
                break;
            }
            if request.is_empty() {
                keep_alive = !line.contains("HTTP/1.0");
                request = line;
            } else if line.to_ascii_lowercase().starts_with("connection:") {
                keep_alive = !line.to_ascii_lowercase().contains("close");
            }
        }
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let length = body.len();
        let body = if request.starts_with("HEAD ") { "" } else { &body };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Server: {name}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
        if !keep_alive {
            return stream.shutdown().await;
        }
    }
}

async fn serve_udp(socket: UdpSocket, name: &str) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut datagram = [0; 2048];
    loop {
        let (_, from) = socket.recv_from(&mut datagram).await?;
        socket.send_to(name.as_bytes(), from).await?;
    }
}

/// Asks the HTTP server at `at` over a new connection; the body of its answer, without the end of line.
///
/// # Errors
///
/// When there is no answer within three seconds, or it is not 200.
pub fn ask_http(host: &Namespace, at: SocketAddr) -> Result<String> {
    host.run(move || {
        let mut stream = TcpStream::connect_timeout(&at, ANSWER_LIMIT)
            .with_context(|| format!("no connection to {at}"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        // In one piece: a formatter writes each of its own as a segment.
        let request = format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("no answer from {at}"))?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.trim_end().to_owned()),
            _ => bail!("{at} answers: {answer}"),
        }
    })
}

/// Sends a datagram to `at` from a new port; the answer.
///
/// # Errors
///
/// When there is no answer within three seconds.
pub fn ask_udp(host: &Namespace, at: SocketAddr) -> Result<String> {
    host.run(move || {
        let socket = UdpSocket::bind(if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        socket.connect(at).with_context(|| format!("no way to {at}"))?;
        socket.send(b"who")?;
        let mut answer = [0; 2048];
        let length = socket.recv(&mut answer).with_context(|| format!("no answer from UDP {at}"))?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn a_server_says_its_name_until_it_is_dropped() {
        let host = Namespace::new("server").unwrap();
        let at = "127.0.0.1:80".parse().unwrap();
        let server = EchoServer::start(&host, IpAddr::from([127, 0, 0, 1]), 80, "rs1").unwrap();
        assert_eq!(ask_http(&host, at).unwrap(), "rs1");
        assert_eq!(ask_udp(&host, at).unwrap(), "rs1");
        let kept = host.output(&["curl", "-sSv", "-m5", "http://127.0.0.1/a", "http://127.0.0.1/b"]).unwrap();
        assert_eq!(kept, "rs1\nrs1\n");
        drop(server);
        assert!(ask_http(&host, at).is_err());
    }
}
