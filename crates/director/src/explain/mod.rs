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

pub use arrival::{Arrival, Way};
pub use overlay::Overlay;

use crate::registry::{Registry, keys};
use crate::tables::Tables;
use report::Report;
use rlvs_ipvs::{Errno, Finding, Form, Probe, Protocol};
use rlvs_switch::Verdict;
use rlvs_switch::table::{Family, Tuple, V4, V6};
use std::net::SocketAddr;
use story::Story;

/// Protocols of packets that can be asked about.
const PROTOCOLS: [Protocol; 5] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP, Protocol::AH, Protocol::ESP];

/// Octets that a packet that is asked about may carry.
const PAYLOAD_MAX: usize = 1 << 15;

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
/// EPROTONOSUPPORT if the protocol is none of TCP, UDP, SCTP, AH and ESP, EAFNOSUPPORT if not all addresses are of one
/// family, EMSGSIZE if no packet carries that much.
pub fn explain(
    tables: &Tables,
    registry: &Registry,
    probe: &Probe,
    arrival: &Arrival,
    interfaces: &Interfaces<'_>,
) -> Result<Explanation, Errno> {
    if !PROTOCOLS.contains(&probe.protocol) {
        return Err(Errno::PROTONOSUPPORT);
    }
    let [sender, receiver] = probe.ends();
    if [probe.destination.ip(), sender, receiver].iter().any(|end| end.is_ipv4() != probe.source.is_ipv4()) {
        return Err(Errno::AFNOSUPPORT);
    }
    if probe.payload.len() > PAYLOAD_MAX {
        return Err(Errno::MSGSIZE);
    }
    let frame = frame::frame(probe, arrival.macs, arrival.vlan);
    let mut overlay =
        Overlay::new(tables, registry, arrival.interface, arrival.way, &frame).marked(probe.mark);
    if probe.form == Form::LaterFragment {
        let ports = [probe.source, probe.destination].map(|end| end.port().to_be_bytes());
        overlay = overlay.after_first(ports, probe.protocol.0 as u8);
    }
    let mut report = Report::default();
    packet(&mut report, probe, arrival, interfaces);
    Ok(if probe.source.is_ipv4() {
        Story::<V4>::new(&overlay, tuple(probe), probe.form, interfaces, report).tell()
    } else {
        Story::<V6>::new(&overlay, tuple(probe), probe.form, interfaces, report).tell()
    })
}

fn packet(report: &mut Report, probe: &Probe, arrival: &Arrival, interfaces: &Interfaces<'_>) {
    let name = (interfaces.name)(arrival.interface);
    let signal = probe.signal_words();
    let Probe { source, destination, hops, .. } = probe;
    let protocol = match probe.protocol {
        Protocol::AH => "AH".into(),
        Protocol::ESP => "ESP".into(),
        protocol => protocol.to_string(),
    };
    let what = match probe.form {
        Form::Whole => String::new(),
        Form::FirstFragment => "first fragment of ".into(),
        Form::LaterFragment | Form::EarlyFragment => "later fragment of ".into(),
        Form::Error(problem, from) => format!("ICMP error {} from {from} about ", problem.name()),
    };
    report.say(
        "packet",
        format!(
            "{what}{protocol} {source} -> {destination}{}, received by {name}",
            signal.as_ref().map(|words| format!(", {words}")).unwrap_or_default()
        ),
        [
            ("protocol", protocol.as_str().into()),
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

/// What the packet's connection is found by: an error's in the direction of the error, IPsec's as that of the exchange of its keys.
fn tuple<F: Family>(probe: &Probe) -> Tuple<F> {
    let address = |end: SocketAddr| F::address(keys::words(end.ip()));
    let [source, destination] = match probe.form {
        Form::Error(..) => [probe.destination, probe.source],
        _ => [probe.source, probe.destination],
    };
    let is_secured = [Protocol::AH, Protocol::ESP].contains(&probe.protocol);
    Tuple {
        source: address(source),
        destination: address(destination),
        ports: [source, destination].map(|end| end.port().to_be_bytes()),
        protocol: if is_secured { Protocol::UDP.0 as u8 } else { probe.protocol.0 as u8 },
    }
}
