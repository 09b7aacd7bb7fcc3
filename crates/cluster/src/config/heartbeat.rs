//! `[heartbeat]`: two machines that tell each other that they live, as Piranha's routers do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::check::{self, Command};
use super::section::Section;
use super::vrrp::{self, Instance, Vip};

/// Virtual addresses that one of two machines has. The section is the same on both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The machines' own addresses.
    pub public: Ends,
    /// Addresses of theirs on another network, by which they hear each other, too.
    pub private: Option<Ends>,
    /// UDP port.
    pub port: u16,
    /// Time between heartbeats.
    pub keepalive: Duration,
    /// After so long a machine that is not heard is dead.
    pub deadtime: Duration,
    /// Whoever loses the carrier of an interface in use gives up.
    pub monitor_links: bool,
    /// The virtual addresses.
    pub addresses: Vec<Vip>,
    /// Called with each new state: see [`crate::notify`].
    pub notify: Option<Command>,
}

/// Addresses of both machines on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The machine that prevails if both want to be active.
    pub primary: Ipv4Addr,
    /// The other one. If there is none, there are no heartbeats, and the primary is always active.
    pub backup: Option<Ipv4Addr>,
}

/// The section, if there is one.
pub(super) fn read(
    file: &Section<'_>,
    instances: &[Instance],
    notify: Option<&Command>,
) -> Option<Heartbeat> {
    let section = file.section("heartbeat")?;
    let address = |key| section.standard::<Ipv4Addr>(key, "an IPv4 address of one of the machines");
    let (primary, backup) = (address("primary"), address("backup"));
    let (primary_private, backup_private) = (address("primary_private"), address("backup_private"));
    if primary.is_none() && !section.has("primary") {
        section.mistake("`primary` is missing: an address of the machine that prevails");
    }
    if primary_private.is_some() != backup_private.is_some() || (backup.is_none() && backup_private.is_some())
    {
        section.mistake(
            "there are `primary_private` and `backup_private`, or none of them, and only with `backup`",
        );
    }
    let port = section.integer("port", 1..=u16::MAX).unwrap_or(539);
    let day = Duration::from_secs(86_400);
    let keepalive = section.duration("keepalive", Duration::from_millis(50)..=day);
    let keepalive = keepalive.unwrap_or(Duration::from_secs(2));
    let deadtime = section.duration("deadtime", Duration::from_millis(50)..=day);
    let deadtime = deadtime.unwrap_or(Duration::from_secs(5));
    if deadtime <= keepalive {
        section.mistake("`deadtime` must be longer than `keepalive`: one heartbeat may be lost");
    }
    let monitor_links = section.flag("monitor_links").unwrap_or(false);
    let own_notify = check::command(&section, "notify");
    let addresses = addresses(&section, instances);
    section.finish();
    let primary = primary?.value;
    let private = primary_private.zip(backup_private);
    Some(Heartbeat {
        public: Ends { primary, backup: backup.map(|backup| backup.value) },
        private: private.map(|(primary, backup)| Ends { primary: primary.value, backup: Some(backup.value) }),
        port,
        keepalive,
        deadtime,
        monitor_links,
        addresses,
        notify: own_notify.or_else(|| notify.cloned()),
    })
}

/// `addresses = [{ address = "192.0.2.10/24", interface = "eth0" }]`.
fn addresses(section: &Section<'_>, instances: &[Instance]) -> Vec<Vip> {
    let mut all: Vec<Vip> = Vec::new();
    for section in section.sections("addresses") {
        let address = section.parsed("address", "an address such as \"192.0.2.10/24\"", vrrp::vip);
        let interface = section.interface("interface");
        if !section.has("address") || !section.has("interface") {
            section.mistake("`address` or `interface` is missing");
        }
        if let (Some(address), Some(interface)) = (address, interface) {
            let (address, prefix) = address.value;
            let vip = Vip { address, prefix, interface, advertised: false };
            let is = |other: &Vip| (other.address, &other.interface) == (vip.address, &vip.interface);
            if all.iter().any(is) || instances.iter().flat_map(|instance| &instance.addresses).any(is) {
                section.mistake(format!("{address} is named twice"));
            }
            all.push(vip);
        }
        section.finish();
    }
    all
}

impl Ends {
    /// This machine's address and the other one's, if it is the primary or not.
    pub fn sides(self, is_primary: bool) -> Option<(IpAddr, IpAddr)> {
        let (primary, backup) = (self.primary.into(), self.backup?.into());
        Some(if is_primary { (primary, backup) } else { (backup, primary) })
    }
}
