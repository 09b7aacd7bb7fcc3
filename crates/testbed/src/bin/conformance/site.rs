//! Where the cases are run: a host of its own with a director.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rlvs_testbed::{Namespace, Process, binary};

use crate::case::{Case, Step};

/// Names and ports that the cases use, whatever this machine calls them.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost6\n10.1.0.200 vip.lab\n";
const SERVICES: &str = "smtp 25/tcp mail\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\n";
const NETWORK: &str = "link set lo up
link add eth0 type veth peer name eth0p
link set eth0p up
link set eth0 up
address add 10.1.0.254/24 dev eth0
address add fd01::254/64 dev eth0 nodad";
/// Puts the director back to how it starts.
const RESET: &str =
    "ipvsadm -C; ipvsadm --set 900 120 300; ipvsadm --stop-daemon master; ipvsadm --stop-daemon backup; true";

const START_LIMIT: Duration = Duration::from_secs(120);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The host, its director, and the folder that `ipvsadm` is in.
pub struct Site {
    // Dropped in this order: the program before its host.
    _director: Process,
    host: Namespace,
    programs: Programs,
}

impl Site {
    /// Makes the host and starts the director.
    pub fn new() -> Result<Self> {
        let programs = Programs::new()?;
        let host = Namespace::new("conformance")?;
        host.write("/run/hosts", HOSTS)?;
        host.write("/run/services", SERVICES)?;
        host.write("/run/resolv.conf", "")?;
        for file in ["hosts", "services", "resolv.conf"] {
            // Where the machine has no such file there is nothing to hide, and nothing to mount on.
            if fs::exists(format!("/etc/{file}"))? {
                host.output(&["mount", "--bind", &format!("/run/{file}"), &format!("/etc/{file}")])?;
            }
        }
        host.ip(NETWORK)?;
        let mut director = host.spawn(&[&binary()?, "run"])?;
        director.wait_for("ready", START_LIMIT)?;
        Ok(Self { _director: director, host, programs })
    }

    /// What the director answers to a case.
    pub fn answers(&self, case: &Case) -> Result<Case> {
        self.answer(RESET, &case.name)?;
        let answer = |step: &Step| {
            Ok(Step { command: step.command.clone(), answer: self.answer(&step.command, &case.name)? })
        };
        let steps = case.steps.iter().map(answer).collect::<Result<_>>()?;
        Ok(Case { name: case.name.clone(), steps })
    }

    /// Runs a command in the case's own folder; its answer as a recording has it.
    fn answer(&self, command: &str, case: &str) -> Result<String> {
        // The director cannot put its files into the kernel's /proc.
        let command = command.replace("/proc/net/", "/run/rlvs/proc/net/");
        let script = format!("mkdir -p /run/{case} && cd /run/{case} || exit 99\n{command}");
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.folder.display());
        let environment = ["env", "-u", "RLVS_BACKEND", "LC_ALL=C", &path];
        let words: Vec<&str> = environment.into_iter().chain(["bash", "-c", &script]).collect();
        let output =
            self.host.spawn(&words)?.finish(COMMAND_LIMIT).with_context(|| format!("`{command}`"))?;
        let errors: String = output.stderr.lines().map(|line| format!("2> {line}\n")).collect();
        let status =
            output.status.code().with_context(|| format!("`{command}` ends with {}", output.status))?;
        Ok(format!("{}{errors}= {status}\n", output.stdout))
    }
}

/// A folder with the binary under ipvsadm's names, which everybody may run: some commands give up their privileges.
struct Programs {
    folder: PathBuf,
}

impl Programs {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("rlvs-conformance-{}", std::process::id()));
        let programs = Self { folder };
        let folder = &programs.folder;
        let failed = || format!("cannot make {}", folder.display());
        fs::create_dir(folder).with_context(failed)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).with_context(failed)?;
        fs::copy(binary()?, folder.join("ipvsadm")).with_context(failed)?;
        Ok(programs)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // What cannot be removed is a file in the folder for such files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
