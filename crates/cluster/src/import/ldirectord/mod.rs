//! `ldirectord.cf`.

mod check;
mod model;
mod read;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rlvs_ipvs::{Family, ServiceId};

use super::draft::{Block, Draft};
use super::hooks::Hooks;
use super::value::Table;
use super::{ImportError, LookUp, Place, Problem, Translation, endpoint};
use crate::plan;
use model::{Address, Fallback, Method, Other, Protocol, Real, Settings, Virtual};

/// What to do about directives without a counterpart. Those that are not here change nothing that we do.
const HELP: [(&str, &str); 12] = [
    ("callback", "call the program, then `kill -HUP`"),
    ("execute", "translate that file, too; one `rlvs cluster` can do for both"),
    ("checkcount", "`fall` says how many failures it takes"),
    ("cleanstop", "services and servers stay when `rlvs cluster` ends"),
    ("emailalert", "a `notify` program can send mail"),
    ("smtp", "a `notify` program can send mail"),
    ("login", "no check logs in, but a \"command\" can"),
    ("passwd", "no check logs in, but a \"command\" can"),
    ("database", "no check asks a database, but a \"command\" can"),
    ("secret", "no check speaks RADIUS, but a \"command\" can"),
    ("monitorfile", "the log says what checks find"),
    ("servicename", "`name` is unique; it is not translated"),
];

/// Whether a line can only be of such a file.
pub(super) fn is_beginning(line: &str) -> bool {
    const NAMES: [&str; 9] = [
        "virtual",
        "virtual6",
        "real",
        "checktimeout",
        "checkinterval",
        "negotiatetimeout",
        "checktype",
        "autoreload",
        "quiescent",
    ];
    read::directive(line).is_some_and(|(name, _)| NAMES.contains(&name))
}

pub(super) fn translate(text: &str, path: &Path, look_up: LookUp) -> Result<Translation, ImportError> {
    let name: Arc<Path> = path.into();
    let place = |line| Place { file: Arc::clone(&name), line };
    let file = read::read(text, look_up).map_err(|faults| {
        let problem = |(line, what)| Problem { place: place(line), what, help: None };
        ImportError::Malformed(faults.into_iter().map(problem).collect())
    })?;
    let mut translator = Translator { place: &place, draft: Draft::default() };
    translator.others(file.others.iter());
    for (line, name) in &file.names {
        let help = "there is no such name, or nobody to ask: write the address";
        translator.draft.problem(
            &place(*line),
            format!("the line names the host {name}, and is left out"),
            help,
        );
    }
    if let Some(line) = file.autoreload {
        let mut block = Block::new("", &place(line), "autoreload");
        block.set("auto_reload", true);
        translator.draft.blocks.push(block);
    }
    for service in &file.virtuals {
        // A bind is the one check that logs in.
        let used = |other: &&Other| {
            !(["login", "passwd"].contains(&other.name.as_str()) && service.service().starts_with("ldap"))
        };
        translator.others(service.others.iter().filter(used));
        translator.service(service, &service.settings.clone().or(&file.settings));
    }
    Ok(translator.draft.finish(path))
}

struct Translator<'p> {
    place: &'p dyn Fn(usize) -> Place,
    draft: Draft,
}

