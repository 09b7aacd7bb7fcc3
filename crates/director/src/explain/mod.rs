//! What the switch would do with a packet now, and why.
//!
//! The answer is the switch's own: its steps run here, from the first one on, with a frame made for the question, over an
//! [`Overlay`] of the shared memory that takes all their writes. What is said about them comes from the same copies.
//!
//! - `frame`: the packet as a frame; [`Arrival`]: where it comes in
//! - [`Overlay`]: the home of the switch; `copies`: what it has copied
//! - `story`: what the steps found; `choice`: what the scheduler compared; `end`: what became of the packet

mod arrival;
mod choice;
mod copies;
mod end;
mod frame;
mod overlay;
mod report;
mod story;

pub use arrival::Arrival;
pub use overlay::Overlay;

use crate::registry::{Registry, keys};
use crate::tables::Tables;
use report::Report;
use rlvs_ipvs::{Errno, Finding, Probe, Protocol};
use rlvs_switch::Verdict;
use rlvs_switch::table::{Family, Tuple, V4, V6};
use story::Story;

/// What would become of a packet.
#[derive(Debug)]
pub struct Explanation {
    /// What the switch decides.
    pub verdict: Verdict,
    /// The frame as it would leave.
    pub frame: Vec<u8>,
    /// Why, in the order in which the switch comes to it.
    pub findings: Vec<Finding>,
}

/// What is known about interfaces by their indices.
pub struct Interfaces<'a> {
    /// Names.
    pub name: &'a dyn Fn(u32) -> String,
    /// Whether the switch is attached.
    pub is_attached: &'a dyn Fn(u32) -> bool,
}

/// Explains what the switch would do with a packet that comes in like this. Changes nothing.
///
/// # Errors
/// EPROTONOSUPPORT if the protocol is none of TCP, UDP and SCTP, EAFNOSUPPORT if sender and receiver are of different
/// families, EMSGSIZE if no frame is that long.
pub fn explain(
    tables: &Tables,
    registry: &Registry,
    probe: &Probe,
    arrival: &Arrival,
    interfaces: &Interfaces<'_>,
) -> Result<Explanation, Errno> {
    if ![Protocol::TCP, Protocol::UDP, Protocol::SCTP].contains(&probe.protocol) {
        return Err(Errno::PROTONOSUPPORT);
    }
    if probe.source.is_ipv4() != probe.destination.is_ipv4() {
        return Err(Errno::AFNOSUPPORT);
    }
    let frame = frame::frame(probe, arrival.macs, arrival.vlan);
    let overlay = Overlay::new(tables, registry, arrival.interface, arrival.way, &frame);
    let mut report = Report::default();
    packet(&mut report, probe, arrival, interfaces);
    Ok(if probe.source.is_ipv4() {
        Story::<V4>::new(&overlay, tuple(probe), interfaces, report).tell()
    } else {
        Story::<V6>::new(&overlay, tuple(probe), interfaces, report).tell()
    })
}

fn packet(report: &mut Report, probe: &Probe, arrival: &Arrival, interfaces: &Interfaces<'_>) {
    let name = (interfaces.name)(arrival.interface);
    let signal = probe.signal_words();
    let Probe { protocol, source, destination, hops, .. } = probe;
    report.say(
        "packet",
        format!(
            "{protocol} {source} -> {destination}{}, received by {name}",
            signal.as_ref().map(|words| format!(", {words}")).unwrap_or_default()
        ),
        [
            ("protocol", protocol.to_string().into()),
            ("source", source.to_string().into()),
            ("destination", destination.to_string().into()),
            ("signal", signal.unwrap_or_default().into()),
            ("hops", u32::from(*hops).into()),
            ("interface", name.as_str().into()),
        ],
    );
    if !(interfaces.is_attached)(arrival.interface) {
        let text = format!("the switch is not attached to {name} and does not see the packet; if it were:");
        report.say("interface", text, [("attached", false.into())]);
    }
}

/// What the packet's connection is found by.
fn tuple<F: Family>(probe: &Probe) -> Tuple<F> {
    let address = |end: std::net::SocketAddr| F::address(keys::words(end.ip()));
    Tuple {
        source: address(probe.source),
        destination: address(probe.destination),
        ports: [probe.source, probe.destination].map(|end| end.port().to_be_bytes()),
        protocol: probe.protocol.0 as u8,
    }
}
