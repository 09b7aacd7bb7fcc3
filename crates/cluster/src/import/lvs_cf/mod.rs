//! Piranha's `lvs.cf`.

mod model;
mod read;
mod words;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::draft::{Block, Draft};
use super::hooks::Hooks;
use super::value::Table;
use super::{ImportError, Place, Problem, Translation, endpoint};
use model::{File, Network, OnDevice, Other, Server, Virtual};

/// A server that returns has its full weight after five doublings, about twenty seconds each.
const RAMP: Duration = Duration::from_secs(100);

pub(super) fn translate(text: &str, path: &Path) -> Result<Translation, ImportError> {
    let name: Arc<Path> = path.into();
    let place = |line| Place { file: Arc::clone(&name), line };
    let file = read::read(text).map_err(|faults| {
        let problem = |(line, fault): (usize, words::Fault)| Problem {
            place: place(line),
            what: fault.to_string(),
            help: None,
        };
        ImportError::Malformed(faults.into_iter().map(problem).collect())
    })?;
    let mut translator = Translator { file: &file, place: &place, draft: Draft::default() };
    translator.all();
    Ok(translator.draft.finish(path))
}

struct Translator<'f> {
    file: &'f File,
    place: &'f dyn Fn(usize) -> Place,
    draft: Draft,
}

impl Translator<'_> {
    fn all(&mut self) {
        let file = self.file;
        for other in &file.others {
            self.other(other, "");
        }
        if !file.balances {
            let help = "`service = fos` starts and stops programs; a virtual router's `notify` can do that";
            self.draft.problem(&(self.place)(1), "no `virtual` is in use, but `failover` blocks", help);
        }
        for (line, name) in &file.failovers {
            let help = "let the `notify` program of a [[vrrp]] start and stop it";
            self.draft.problem(&(self.place)(*line), format!("failover {name}"), help);
        }
        for service in file.virtuals.iter().filter(|service| file.balances && service.active) {
            self.service(service);
        }
        self.heartbeat();
    }

    /// Who has the addresses.
    fn heartbeat(&mut self) {
        let file = self.file;
        let used = file.virtuals.iter().filter(|service| file.balances && service.active);
        let vips = used.filter_map(|service| Some((service.address.as_ref()?, service.vip_nmask)));
        let router = file.nat_router.as_ref().filter(|_| file.network == Network::Nat);
        let mut addresses = Vec::new();
        for (OnDevice { address, device }, mask) in vips.chain(router.map(|router| (router, file.nat_nmask)))
        {
            let prefix = mask.map_or(32, |mask| u32::from(mask).leading_ones());
            let table = Table::default().with("address", format!("{address}/{prefix}"));
            let table = table.with("interface", device.as_str());
            // Services share addresses.
            if !addresses.contains(&table) {
                addresses.push(table);
            }
        }
        if addresses.is_empty() {
            return;
        }
        let place = (self.place)(1);
        let Some(primary) = file.primary else {
            let help = "let a [[vrrp]] have them, see rlvs-cluster.toml(5), or put them on an interface";
            return self.draft.problem(&place, "the virtual addresses: there is no `primary`", help);
        };
        let mut block = Block::new("[heartbeat]", &place, "who has the virtual addresses");
        block.set("primary", primary.to_string());
        if let Some(backup) = file.backup.filter(|_| file.heartbeat && file.backup_active) {
            block.set("backup", backup.to_string());
            if let (Some(primary), Some(backup)) = (file.primary_private, file.backup_private) {
                block.set("primary_private", primary.to_string());
                block.set("backup_private", backup.to_string());
            }
            block.set("port", file.heartbeat_port);
            block.set("keepalive", Duration::from_secs(file.keepalive.into()));
            block.set("deadtime", Duration::from_secs(file.deadtime.into()));
        }
        if file.monitor_links {
            block.set("monitor_links", true);
        }
        block.set("addresses", addresses);
        let mut hooks = Hooks::default();
        let states = [
            ("MASTER", &file.active_cmd),
            ("BACKUP", &file.inactive_cmd),
            ("FAULT", &file.inactive_cmd),
            ("STOP", &file.inactive_cmd),
        ];
        for (state, command) in states {
            let shell = |command: &String| vec!["/bin/sh".to_owned(), "-c".to_owned(), command.clone()];
            hooks.on(format!("INSTANCE heartbeat {state}"), command.as_ref().map(shell));
        }
        block.set_some("notify", hooks.notify());
        self.draft.blocks.push(block);
    }

    /// A keyword that is right, and that our file has no key for.
    fn other(&mut self, other: &Other, block: &str) {
        let Other { line, keyword, value } = other;
        let help = match *keyword {
            "syncdaemon" | "syncd_iface" => {
                "`ipvsadm --start-daemon` has connections told to the other router".to_owned()
            }
            "hard_shutdown" => "checks are no processes that could die: leave it out".to_owned(),
            "rsh_command" => "let a check of the type \"command\" ask for the load".to_owned(),
            "load_monitor" => {
                "a check of the type \"command\" with `weigh = true` can set weights by load".to_owned()
            }
            "client_monitor" => "a check of the type \"command\" can ask servers".to_owned(),
            // Timeouts.
            _ => "`ipvsadm --set TCP TCPFIN UDP` sets the timeouts; 0 keeps what there is".to_owned(),
        };
        self.draft.problem(&(self.place)(*line), format!("{block}{keyword} = {value}"), help);
    }

    fn service(&mut self, service: &Virtual) {
        let place = (self.place)(service.line);
        let origin = format!("virtual {}", service.name);
        for other in &service.others {
            self.other(other, &format!("{origin}: "));
        }
        let mut block = Block::new("[[service]]", &place, &*origin);
        block.set("name", &*service.name);
        match (service.fwmark, &service.address) {
            (Some(mark), _) => block.set("mark", mark),
            (None, Some(vip)) => {
                let protocol = if service.udp { "udp" } else { "tcp" };
                block.set(protocol, endpoint(vip.address, service.port));
            }
            (None, None) => {
                let help = "it needs `address` or `fwmark`";
                return self.draft.problem(&place, format!("{origin} has no address"), help);
            }
        }
        block.set("scheduler", &*service.scheduler);
        if let Some(seconds) = service.persistent {
            block.set("persistent", Duration::from_secs(seconds.into()));
            block.set_some("netmask", service.pmask.map(|mask| mask.to_string()));
        }
        block.set(
            "forward",
            match self.file.network {
                Network::Nat => "nat",
                Network::Direct => "direct",
                Network::Tunnel => "tunnel",
            },
        );
        block.set("slow_start", RAMP);
        if service.quiesce_server {
            block.set("when_down", "quiesce");
        }
        if let Some(sorry) = service.sorry_server {
            block.set("sorry_server", Table::default().with("address", sorry.to_string()));
        }
        block.set("check", check(service));
        for server in service.servers.iter().filter(|server| server.active) {
            self.server(&mut block, service, server);
        }
        self.draft.blocks.push(block);
    }

    fn server(&mut self, block: &mut Block, service: &Virtual, server: &Server) {
        let place = (self.place)(server.line);
        let origin = format!("virtual {}: server {}", service.name, server.name);
        let Some(address) = server.address else {
            let help = "it needs `address`";
            return self.draft.problem(&place, format!("{origin} has no address"), help);
        };
        let port = server.port.filter(|port| *port != service.port && service.fwmark.is_none());
        let mut part = Block::new("[[service.server]]", &place, &*origin);
        match (port, self.file.network) {
            (Some(port), Network::Nat) => part.set("address", endpoint(address, port)),
            (Some(port), _) => {
                let help = "the server is asked and used at the service's port";
                self.draft.problem(&place, format!("{origin}: only NAT changes the port to {port}"), help);
                part.set("address", address.to_string());
            }
            (None, _) => part.set("address", address.to_string()),
        }
        part.set("weight", server.weight);
        block.add(part);
    }
}

