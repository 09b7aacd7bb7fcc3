//! `vrrp_instance` and `vrrp_sync_group`.

use std::time::Duration;

use super::context::Context;
use super::global::{Announce, Globals, SyncGroup};
use super::script;
use super::tree::Statement;
use crate::import::draft::Block;
use crate::import::hooks::Hooks;
use crate::import::value::Table;

const VMAC: &str = "the addresses come with the interface's own MAC address, which neighbours are told";
const ROUTES: &str = "let the `notify` program add and delete them";
const FIXED: &str = "it cannot be set; leave it out";

const UNTRANSLATED: [(&str, &str); 27] = [
    ("use_vmac", VMAC),
    ("use_vmac_addr", VMAC),
    ("vmac_xmit_base", VMAC),
    ("use_ipvlan", VMAC),
    ("virtual_routes", ROUTES),
    ("virtual_rules", ROUTES),
    ("promote_secondaries", "`sysctl net.ipv4.conf.all.promote_secondaries=1` does it"),
    ("dont_track_primary", "an interface that is down is always a fault"),
    ("no_accept", "the addresses are answered; firewall rules can forbid it"),
    ("mcast_dst_ip", FIXED),
    ("vrf", FIXED),
    ("down_timer_adverts", FIXED),
    ("unicast_ttl", FIXED),
    ("strict_mode", FIXED),
    ("garp_lower_prio_delay", FIXED),
    ("garp_lower_prio_repeat", FIXED),
    ("garp_master_refresh_repeat", FIXED),
    ("garp_extra_if", FIXED),
    ("lower_prio_no_advert", FIXED),
    ("higher_prio_send_advert", FIXED),
    ("old_unicast_checksum", FIXED),
    ("unicast_fault_no_peer", FIXED),
    ("timer_expired_backup", FIXED),
    ("notify_master_rx_lower_pri", "there is no word for it in `notify`"),
    ("notify_priority_changes", "there is no word for it in `notify`"),
    ("notify_deleted", "an instance that goes is told as STOP"),
    ("lvs_sync_daemon_interface", "`ipvsadm --start-daemon` synchronises connections"),
];
const TRACKED: [(&str, &str); 3] = [
    ("track_file", "let a check of the type \"command\" in `track` look into the file"),
    ("track_process", "let a check of the type \"command\" in `track` look for the process"),
    ("track_bfd", "there is no BFD; VRRP 3 with a short `interval` is as quick"),
];
/// Options of an address that change nothing about who has it.
const OPTIONS: [&str; 7] =
    ["home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "track_group"];

/// `vrrp_instance NAME { ... }`.
#[derive(Debug, Default)]
struct Instance {
    interface: Option<String>,
    id: Option<u8>,
    version: Option<u8>,
    priority: Option<i64>,
    interval: Option<Duration>,
    is_master: bool,
    nopreempt: bool,
    preempt_delay: Option<Duration>,
    addresses: Vec<String>,
    excluded: Vec<String>,
    /// The device of each address that names one, and where.
    devices: Vec<(String, Statement)>,
    peers: Vec<String>,
    source: Option<String>,
    password: Option<String>,
    old_checksum: bool,
    tracked: Vec<Table>,
    /// Added to the priority while all is well.
    bonus: i64,
    announce: Announce,
    hooks: Hooks,
}

pub(super) fn instance(context: &mut Context, globals: &Globals, definition: &Statement) {
    let name = definition.argument().unwrap_or_default();
    let mut instance = Instance { announce: globals.announce, ..Instance::default() };
    let group = globals.group_of(name);
    for statement in definition.block() {
        let events = ("INSTANCE", name);
        if !hook(context, &mut instance.hooks, events, statement) {
            one(context, globals, group, &mut instance, statement);
        }
    }
    for statement in group.map(|group| group.statement.block()).unwrap_or_default() {
        if matches!(statement.keyword(), "track_interface" | "track_script") {
            track(context, globals, &mut instance, statement, true);
        }
    }
    let mut block = Block::new("[[vrrp]]", &definition.place, format!("vrrp_instance {name}"));
    block.set("name", name);
    let interface = instance.interface.clone().or_else(|| globals.default_interface.clone());
    block.set_some("interface", interface.clone());
    let delay = interface.as_ref().and_then(|interface| globals.delays.get(interface));
    block.set_some("debounce", delay.copied());
    block.set_some("id", instance.id.map(u16::from));
    let is_v6 = instance.addresses.iter().any(|address| address.contains(':'));
    let version = instance.version.or(globals.version).filter(|_| !is_v6);
    block.set_some("version", version.map(u16::from));
    let priority = instance.priority.unwrap_or(100);
    block.set("priority", if priority == 255 { 255 } else { (priority + instance.bonus).clamp(1, 254) });
    block.set_some("interval", instance.interval);
    if instance.nopreempt && !instance.is_master {
        block.set("preempt", false);
    }
    block.set_some("preempt_delay", instance.preempt_delay.filter(|_| !instance.is_master));
    block.set("addresses", instance.addresses.clone());
    if !instance.excluded.is_empty() {
        block.set("unadvertised", instance.excluded.clone());
    }
    block.set_some("address_interface", device(context, &instance, interface.as_deref()));
    if !instance.peers.is_empty() {
        block.set("peers", instance.peers.clone());
    }
    block.set_some("source", instance.source.clone());
    let is_v2 = !is_v6 && version != Some(3);
    block.set_some("password", instance.password.clone().filter(|_| is_v2));
    if instance.old_checksum {
        block.set("pseudo_header", false);
    }
    if !instance.tracked.is_empty() {
        block.set("track", instance.tracked.clone());
    }
    let Announce { delay, repeat, refresh } = instance.announce;
    if instance.announce != Announce::default() {
        let announce = Table::default()
            .with_some("repeat", repeat)
            .with_some("again", delay)
            .with_some("refresh", refresh);
        block.set("announce", announce);
    }
    block.set_some("notify", instance.hooks.notify());
    context.draft.blocks.push(block);
}

fn one(
    context: &mut Context,
    globals: &Globals,
    group: Option<&SyncGroup>,
    instance: &mut Instance,
    statement: &Statement,
) {
    match statement.keyword() {
        "state" => instance.is_master = statement.argument() == Some("MASTER"),
        "interface" => instance.interface = context.text(statement),
        "virtual_router_id" => instance.id = context.number(statement),
        "version" => instance.version = context.number(statement),
        "priority" => instance.priority = context.number(statement),
        "advert_int" => instance.interval = context.timer(statement),
        "nopreempt" => instance.nopreempt = true,
        "preempt" => instance.nopreempt = false,
        "preempt_delay" => instance.preempt_delay = context.timer(statement),
        "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
            for line in statement.block() {
                address(context, instance, line, statement.keyword() == "virtual_ipaddress");
            }
        }
        "unicast_peer" => {
            for peer in statement.block() {
                instance.peers.push(peer.keyword().to_owned());
                if peer.words.len() > 1 {
                    context.untranslated(peer, "peers are listened to from any distance");
                }
            }
        }
        "smtp_alert" => context.alert(statement),
        "mcast_src_ip" | "unicast_src_ip" => instance.source = context.text(statement),
        "authentication" => authentication(context, instance, statement),
        "v3_checksum_as_v2" => instance.old_checksum = context.flag(statement) == Some(true),
        "garp_master_delay" => instance.announce.delay = context.timer(statement),
        "garp_master_repeat" => instance.announce.repeat = context.number(statement),
        "garp_master_refresh" => instance.announce.refresh = context.timer(statement),
        "track_interface" | "track_script" => {
            let weighted = group.is_none_or(|group| group.keeps_weights);
            track(context, globals, instance, statement, weighted);
        }
        "track_file" | "track_process" | "track_bfd" => tracked_elsehow(context, statement),
        // What is so anyway.
        "accept"
        | "native_ipv6"
        | "check_unicast_src"
        | "skip_check_adv_addr"
        | "debug"
        | "track_src_ip"
        | "no_virtual_ipaddress" => {}
        _ => context.other(statement, &UNTRANSLATED),
    }
}

