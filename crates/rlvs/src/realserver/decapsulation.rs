//! Unwrapping by our XDP program, for kernels without tunnel devices, and for GUE and GRE.
//!
//! The program is attached to interfaces by netlink, and nothing is pinned: it lives as long as it is attached,
//! goes with the interface or the namespace, and works where no BPF file system is mounted to stay ("ip netns
//! exec" gives each command one of its own). One program with one set of maps serves all interfaces of a namespace;
//! the way back to it leads from the interface over the program's id.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use aya::maps::{HashMap, Map, MapData, MapInfo, PerCpuArray};
use aya::programs::{ProgramFd, ProgramInfo, Xdp, loaded_programs};
use rlvs_director::object::DECAPSULATE;

use super::host::{Host, Link, Netlink, XdpMode};

/// Name of the program, and of the maps by which it is told from others of that name.
const PROGRAM: &str = "decapsulate";
const OWN: &str = "OWN";
const VIPS: &str = "VIPS";
const PORTS: &str = "PORTS";
const OUTCOMES: &str = "OUTCOMES";

/// What the program counts, in the order of its counters; see crates/xdp/src/decapsulate/main.rs.
const OUTCOME_NAMES: [&str; 8] = [
    "unwrapped",
    "left wrapped: fragments (the tunnel's MTU is too large)",
    "left wrapped: sent to an address that is not this host's",
    "left wrapped: inner destination is no VIP of this host",
    "left wrapped: malformed inner header",
    "dropped: marked for congestion, and the sender cannot know (RFC 6040)",
    "dropped: the kernel could not shorten the frame",
    "left wrapped: a GUE or GRE header that no director sends",
];

type Address = [u8; 16];

/// The program in the kernel, with its maps.
pub(super) struct Decapsulation {
    id: u32,
    program: ProgramFd,
    own: HashMap<MapData, Address, u8>,
    vips: HashMap<MapData, Address, u8>,
    ports: HashMap<MapData, [u8; 2], u8>,
    outcomes: PerCpuArray<MapData, u64>,
}

