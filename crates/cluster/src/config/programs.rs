//! `[programs]`: as whom programs of the file are run.

use std::ffi::CString;

use nix::unistd::{User, getgrouplist};

use super::check::{Account, Command, Probe, RunAs};
use super::section::Section;
use super::{Config, Watched};

/// `[programs]` of the file.
pub(super) fn run_as(file: &Section<'_>) -> RunAs {
    let Some(section) = file.section("programs") else { return RunAs::default() };
    let user = section.parsed("user", "a user of this machine", account).map(|user| user.value);
    let capabilities = section.choice("capabilities", &[("none", false), ("keep", true)]);
    section.finish();
    RunAs { user, keep_capabilities: capabilities.unwrap_or_default() }
}

/// All programs of a file.
pub(super) fn all(config: &mut Config) -> impl Iterator<Item = &mut Command> {
    let services = config.services.iter_mut().flat_map(|service| {
        let checks = service.servers.iter_mut().flat_map(|server| &mut server.checks);
        checks.filter_map(|check| command(&mut check.probe)).chain(&mut service.notify)
    });
    let instances = config.instances.iter_mut().flat_map(|instance| {
        let checks = instance.tracked.iter_mut().filter_map(|tracked| match &mut tracked.what {
            Watched::Check(check) => command(&mut check.probe),
            Watched::Interface(_) => None,
        });
        checks.chain(&mut instance.notify)
    });
    services.chain(instances).chain(config.groups.iter_mut().flat_map(|group| &mut group.notify))
}

fn command(probe: &mut Probe) -> Option<&mut Command> {
    match probe {
        Probe::Command { command, .. } => Some(command),
        _ => None,
    }
}

fn account(name: &str) -> Option<Account> {
    let user = User::from_name(name).ok()??;
    let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
    let groups = groups.into_iter().map(|group| group.as_raw()).collect();
    Some(Account { user: user.uid.as_raw(), group: user.gid.as_raw(), groups })
}
