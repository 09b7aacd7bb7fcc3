//! `[[vrrp]]` and `[[sync_group]]`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use rlvs_ipvs::Family;

use super::check::{self, Check, Command};
use super::section::{Placed, Section};

/// A virtual router: addresses that one of several machines has, by VRRP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name in the log and for programs.
    pub name: String,
    /// The interface that the machines hear each other by.
    pub interface: String,
    /// The virtual router's number (VRID).
    pub id: u8,
    /// VRRP's version.
    pub version: Version,
    /// Family of the addresses, and of VRRP's own packets.
    pub family: Family,
    /// 1 to 254; 255 for the owner of the addresses.
    pub priority: u8,
    /// Time between advertisements: whole seconds in version 2, whole centiseconds in version 3.
    pub interval: Duration,
    /// Takes over from a master of lower priority...
    pub preempt: bool,
    /// ...after so long.
    pub preempt_delay: Duration,
    /// So long an interface may be without a carrier before that counts.
    pub debounce: Duration,
    /// The addresses, those advertised first.
    pub addresses: Vec<Vip>,
    /// Where advertisements come from; if not given, the interface's own address.
    pub source: Option<IpAddr>,
    /// The other machines, if they hear each other by unicast.
    pub peers: Vec<IpAddr>,
    /// Version 2's password, filled up with zeros.
    pub password: Option<[u8; 8]>,
    /// Version 3 over IPv4: the checksum covers the addresses of the packet, too.
    pub pseudo_header: bool,
    /// What else matters.
    pub tracked: Vec<Tracked>,
    /// How neighbours are told.
    pub announce: Announce,
    /// Called with each new state: see [`crate::notify`].
    pub notify: Option<Command>,
}

impl Instance {
    /// The addresses that stand in advertisements.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|vip| vip.advertised).map(|vip| vip.address)
    }
}

/// Protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768.
    V2,
    /// RFC 5798 and RFC 9568.
    V3,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// The interface that it is put on.
    pub interface: String,
    /// It stands in advertisements.
    pub advertised: bool,
}

/// Something that an instance depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What.
    pub what: Watched,
    /// Added to the priority while it is down; 0: the instance cannot be master then.
    pub weight: i16,
}

/// Something that can be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// An interface, by its name.
    Interface(String),
    /// Whatever a check finds, of this machine if it names no other; up until it has failed.
    Check(Box<Check>),
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// For each address at a time.
    pub repeat: u32,
    /// Until when after the first they are repeated, ever more rarely, and then as often as at first; zero: never.
    pub again: Duration,
    /// And how often after that; zero: never.
    pub refresh: Duration,
}

/// Instances that are master together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Its name in the log and for programs.
    pub name: String,
    /// Names of its instances.
    pub members: Vec<String>,
    /// Called with each new state.
    pub notify: Option<Command>,
}

/// All instances of the file.
pub(super) fn instances(file: &Section<'_>, notify: Option<&Command>) -> Vec<Instance> {
    let mut instances: Vec<Instance> = Vec::new();
    let (mut routers, mut names, mut vips) = (HashSet::new(), HashSet::new(), HashSet::new());
    for section in file.sections("vrrp") {
        if let Some(instance) = instance(&section, notify) {
            if !names.insert(instance.name.clone()) {
                section.mistake(format!("there is another virtual router of the name \"{}\"", instance.name));
            }
            if !routers.insert((instance.interface.clone(), instance.id, instance.family)) {
                section.mistake(format!("{} has the id {} twice", instance.interface, instance.id));
            }
            for vip in &instance.addresses {
                if !vips.insert((vip.address, vip.interface.clone())) {
                    section.mistake(format!("{} is named twice", vip.address));
                }
            }
            instances.push(instance);
        }
        section.finish();
    }
    instances
}

/// All groups of the file.
pub(super) fn groups(file: &Section<'_>, instances: &[Instance], notify: Option<&Command>) -> Vec<SyncGroup> {
    let mut groups = Vec::new();
    let mut taken = HashSet::new();
    for section in file.sections("sync_group") {
        let name = section.name("name");
        if name.is_none() {
            section.mistake("`name` is missing");
        }
        let members = section.texts("members");
        for member in &members {
            if instances.iter().all(|instance| instance.name != member.value) {
                section.mistake_at(&member.place, format!("there is no virtual router \"{}\"", member.value));
            } else if !taken.insert(member.value.to_owned()) {
                section.mistake_at(&member.place, format!("\"{}\" is in a group already", member.value));
            }
        }
        if members.is_empty() {
            section.mistake("`members` is missing: names of virtual routers");
        }
        let notify = check::command(&section, "notify").or_else(|| notify.cloned());
        let members = members.into_iter().map(|member| member.value.to_owned()).collect();
        groups.extend(name.map(|name| SyncGroup { name, members, notify }));
        section.finish();
    }
    groups
}