/// `IP[/mask] [dev IF] [label LABEL] ...`.
fn address(context: &mut Context, instance: &mut Instance, line: &Statement, advertised: bool) {
    let mut words = line.words.iter().map(String::as_str);
    let address = words.next().unwrap_or_default().to_owned();
    while let Some(word) = words.next() {
        match word {
            "dev" => instance.devices.extend(words.next().map(|device| (device.to_owned(), line.clone()))),
            "brd" | "broadcast" | "scope" | "label" | "preferred_lft" => _ = words.next(),
            "use_vmac" => context.untranslated(line, VMAC),
            "peer" => {
                words.next();
                context.untranslated(line, "point-to-point addresses cannot be had; the rest is translated");
            }
            word if OPTIONS.contains(&word) => {}
            word => context.wrong(line, format!("the word {word} is unknown")),
        }
    }
    // keepalived takes an address that is there already for the same one.
    if !instance.addresses.contains(&address) && !instance.excluded.contains(&address) {
        let list = if advertised { &mut instance.addresses } else { &mut instance.excluded };
        list.push(address);
    }
}

/// The device that all addresses are on, if it is not the instance's interface.
fn device(context: &mut Context, instance: &Instance, interface: Option<&str>) -> Option<String> {
    let (first, _) = instance.devices.first()?;
    let all = instance.addresses.len() + instance.excluded.len();
    if instance.devices.len() == all && instance.devices.iter().all(|(device, _)| device == first) {
        return Some(first.clone()).filter(|device| Some(device.as_str()) != interface);
    }
    for (device, line) in instance.devices.iter().filter(|(device, _)| Some(device.as_str()) != interface) {
        let help = format!(
            "the address will be on the instance's interface; for {device} it takes a [[vrrp]] of its own with `address_interface`"
        );
        context.untranslated(line, help);
    }
    None
}

