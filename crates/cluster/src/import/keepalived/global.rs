//! What is defined once and used elsewhere, wherever it stands: `global_defs`, `vrrp_script`, groups.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::context::Context;
use super::script;
use super::tree::Statement;
use crate::import::draft::Block;
use crate::import::value::Table;

const MAIL: &str = "the name said is the address";
const USER: &str = "programs run as the user of `rlvs cluster`; let the program be setpriv or runuser";
const FIFO: &str = "a `notify` program gets the same words as arguments";
const NAMESPACE: &str = "start `rlvs cluster` in the namespace: `ip netns exec`";
const FIXED: &str = "it cannot be set; leave it out";

/// What has a meaning that our file cannot express.
const UNTRANSLATED: [(&str, &str); 24] = [
    ("smtp_helo_name", MAIL),
    ("script_user", USER),
    ("notify_fifo", FIFO),
    ("notify_fifo_script", FIFO),
    ("vrrp_notify_fifo", FIFO),
    ("vrrp_notify_fifo_script", FIFO),
    ("lvs_notify_fifo", FIFO),
    ("lvs_notify_fifo_script", FIFO),
    ("lvs_sync_daemon", "`ipvsadm --start-daemon` synchronises connections"),
    ("lvs_timeouts", "`ipvsadm --set` sets the timeouts"),
    ("lvs_flush_onstop", "`ipvsadm --clear` after `rlvs cluster` has ended"),
    ("lvs_flush_on_stop", "`ipvsadm --clear` after `rlvs cluster` has ended"),
    ("vrrp_mcast_group4", FIXED),
    ("vrrp_mcast_group6", FIXED),
    ("vrrp_strict", FIXED),
    ("vrrp_down_timer_adverts", FIXED),
    ("vrrp_startup_delay", FIXED),
    ("vrrp_garp_interval", FIXED),
    ("vrrp_gna_interval", FIXED),
    ("nftables_ipvs", "`rlvs mark` gives packets firewall marks"),
    ("net_namespace", NAMESPACE),
    ("net_namespace_ipvs", NAMESPACE),
    ("enable_snmp_vrrp", "there is no SNMP"),
    ("enable_snmp_checker", "there is no SNMP"),
];

/// What changes nothing that we do: names for mails and files, the process's own priorities, and what is on anyway.
const WITHOUT_EFFECT: [&str; 33] = [
    "smtp_connect_timeout",
    "router_id",
    "enable_script_security",
    "vrrp_skip_check_adv_addr",
    "vrrp_check_unicast_src",
    "vrrp_higher_prio_send_advert",
    "vrrp_lower_prio_no_advert",
    "vrrp_garp_lower_prio_delay",
    "vrrp_garp_lower_prio_repeat",
    "vrrp_garp_master_refresh_repeat",
    "vrrp_priority",
    "vrrp_no_swap",
    "vrrp_rt_priority",
    "vrrp_rlimit_rttime",
    "vrrp_cpu_affinity",
    "vrrp_process_name",
    "checker_priority",
    "checker_no_swap",
    "checker_rt_priority",
    "checker_rlimit_rttime",
    "checker_cpu_affinity",
    "checker_log_all_failures",
    "ipvs_process_name",
    "process_names",
    "bfd_priority",
    "bfd_rt_priority",
    "dynamic_interfaces",
    "max_auto_priority",
    "min_auto_priority_delay",
    "use_pid_dir",
    "instance",
    "log_unknown_vrids",
    "script_security",
];

/// What the rest of the file uses.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) version: Option<u8>,
    pub(super) default_interface: Option<String>,
    pub(super) announce: Announce,
    scripts: HashMap<String, Script>,
    pub(super) sync_groups: Vec<SyncGroup>,
    /// How long interfaces may be without a carrier.
    pub(super) delays: HashMap<String, Duration>,
    /// Files of the certificate that checks over TLS show, and its key.
    pub(super) identity: Option<(String, String)>,
    /// Blocks of `virtual_server_group`.
    pub(super) server_groups: HashMap<String, Vec<Statement>>,
}

