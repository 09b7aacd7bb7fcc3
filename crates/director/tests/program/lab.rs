//! Two directors with the same services: one in the kernel, one in the simulation.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use rlvs_director::config::{Config, Tables as Sizes};
use rlvs_director::dataplane::DataPlane;
use rlvs_director::egress::{self, Egress};
use rlvs_director::explain::{Overlay, Way};
use rlvs_director::namespace;
use rlvs_director::registry::Registry;
use rlvs_director::sync::Importer;
use rlvs_director::tables::Tables;
use rlvs_ipvs::{
    Destination, DestinationEntry, DestinationId, Errno, Family, FlagsChange, ForwardingMethod, Protocol,
    Reply, Request, Service, ServiceFlags, ServiceId, Tunnel, TunnelFlags, TunnelType,
};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::destination::method::TUNNEL;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::audit::audit;
use rlvs_switch::simulation::{DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation, decode};
use rlvs_switch::{LAYOUT, Memory, Verdict, order};
use rlvs_testbed::Namespace;

/// The interface that BPF_PROG_TEST_RUN says a frame came in by: loopback.
const INGRESS: u32 = 1;
/// More than any tunnel adds.
const GROWTH: usize = 64;

/// Runs `test` with two directors of so many slots in a network namespace of their own.
pub fn run(slots: u32, test: impl FnOnce(&mut Twins) -> Result<()> + Send + 'static) {
    let host = Namespace::new("director").unwrap();
    host.run(move || test(&mut Twins::new(slots)?)).unwrap();
}

/// The two directors.
pub struct Twins {
    pub kernel: Kernel,
    pub simulation: Simulation,
}

/// The director in the kernel.
pub struct Kernel {
    pub tables: Arc<Tables>,
    pub registry: Registry,
    pub importer: Importer,
    /// What there is of a way to the receivers of packets.
    pub way: Way,
    pins: PathBuf,
    program: Xdp,
}

impl Twins {
    fn new(slots: u32) -> Result<Twins> {
        let kernel = Kernel::new(slots)?;
        let simulation = Simulation::new(slots as usize, 1);
        // With the same key, entries lie in the same slots, and a full table evicts the same ones.
        let key = &simulation.config().context("settings")?.seed;
        for (cell, word) in kernel.tables.settings().seed.iter().zip(key) {
            cell.store(word.load(order::PLAIN), order::PLAIN);
        }
        // How many ICMP errors a tick takes depends on the pace of the machine: no limit.
        for config in [kernel.tables.settings(), simulation.config().context("settings")?] {
            config.errors_per_tick.store(u32::MAX, order::PLAIN);
        }
        Ok(Twins { kernel, simulation })
    }

    /// Adds a round-robin service with these destinations to both.
    pub fn add_service(&mut self, protocol: u8, vip: SocketAddr, servers: &[Server]) -> Result<()> {
        self.add_scheduled(Scheduler::RoundRobin, ServiceFlags::empty(), protocol, vip, servers)
    }

    /// The same with another scheduler and its flags.
    pub fn add_scheduled(
        &mut self,
        scheduler: Scheduler,
        flags: ServiceFlags,
        protocol: u8,
        vip: SocketAddr,
        servers: &[Server],
    ) -> Result<()> {
        let index = self.simulation.add_service(protocol, vip, scheduler);
        self.fill(index, scheduler, flags, service_id(protocol, vip), servers)
    }

    /// Adds a round-robin service of a mark to both.
    pub fn add_mark_service(&mut self, mark: NonZeroU32, family: Family, servers: &[Server]) -> Result<()> {
        let version = if family == Family::Inet { 4 } else { 6 };
        let index = self.simulation.add_mark_service(mark.get(), version, Scheduler::RoundRobin);
        let id = ServiceId::Mark { mark, family };
        self.fill(index, Scheduler::RoundRobin, ServiceFlags::empty(), id, servers)
    }

