//! Frames through the programs, by BPF_PROG_TEST_RUN.

use std::sync::Barrier;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::PerCpuValues;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};

use super::Lab;
use crate::network::stay_on;
use crate::plan::Plan;

/// Live frames that are on their way at once; what the kernel takes by itself.
pub const BATCH: u32 = 64;
/// XDP_TX.
const TRANSMIT: u32 = 3;

impl Lab {
    /// Sends so many frames on this CPU; nanoseconds for each, by the kernel's clock, and the last frame as it left.
    ///
    /// # Errors
    ///
    /// When the last frame was not sent out.
    pub fn send(&mut self, plan: &Plan, frames: u32) -> Result<(u32, Vec<u8>)> {
        self.set_plans(|_| *plan)?;
        self.run(plan, frames)
    }

    /// Sends so many frames on each of these CPUs at once, each by its own plan; nanoseconds for each frame, as seen by its CPU.
    pub fn send_at_once(&mut self, plans: &[(usize, Plan)], frames: u32) -> Result<Vec<u32>> {
        let first = plans.first().context("no CPU to send on")?.1;
        self.set_plans(|cpu| plans.iter().find(|(of, _)| *of == cpu).map_or(first, |(_, plan)| *plan))?;
        let (lab, start) = (&*self, &Barrier::new(plans.len()));
        std::thread::scope(|scope| {
            let send = |(cpu, plan): &(usize, Plan)| {
                let (cpu, plan) = (*cpu, *plan);
                scope.spawn(move || {
                    let there = stay_on(cpu);
                    start.wait();
                    there.and_then(|()| lab.run(&plan, frames)).map(|(nanoseconds, _)| nanoseconds)
                })
            };
            let threads: Vec<_> = plans.iter().map(send).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|sent| sent.map_err(|_| anyhow!("a sending thread panicked"))?).collect()
        })
    }

    /// As [`Self::send`], with frames that are really sent on from the director's interface; nobody sees the last one.
    pub fn send_live(&mut self, plan: &Plan, frames: u32) -> Result<u32> {
        self.set_plans(|_| *plan)?;
        Ok(run_live(self.shim()?, self.interface, plan, frames)?.as_nanos() as u32)
    }

    fn run(&self, plan: &Plan, frames: u32) -> Result<(u32, Vec<u8>)> {
        let (frame, context) = received_by(self.interface, plan);
        let mut left = [0; 256];
        let result = self.shim()?.test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut left),
            ctx_in: Some(&context),
            repeat: frames,
            ..TestRunOptions::new()
        })?;
        ensure!(
            result.return_value == TRANSMIT,
            "the last of {frames} frames got verdict {} instead of XDP_TX: {plan:?}",
            result.return_value
        );
        Ok((result.duration.as_nanos() as u32, left[..result.data_size_out as usize].to_vec()))
    }

    fn set_plans(&mut self, of_cpu: impl Fn(usize) -> Plan) -> Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let words: Vec<_> = (0..cpus).map(|cpu| of_cpu(cpu).words()).collect();
        Ok(self.plan.set(0, PerCpuValues::try_from(words)?, 0)?)
    }

    fn shim(&self) -> Result<&Xdp> {
        Ok(self.programs.program("shim").context("the object has no program shim")?.try_into()?)
    }
}

/// Has a program, the shim, run on live frames that came in by the interface of this index; the time for each, by the kernel's clock.
pub fn run_live(shim: &Xdp, interface: u32, plan: &Plan, frames: u32) -> Result<Duration> {
    let (frame, context) = received_by(interface, plan);
    let result = shim.test_run(TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..TestRunOptions::new()
    })?;
    Ok(result.duration)
}

/// A frame that came in by the interface of this index, and what `struct xdp_md` says of it.
fn received_by(interface: u32, plan: &Plan) -> (Vec<u8>, [u8; 24]) {
    let frame = plan.template();
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&interface.to_ne_bytes());
    (frame, context)
}
