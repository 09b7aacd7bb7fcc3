//! `virtual_server`, with its real servers.

use std::net::IpAddr;
use std::num::NonZeroU32;

use rlvs_ipvs::{DestinationId, Family, Protocol, ServiceId};

use super::checker::{self, General, Timing};
use super::context::Context;
use super::global::Globals;
use super::group;
use super::method::Method;
use super::script;
use super::tree::Statement;
use crate::import::draft::Block;
use crate::import::endpoint;
use crate::import::hooks::Hooks;
use crate::import::value::Table;
use crate::plan;

const UNTRANSLATED: [(&str, &str); 3] = [
    ("ha_suspend", "servers are checked whoever has the address"),
    ("omega", "services and servers stay when `rlvs cluster` ends"),
    ("sorry_server_inhibit", "the sorry server is added and deleted"),
];
/// What changes nothing that we do.
const WITHOUT_EFFECT: [&str; 3] = ["warmup", "snmp_name", "log_all_failures"];
/// keepalived's time of persistence where none is said: six minutes.
const PERSISTENCE: u32 = 360;

/// `virtual_server ... { ... }`.
#[derive(Debug, Default)]
struct VirtualServer {
    protocol: Option<Protocol>,
    scheduler: Option<String>,
    flags: Vec<String>,
    one_packet: bool,
    method: Method,
    /// Seconds.
    persistence: Option<u32>,
    granularity: Option<String>,
    engine: Option<String>,
    timing: Timing,
    quorum: Option<u32>,
    hysteresis: Option<u32>,
    quorum_up: Option<Vec<String>>,
    quorum_down: Option<Vec<String>>,
    sorry: Option<(IpAddr, Option<u16>)>,
    sorry_method: Option<Method>,
    inhibit: bool,
    host: Option<String>,
    is_v6: bool,
}

/// `real_server ... { ... }`.
#[derive(Debug)]
struct RealServer {
    statement: Statement,
    address: IpAddr,
    port: Option<u16>,
    weight: u32,
    upper: Option<u32>,
    lower: Option<u32>,
    method: Method,
    inhibit: bool,
    up: Option<Vec<String>>,
    down: Option<Vec<String>>,
    checks: Vec<Table>,
    alpha: bool,
}

pub(super) fn translate(context: &mut Context, globals: &Globals, definition: &Statement) {
    let mut server = VirtualServer::default();
    for statement in definition.block().iter().filter(|statement| statement.keyword() != "real_server") {
        one(context, &mut server, statement);
    }
    let reals: Vec<_> = definition
        .block()
        .iter()
        .filter(|statement| statement.keyword() == "real_server")
        .filter_map(|statement| real_server(context, globals, &server, statement))
        .collect();
    let first = reals.iter().find(|real| !real.method.is_tunnel());
    server.is_v6 |= first.is_some_and(|real| real.address.is_ipv6());
    let protocol = server.protocol.unwrap_or(Protocol::TCP);
    let family = if server.is_v6 { Family::Inet6 } else { Family::Inet };
    let services = group::services(context, globals, definition, protocol, family);
    let of_address = services.iter().any(|(_, id)| matches!(id, ServiceId::Address { .. }));
    if of_address && server.protocol.is_none() {
        let help = "taken for TCP; say `protocol TCP` or `protocol UDP`";
        context.draft.problem(
            &definition.place,
            format!("`{}` has no protocol", definition.words.join(" ")),
            help,
        );
    }
    for (at, (place, id)) in services.iter().enumerate() {
        let origin = definition.words.join(" ");
        let mut block = Block::new("[[service]]", place, origin);
        // What a group has in common is told of its first member only.
        write(context, &server, &reals, &mut block, *id, at == 0);
        context.draft.blocks.push(block);
    }
}

