//! Load from the client: HTTP with wrk, bulk TCP with iperf3, questions with curl and dig.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::with_port;

/// Answers by the name of the real server that gave them.
pub type Shares = BTreeMap<String, u32>;

/// The next port that curl and dig ask from: below those that the kernel gives away, so that none has been used before.
/// A port that wrk has just used still has an entry in the connection table, which decides who answers.
static NEXT_PORT: AtomicU16 = AtomicU16::new(10_000);

/// Asks `times` times with curl, each time over a new connection from a new port; who answered how often.
///
/// # Errors
///
/// When a request fails.
pub fn curl(client: &Namespace, address: IpAddr, port: u16, times: u32) -> Result<Shares> {
    let url = format!("http://{}/", with_port(address, port));
    count(times, || {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed).to_string();
        client.output(&["curl", "-sS", "-f", "-m", "5", "--local-port", &port, &url])
    })
}

/// Asks `times` times for `TXT whoami.test` with dig, over UDP without a second try, each time from a new port; who
/// answered how often.
///
/// # Errors
///
/// When a question is not answered.
pub fn dig(client: &Namespace, address: IpAddr, times: u32) -> Result<Shares> {
    let server = format!("@{address}");
    let any = if address.is_ipv6() { "::" } else { "0.0.0.0" };
    count(times, || {
        let from = format!("{any}#{}", NEXT_PORT.fetch_add(1, Ordering::Relaxed));
        client.output(&["dig", "-b", &from, "+short", "+tries=1", "+time=3", "TXT", "whoami.test", &server])
    })
}

fn count(times: u32, mut ask: impl FnMut() -> Result<String>) -> Result<Shares> {
    let mut shares = Shares::new();
    for number in 1..=times {
        let answer = ask().with_context(|| format!("request {number} of {times}"))?;
        *shares.entry(answer.trim().trim_matches('"').to_owned()).or_default() += 1;
    }
    Ok(shares)
}

/// Whether wrk keeps its connections or opens one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Kept for the whole run.
    Kept,
    /// One for each request.
    New,
}

/// A running wrk.
pub struct Wrk {
    process: Process,
    seconds: u64,
}

/// wrk's report.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Requests that were answered.
    pub requests: u64,
    /// Failed connects, reads and writes, time-outs, and answers other than 2xx and 3xx.
    pub failed: u64,
}

impl Wrk {
    /// Starts 16 connections from one thread for some seconds; a request without an answer for two seconds has failed.
    ///
    /// # Errors
    ///
    /// When wrk cannot be started.
    pub fn start(
        client: &Namespace,
        address: IpAddr,
        port: u16,
        connections: Connections,
        seconds: u64,
    ) -> Result<Self> {
        let (url, duration) = (format!("http://{}/", with_port(address, port)), format!("-d{seconds}s"));
        let mut words = vec!["wrk", "-t1", "-c16", &duration, "--timeout", "2s"];
        if connections == Connections::New {
            words.extend(["-H", "Connection: close"]);
        }
        words.push(&url);
        Ok(Self { process: client.spawn(&words)?, seconds })
    }

    /// Ends it before its time.
    ///
    /// # Errors
    ///
    /// When it has ended before, so that what happened last was not under load; or when it fails.
    pub fn stop(mut self) -> Result<Report> {
        self.process.signal(Signal::INT)?;
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it fails, or does not end in time.
    pub fn finish(self) -> Result<Report> {
        let output = self.process.finish(Duration::from_secs(self.seconds + 20))?;
        ensure!(output.status.success(), "wrk: {}: {}{}", output.status, output.stdout, output.stderr);
        report(&output.stdout).with_context(|| format!("wrk's report has changed: {}", output.stdout))
    }
}

fn report(text: &str) -> Option<Report> {
    let mut report = Report { requests: 0, failed: 0 };
    let mut counted = false;
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            report.requests = requests.parse().ok()?;
            counted = true;
        } else if let Some(errors) = line.strip_prefix("Socket errors: ") {
            for error in errors.split(", ") {
                report.failed += error.split_once(' ')?.1.parse::<u64>().ok()?;
            }
        } else if let Some(others) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            report.failed += others.parse::<u64>().ok()?;
        }
    }
    counted.then_some(report)
}