fn instance(section: &Section<'_>, notify: Option<&Command>) -> Option<Instance> {
    let (name, interface) = (section.name("name"), section.interface("interface"));
    for (key, what) in
        [("name", "what the log calls it"), ("interface", "where the machines hear each other")]
    {
        if !section.has(key) {
            section.mistake(format!("`{key}` is missing: {what}"));
        }
    }
    let id = section.integer("id", 1..=255_u8);
    if !section.has("id") {
        section.mistake("`id` is missing: the virtual router's number, the same on all machines");
    }
    let address = "an address such as \"192.0.2.1/24\"";
    let own = section.all_parsed("addresses", address, vip);
    let other = section.all_parsed("unadvertised", address, vip);
    let family = own.first().map_or(Family::Inet, |vip| Family::of(vip.value.0));
    if own.is_empty() && !section.has("addresses") {
        section.mistake("`addresses` is missing: the virtual addresses");
    }
    for vip in own.iter().filter(|vip| Family::of(vip.value.0) != family) {
        section
            .mistake_at(&vip.place, "IPv4 and IPv6 need a virtual router each, or list it as `unadvertised`");
    }
    let default = if family == Family::Inet { Version::V2 } else { Version::V3 };
    let number = section.number("version", 2..=3);
    let version = match &number {
        Some(number) if number.value == 2 => Version::V2,
        Some(_) => Version::V3,
        None => default,
    };
    if version == Version::V2 && family == Family::Inet6 {
        section.mistake("IPv6 needs `version = 3`");
    }
    let interval = interval(section, version);
    let password = section.text("password").and_then(|text| password(section, &text, version));
    let source = section.standard::<IpAddr>("source", "an address of this machine");
    let peers = section.all_parsed("peers", "an address", |text| text.parse::<IpAddr>().ok());
    for address in source.iter().chain(&peers).filter(|address| Family::of(address.value) != family) {
        section.mistake_at(&address.place, "the virtual addresses are of the other IP version");
    }
    let announce = announce(section);
    let tracked = tracked(section);
    let notify = check::command(section, "notify").or_else(|| notify.cloned());
    let priority = section.integer("priority", 1..=255_u8).unwrap_or(100);
    let preempt = section.flag("preempt").unwrap_or(true);
    let preempt_delay = section.duration("preempt_delay", Duration::ZERO..=Duration::from_secs(1_000));
    let pseudo_header = section.flag("pseudo_header").unwrap_or(true);
    let elsewhere = section.interface("address_interface");
    let (name, interface, id) = (name?, interface?, id?);
    let on = elsewhere.unwrap_or_else(|| interface.clone());
    let vip = |advertised| {
        let on = on.clone();
        move |Placed { value: (address, prefix), .. }| Vip {
            address,
            prefix,
            interface: on.clone(),
            advertised,
        }
    };
    Some(Instance {
        name,
        interface,
        id,
        version,
        family,
        priority,
        interval,
        preempt,
        preempt_delay: preempt_delay.unwrap_or_default(),
        debounce: section.duration("debounce", Duration::ZERO..=Duration::from_secs(60)).unwrap_or_default(),
        addresses: own.into_iter().map(vip(true)).chain(other.into_iter().map(vip(false))).collect(),
        source: source.map(|source| source.value),
        peers: peers.into_iter().map(|peer| peer.value).collect(),
        password,
        pseudo_header,
        tracked,
        announce,
        notify,
    })
}

/// Version 2 has whole seconds in an octet, version 3 centiseconds in twelve bits.
fn interval(section: &Section<'_>, version: Version) -> Duration {
    let second = Duration::from_secs(1);
    let (range, step) = match version {
        Version::V2 => (second..=second * 255, 1_000),
        Version::V3 => (Duration::from_millis(10)..=Duration::from_millis(40_950), 10),
    };
    let interval = section.duration("interval", range).unwrap_or(second);
    if !interval.as_millis().is_multiple_of(step) {
        section.mistake(format!("`interval` must be a multiple of {step} ms in this version of VRRP"));
    }
    interval
}

fn password(section: &Section<'_>, text: &Placed<&str>, version: Version) -> Option<[u8; 8]> {
    let mut password = [0; 8];
    if version == Version::V3 {
        section.mistake_at(&text.place, "version 3 has no passwords");
        return None;
    }
    match password.get_mut(..text.value.len()) {
        Some(room) if !text.value.is_empty() => room.copy_from_slice(text.value.as_bytes()),
        _ => {
            section.mistake_at(&text.place, "a password has 1 to 8 octets");
            return None;
        }
    }
    Some(password)
}

/// An address, and its prefix length if it is not that of a single host.
pub(super) fn vip(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address.parse().ok()?, Some(prefix.parse().ok()?)),
        None => (text.parse().ok()?, None),
    };
    let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
    let prefix = prefix.unwrap_or(most);
    let usable = !address.is_unspecified() && !address.is_multicast();
    (usable && (1..=most).contains(&prefix)).then_some((address, prefix))
}

/// `track = [{ interface = "eth1", weight = -20 }, { check = { type = "command", command = "/bin/true" } }]`.
fn tracked(section: &Section<'_>) -> Vec<Tracked> {
    let mut tracked = Vec::new();
    for section in section.sections("track") {
        let interface = section.interface("interface").map(Watched::Interface);
        let checks = check::all(&section, None).into_iter().map(|check| Watched::Check(Box::new(check)));
        if section.has("interface") == section.has("check") {
            section.mistake("there must be either `interface` or `check`");
        }
        let weight = section.integer("weight", -253..=253_i16).unwrap_or(0);
        tracked.extend(interface.into_iter().chain(checks).map(|what| Tracked { what, weight }));
        section.finish();
    }
    tracked
}

/// `announce = { repeat = 5, again = "5s", refresh = "1m" }`.
fn announce(section: &Section<'_>) -> Announce {
    let mut announce = Announce { repeat: 5, again: Duration::from_secs(5), refresh: Duration::ZERO };
    if let Some(section) = section.section("announce") {
        let any = Duration::ZERO..=Duration::from_secs(86_400);
        announce.repeat = section.integer("repeat", 1..=100_u32).unwrap_or(announce.repeat);
        announce.again = section.duration("again", any.clone()).unwrap_or(announce.again);
        announce.refresh = section.duration("refresh", any).unwrap_or(announce.refresh);
        section.finish();
    }
    announce
}