fn one(context: &mut Context, server: &mut VirtualServer, statement: &Statement) {
    match statement.keyword() {
        "lvs_sched" | "lb_algo" => server.scheduler = context.text(statement),
        "lvs_method" | "lb_kind" => {
            server.method = Method::of(context, statement).unwrap_or_default();
        }
        "protocol" => match statement.argument() {
            Some("TCP") => server.protocol = Some(Protocol::TCP),
            Some("UDP") => server.protocol = Some(Protocol::UDP),
            Some("SCTP") => server.protocol = Some(Protocol::SCTP),
            _ => context.wrong(statement, "TCP, UDP or SCTP is expected"),
        },
        "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" => {
            server.flags.push(statement.keyword().to_owned());
        }
        "ops" => server.one_packet = true,
        "persistence_timeout" => {
            server.persistence = match statement.argument() {
                Some(_) => context.number(statement),
                None => Some(PERSISTENCE),
            };
        }
        "persistence_granularity" => server.granularity = context.text(statement),
        "persistence_engine" => server.engine = context.text(statement),
        "quorum" => server.quorum = context.number(statement),
        "hysteresis" => server.hysteresis = context.number(statement),
        "quorum_up" => server.quorum_up = script::command(context, statement, false),
        "quorum_down" => server.quorum_down = script::command(context, statement, false),
        "sorry_server" => {
            if let Some(address) = context.address(statement) {
                server.sorry = Some((address, statement.words.get(2).and_then(|port| port.parse().ok())));
            }
        }
        "sorry_server_lvs_method" => server.sorry_method = Method::of(context, statement),
        "inhibit_on_failure" => server.inhibit = context.flag(statement) == Some(true),
        "virtualhost" => server.host = context.text(statement),
        "smtp_alert" => context.alert(statement),
        "ip_family" => server.is_v6 = statement.argument() == Some("inet6"),
        keyword if WITHOUT_EFFECT.contains(&keyword) => {}
        _ if server.timing.take(context, statement) => {}
        _ => context.other(statement, &UNTRANSLATED),
    }
}

fn real_server(
    context: &mut Context,
    globals: &Globals,
    server: &VirtualServer,
    definition: &Statement,
) -> Option<RealServer> {
    let address = context.address(definition)?;
    let port = definition.words.get(2).map(|port| port.parse::<u16>());
    if let Some(Err(_)) = port {
        context.wrong(definition, "a port is expected");
        return None;
    }
    let mut real = RealServer {
        statement: definition.clone(),
        address,
        port: port.and_then(Result::ok),
        weight: 1,
        upper: None,
        lower: None,
        method: server.method.clone(),
        inhibit: server.inhibit,
        up: None,
        down: None,
        checks: Vec::new(),
        alpha: false,
    };
    let (mut timing, mut host, mut checkers) = (server.timing, server.host.clone(), Vec::new());
    for statement in definition.block() {
        match statement.keyword() {
            "weight" => real.weight = context.number(statement).unwrap_or(1),
            "lvs_method" => {
                real.method = Method::of(context, statement).unwrap_or_else(|| server.method.clone());
            }
            "uthreshold" => real.upper = context.number(statement),
            "lthreshold" => real.lower = context.number(statement),
            "inhibit_on_failure" => real.inhibit = context.flag(statement) == Some(true),
            "notify_up" => real.up = script::command(context, statement, false),
            "notify_down" => real.down = script::command(context, statement, false),
            "virtualhost" => host = context.text(statement),
            "smtp_alert" => context.alert(statement),
            keyword if WITHOUT_EFFECT.contains(&keyword) => {}
            _ if timing.take(context, statement) => {}
            // What they inherit may stand below them.
            _ => checkers.push(statement),
        }
    }
    real.alpha = timing.alpha == Some(true);
    // The port that is asked is the server's own, even where packets keep the service's.
    let port = real.port.filter(|_| !real.method.is_nat());
    let general = General { host: host.as_deref(), port, identity: globals.identity.as_ref() };
    for statement in checkers {
        let mut timing = timing;
        match checker::checks(context, statement, &mut timing, general) {
            Some(checks) => {
                real.checks.extend(checks);
                real.alpha |= timing.alpha == Some(true);
            }
            None => context.other(statement, &[]),
        }
    }
    Some(real)
}

