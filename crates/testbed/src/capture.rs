//! Frames as they pass an interface, in tcpdump's words.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(10);

/// A running capture.
pub struct Capture {
    tcpdump: Process,
}

impl Capture {
    /// Starts to capture what matches `filter` (pcap's language) on an interface of `host`; at return it is capturing.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or the filter has a mistake.
    pub fn start(host: &Namespace, interface: &str, filter: &str) -> Result<Self> {
        let options = ["tcpdump", "-i", interface, "-n", "-e", "-v", "-l", "--immediate-mode", filter];
        let mut tcpdump = host.spawn(&options)?;
        tcpdump.wait_for("listening on", LIMIT)?;
        Ok(Self { tcpdump })
    }

    /// Waits until a frame was seen whose description contains `text`.
    ///
    /// # Errors
    ///
    /// When there is none after ten seconds: with all that was seen.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        self.tcpdump.wait_for(text, LIMIT)
    }

    /// Ends the capture; the description of all frames.
    ///
    /// # Errors
    ///
    /// When tcpdump has ended by itself.
    pub fn stop(mut self) -> Result<String> {
        self.tcpdump.signal(Signal::INT)?;
        // Its last words come after its last frame.
        wait::until(LIMIT, || Ok(self.tcpdump.stderr().contains("packets captured").then_some(())))?;
        Ok(self.tcpdump.finish(LIMIT)?.stdout)
    }
}
