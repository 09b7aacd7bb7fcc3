//! A connection that is to outlive its director.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::namespace::Namespace;
use crate::wait;

/// How long a part of it may take, on a busy or an emulated machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What is sent at a time, and the pause after it.
const NUMBERS: u64 = 512;
const PAUSE: Duration = Duration::from_millis(4);

/// A connection over which a server sends numbers, one after the other, until it is told to end.
pub struct Download {
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    server: JoinHandle<Result<u64>>,
    client: JoinHandle<Result<u64>>,
}

impl Download {
    /// Accepts a connection of this client to the VIP, and begins.
    ///
    /// # Errors
    ///
    /// When it does not come about.
    pub fn start(listener: TcpListener, client: &Namespace, vip: SocketAddr) -> Result<Download> {
        let (numbers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&stop);
        let server = thread::spawn(move || send(&listener.accept()?.0, &end));
        let stream = client.run(move || Ok(TcpStream::connect_timeout(&vip, LIMIT)?))?;
        let progress = Arc::clone(&numbers);
        let client = thread::spawn(move || receive(&stream, &progress));
        Ok(Download { numbers, stop, server, client })
    }

    /// Waits until so many pieces more have come.
    ///
    /// # Errors
    ///
    /// When they do not.
    pub fn goes_on(&self, pieces: u64) -> Result<()> {
        let before = self.numbers.load(Ordering::Relaxed);
        let has_come =
            || Ok((self.numbers.load(Ordering::Relaxed) >= before + pieces * NUMBERS).then_some(()));
        wait::until(LIMIT, has_come).with_context(|| format!("after {before} numbers"))
    }

    /// Ends it; all that was sent must have come.
    ///
    /// # Errors
    ///
    /// When the connection broke, or something is missing.
    pub fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let join =
            |thread: JoinHandle<Result<u64>>| thread.join().map_err(|_| anyhow!("a thread panicked"))?;
        let (sent, received) = (join(self.server).context("server")?, join(self.client).context("client")?);
        ensure!(sent == received, "{sent} numbers sent, {received} received");
        Ok(())
    }
}

fn send(mut stream: &TcpStream, end: &AtomicBool) -> Result<u64> {
    stream.set_write_timeout(Some(LIMIT))?;
    let mut next = 0;
    while !end.load(Ordering::Relaxed) {
        let octets: Vec<u8> = (next..next + NUMBERS).flat_map(u64::to_be_bytes).collect();
        stream.write_all(&octets)?;
        next += NUMBERS;
        thread::sleep(PAUSE);
    }
    Ok(next)
}

fn receive(mut stream: &TcpStream, progress: &AtomicU64) -> Result<u64> {
    stream.set_read_timeout(Some(LIMIT))?;
    let (mut octets, mut next) = (Vec::new(), 0);
    let mut buffer = [0; 1 << 16];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(next);
        }
        octets.extend(&buffer[..length]);
        let (numbers, rest) = octets.as_chunks();
        for number in numbers {
            ensure!(u64::from_be_bytes(*number) == next, "{number:?} in the place of {next}");
            next += 1;
        }
        octets = rest.to_vec();
        progress.store(next, Ordering::Relaxed);
    }
}