fn write(
    context: &mut Context,
    server: &VirtualServer,
    reals: &[RealServer],
    block: &mut Block,
    id: ServiceId,
    tell: bool,
) {
    let port = match id {
        ServiceId::Address { protocol, address, port } => {
            let key = match protocol {
                Protocol::UDP => "udp",
                Protocol::SCTP => "sctp",
                _ => "tcp",
            };
            block.set(key, endpoint(address, port));
            port
        }
        ServiceId::Mark { family, mark } => {
            block.set("mark", mark.get());
            if family == Family::Inet6 {
                block.set("family", "ipv6");
            }
            0
        }
    };
    block.set("scheduler", server.scheduler.as_deref().unwrap_or("wlc"));
    if !server.flags.is_empty() {
        block.set("scheduler_flags", server.flags.clone());
    }
    if server.one_packet {
        block.set("one_packet", true);
    }
    if let Some(seconds) = server.persistence.filter(|seconds| *seconds != 0) {
        block.set("persistent", format!("{seconds}s"));
        block.set_some("netmask", server.granularity.clone());
        block.set_some("persistence_engine", server.engine.clone());
    }
    server.method.write(block);
    let total = reals.iter().fold(0, |sum: u32, real| sum.saturating_add(real.weight));
    let quorum = server.quorum.unwrap_or(1);
    let needed = quorum.saturating_add(server.hysteresis.unwrap_or(0));
    if server.quorum.is_some() || server.hysteresis.is_some() {
        if needed <= total {
            block.set("quorum", quorum);
            block.set_some("hysteresis", server.hysteresis);
        } else if tell {
            let what = format!("{}: a quorum of {needed}", block.origin());
            context.draft.problem(&block.place(), what, "all weights come to less; the quorum is 1 now");
        }
    }
    let mark = matches!(id, ServiceId::Mark { .. });
    if let Some((address, own)) = server.sorry {
        let method = server.sorry_method.as_ref().unwrap_or(&server.method);
        let own = own.filter(|_| method.is_nat() && !mark);
        let table =
            Table::default().with("address", own.map_or(address.to_string(), |own| endpoint(address, own)));
        block.set("sorry_server", method.add_to(table));
    }
    block.set("start", "up");
    let mut hooks = Hooks::default();
    let name = plan::service_name(&id);
    hooks.on(format!("SERVICE {name} UP"), server.quorum_up.clone());
    hooks.on(format!("SERVICE {name} DOWN"), server.quorum_down.clone());
    for real in reals {
        let own = real.port.filter(|_| real.method.is_nat() && !mark);
        let known = plan::server_name(&DestinationId { address: real.address, port: own.unwrap_or(port) });
        hooks.on(format!("SERVER {name} {known} UP"), real.up.clone());
        hooks.on(format!("SERVER {name} {known} DOWN"), real.down.clone());
        if tell && !mark && own.is_none() && real.port.is_some_and(|own| own != port) {
            context.untranslated(&real.statement, format!("only NAT changes the port; it is {port}"));
        }
        block.add(real.block(server, own, mark));
    }
    block.set_some("notify", hooks.notify());
}

impl RealServer {
    /// `mark`: of a service that has no port which its checks could ask.
    fn block(&self, server: &VirtualServer, port: Option<u16>, mark: bool) -> Block {
        let statement = &self.statement;
        let mut block = Block::new("[[service.server]]", &statement.place, statement.words.join(" "));
        block.set("address", port.map_or(self.address.to_string(), |port| endpoint(self.address, port)));
        block.set("weight", self.weight);
        block.set_some("upper_threshold", self.upper.filter(|threshold| *threshold != 0));
        block.set_some("lower_threshold", self.lower.filter(|threshold| *threshold != 0));
        if self.method != server.method {
            self.method.write(&mut block);
        }
        if self.alpha {
            block.set("start", "down");
        }
        if self.inhibit {
            block.set("when_down", "quiesce");
        }
        let asked = self.port.filter(|_| mark);
        let checks: Vec<_> = self.checks.iter().map(|check| check.clone().or_some("port", asked)).collect();
        match checks.as_slice() {
            [] => {}
            [check] => block.set("check", check.clone()),
            checks => block.set("check", checks.to_vec()),
        }
        block
    }
}

/// A mark, if it is one.
pub(super) fn mark(text: &str) -> Option<NonZeroU32> {
    text.parse().ok()
}
