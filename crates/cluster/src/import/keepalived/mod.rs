//! `keepalived.conf`.
//!
//! [`source`] makes lines of files, [`tree`] makes statements of lines. Then each kind of block is read into what it means
//! ([`global`], [`vrrp`], [`virtual_server`]), and that is written down.

mod checker;
mod context;
mod global;
mod group;
mod method;
mod script;
mod source;
mod tree;
mod virtual_server;
mod vrrp;

#[cfg(test)]
mod tests;

use std::path::Path;

use super::{ImportError, Problem, Translation};
use context::Context;
use global::Globals;

const UNTRANSLATED: [(&str, &str); 9] = [
    ("static_ipaddress", "put them on the interface by your network configuration"),
    ("static_routes", "put them into your network configuration"),
    ("static_rules", "put them into your network configuration"),
    ("track_group", "it is about static addresses and routes, which are not translated"),
    ("track_file", "let a check of the type \"command\" in `track` look into the file"),
    ("vrrp_track_process", "let a check of the type \"command\" in `track` look for the process"),
    ("bfd_instance", "there is no BFD"),
    ("garp_group", "announcements are not paced"),
    ("linkbeat_interfaces", "the kernel tells of carriers"),
];

/// `config_id`: whose lines that begin with `@` count.
pub(super) fn translate(text: &str, path: &Path, config_id: &str) -> Result<Translation, ImportError> {
    let (lines, problems) = source::lines(text, path, config_id);
    let statements = tree::parse(&lines).map_err(ImportError::Malformed)?;
    let mut context = Context::default();
    for Problem { place, what, help } in problems {
        context.draft.problem(&place, what, help.unwrap_or_default());
    }
    let globals = Globals::collect(&mut context, &statements);
    for statement in &statements {
        match statement.keyword() {
            "global_defs"
            | "SSL"
            | "interface_up_down_delays"
            | "vrrp_script"
            | "virtual_server_group"
            | "vrrp_sync_group" => {}
            "vrrp_instance" => vrrp::instance(&mut context, &globals, statement),
            "virtual_server" => virtual_server::translate(&mut context, &globals, statement),
            _ => context.other(statement, &UNTRANSLATED),
        }
    }
    for group in &globals.sync_groups {
        vrrp::group(&mut context, group);
    }
    Ok(context.draft.finish(path))
}
