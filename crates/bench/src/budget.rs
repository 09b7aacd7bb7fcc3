//! What each path of a packet takes in instructions, where the kernel's clock counts those: in a guest of QEMU's with
//! `-icount shift=0`, in which each takes a nanosecond. The same on each run, but for a few of the interrupts' own.

use anyhow::Result;

use crate::lab::{Lab, Target, reply, request};
use crate::network::{METHODS, Method, Network, tables};
use crate::plan::{Plan, SYN};

/// Entries of the connection tables: few, for nothing is gained by more where caches do not count.
const SLOTS: u32 = 1 << 16;
/// log2 of the connections that are opened.
const FLOWS: u32 = 10;
/// Frames of a run for established connections.
const FRAMES: u32 = 1 << 12;

/// Prints the budget as TOML: instructions of the machine for a frame, less those of the harness.
pub fn run() -> Result<()> {
    let network = Network::with_services(tables(SLOTS), "")?;
    let text = network.measure(SLOTS, |mut lab| {
        let mut text = String::from("[instructions]\n");
        for method in METHODS {
            for (path, count) in measure(&mut lab, method)? {
                text += &format!("\"{}, {path}\" = {count}\n", method.name);
            }
        }
        text += "\n[verified]\n";
        for (name, verified, _) in lab.programs()? {
            text += &format!("\"{name}\" = {verified}\n");
        }
        Ok(text)
    })?;
    print!("{text}");
    Ok(())
}

fn measure(lab: &mut Lab, method: Method) -> Result<Vec<(&'static str, i64)>> {
    let established = request(method, 0);
    // Once for the machine code of each program to be there.
    lab.aim(Target::Nothing)?;
    lab.send(&established, FRAMES)?;
    let harness = lab.send(&established, FRAMES)?.0;
    lab.aim(Target::Director)?;
    let syn = Plan { tcp_flags: SYN, ..request(method, FLOWS) };
    let mut paths = vec![("new connection", syn, 1 << FLOWS), ("established", established, FRAMES)];
    if method.is_nat() {
        paths.push(("established, reply", reply(method, 0), FRAMES));
    }
    paths
        .into_iter()
        .map(|(path, plan, frames)| {
            if plan.tcp_flags != SYN {
                // The first packet of a kind is not like the others.
                lab.send(&plan, 2)?;
            }
            Ok((path, i64::from(lab.send(&plan, frames)?.0) - i64::from(harness)))
        })
        .collect()
}
