//! What becomes of the packet in the end.

use super::choice::endpoint;
use super::story::{Story, is_creation, service_name};
use crate::connections::Address;
use crate::flow::Flow;
use rlvs_ipvs::{Form, Value};
use rlvs_packet::ethernet::Mac;
use rlvs_packet::icmp::Cause;
use rlvs_switch::config::Config;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::{Destination, Egress, method, tunnel};
use rlvs_switch::steps::found_by;
use rlvs_switch::table::Family;
use rlvs_switch::{Memory, Program, Verdict, View, order};

/// Tells where the packet goes and how, or why it does not.
pub(super) fn tell<F: Family + Address>(story: &mut Story<'_, F>, verdict: Verdict) {
    let is_standby = verdict == Verdict::Pass && story.overlay.config().is_some_and(Config::is_standby);
    if !is_standby {
        no_service(story);
        destination(story);
    }
    let events: Vec<&str> = story.overlay.events().iter().map(|event| event.name()).collect();
    let steps: Vec<&str> = story.steps.iter().map(|step| step.name()).collect();
    let details = |kind: &str, interface: Option<u32>| {
        let name = interface.map(|index| (story.interfaces.name)(index)).unwrap_or_default();
        [
            ("verdict", Value::from(kind)),
            ("interface", name.into()),
            ("events", events.join(" ").into()),
            ("steps", steps.join(" ").into()),
        ]
    };
    let (text, details) = match verdict {
        Verdict::Pass if is_standby => {
            let why = "this director is a backup and switches replies only (backup_only)";
            (format!("passed to this machine's kernel: {why}"), details("pass", None))
        }
        Verdict::Pass => {
            (format!("passed to this machine's kernel: {}", why_passed(story)), details("pass", None))
        }
        Verdict::Drop if story.overlay.events().last() == Some(&Event::Fragmented) => {
            let interface = story.overlay.fragmented_by();
            (sent(story, interface), details("fragments", Some(interface)))
        }
        Verdict::Drop => (why(story.overlay.events().last().copied()), details("drop", None)),
        Verdict::Transmit => {
            let interface = story.overlay.ingress();
            (sent(story, interface), details("transmit", Some(interface)))
        }
        Verdict::Redirect(interface) => (sent(story, interface), details("redirect", Some(interface))),
    };
    story.report.say("verdict", text, details);
}

/// Why the packet has no service, if nothing was said of one.
fn no_service<F: Family + Address>(story: &mut Story<'_, F>) {
    if story.known.is_some() || story.report.mentions("service") {
        return;
    }
    let sought: Vec<String> = story.overlay.sought().iter().map(|(key, _)| service_name(key)).collect();
    let text = match sought.as_slice() {
        [] if story.steps.contains(&Program::Open) => {
            "not looked for: packets from port 20 are FTP's data, which its control connection arranges for"
                .into()
        }
        [] => format!("not looked for: {} opens no connection", what(story.form)),
        sought => format!("none: there is no {}", sought.join(", nor ")),
    };
    story.report.say("service", text, []);
}

fn what(form: Form) -> &'static str {
    match form {
        Form::Whole | Form::FirstFragment => "a packet with these flags",
        Form::LaterFragment | Form::EarlyFragment => "a fragment other than the first",
        Form::Error(..) => "an ICMP error",
    }
}

/// The destination that the packet is for, and the way to it.
fn destination<F: Family + Address>(story: &mut Story<'_, F>) {
    let is_new = story.steps.iter().any(|step| is_creation(*step));
    let overlay = story.overlay;
    let (index, chosen_method) = match (is_new, story.known) {
        (true, _) => (overlay.handed_over(|words| &words.destination), None),
        (false, Some(known)) if !known.is_reply => (known.destination, Some(known.method)),
        _ => return,
    };
    let Some(destination) = overlay.destination(index) else { return };
    let number = chosen_method.unwrap_or_else(|| destination.method.load(order::PLAIN));
    let (server, method) = (endpoint(destination), method_words(number, destination));
    let egress = destination.egress();
    let mtu = egress.mtu.load(order::PLAIN);
    let (way, interface) = match egress.interface.load(order::PLAIN) {
        Egress::HERE => ("its address is this machine's".to_owned(), String::new()),
        0 => ("no route or no neighbour is known".into(), String::new()),
        index => {
            let mac: Mac = std::array::from_fn(|i| egress.macs_start.load(order::PLAIN).to_ne_bytes()[i]);
            let name = (story.interfaces.name)(index);
            (format!("by {name} to {}, MTU {mtu}", mac_words(mac)), name)
        }
    };
    story.report.say(
        "destination",
        format!("{server} by {method}; {way}"),
        [
            ("address", server.to_string().into()),
            ("method", method.into()),
            ("interface", interface.into()),
            ("mtu", mtu.into()),
        ],
    );
}

fn method_words(number: u32, destination: &Destination) -> String {
    let words = match number {
        method::MASQUERADE => "NAT",
        method::LOCAL => "this machine",
        method::DIRECT_ROUTE => "direct routing",
        _ => {
            let kind = destination.tunnel();
            return match kind.kind() {
                tunnel::GUE => format!("a GUE tunnel to port {}", u16::from_be_bytes(kind.port())),
                tunnel::GRE => "a GRE tunnel".into(),
                _ => "an IPIP tunnel".into(),
            };
        }
    };
    words.into()
}

fn why_passed<F: Family + Address>(story: &Story<'_, F>) -> String {
    if let Some(event) = story.overlay.events().last() {
        return event.words().trim_start_matches("passed: ").into();
    }
    if story.report.mentions("destination") {
        return "the destination is this machine itself".into();
    }
    if story.steps.contains(&Program::Open)
        && story.overlay.sought().iter().any(|(_, index)| index.is_some())
        && story.overlay.handed_over(|words| &words.found_by) == found_by::FTP
    {
        return "FTP's service sends nobody there".into();
    }
    "it belongs to no connection, and opens none to a virtual service".into()
}

/// The frame that leaves: the packet, or an error for its sender.
fn sent<F: Family + Address>(story: &Story<'_, F>, interface: u32) -> String {
    let frame = story.overlay.frame();
    let flow = Flow::of_frame(&frame);
    let to = match frame.first_chunk() {
        // An answer, and the kernel does not know the sender's.
        Some([0, 0, 0, 0, 0, 0]) | None => "the MAC address that the packet came from".into(),
        Some(mac) => mac_words(*mac),
    };
    let name = (story.interfaces.name)(interface);
    let events = story.overlay.events();
    if story.steps.contains(&Program::Reject) {
        let cause = match Cause::unpack(story.overlay.handed_over(|words| &words.cause)) {
            Cause::TimeExceeded => "time exceeded".to_owned(),
            Cause::PortUnreachable => "port unreachable".into(),
            Cause::TooBig(mtu) => format!("too big for {mtu} octets"),
        };
        let reason = why(events.iter().rev().find(|event| event.words().starts_with("dropped")).copied());
        return format!("{reason}: \"{cause}\" leaves by {name} to {to} as {flow}");
    }
    let also: String = events.iter().map(|event| format!("; {}", event.words())).collect();
    format!("sent by {name} to {to} as {flow}{also}")
}

fn why(event: Option<Event>) -> String {
    event.map_or_else(|| "dropped".into(), |event| event.words().into())
}

/// "02:00:00:00:00:01".
fn mac_words(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
