//! What the steps find on their way, told from what they leave for each other.

use super::choice::{Choice, endpoint};
use super::overlay::Overlay;
use super::report::Report;
use super::{Explanation, Interfaces, end};
use crate::connections::{Address, address_of, last_expiry};
use crate::registry::keys;
use rlvs_ipvs::{Form, ServiceId};
use rlvs_switch::config::Tick;
use rlvs_switch::mark::RULES_MAX;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::service::{Service, ServiceKey, flag};
use rlvs_switch::steps::found_by;
use rlvs_switch::table::lookup::{find, is_expired};
use rlvs_switch::table::{Family, Meta, Tuple, slot};
use rlvs_switch::{Memory, Platform, Program, View, order, state};
use std::net::SocketAddr;

/// A packet's way through the switch.
pub(super) struct Story<'a, F: Family> {
    pub(super) overlay: &'a Overlay<'a>,
    pub(super) tuple: Tuple<F>,
    pub(super) form: Form,
    pub(super) interfaces: &'a Interfaces<'a>,
    pub(super) report: Report,
    pub(super) steps: Vec<Program>,
    /// The entry that the packet belongs to.
    pub(super) known: Option<Known>,
    choice: Option<Choice>,
}

/// The entry that a packet is found to belong to.
#[derive(Clone, Copy)]
pub(super) struct Known {
    index: u32,
    meta: Meta,
    pub(super) is_reply: bool,
    pub(super) destination: u32,
    pub(super) method: u32,
}

impl<'a, F: Family + Address> Story<'a, F> {
    pub(super) fn new(
        overlay: &'a Overlay<'a>,
        tuple: Tuple<F>,
        form: Form,
        interfaces: &'a Interfaces<'a>,
        report: Report,
    ) -> Self {
        Story { overlay, tuple, form, interfaces, report, steps: Vec::new(), known: None, choice: None }
    }

    /// Has the switch take its steps, and tells them.
    pub(super) fn tell(mut self) -> Explanation {
        self.known = if self.form == Form::EarlyFragment { self.unknown_yet() } else { self.connection() };
        let overlay = self.overlay;
        let verdict = rlvs_switch::follow(overlay, |next| {
            if next == Program::Open {
                overlay.carry_mark();
            }
            self.took(Some(next));
            self.steps.push(next);
        });
        self.took(None);
        end::tell(&mut self, verdict);
        Explanation { verdict, frame: overlay.frame(), findings: self.report.into_findings() }
    }

    /// The last step led to this one, or to the end.
    fn took(&mut self, next: Option<Program>) {
        let Some(last) = self.steps.last().copied() else { return };
        self.see_whether_it_still_belongs();
        let first_time = self.steps.iter().filter(|step| **step == last).count() == 1;
        match last {
            Program::Classify => self.mark(),
            Program::Open => self.service(),
            Program::Call | Program::Call6 => self.call(next),
            Program::Persist | Program::Persist6 if first_time => self.template(next),
            Program::FtpData | Program::FtpData6 if next.is_some_and(is_creation) => self.ftp_data(),
            Program::Schedule => self.chosen(next),
            _ => {}
        }
        if next == Some(Program::Schedule) {
            self.choice = Choice::before(self.overlay, &self.tuple);
        }
    }

    fn unknown_yet(&mut self) -> Option<Known> {
        let text = "not known before the packet's first fragment comes, which has the ports; until then this one waits";
        self.report.say("connection", text, [("known", false.into())]);
        None
    }

    /// The packet's own entry, as the first step looks for it.
    fn connection(&mut self) -> Option<Known> {
        let overlay = self.overlay;
        let config = overlay.config()?;
        let found = find(overlay, config, &self.tuple, F::hash(config, &self.tuple));
        let Some(found) = found.filter(|found| !is_expired(overlay, found.slot, found.index, overlay.now()))
        else {
            self.report.say(
                "connection",
                "none is known that the packet belongs to",
                [("known", false.into())],
            );
            return None;
        };
        let entry = found.slot.entry(found.meta)?;
        let expires = overlay.now().until(last_expiry(overlay, found.slot, found.index, entry.peer)).max(0);
        let state = state::name(self.tuple.protocol, found.meta.state());
        let server = match overlay.destination(entry.destination) {
            Some(destination) if found.meta.is_reply() => endpoint(destination),
            Some(destination) => SocketAddr::new(address_of(destination), u16::from_be_bytes(entry.port)),
            None => return None,
        };
        let (seconds, direction) =
            (Tick::to_seconds(expires as u32), if found.meta.is_reply() { "reply" } else { "request" });
        self.report.say(
            "connection",
            format!("known, the packet is a {direction}: {state}, expires in {seconds} s, with {server}"),
            [
                ("known", true.into()),
                ("direction", direction.into()),
                ("state", state.into()),
                ("expires", seconds.into()),
                ("destination", server.to_string().into()),
            ],
        );
        Some(Known {
            index: found.index,
            meta: found.meta,
            is_reply: found.meta.is_reply(),
            destination: entry.destination,
            method: entry.method.into(),
        })
    }

