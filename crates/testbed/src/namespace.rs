//! A host: a network namespace with mounts of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use crate::process::Process;

/// How long a program that configures something may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

/// A host of its own in network, mounts and `/run`; programs run in it as on any host.
///
/// It belongs to a thread, its agent, that lives in it. What is dropped, or dies with the test, leaves nothing: there
/// is no name in `/run/netns`, the programs get SIGKILL when the agent ends, the interfaces go with the namespace.
pub struct Namespace {
    name: String,
    /// The agent's folder in `/proc`; by its `ns/net` other programs (`ip`, `nsenter`) can name this namespace.
    agent_folder: String,
    jobs: Option<Sender<Job>>,
    agent: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new host with only a loopback interface, up. `name` appears in messages.
    ///
    /// # Errors
    ///
    /// When this is not root, or the kernel has no namespaces.
    pub fn new(name: &str) -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let (ready, is_ready) = channel();
        let agent =
            std::thread::Builder::new().name(format!("host {name}")).spawn(move || agent(&queue, &ready))?;
        let tid = is_ready.recv().map_err(|_| anyhow!("host {name}: its thread panicked"))?;
        let tid = tid.with_context(|| format!("cannot make host {name}: network namespaces need root"))?;
        let agent_folder = format!("/proc/{}/task/{tid}", std::process::id());
        let namespace = Self { name: name.into(), agent_folder, jobs: Some(jobs), agent: Some(agent) };
        namespace.ip("link set lo up")?;
        // No address of a test waits for duplicate address detection; nobody else is there to ask for routes.
        for setting in ["accept_dad=0", "dad_transmits=0", "router_solicitations=0", "accept_ra=0"] {
            namespace.sysctl(&format!("net.ipv6.conf.default.{setting}"))?;
        }
        // A host with two legs on one network must not drop what comes in by the other leg.
        for setting in ["rp_filter=0", "accept_redirects=0", "send_redirects=0"] {
            namespace.sysctl(&format!("net.ipv4.conf.all.{setting}"))?;
            namespace.sysctl(&format!("net.ipv4.conf.default.{setting}"))?;
        }
        Ok(namespace)
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which `ip ... netns PATH` and `nsenter --net=PATH` find it.
    pub fn path(&self) -> String {
        format!("{}/ns/net", self.agent_folder)
    }

    /// Runs `job` on this host: sockets that it opens belong here, as do files in `/run` and threads that it starts.
    ///
    /// # Errors
    ///
    /// Those of `job`, with the host's name.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (answer, answered) = channel();
        let job = Box::new(move || {
            // The caller waits for the answer; it is gone only when it panicked.
            let _ = answer.send(job());
        });
        let jobs = self.jobs.as_ref().context("a host that is being dropped")?;
        jobs.send(job).map_err(|_| anyhow!("host {}: its thread has ended", self.name))?;
        let result = answered.recv().map_err(|_| anyhow!("host {}: a job panicked", self.name))?;
        result.with_context(|| format!("host {}", self.name))
    }

    /// Starts a program on this host. It is killed when the returned value is dropped, or the host is.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self, words: &[&str]) -> Result<Process> {
        let mut command = Command::new(words.first().context("a command without words")?);
        command.args(&words[1..]);
        self.run(move || Process::spawn(command))
    }

    /// Runs a program to its end, at most half a minute, and returns what it printed on standard output.
    ///
    /// # Errors
    ///
    /// When it cannot be started, is not done in time, or fails: with what it printed on standard error.
    pub fn output(&self, words: &[&str]) -> Result<String> {
        let output =
            self.spawn(words)?.finish(COMMAND_LIMIT).with_context(|| format!("host {}", self.name))?;
        let command = words.join(" ");
        ensure!(
            output.status.success(),
            "host {}: `{command}`: {}: {}",
            self.name,
            output.status,
            output.stderr.trim()
        );
        Ok(output.stdout)
    }

    /// Runs lines of `ip` commands, without the word `ip`; all of them, or none after one that fails.
    ///
    /// # Errors
    ///
    /// When a line fails.
    pub fn ip(&self, lines: &str) -> Result<()> {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<_> = std::iter::once("ip").chain(line.split_whitespace()).collect();
            self.output(&words)?;
        }
        Ok(())
    }

    /// Sets a kernel parameter of this host, written `net.ipv4.ip_forward=1`.
    ///
    /// # Errors
    ///
    /// When there is no such parameter, or it does not take the value.
    pub fn sysctl(&self, setting: &str) -> Result<()> {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("`{setting}` is not name=value"))?;
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let value = value.to_owned();
        self.run(move || fs::write(&path, value).with_context(|| format!("cannot write {path}")))
    }

    /// Writes a file that only this host sees, with the folders above it; `path` is below `/run`.
    ///
    /// # Errors
    ///
    /// When `path` is elsewhere: it would be written to the machine that the test runs on.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        ensure!(path.starts_with("/run/"), "{path} is not below /run, the folder that belongs to the host");
        let (path, content) = (path.to_owned(), content.to_owned());
        self.run(move || {
            let folder = Path::new(&path).parent().context("a file without a folder")?;
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            fs::write(&path, content).with_context(|| format!("cannot write {path}"))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The agent ends when its queue does; a panic in it has been reported by the job that panicked.
        drop(self.jobs.take());
        if let Some(agent) = self.agent.take() {
            let _ = agent.join();
        }
    }
}