fn authentication(context: &mut Context, instance: &mut Instance, block: &Statement) {
    for statement in block.block() {
        match (statement.keyword(), statement.argument()) {
            ("auth_type", Some("PASS" | "pass")) => {}
            ("auth_type", _) => {
                context.untranslated(statement, "there are passwords only; use IPsec below VRRP")
            }
            ("auth_pass", Some(password)) => {
                let end = (0..=8).rev().find(|end| password.is_char_boundary(*end)).unwrap_or(0);
                instance.password = Some(password[..end].to_owned());
            }
            _ => context.wrong(statement, "auth_type or auth_pass is expected"),
        }
    }
}

/// `track_interface` and `track_script`, each line with a weight or not. `weighted`: weights count.
fn track(
    context: &mut Context,
    globals: &Globals,
    instance: &mut Instance,
    block: &Statement,
    weighted: bool,
) {
    for line in block.block() {
        let name = line.keyword();
        let (tracked, default) = if block.keyword() == "track_interface" {
            (Table::default().with("interface", name), &[][..])
        } else {
            match globals.script(name) {
                Some((check, weight)) => (Table::default().with("check", check), weight),
                None => {
                    context.untranslated(line, "there is no such script, or it could not be translated");
                    continue;
                }
            }
        };
        let words = if line.words.len() > 2 { &line.words[2..] } else { default };
        let weight: i64 = words.first().and_then(|weight| weight.parse().ok()).unwrap_or(0);
        if words.iter().any(|word| word == "reverse") {
            context.untranslated(line, "nothing counts the other way round; let the script be the opposite");
            continue;
        }
        let weight = if weighted { weight } else { 0 };
        // What is added while it is good is taken away while it is not.
        instance.bonus += weight.max(0);
        instance.tracked.push(match weight.abs() {
            0 => tracked,
            weight => tracked.with("weight", -weight),
        });
    }
}

fn tracked_elsehow(context: &mut Context, block: &Statement) {
    let help = TRACKED.iter().find(|(keyword, _)| *keyword == block.keyword()).map_or("", |(_, help)| help);
    for line in block.block() {
        let what = format!("`{} {}`", block.keyword(), line.words.join(" "));
        context.draft.problem(&line.place, what, help);
    }
}

/// `notify` and the like; whether it was one of those.
fn hook(context: &mut Context, hooks: &mut Hooks, (kind, name): (&str, &str), statement: &Statement) -> bool {
    let state = match statement.keyword() {
        "notify_master" => "MASTER",
        "notify_backup" => "BACKUP",
        "notify_fault" => "FAULT",
        "notify_stop" => "STOP",
        "notify" => {
            let command = script::command(context, statement, false);
            hooks.always(command);
            return true;
        }
        _ => return false,
    };
    let command = script::command(context, statement, false);
    hooks.on(format!("{kind} {name} {state}"), command);
    true
}

pub(super) fn group(context: &mut Context, group: &SyncGroup) {
    let name = group.statement.argument().unwrap_or_default();
    let mut hooks = Hooks::default();
    for statement in group.statement.block() {
        if hook(context, &mut hooks, ("GROUP", name), statement) {
            continue;
        }
        match statement.keyword() {
            // Members have what is tracked for all.
            "group"
            | "track_interface"
            | "track_script"
            | "global_tracking"
            | "sync_group_tracking_weight" => {}
            "track_file" | "track_process" | "track_bfd" => tracked_elsehow(context, statement),
            _ => context.other(statement, &UNTRANSLATED),
        }
    }
    let mut block = Block::new("[[sync_group]]", &group.statement.place, format!("vrrp_sync_group {name}"));
    block.set("name", name);
    block.set("members", group.members.clone());
    block.set_some("notify", hooks.notify());
    context.draft.blocks.push(block);
}