/// Gratuitous ARP, as far as it is not left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announce {
    pub(super) delay: Option<Duration>,
    pub(super) repeat: Option<u32>,
    pub(super) refresh: Option<Duration>,
}

/// `vrrp_script NAME { ... }`.
#[derive(Clone, Debug, Default)]
struct Script {
    command: Option<Vec<String>>,
    /// It only connects to that port.
    connects: Option<(IpAddr, u16)>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
    /// Words behind `weight`.
    weight: Vec<String>,
}

/// `vrrp_sync_group NAME { ... }`.
#[derive(Clone, Debug)]
pub(super) struct SyncGroup {
    pub(super) statement: Statement,
    pub(super) members: Vec<String>,
    /// Members' own scripts change their priorities, rather than being faults.
    pub(super) keeps_weights: bool,
}

impl Globals {
    /// From all statements of the file.
    pub(super) fn collect(context: &mut Context, statements: &[Statement]) -> Self {
        let mut globals = Self::default();
        for statement in statements {
            let name = statement.argument().unwrap_or_default().to_owned();
            match statement.keyword() {
                "global_defs" => globals.definitions(context, statement),
                "vrrp_script" => _ = globals.scripts.insert(name, script(context, statement)),
                "virtual_server_group" => {
                    globals.server_groups.insert(name, statement.block().to_vec());
                }
                "interface_up_down_delays" => globals.delays(context, statement),
                "SSL" => globals.identity = identity(context, statement),
                "vrrp_sync_group" => globals.sync_groups.push(sync_group(statement)),
                _ => {}
            }
        }
        globals
    }

    /// The check of a script with a name, and the words of its weight.
    pub(super) fn script(&self, name: &str) -> Option<(Table, &[String])> {
        let script = self.scripts.get(name)?;
        let interval = script.interval.unwrap_or(Duration::from_secs(1));
        let check = match script.connects {
            Some((address, port)) => {
                Table::of_type("tcp").with("address", address.to_string()).with("port", port)
            }
            None => Table::of_type("command").with("command", script.command.clone()?),
        };
        let check = check
            .with("interval", interval)
            .with("retry", interval)
            .with("timeout", script.timeout.unwrap_or(interval))
            .with("rise", script.rise.unwrap_or(1).max(1))
            .with("fall", script.fall.unwrap_or(1).max(1));
        Some((check, &script.weight))
    }

    /// The group that an instance is in.
    pub(super) fn group_of(&self, instance: &str) -> Option<&SyncGroup> {
        self.sync_groups.iter().find(|group| group.members.iter().any(|member| member == instance))
    }

    /// `interface_up_down_delays { IF DOWN [UP] }`.
    fn delays(&mut self, context: &mut Context, block: &Statement) {
        for line in block.block() {
            if let Some(delay) = context.timer(line) {
                self.delays.insert(line.keyword().to_owned(), delay);
            }
        }
    }

    fn definitions(&mut self, context: &mut Context, global: &Statement) {
        mail(context, global);
        for statement in global.block() {
            match statement.keyword() {
                "vrrp_version" => self.version = context.number(statement),
                "default_interface" => self.default_interface = context.text(statement),
                "vrrp_garp_master_delay" => self.announce.delay = context.timer(statement),
                "vrrp_garp_master_repeat" => self.announce.repeat = context.number(statement),
                "vrrp_garp_master_refresh" => self.announce.refresh = context.timer(statement),
                "lvs_flush" => {
                    let mut block = Block::new("", &statement.place, "lvs_flush");
                    block.set("other_services", "delete");
                    context.draft.blocks.insert(0, block);
                }
                keyword if WITHOUT_EFFECT.contains(&keyword) => {}
                "smtp_alert" | "smtp_alert_vrrp" | "smtp_alert_checker" => context.alert(statement),
                // They make a [mail] together.
                "notification_email" | "notification_email_from" | "smtp_server" => {}
                "vrrp_strict" if statement.argument().is_some() && context.flag(statement) == Some(false) => {
                }
                _ => context.other(statement, &UNTRANSLATED),
            }
        }
    }
}

