//! A client at work, and what it noticed.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use rlvs_testbed::load::{Connections, Report, Wrk};
use rlvs_testbed::real_server::LARGE;
use rlvs_testbed::{Family, Namespace, Process, with_port};

use crate::prober::{Datagrams, Prober};

/// Downloads at a time: two or more from each of the servers.
pub const DOWNLOADS: usize = 6;

/// A download takes five seconds; this is given up.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(30);

/// How long wrk runs: longer than the events and the downloads.
const SECONDS: u64 = 8;

/// Everything that a client does at a time.
pub struct Load {
    prober: Prober,
    downloads: Vec<Process>,
    kept: Wrk,
    new: Wrk,
}

/// What it noticed.
pub struct Noticed {
    /// Of the datagrams.
    pub datagrams: Datagrams,
    /// Downloads that did not come to their end.
    pub broken: usize,
    /// Requests over connections that are kept.
    pub kept: Report,
    /// Requests over a connection each.
    pub new: Report,
    /// When a real server that fails was out of the table.
    pub out: Option<Duration>,
}

impl Load {
    /// Starts it all.
    pub fn start(client: &Namespace) -> Result<Self> {
        let vip: IpAddr = Family::V4.vip();
        let url = format!("http://{}/slow", with_port(vip, 80));
        let limit = DOWNLOAD_LIMIT.as_secs().to_string();
        let words = ["curl", "-sS", "-f", "-m", &limit, "-o", "/dev/null", "-w", "%{size_download}", &url];
        let downloads = (0..DOWNLOADS).map(|_| client.spawn(&words)).collect::<Result<_>>()?;
        Ok(Self {
            downloads,
            kept: Wrk::start(client, vip, 80, Connections::Kept, SECONDS)?,
            new: Wrk::start(client, vip, 80, Connections::New, SECONDS)?,
            prober: Prober::start(client, vip)?,
        })
    }

    /// Waits for the end of what comes to an end, and ends the rest.
    pub fn finish(self) -> Result<Noticed> {
        let (kept, new) = (self.kept.finish()?, self.new.finish()?);
        let mut broken = 0;
        for download in self.downloads {
            let output = download.finish(DOWNLOAD_LIMIT * 2)?;
            broken += usize::from(!output.status.success() || output.stdout.trim() != LARGE.to_string());
        }
        Ok(Noticed { datagrams: self.prober.stop()?, broken, kept, new, out: None })
    }
}
