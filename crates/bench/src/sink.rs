//! The end of a cable, where a program takes live frames and counts them.

use anyhow::{Context, Result};
use aya::maps::{MapData, PerCpuArray};
use aya::programs::XdpMode;
use aya::{Ebpf, EbpfLoader};
use rlvs_testbed::Namespace;

use crate::lab::{OBJECT, program, take};

/// The program at work.
pub struct Sink {
    sunk: PerCpuArray<MapData, u64>,
    /// Held, or aya takes the program off its interface.
    _programs: Ebpf,
}

impl Sink {
    /// Puts it on the host's interface. In native mode: an interface takes frames of native XDP only if its peer has that.
    pub fn open(host: &Namespace, interface: &'static str) -> Result<Sink> {
        host.run(move || {
            let mut programs = EbpfLoader::new().load(OBJECT).context("cannot load the sink's object")?;
            let sink = program(&mut programs, "sink")?;
            sink.load().context("cannot load the sink")?;
            sink.attach(interface, XdpMode::Driver).context("cannot attach the sink")?;
            Ok(Sink { sunk: PerCpuArray::try_from(take(&mut programs, "SUNK")?)?, _programs: programs })
        })
    }

    /// Frames that it has taken.
    pub fn taken(&self) -> Result<u64> {
        Ok(self.sunk.get(&0, 0)?.iter().sum())
    }
}
