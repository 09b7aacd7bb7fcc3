//! What `add` changed, and what was there before.
//!
//! Kept in /run, which ends with the host's uptime as the settings themselves do. One file per network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::sysctl::Setting;
use rlvs_director::namespace;

const DIRECTORY: &str = "/run/rlvs";

/// One for all namespaces: it is held for moments.
const LOCK: &str = "/run/rlvs/realserver.lock";

/// Of the file's layout.
const VERSION: u32 = 1;

/// What `add` has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) vips: BTreeMap<IpAddr, Vip>,
    /// Names of the interfaces that face director and clients.
    pub(super) interfaces: BTreeSet<String>,
    pub(super) settings: Vec<Changed>,
    pub(super) devices: Vec<Device>,
    /// Names of the interfaces that the XDP program was attached to.
    pub(super) unwrapping: BTreeSet<String>,
}

/// A VIP in our care.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vip {
    /// Names of the interfaces that we put it on; it may have been on others before.
    pub(super) put_on: BTreeSet<String>,
    pub(super) tunnel: bool,
}

/// A sysctl that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) setting: Setting,
    pub(super) before: u8,
    pub(super) after: u8,
}

/// A tunnel device of the kernel in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) name: String,
    /// It did not exist.
    pub(super) created: bool,
    /// It existed, and was up.
    pub(super) was_up: bool,
    /// The inner protocol that it was set to, if that was changed (ip6tnl0).
    pub(super) protocol: Option<u8>,
}

impl Default for State {
    fn default() -> Self {
        State {
            version: VERSION,
            vips: BTreeMap::new(),
            interfaces: BTreeSet::new(),
            settings: Vec::new(),
            devices: Vec::new(),
            unwrapping: BTreeSet::new(),
        }
    }
}

impl State {
    pub(super) fn tunnels(&self) -> bool {
        self.vips.values().any(|vip| vip.tunnel)
    }

    /// The device's record, if it is in use.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// Notes what a setting is changed to; the value before the first change is the one to come back to.
    pub(super) fn note(&mut self, setting: &Setting, before: u8, after: u8) {
        match self.settings.iter_mut().find(|changed| changed.setting == *setting) {
            Some(changed) => changed.after = after,
            None => self.settings.push(Changed { setting: setting.clone(), before, after }),
        }
    }
}

/// The file. Other runs of this command wait for as long as this value lives.
pub(super) struct Store {
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the store of this namespace, waiting until nobody else has one.
    pub(super) fn lock() -> Result<Self> {
        fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make directory {DIRECTORY}"))?;
        let path = path()?;
        let lock = File::create(LOCK).with_context(|| format!("cannot make {LOCK}"))?;
        flock(&lock, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {LOCK}"))?;
        Ok(Store { path, _lock: lock })
    }

    pub(super) fn load(&self) -> Result<State> {
        load(&self.path)
    }

    /// Writes the state; an empty one leaves no file.
    pub(super) fn save(&self, state: &State) -> Result<()> {
        let result = if *state == State::default() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                result => result,
            }
        } else {
            let fresh = self.path.with_extension("new");
            let text = serde_json::to_vec_pretty(state).context("cannot write the state as JSON")?;
            fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &self.path))
        };
        result.with_context(|| format!("cannot keep the state in {}", self.path.display()))
    }
}

/// The state as it is, without a lock; needs no privilege.
pub(super) fn peek() -> Result<State> {
    load(&path()?)
}

fn path() -> Result<PathBuf> {
    let name = namespace::name().context("cannot tell which network namespace this is")?;
    Ok(Path::new(DIRECTORY).join(format!("realserver-{name}.json")))
}

fn load(path: &Path) -> Result<State> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let state: State = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged; delete it to start afresh", path.display()))?;
    ensure!(
        state.version == VERSION,
        "{} has version {}, and this program knows version {VERSION} only",
        path.display(),
        state.version
    );
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_the_one_to_come_back_to() {
        let setting = Setting::new("all", "arp_ignore");
        let mut state = State::default();
        state.note(&setting, 0, 1);
        state.note(&setting, 1, 2);
        assert_eq!(state.settings, [Changed { setting, before: 0, after: 2 }]);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut state = State::default();
        let vip = IpAddr::from([192, 0, 2, 10]);
        state.vips.insert(vip, Vip { put_on: ["lo".to_owned()].into(), tunnel: true });
        state.note(&Setting::new("eth0", "rp_filter"), 1, 2);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