impl Translator<'_> {
    fn others<'o>(&mut self, others: impl Iterator<Item = &'o Other>) {
        for Other { line, name, value } in others {
            let known = HELP.iter().find(|(known, _)| known == name);
            // What turns something off that is off.
            let idle = matches!((name.as_str(), value.as_str()), ("cleanstop", "no"));
            if let Some((_, help)) = known.filter(|_| !idle) {
                self.draft.problem(&(self.place)(*line), format!("{name} = {value}"), *help);
            }
        }
    }

    fn service(&mut self, service: &Virtual, settings: &Settings) {
        let place = (self.place)(service.line);
        let mut block = Block::new("[[service]]", &place, format!("virtual={}", service.text));
        let Some(id) = identity(service) else { return };
        match id {
            ServiceId::Address { address, port, .. } => {
                let key = if service.protocol() == Protocol::Udp { "udp" } else { "tcp" };
                block.set(key, endpoint(address, port));
            }
            ServiceId::Mark { family, mark } => {
                block.set("mark", mark.get());
                if family == Family::Inet6 {
                    block.set("family", "ipv6");
                }
            }
        }
        block.set("scheduler", service.scheduler.as_deref().unwrap_or("wrr"));
        if service.ops {
            block.set("one_packet", true);
        }
        if let Some(seconds) = service.persistent {
            block.set("persistent", Duration::from_secs(seconds.into()));
            block.set_some("netmask", service.netmask.clone());
        }
        if settings.quiescent == Some(true) {
            block.set("when_down", "quiesce");
        }
        if let Some(Fallback { address, port, method }) = &settings.fallback {
            let port = port.filter(|_| *method == Method::Masq && service.port().is_some());
            let address = port.map_or(address.to_string(), |port| endpoint(*address, port));
            let table = Table::default().with("address", address).with("forward", forward(*method));
            block.set("sorry_server", table);
        }
        let hooks = settings.fallbackcommand.as_ref().map(|command| told(command, service, &id));
        block.set_some("notify", hooks.and_then(|hooks| hooks.notify()));
        for real in &service.reals {
            self.real(&mut block, service, settings, real);
        }
        self.draft.blocks.push(block);
    }

    fn real(&mut self, block: &mut Block, service: &Virtual, settings: &Settings, real: &Real) {
        let place = (self.place)(real.line);
        let origin = format!("real={}", real.text);
        let own = real.port.filter(|own| Some(*own) != service.port());
        let kept = own.filter(|_| real.method == Method::Masq && service.port().is_some());
        if let (Some(own), None, Some(port)) = (own, kept, service.port()) {
            let what = format!("{origin}: only masq changes the port");
            self.draft.problem(&place, what, format!("the port is {port}; {own} is asked"));
        }
        // Servers of marks have no port that could be asked.
        let asked = service.checkport.or(own.filter(|_| kept.is_none()));
        let asked = asked.or_else(|| match service.address {
            Address::Mark(_) => {
                model::SERVICES.iter().find(|(name, _)| *name == service.service()).map(|(_, port)| *port)
            }
            Address::Ip(..) => None,
        });
        let check::Checks { tables, problems } = check::of(service, real, settings, asked);
        for what in problems {
            self.draft.problem(&place, origin.clone(), what);
        }
        for address in &real.addresses {
            let mut part = Block::new("[[service.server]]", &place, &*origin);
            part.set("address", kept.map_or(address.to_string(), |port| endpoint(*address, port)));
            part.set("weight", real.weight);
            part.set("forward", forward(real.method));
            part.set_some("upper_threshold", real.upper);
            part.set_some("lower_threshold", real.lower);
            match tables.as_slice() {
                [] => {}
                [check] => part.set("check", check.clone()),
                checks => part.set("check", checks.to_vec()),
            }
            block.add(part);
        }
    }
}

fn identity(service: &Virtual) -> Option<ServiceId> {
    Some(match service.address {
        Address::Ip(address, port) => {
            let udp = service.protocol() == Protocol::Udp;
            let protocol = if udp { rlvs_ipvs::Protocol::UDP } else { rlvs_ipvs::Protocol::TCP };
            ServiceId::Address { protocol, address, port }
        }
        Address::Mark(mark) => {
            let v6 =
                service.is_v6 || service.reals.iter().flat_map(|real| &real.addresses).all(IpAddr::is_ipv6);
            let v6 = v6 && (service.is_v6 || !service.reals.is_empty());
            let family = if v6 { Family::Inet6 } else { Family::Inet };
            ServiceId::Mark { family, mark: NonZeroU32::new(mark)? }
        }
    })
}

/// `fallbackcommand`: its program with `start` or `stop`, the service and the protocol.
fn told(command: &str, service: &Virtual, id: &ServiceId) -> Hooks {
    let name = plan::service_name(id);
    let (text, protocol) = match service.address {
        Address::Ip(address, port) if service.protocol() == Protocol::Udp => (endpoint(address, port), "udp"),
        Address::Ip(address, port) => (endpoint(address, port), "tcp"),
        Address::Mark(mark) => (mark.to_string(), "fwm"),
    };
    let mut hooks = Hooks::default();
    for (event, word) in [("DOWN", "start"), ("UP", "stop")] {
        let words = command.split_whitespace().chain([word, text.as_str(), protocol]);
        hooks.on(format!("SERVICE {name} {event}"), Some(words.map(str::to_owned).collect()));
    }
    hooks
}

fn forward(method: Method) -> &'static str {
    match method {
        Method::Gate => "direct",
        Method::Masq => "nat",
        Method::Ipip => "tunnel",
    }
}
