//! The loaded programs; `frames` sends frames through them.

mod frames;

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, IterableMap, Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::{ProgramInfo, Xdp};
use aya::{Ebpf, EbpfLoader};
pub use frames::{BATCH, run_live};
use rlvs_director::config::{Config, Tables as Sizes};
use rlvs_director::connections;
use rlvs_director::dataplane::{Attachments, DataPlane};
use rlvs_director::sweeper::Sweeper;
use rlvs_director::tables::Tables;
use rlvs_switch::config::Tick;
use rlvs_switch::state::tcp;
use rlvs_switch::table::{Bucket, Family, WAYS};
use rlvs_switch::{Memory, order};

use crate::network::{INTERFACE, Method, PORT};
use crate::plan::{ACK, Plan, SYN, WORDS};

pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.o"));

/// log2 of a million flows.
pub const MILLION: u32 = 20;
/// Maps that the measured programs share with the director's.
const SHARED: [&str; 4] = ["CONFIG", "DESTINATIONS", "COUNTERS", "EVENTS"];

/// What the shim jumps to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    Nothing,
    Floor,
    Director,
    KernelMap,
}

/// All that is needed for a measurement.
pub struct Lab {
    pub tables: Arc<Tables>,
    programs: Ebpf,
    first_step: ProgramInfo,
    /// For each CPU.
    plan: PerCpuArray<MapData, [u64; WORDS]>,
    drawn: Array<MapData, u32>,
    target: ProgramArray<MapData>,
    kernel_table: HashMap<MapData, [u64; 2], [u32; 4]>,
    /// Entries of the connection table.
    slots: u32,
    /// Index of the director's interface.
    interface: u32,
    pins: PathBuf,
    /// Held, or aya takes the switch off its interface.
    _attachments: Attachments,
}

