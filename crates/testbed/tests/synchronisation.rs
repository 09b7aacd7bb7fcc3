//! Connections that outlive their director: another one has heard of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rlvs_testbed::{Family, Method, Namespace, Pair, Side, rlvs, wait};

const LIMIT: Duration = Duration::from_secs(30);
const PORT: u16 = 9000;

/// What is sent at a time, and the pause after it.
const NUMBERS: u64 = 512;
const PAUSE: Duration = Duration::from_millis(4);

/// A connection over which a server sends numbers, one after the other, until it is told to end.
struct Download {
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    server: JoinHandle<Result<u64>>,
    client: JoinHandle<Result<u64>>,
}

impl Download {
    fn start(listener: TcpListener, client: &Namespace, vip: SocketAddr) -> Result<Download> {
        let (numbers, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&stop);
        let server = thread::spawn(move || send(&listener.accept()?.0, &end));
        let stream = client.run(move || Ok(TcpStream::connect_timeout(&vip, LIMIT)?))?;
        let progress = Arc::clone(&numbers);
        let client = thread::spawn(move || receive(&stream, &progress));
        Ok(Download { numbers, stop, server, client })
    }

    /// Waits until so many numbers more have come.
    fn goes_on(&self, more: u64) -> Result<()> {
        let before = self.numbers.load(Ordering::Relaxed);
        let has_come = || Ok((self.numbers.load(Ordering::Relaxed) >= before + more).then_some(()));
        wait::until(LIMIT, has_come).with_context(|| format!("after {before} numbers"))
    }

    /// Ends it; all that was sent must have come.
    fn finish(self) -> Result<()> {
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

/// The service, and what the directors share.
fn file(pair: &Pair, side: Side) -> String {
    let by = if pair.net.method() == Method::Nat { "nat" } else { "direct" };
    let service = format!(
        "[[service]]\ntcp = \"192.168.0.1:{PORT}\"\nscheduler = \"rr\"\nforward = \"{by}\"\n\
         server = [{{ address = \"172.16.0.1\" }}, {{ address = \"172.16.0.2\" }}]\n"
    );
    service + &pair.routers(side, Duration::from_millis(200), true)
}

fn connections(host: &Namespace) -> Result<Vec<String>> {
    let listing = rlvs(host, "ipvsadm -L -n -c")?;
    Ok(listing.lines().filter(|line| line.contains("ESTABLISHED")).map(str::to_owned).collect())
}

/// Waits until the backup knows all that the master does.
fn wait_for_sync(host: &Namespace) -> Result<()> {
    wait::until_ok(LIMIT, || {
        let figures = rlvs(host, "sync")?;
        ensure!(figures.contains("backup in sync: yes"), "{figures}");
        ensure!(figures.contains("backup messages lost: 0\n"), "{figures}");
        Ok(())
    })
}

/// A download that began before the standby was told goes on, there and back again.
fn goes_on_through_the_other(method: Method, options: &str, ports: u32) -> Result<()> {
    let mut pair = Pair::start(method, 2)?;
    let start = |side| {
        rlvs(pair.host(side), &format!("sysctl -w sync_ports={ports}"))?;
        pair.cluster(side, &file(&pair, side))
    };
    let _clusters = [start(Side::First)?, start(Side::Second)?];
    pair.wait_for_master(Side::First)?;
    let listen = |number: u8| {
        let address = SocketAddr::new(pair.net.listen_address(Family::V4, number), PORT);
        pair.net.servers[usize::from(number) - 1].run(move || Ok(TcpListener::bind(address)?))
    };
    // The second one was added last, so it is the first in turn.
    let (first, second) = (listen(1)?, listen(2)?);
    let vip = SocketAddr::new(Family::V4.vip(), PORT);
    let early = Download::start(second, &pair.net.client, vip)?;
    early.goes_on(NUMBERS)?;
    pair.start_daemons(options)?;
    let late = Download::start(first, &pair.net.client, vip)?;
    late.goes_on(NUMBERS)?;
    wait::until_ok(LIMIT, || {
        let known = connections(&pair.standby)?;
        ensure!(known.len() == 2, "{known:?}");
        Ok(())
    })?;

    wait_for_sync(&pair.standby)?;
    // The next director runs the daemons that it finds.
    pair.crash_director(Side::Second)?;
    pair.start_director(Side::Second)?;
    wait_for_sync(&pair.standby)?;

    pair.power(Side::First, false)?;
    pair.wait_for_master(Side::Second)?;
    for download in [&early, &late] {
        download.goes_on(20 * NUMBERS).context("through the other director")?;
    }
    pair.power(Side::First, true)?;
    pair.wait_for_master(Side::First)?;
    for download in [&early, &late] {
        download.goes_on(20 * NUMBERS).context("through the first one again")?;
    }
    early.finish()?;
    late.finish()
}

#[test]
#[ignore = "needs root"]
fn downloads_go_on_with_nat() -> Result<()> {
    goes_on_through_the_other(Method::Nat, "", 1)
}

#[test]
#[ignore = "needs root"]
fn downloads_go_on_with_direct_routing_told_by_ipv6_on_two_ports() -> Result<()> {
    goes_on_through_the_other(Method::Dr, "--mcast-group ff02::81", 2)
}