/// What nanny does.
fn check(service: &Virtual) -> Table {
    let interval = Duration::from_secs(service.timeout.max(1).into());
    let rise = service.reentry.div_ceil(service.timeout.max(1)).max(1);
    let check = match (&service.send_program, &service.send, &service.expect) {
        (Some(program), _, expect) => Table::of_type("command")
            .with("command", program.as_str())
            .with("output", unescaped(expect.as_deref().unwrap_or_default())),
        (None, None, None) if service.port == 80 && !service.udp => {
            Table::of_type("tcp").with("send", "GET / HTTP/1.0\r\n\r\n").with("expect_regex", "^HTTP")
        }
        (None, send, expect) => Table::of_type(if service.udp { "udp" } else { "tcp" })
            .with_some("send", send.as_deref().map(unescaped))
            .with_some("expect_regex", expect.as_deref().map(|expect| pattern(expect, service.use_regex))),
    };
    let check = match service.fwmark {
        Some(_) if service.send_program.is_none() => check.with("port", service.port),
        _ => check,
    };
    check
        .with("interval", interval)
        .with("retry", interval)
        .with("timeout", interval)
        .with("rise", rise)
        .with("fall", 1_u32)
}

/// Plain texts are compared with the beginning of an answer, and `*` in them is any octet.
fn pattern(expect: &str, is_regex: bool) -> String {
    let expect = unescaped(expect);
    if is_regex {
        return expect;
    }
    let parts: Vec<_> = expect.split('*').map(regex::escape).collect();
    format!("^{}", parts.join("(?s-u:.)"))
}

/// With nanny's escapes resolved: `\n \r \t \\ \' \"`; others stay.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next() } else { None };
        match (c, escaped) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some('t')) => plain.push('\t'),
            ('\\', Some(c @ ('\\' | '\'' | '"'))) => plain.push(c),
            ('\\', Some(c)) => _ = write!(plain, "\\{c}"),
            (c, _) => plain.push(c),
        }
    }
    plain
}