    fn fill(
        &mut self,
        index: u32,
        scheduler: Scheduler,
        flags: ServiceFlags,
        id: ServiceId,
        servers: &[Server],
    ) -> Result<()> {
        self.simulation.set_flags(index, flags.bits());
        self.kernel.ask(Request::NewService(Service {
            scheduler: scheduler.name().into(),
            flags: FlagsChange::to(flags),
            ..Service::new(id)
        }))?;
        for server in servers {
            self.simulation.add_destination(index, server);
            let destination = Destination {
                method: ForwardingMethod::from_flags(server.method).context("method")?,
                tunnel: Tunnel {
                    kind: TunnelType::from_number(server.tunnel.kind() as u8).context("tunnel")?,
                    port: u16::from_be_bytes(server.tunnel.port()),
                    flags: TunnelFlags::from_bits_retain(server.tunnel.flags() as u16),
                },
                weight: server.weight as i32,
                ..Destination::new(DestinationId {
                    address: server.address.ip(),
                    port: server.address.port(),
                })
            };
            self.kernel.ask(Request::NewDestination(id, Ok(destination)))?;
            let way = Egress {
                interface: SERVER_SIDE,
                vlan: None,
                destination_mac: mac_of(server.address.ip()),
                source_mac: DIRECTOR_MAC,
                mtu: server.mtu,
                source: server.source,
            };
            self.kernel.registry.set_path(server.address.ip(), &egress::Path::Via(way));
        }
        Ok(())
    }

    /// Sends a frame to both, which must do the same, and what was foretold; what became of it.
    pub fn receive(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let foretold = self.kernel.foretell(frame);
        let (verdict, expected) = self.simulation.receive_from(INGRESS, frame);
        let (action, out) = self.kernel.receive(frame).unwrap();
        assert_eq!(action, action_of(verdict), "simulation: {verdict:?}, frame: {frame:02x?}");
        if verdict != Verdict::Drop {
            assert_eq!(out, expected, "{verdict:?} of {:?}", decode(frame));
        }
        if let Some((told, told_frame)) = foretold {
            assert_eq!(told, verdict, "foretold of {:?}", decode(frame));
            assert!(verdict == Verdict::Drop || told_frame == out, "foretold of {:?}", decode(frame));
        }
        (verdict, out)
    }

    /// Sends a packet, which must leave on the servers' side; what left.
    pub fn to_server(&self, packet: &Packet) -> Decoded {
        let (verdict, out) = self.receive(&packet.frame());
        assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{packet:?}");
        sound(&out)
    }

    /// Both tables must be in order, and everything must be counted alike.
    pub fn compare(&self) -> Result<()> {
        self.simulation.audit().map_err(anyhow::Error::msg)?;
        self.kernel.audit()?;
        for event in Event::ALL {
            let (ours, expected) = (self.kernel.events(*event)?, self.simulation.events(*event));
            ensure!(ours == expected.into(), "{event:?}: {ours} times, in the simulation {expected}");
        }
        Ok(())
    }

    /// A service's destinations must have the same connections and counters in both; the service's `index` is that
    /// of its addition.
    pub fn compare_service(&self, index: u32, protocol: u8, vip: SocketAddr) -> Result<()> {
        let entries = self.kernel.destinations(protocol, vip)?;
        let members = self.simulation.members_of(index);
        ensure!(entries.len() == members.len(), "{entries:?}, in the simulation {members:?}");
        for (entry, member) in entries.iter().zip(members) {
            let counters = self.simulation.counters(0, member).context("counters")?;
            let expected = [
                &counters.connections,
                &counters.packets_in,
                &counters.packets_out,
                &counters.octets_in,
                &counters.octets_out,
            ]
            .map(|cell| cell.load(order::PLAIN));
            let s = &entry.stats;
            let ours = [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes];
            ensure!(ours == expected, "{vip}, {entry:?}: in the simulation {expected:?}");
            let numbers = self.simulation.connections_of(member);
            ensure!(
                (entry.active, entry.inactive) == numbers,
                "{vip}, {entry:?}: in the simulation {numbers:?}"
            );
        }
        Ok(())
    }
}

impl Kernel {
    fn new(slots: u32) -> Result<Kernel> {
        let sizes = Sizes { connections: slots, connections6: slots, services: 64, destinations: 256 };
        let plane = DataPlane::open(&Config { tables: sizes, ..Config::default() })?;
        let tables = Arc::new(plane.tables);
        let registry = Registry::new(Arc::clone(&tables), plane.service_index);
        let pins = Path::new("/sys/fs/bpf/rlvs").join(namespace::name()?).join(format!("layout-{LAYOUT}"));
        let program = first_step(&pins)?;
        Ok(Kernel { tables, registry, importer: plane.importer, way: Way::Nowhere, pins, program })
    }