/// Sends TCP at full speed for some seconds, or with `reverse` lets the server send; the rate received, in bit/s.
///
/// # Errors
///
/// When the transfer fails.
pub fn iperf3(client: &Namespace, address: IpAddr, port: u16, seconds: u32, reverse: bool) -> Result<f64> {
    let (address, port, seconds) = (address.to_string(), port.to_string(), seconds.to_string());
    let mut words =
        vec!["iperf3", "--client", &address, "--port", &port, "--time", &seconds, "--format", "k"];
    if reverse {
        words.push("--reverse");
    }
    let printed = client.output(&words)?;
    // "[  5]   0.00-2.04   sec   123456 KBytes  987654 Kbits/sec                  receiver"
    let line = printed.lines().find(|line| line.trim_end().ends_with("receiver"));
    let mut words = line.context("iperf3 reports no receiver")?.split_whitespace().rev();
    let rate = words.find_map(|word| word.parse::<f64>().ok());
    Ok(rate.with_context(|| format!("iperf3's report has changed: {printed}"))? * 1000.0)
}

/// Sends UDP datagrams of so many octets for two seconds, or with `reverse` lets the server send; how many came, of how many.
///
/// # Errors
///
/// When the transfer fails.
pub fn iperf3_udp(
    client: &Namespace,
    address: IpAddr,
    port: u16,
    octets: u32,
    reverse: bool,
) -> Result<(u32, u32)> {
    let (address, port, octets) = (address.to_string(), port.to_string(), octets.to_string());
    let mut words = vec!["iperf3", "--client", &address, "--port", &port, "--udp", "--length", &octets];
    words.extend(["--time", "2", "--bitrate", "2M"]);
    if reverse {
        words.push("--reverse");
    }
    let printed = client.output(&words)?;
    datagrams(&printed).with_context(|| format!("iperf3's report has changed: {printed}"))
}

/// "[  5]   0.00-2.04   sec   488 KBytes  1.95 Mbits/sec  0.012 ms  0/125 (0%)  receiver": lost of all.
fn datagrams(report: &str) -> Option<(u32, u32)> {
    let line = report.lines().find(|line| line.trim_end().ends_with("receiver"))?;
    let (lost, all) = line.split_whitespace().find_map(|word| {
        let (lost, all) = word.split_once('/')?;
        Some((lost.parse::<u32>().ok()?, all.parse::<u32>().ok()?))
    })?;
    Some((all.checked_sub(lost)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrk_is_read() {
        let good = "Running 2s test\n  12345 requests in 2.01s, 3.06MB read\nRequests/sec:   6141.79\n";
        assert_eq!(report(good), Some(Report { requests: 12345, failed: 0 }));
        let bad = "  10 requests in 2.01s, 3.06MB read\n  Socket errors: connect 1, read 2, write 0, timeout 4\n  \
                   Non-2xx or 3xx responses: 8\n";
        assert_eq!(report(bad), Some(Report { requests: 10, failed: 15 }));
        assert_eq!(report("unable to connect"), None);
    }

    #[test]
    fn a_report_of_datagrams_is_read() {
        let line = "[  5]   0.00-2.04   sec   488 KBytes  1.95 Mbits/sec  0.012 ms  3/125 (0%)  receiver\n";
        assert_eq!(datagrams(line), Some((122, 125)));
        assert_eq!(datagrams("unable to connect"), None);
    }

    #[test]
    fn answers_are_counted_by_name() {
        let mut names = ["rs1\n", "\"rs2\"\n", "rs1"].into_iter();
        let shares = count(3, || Ok(names.next().unwrap().to_owned())).unwrap();
        assert_eq!(shares, Shares::from([("rs1".into(), 2), ("rs2".into(), 1)]));
    }
}