impl Lab {
    /// Adopts the director's data plane and loads the programs for measurement beside it; the kernel's hash map gets so many entries.
    pub fn open(tables: Sizes, kernel_table: u32) -> Result<Lab> {
        ensure!(!OBJECT.is_empty(), "built without the XDP object: use `cargo xtask bench`");
        let slots = tables.connections;
        let plane = DataPlane::open(&Config { tables, ..Config::default() })?;
        let pins = pins()?;
        let mut loader = EbpfLoader::new();
        for name in SHARED {
            loader.map_pin_path(name, pins.join("maps").join(name));
        }
        loader.map_max_entries("KERNEL_TABLE", kernel_table);
        loader.map_max_entries("DRAWN", 1 << MILLION);
        let mut programs = loader.load(OBJECT).context("cannot load the programs for measurement")?;
        for name in ["shim", "floor", "kernel_map"] {
            program(&mut programs, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
        let plan = PerCpuArray::try_from(take(&mut programs, "PLAN")?)?;
        let drawn = Array::try_from(take(&mut programs, "DRAWN")?)?;
        let target = ProgramArray::try_from(take(&mut programs, "TARGET")?)?;
        let kernel_table = HashMap::try_from(take(&mut programs, "KERNEL_TABLE")?)?;
        let index = std::fs::read_to_string(format!("/sys/class/net/{INTERFACE}/ifindex"))?;
        Ok(Lab {
            tables: Arc::new(plane.tables),
            first_step: ProgramInfo::from_pin(programs_folder(&pins)?.join("director"))?,
            programs,
            plan,
            drawn,
            target,
            kernel_table,
            slots,
            interface: index.trim().parse()?,
            pins,
            _attachments: plane.attachments,
        })
    }

    /// Has the shim jump to this from now on.
    pub fn aim(&mut self, target: Target) -> Result<()> {
        match target {
            Target::Nothing => {
                // There is nothing to clear the first time.
                let _empty = self.target.clear_index(&0);
            }
            Target::Director => self.target.set(0, &self.first_step.fd()?, 0)?,
            Target::Floor => {
                let fd = program(&mut self.programs, "floor")?.fd()?.try_clone()?;
                self.target.set(0, &fd, 0)?;
            }
            Target::KernelMap => {
                let fd = program(&mut self.programs, "kernel_map")?.fd()?.try_clone()?;
                self.target.set(0, &fd, 0)?;
            }
        }
        Ok(())
    }

    /// Fixes the order of flows that plans name as drawn; a million of them.
    pub fn draw(&mut self, flows: impl Iterator<Item = u32>) -> Result<()> {
        for (place, flow) in (0..1_u32 << MILLION).zip(flows) {
            self.drawn.set(place, flow, 0)?;
        }
        Ok(())
    }

    /// Opens and acknowledges a million connections, through the switch.
    pub fn establish(&mut self, method: Method) -> Result<()> {
        self.open_connections(&request(method, MILLION))
    }

    /// Opens and acknowledges the connections of an established packet's plan.
    pub fn open_connections(&mut self, plan: &Plan) -> Result<()> {
        self.aim(Target::Director)?;
        for tcp_flags in [SYN, ACK] {
            self.send(&Plan { tcp_flags, round: 7, ..*plan }, 1 << plan.flows)?;
        }
        Ok(())
    }

    /// Puts connections like those of [`Self::establish`] into the kernel's hash map, in an order of its own.
    pub fn establish_in_kernel_map(&mut self, method: Method) -> Result<()> {
        let destination = self.destination(method)?;
        // Longer than any measurement takes.
        let expires = self.tables.now().plus(Tick::in_seconds(3600)).0;
        let vip = u64::from(first_word(method.vip()));
        for flow in 0..1_u32 << MILLION {
            let (address, port) = Plan::client(flow.wrapping_mul(0x9e37_79b1) & ((1 << MILLION) - 1));
            let ([a, b], [c, d]) = (port.to_be_bytes(), PORT.to_be_bytes());
            let ports = u32::from_ne_bytes([a, b, c, d]);
            let key = [u64::from(address) | vip << 32, u64::from(ports) | 6 << 32];
            let known = [destination, tcp::ESTABLISHED.into(), expires, 0];
            self.kernel_table.insert(key, known, 0).context("cannot fill the kernel's hash map")?;
        }
        Ok(())
    }

    fn destination(&self, method: Method) -> Result<u32> {
        let address = first_word(method.real_server());
        (0..Sizes::default().destinations)
            .find(|index| {
                self.tables.destination(*index).is_some_and(|entry| {
                    entry.is_available() && entry.address[0].load(order::PLAIN) == address
                })
            })
            .with_context(|| format!("the director has no destination for {}", method.name))
    }

    /// Connections of a method's destination that are in an active state.
    pub fn active(&self, method: Method) -> Result<u32> {
        let destination = self.tables.destination(self.destination(method)?);
        Ok(destination.map_or(0, |entry| entry.active.load(order::PLAIN)))
    }

    /// Established connections, as the director lists them.
    pub fn established(&self) -> usize {
        let all = connections::list(Arc::clone(&self.tables));
        all.filter(|connection| connection.state == tcp::ESTABLISHED).count()
    }

    /// Lets the time of all connections pass. Then [`Self::sweep`] finds them.
    pub fn expire(&self) {
        let now = self.tables.now();
        for index in 0..self.slots / WAYS as u32 {
            expire_in(self.tables.bucket4(index), now);
            expire_in(self.tables.bucket6(index), now);
        }
    }

    /// One sweep through the tables; the number of connections that ended.
    pub fn sweep(&self) -> usize {
        let mut sweeper = Sweeper::default();
        (0..Sweeper::PARTS).map(|_| sweeper.sweep(&self.tables)).sum()
    }

    /// For each program how many instructions the verifier went through, and octets of machine code.
    pub fn programs(&mut self) -> Result<Vec<(String, u32, u32)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(programs_folder(&self.pins)?)? {
            let entry = entry?;
            let info = ProgramInfo::from_pin(entry.path())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            all.push((name, info.verified_instruction_count().unwrap_or(0), info.size_jitted()));
        }
        all.sort();
        let info = program(&mut self.programs, "kernel_map")?.info()?;
        let name = "kernel_map (measurement only)".into();
        all.push((name, info.verified_instruction_count().unwrap_or(0), info.size_jitted()));
        Ok(all)
    }

    /// Octets that the kernel books for an entry: of the switch's table, and of its own hash map, if that has as many.
    pub fn octets(&self) -> Result<(u64, u64)> {
        let ours = MapData::from_pin(self.pins.join("maps/CONNECTIONS4"))?;
        Ok((booked(&ours)? / u64::from(self.slots), booked(self.kernel_table.map())? / u64::from(self.slots)))
    }
}

/// An established connection's packet from a client.
pub fn request(method: Method, flows: u32) -> Plan {
    let client = (method.clients(), 0);
    let destination = (method.vip(), PORT);
    Plan {
        source: client,
        destination,
        tcp_flags: ACK,
        flows,
        base: 0,
        reply: false,
        round: 0,
        drawn: false,
        services: 0,
    }
}

/// A real server's answer to it.
pub fn reply(method: Method, flows: u32) -> Plan {
    let plan = request(method, flows);
    Plan { source: (method.real_server(), PORT), destination: plan.source, reply: true, ..plan }
}

fn expire_in<F: Family>(bucket: Option<&Bucket<F>>, now: Tick) {
    let slots = bucket.into_iter().flat_map(|bucket| &bucket.slots);
    slots.filter(|slot| slot.meta().is_live()).for_each(|slot| slot.refresh(now));
}

/// The first word of an address as the shared memory has it.
fn first_word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(address) => {
            address.segments()[..2].iter().fold(0, |word, part| word << 16 | u32::from(*part)).to_be()
        }
    }
}

/// The program of that name in the object.
pub fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = programs.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// The map of that name in the object.
pub fn take(programs: &mut Ebpf, name: &str) -> Result<Map> {
    programs.take_map(name).with_context(|| format!("the object has no map {name}"))
}

/// What `/proc` says of a map's memory.
fn booked(map: &MapData) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let info = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line =
        info.lines().find_map(|line| line.strip_prefix("memlock:")).context("no word of its memory")?;
    Ok(line.trim().parse()?)
}

/// The one data plane of this host.
fn pins() -> Result<PathBuf> {
    let home = only(Path::new("/sys/fs/bpf/rlvs"), "")?;
    only(&home, "layout-")
}

fn programs_folder(pins: &Path) -> Result<PathBuf> {
    only(pins, "programs-")
}

fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let first = found.next().with_context(|| format!("no {prefix}* in {}", folder.display()))?;
    Ok(first.path())
}