/// Who is told of what happens, if keepalived would tell anybody.
fn mail(context: &mut Context, global: &Statement) {
    let find = |keyword| global.block().iter().find(|statement| statement.keyword() == keyword);
    let Some(recipients) = find("notification_email") else { return };
    let Some(server) = find("smtp_server").filter(|server| server.argument().is_some()) else {
        return context.untranslated(recipients, "without `smtp_server` nobody is told");
    };
    let mut block = Block::new("[mail]", &recipients.place, "notification_email");
    let (host, port) = (server.argument().unwrap_or_default(), server.words.get(2));
    let host = match host.parse() {
        Ok(IpAddr::V6(address)) if port.is_some() => format!("[{address}]"),
        _ => host.to_owned(),
    };
    block.set("server", port.map_or(host.clone(), |port| format!("{host}:{port}")));
    let from = find("notification_email_from").and_then(Statement::argument);
    block.set("from", mailbox(from.unwrap_or("keepalived")));
    let to: Vec<_> = recipients.block().iter().map(|line| mailbox(line.keyword())).collect();
    block.set("to", to);
    context.draft.blocks.push(block);
}

/// A user of the mail server has no domain in keepalived's file.
fn mailbox(text: &str) -> String {
    if text.contains('@') { text.to_owned() } else { format!("{text}@localhost") }
}

fn script(context: &mut Context, definition: &Statement) -> Script {
    let mut script = Script::default();
    for statement in definition.block() {
        match statement.keyword() {
            "script" => match statement.argument().and_then(connection) {
                Some(endpoint) => script.connects = Some(endpoint),
                None => script.command = script::command(context, statement, true),
            },
            "interval" => script.interval = context.timer(statement),
            "timeout" => script.timeout = context.timer(statement),
            "rise" => script.rise = context.number(statement),
            "fall" => script.fall = context.number(statement),
            "weight" => script.weight = statement.words[1..].to_vec(),
            "init_fail" => {
                context.untranslated(statement, "a script is taken for good until it has run; leave it out");
            }
            "user" => context.untranslated(statement, USER),
            _ => context.wrong(statement, "an unknown keyword"),
        }
    }
    script
}

/// `</dev/tcp/ADDRESS/PORT`, by which a shell finds out whether somebody listens.
fn connection(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.trim().strip_prefix('<')?.trim().strip_prefix("/dev/tcp/")?.split_once('/')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// `SSL { certificate FILE key FILE }`.
fn identity(context: &mut Context, block: &Statement) -> Option<(String, String)> {
    let (mut certificate, mut key) = (None, None);
    for statement in block.block() {
        match statement.keyword() {
            "certificate" => certificate = context.text(statement),
            "key" => key = context.text(statement),
            "ca" => context.untranslated(
                statement,
                "keepalived trusts any certificate; `ca` in a check trusts this one",
            ),
            "password" => {
                context.untranslated(statement, "a key has no password: decrypt it, and protect the file")
            }
            _ => context.wrong(statement, "an unknown keyword"),
        }
    }
    certificate.zip(key)
}

fn sync_group(statement: &Statement) -> SyncGroup {
    let has = |keyword| statement.block().iter().any(|inner| inner.keyword() == keyword);
    let groups = statement.block().iter().filter(|inner| inner.keyword() == "group");
    let members = groups.flat_map(Statement::block).flat_map(|member| member.words.clone());
    SyncGroup {
        members: members.collect(),
        keeps_weights: has("sync_group_tracking_weight") || has("global_tracking"),
        statement: statement.clone(),
    }
}