    /// Sends a frame through the program: the XDP action, and the frame as it is then.
    pub fn receive(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut out = vec![0; frame.len() + GROWTH];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = self.program.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// What would become of a frame; `None` of fragments, about whose first one nothing is known.
    fn foretell(&self, frame: &[u8]) -> Option<(Verdict, Vec<u8>)> {
        let overlay = Overlay::new(&self.tables, &self.registry, INGRESS, self.way, frame);
        let foretold = overlay.run();
        let knows = !overlay.events().contains(&Event::Fragment);
        knows.then_some(foretold)
    }

    /// A service's destinations, the newest first.
    pub fn destinations(&self, protocol: u8, vip: SocketAddr) -> Result<Vec<DestinationEntry>> {
        self.registry.destination_entries(&service_id(protocol, vip)).context("listing destinations")
    }

    /// Connection tables, destinations and locks must be in order.
    pub fn audit(&self) -> Result<()> {
        audit(&*self.tables).map_err(anyhow::Error::msg)?;
        let locks: Array<_, u32> = aya::maps::Map::Array(self.map("STRIPE_LOCKS")?).try_into()?;
        for (number, lock) in locks.iter().enumerate() {
            ensure!(lock? == 0, "stripe {number} is still locked");
        }
        Ok(())
    }

    /// How often something happened.
    pub fn events(&self, event: Event) -> Result<u64> {
        let events: PerCpuArray<_, u64> = aya::maps::Map::PerCpuArray(self.map("EVENTS")?).try_into()?;
        Ok(events.get(&(event as u32), 0)?.iter().sum())
    }

    /// A pinned map.
    pub fn map(&self, name: &str) -> Result<MapData> {
        Ok(MapData::from_pin(self.pins.join("maps").join(name))?)
    }

    /// The registry of the director that comes after this one.
    pub fn next_registry(&self) -> Result<Registry> {
        let plane = DataPlane::open(&Config::default())?;
        Ok(Registry::new(Arc::new(plane.tables), plane.service_index))
    }

    /// Asks the registry, as a command does.
    pub fn request(&mut self, request: Request) -> Result<Reply, Errno> {
        self.registry.handle(request)
    }

    /// The same, where a refusal fails the test.
    pub fn ask(&mut self, request: Request) -> Result<Reply> {
        self.request(request).context("the registry refused")
    }
}

/// The pinned first program.
fn first_step(pins: &Path) -> Result<Xdp> {
    for entry in fs::read_dir(pins)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("programs-") {
            return Ok(Xdp::from_pin(entry.path().join("director"), XdpAttachType::Interface)?);
        }
    }
    anyhow::bail!("no programs in {}", pins.display())
}

/// A destination whose MAC ends in the last octet of its address, as [`Server::new`] makes it.
pub fn server(method: u32, address: SocketAddr) -> Server {
    let hop = Hop::new(SERVER_SIDE, mac_of(address.ip()), DIRECTOR_MAC, 0);
    Server { hop, ..Server::new(method, address) }
}

/// The same at the end of a tunnel of this kind, with these flags.
pub fn server_behind(kind: u32, flags: u32, address: SocketAddr) -> Server {
    Server { tunnel: Server::tunnel_of(kind, flags, address).tunnel, ..server(TUNNEL, address) }
}

/// The MAC of the server with this address.
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    [2, 0, 0, 0, 1, last]
}

/// Reads a frame whose checksums must all be right.
pub fn sound(frame: &[u8]) -> Decoded {
    let decoded = decode(frame).unwrap();
    assert_eq!(decoded.wrong_checksums, Vec::<&str>::new(), "{decoded:?}");
    decoded
}

/// An address and port, written as usual.
pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// The XDP action that carries out a verdict, as the kernel numbers them.
pub fn action_of(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => 1,
        Verdict::Pass => 2,
        Verdict::Transmit => 3,
        Verdict::Redirect(_) => 4,
    }
}

/// A service's identity.
pub fn service_id(protocol: u8, vip: SocketAddr) -> ServiceId {
    ServiceId::Address { protocol: Protocol(protocol.into()), address: vip.ip(), port: vip.port() }
}

/// An address family's example addresses.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub server: SocketAddr,
}

/// The example in IPv4, and in IPv6.
pub fn nets() -> [Net; 2] {
    [
        Net { client: at("10.9.0.7:20000"), vip: at("10.1.0.200:80"), server: at("10.2.0.1:8080") },
        Net { client: at("[fd09::7]:20000"), vip: at("[fd01::200]:80"), server: at("[fd02::1]:8080") },
    ]
}

impl Net {
    /// A second server.
    pub fn server_2(&self) -> SocketAddr {
        at(if self.server.is_ipv4() { "10.2.0.2:80" } else { "[fd02::2]:80" })
    }
}