    /// The switch gives an entry up that is at its end when its tuple is used anew.
    fn see_whether_it_still_belongs(&mut self) {
        let Some(known) = self.known else { return };
        let place = slot::<_, F>(self.overlay, known.index);
        if !place.is_some_and(|place| place.meta().same_version(known.meta)) {
            self.known = None;
            self.report.say(
                "connection",
                "given up, for this packet may open a new one",
                [("known", false.into())],
            );
        }
    }

    fn call(&mut self, next: Option<Program>) {
        let id = match next {
            Some(Program::Persist | Program::Persist6) => self.overlay.call_id(),
            _ => String::new(),
        };
        let text = if id.is_empty() { "the packet has no Call-ID" } else { id.as_str() };
        self.report.say("call", text, [("call_id", id.as_str().into())]);
    }

    fn mark(&mut self) {
        if let Some(mark) = self.overlay.mark() {
            let text = format!("{mark}, which the packet carries already");
            self.report.say("mark", text, [("mark", mark.get().into()), ("rule", 0u32.into())]);
            return;
        }
        let mark = self.overlay.handed_over(|words| &words.mark);
        let number = self.overlay.last_rule().map_or(0, |index| index % RULES_MAX + 1);
        let (text, rule) = match mark {
            0 => ("no rule gives the packet a mark".into(), 0),
            mark => (format!("{mark}, by rule {number} of `rlvs mark list`"), number),
        };
        self.report.say("mark", text, [("mark", mark.into()), ("rule", rule.into())]);
    }

    fn service(&mut self) {
        let found = self.overlay.sought().iter().find_map(|(key, index)| index.map(|index| (*key, index)));
        let Some((key, index)) = found else { return };
        let Some(service) = self.overlay.service(index) else { return };
        let found_by = self.overlay.handed_over(|words| &words.found_by);
        let by = match found_by {
            found_by::MARK => "by the packet's mark",
            found_by::FTP => "as FTP's, which may have arranged for the packet",
            found_by::ANY_PORT => "as that for all ports",
            _ => "by address and port",
        };
        let name = service_name(&key);
        let number = service.lists[service.current.load(order::LOAD) as usize % service.lists.len()]
            .scheduler
            .load(order::PLAIN);
        let scheduler = Scheduler::from_number(number).map_or("unknown", Scheduler::name);
        let features = features(service, found_by);
        self.report.say(
            "service",
            format!("{name}, found {by}; scheduler {scheduler}{features}"),
            [
                ("service", name.into()),
                ("found", by.into()),
                ("scheduler", scheduler.into()),
                ("persistent", service.has(flag::PERSISTENT).into()),
                ("one_packet", service.has(flag::ONE_PACKET).into()),
            ],
        );
    }

    fn template(&mut self, next: Option<Program>) {
        let none = "none that can be used: the destination that is chosen gets one";
        if next.is_none_or(|next| !is_creation(next)) {
            self.report.say("template", none, [("known", false.into())]);
            return;
        }
        let index = self.overlay.handed_over(|words| &words.template);
        let chosen = self.overlay.handed_over(|words| &words.destination);
        let (Some(place), Some(destination)) =
            (slot::<_, F>(self.overlay, index), self.overlay.destination(chosen))
        else {
            return;
        };
        let seconds = Tick::to_seconds(self.overlay.now().until(place.expires()).max(0) as u32);
        let (server, controls) = (endpoint(destination), place.controls().load(order::PLAIN));
        self.report.say(
            "template",
            format!("binds the client to {server}; expires in {seconds} s, has {controls} connections"),
            [
                ("known", true.into()),
                ("destination", server.to_string().into()),
                ("expires", seconds.into()),
                ("connections", controls.into()),
            ],
        );
    }

    fn ftp_data(&mut self) {
        let text = "not looked for: an FTP control connection has arranged for this data connection";
        self.report.say("service", text, [("found", "by an FTP control connection".into())]);
    }

    fn chosen(&mut self, next: Option<Program>) {
        let chosen = self.overlay.handed_over(|words| &words.destination);
        let chosen = next.is_some_and(is_creation).then_some(chosen);
        if let Some(choice) = self.choice.take() {
            choice.tell(chosen, &mut self.report);
        }
    }
}

/// "TCP 10.0.0.1:80", "mark 7 (IPv4)".
pub(super) fn service_name(key: &ServiceKey) -> String {
    match keys::id(key) {
        ServiceId::Mark { mark, .. } => format!("mark {mark} (IPv{})", key.family),
        ServiceId::Address { protocol, address, port } => {
            format!("{protocol} {}", SocketAddr::new(address, port))
        }
    }
}

fn features(service: &Service, found_by: u32) -> String {
    let mut words = String::new();
    if service.has(flag::PERSISTENT) {
        words += &format!(", persistent for {} s", service.timeout.load(order::PLAIN));
    } else if found_by == found_by::FTP || found_by == found_by::ANY_PORT {
        words += ", which serves this port only while it is persistent";
    }
    if service.has(flag::ONE_PACKET) {
        words += ", each UDP packet for itself";
    }
    words
}

/// Whether the destination is chosen when this step is taken.
pub(super) fn is_creation(step: Program) -> bool {
    matches!(
        step,
        Program::Create
            | Program::Create6
            | Program::Once
            | Program::Once6
            | Program::CreateTemplate
            | Program::CreateTemplate6
    )
}