fn agent(queue: &Receiver<Job>, ready: &Sender<Result<i32>>) {
    let entered = enter_new_namespaces().map(|()| rustix::thread::gettid().as_raw_nonzero().get());
    let failed = entered.is_err();
    if ready.send(entered).is_err() || failed {
        return;
    }
    for job in queue {
        job();
    }
}

#[allow(unsafe_code)]
fn enter_new_namespaces() -> Result<()> {
    // SAFETY: file descriptors stay shared (no FILES); the thread is new and holds nothing that depends on its
    // namespaces or working directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
    // Nothing mounted here may show on the machine that the test runs on.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("cannot unshare mounts")?;
    // sysfs shows the network of whoever mounted it. It also hides the machine's bpffs, if any.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("sysfs", "/sys", "sysfs", flags, None).context("cannot mount /sys")?;
    mount("tmpfs", "/run", "tmpfs", flags, None).context("cannot mount /run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn a_host_has_its_own_network_and_run_folder() {
        let host = Namespace::new("alone").unwrap();
        let links = host.output(&["ip", "-brief", "link"]).unwrap();
        assert_eq!(links.lines().count(), 1, "{links}");
        host.write("/run/test/file", "here").unwrap();
        assert_eq!(host.output(&["cat", "/run/test/file"]).unwrap(), "here");
        assert!(!Path::new("/run/test/file").exists());
        assert!(host.write("/tmp/file", "").is_err());
        let net = host.output(&["ls", "/sys/class/net"]).unwrap();
        assert_eq!(net.trim(), "lo");
    }

    #[test]
    #[ignore = "needs root"]
    fn a_parameter_is_the_hosts_own() {
        let host = Namespace::new("forwards").unwrap();
        let other = Namespace::new("does not").unwrap();
        host.sysctl("net.ipv4.ip_forward=1").unwrap();
        let read = |host: &Namespace| host.output(&["cat", "/proc/sys/net/ipv4/ip_forward"]).unwrap();
        assert_eq!((read(&host).trim(), read(&other).trim()), ("1", "0"));
        assert!(host.sysctl("net.ipv4.no_such=1").is_err());
    }

    #[test]
    #[ignore = "needs root"]
    fn a_program_dies_with_its_host() {
        let host = Namespace::new("short-lived").unwrap();
        let mut sleeper = host.spawn(&["sleep", "1000"]).unwrap();
        drop(host);
        assert!(!sleeper.wait(Duration::from_secs(5)).unwrap().success());
    }

    #[test]
    #[ignore = "needs root"]
    fn bpffs_can_be_mounted() {
        let host = Namespace::new("with bpffs").unwrap();
        host.output(&["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"]).unwrap();
        host.output(&["mkdir", "/sys/fs/bpf/rlvs"]).unwrap();
        // Seen by the next program, too: the mount is the host's, not the program's.
        host.output(&["test", "-d", "/sys/fs/bpf/rlvs"]).unwrap();
    }

    #[test]
    #[ignore = "needs root"]
    fn an_error_names_host_and_command() {
        let host = Namespace::new("broken").unwrap();
        let error = format!("{:#}", host.ip("link set nothing up").unwrap_err());
        assert!(error.contains("broken") && error.contains("ip link set nothing up"), "{error}");
    }
}