impl Decapsulation {
    /// The program that runs on some interface of this host already.
    pub(super) fn running(host: &Host) -> Result<Option<Self>> {
        for link in &host.links {
            if let Some(attached) = link.xdp
                && let Some(found) = Self::open(attached.program)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Loads it anew. It is gone again when this value is dropped without having been attached anywhere.
    pub(super) fn load() -> Result<Self> {
        ensure!(
            !DECAPSULATE.is_empty(),
            "this rlvs was built without its XDP programs (the BPF toolchain was missing), and this kernel has no \
             tunnel devices: build rlvs again with 'cargo xtask build', or load the modules ipip, sit and ip6_tunnel"
        );
        raise_memory_limit();
        let mut object = aya::Ebpf::load(DECAPSULATE).context("cannot load the XDP program decapsulate")?;
        let program = object.program_mut(PROGRAM).context("the object has no program decapsulate")?;
        let program: &mut Xdp = program.try_into()?;
        program.load().context("the kernel refused the XDP program decapsulate")?;
        let id = program.info()?.id();
        Self::open(id)?.context("the XDP program decapsulate lacks maps")
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Attaches it to an interface, unless it is there already. Returns how, if it was not.
    pub(super) async fn attach(&self, netlink: &Netlink, link: &Link) -> Result<Option<XdpMode>> {
        use std::os::fd::AsFd;
        match link.xdp {
            Some(attached) if attached.program == self.id => Ok(None),
            Some(attached) => bail!(
                "interface {name} runs another XDP program (id {id}): remove that first \
                 ('ip link set {name} xdp off'), or load the kernel's tunnel modules and use --unwrap kernel",
                name = link.interface.name,
                id = attached.program
            ),
            None => netlink.attach(link, self.program.as_fd()).await.map(Some),
        }
    }

    /// Makes these the outer destinations that are taken.
    pub(super) fn set_own(&mut self, addresses: &[IpAddr]) -> Result<()> {
        for address in self.own()? {
            if !addresses.contains(&address) {
                self.own.remove(&key(address))?;
            }
        }
        for address in addresses {
            self.own.insert(key(*address), 1, 0).with_context(|| format!("no room for {address}"))?;
        }
        Ok(())
    }

    /// The outer destinations that are taken.
    pub(super) fn own(&self) -> Result<Vec<IpAddr>> {
        self.own.keys().map(|found| Ok(address(found?))).collect()
    }

    pub(super) fn add_vip(&mut self, vip: IpAddr) -> Result<()> {
        self.vips.insert(key(vip), 1, 0).with_context(|| format!("no room for {vip}: too many VIPs"))
    }

    pub(super) fn remove_vip(&mut self, vip: IpAddr) -> Result<()> {
        if self.has_vip(vip)? { self.vips.remove(&key(vip)).map_err(Into::into) } else { Ok(()) }
    }

    pub(super) fn has_vip(&self, vip: IpAddr) -> Result<bool> {
        match self.vips.get(&key(vip), 0) {
            Ok(_) => Ok(true),
            Err(aya::maps::MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has GUE to this UDP port unwrapped too.
    pub(super) fn add_port(&mut self, port: u16) -> Result<()> {
        self.ports
            .insert(port.to_be_bytes(), 1, 0)
            .with_context(|| format!("no room for GUE's port {port}: too many of them"))
    }

    /// GUE's UDP ports, in order.
    pub(super) fn ports(&self) -> Result<BTreeSet<u16>> {
        self.ports.keys().map(|port| Ok(u16::from_be_bytes(port?))).collect()
    }

    /// What became of tunnelled packets so far: the words for it and how many, without those that never happened.
    pub(super) fn outcomes(&self) -> Result<Vec<(&'static str, u64)>> {
        let mut counts = Vec::new();
        for (index, name) in (0..).zip(OUTCOME_NAMES) {
            let count = self.outcomes.get(&index, 0)?.iter().sum();
            if count > 0 {
                counts.push((name, count));
            }
        }
        Ok(counts)
    }

    /// The program with this id, if it is ours.
    fn open(id: u32) -> Result<Option<Self>> {
        let Some(info) = info(id)? else { return Ok(None) };
        if info.name_as_str() != Some(PROGRAM) {
            return Ok(None);
        }
        let (mut own, mut vips, mut ports, mut outcomes) = (None, None, None, None);
        for map in info.map_ids().context("cannot list the maps of the XDP program")?.unwrap_or_default() {
            let data = || MapData::from_id(map).context("cannot open a map of the XDP program");
            match MapInfo::from_id(map)?.name_as_str() {
                Some(OWN) => own = Some(HashMap::try_from(Map::HashMap(data()?))?),
                Some(VIPS) => vips = Some(HashMap::try_from(Map::HashMap(data()?))?),
                Some(PORTS) => ports = Some(HashMap::try_from(Map::HashMap(data()?))?),
                Some(OUTCOMES) => outcomes = Some(PerCpuArray::try_from(Map::PerCpuArray(data()?))?),
                _ => {}
            }
        }
        Ok(match (own, vips, ports, outcomes) {
            (Some(own), Some(vips), Some(ports), Some(outcomes)) => {
                let program = info.fd().context("cannot open the XDP program")?;
                Some(Decapsulation { id, program, own, vips, ports, outcomes })
            }
            _ => None,
        })
    }
}

fn info(id: u32) -> Result<Option<ProgramInfo>> {
    for program in loaded_programs() {
        match program {
            Ok(program) if program.id() == id => return Ok(Some(program)),
            // One that went away meanwhile is none of ours: ours are attached.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Before Linux 5.11 maps count against the limit on locked memory, which is 64 KiB by default.
fn raise_memory_limit() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit on locked memory stays as it is");
    }
}

fn key(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(key: Address) -> IpAddr {
    IpAddr::from(key).to_canonical()
}

#[cfg(all(test, feature = "privileged-tests"))]
mod tests;
