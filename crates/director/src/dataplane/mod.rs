//! The data plane: programs, maps and links, pinned so that they outlive the process.
//!
//! ```text
//!   <bpffs>/rlvs/<network namespace>/layout-<n>/maps/<MAP>            state; lives until `rlvs detach`
//!                                              /programs-<hash>/<step> of the object with this hash
//!                                              /links/<ifindex>-<mode> what keeps the first step attached
//! ```
//!
//! Starting means: make or open the maps; load the programs, or open them if this very object is loaded already;
//! point the table of steps and the links at them. Each of these is atomic for packets.

mod attach;
mod features;
mod pins;

pub use attach::{Attached, Attachments, Mode};
pub use features::can_send;
pub use pins::detach;

use crate::config::Config;
use crate::defence;
use crate::error::DirectorError;
use crate::fragments::{EarlyFragments, LargePackets};
use crate::memory::{Mapped, Shared};
use crate::object;
use crate::registry::rooms;
use crate::sync::Importer;
use crate::tables::Tables;
use aya::maps::{Map, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::{Program as Loaded, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use pins::Pins;
use rlvs_switch::scheduler::MEMBERS_MAX;
use rlvs_switch::scheduler::Scheduler::MaglevHashing;
use rlvs_switch::scheduler::ranking::PLACES_PER_NODE;
use rlvs_switch::service::ServiceKey;
use rlvs_switch::table::WAYS;
use rlvs_switch::{Program, order};
use std::io;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Maps that hold state and are pinned.
const MAPS: [&str; 21] = [
    "CONFIG",
    "CONNECTIONS4",
    "CONNECTIONS6",
    "STRIPE_LOCKS",
    "SERVICE_INDEX",
    "SERVICES",
    "MEMBERS",
    "RANKS",
    "MARK_RULES",
    "HASH_TABLES",
    "LOCALITY",
    "DESTINATIONS",
    "COUNTERS",
    "EVENTS",
    "SAMPLES",
    "FRAGMENTS",
    "CALLS",
    "EARLY_FRAGMENTS",
    "CHANGES",
    "LARGE_PACKETS",
    "STEPS",
];

/// The program for what the director itself sends.
const LOCAL_OUT: &str = "local_out";

/// Parts of hash tables for each service: room for all of them with dh or sh, or for a quarter of them with mh.
const TABLE_PARTS_PER_SERVICE: u32 = 4;

/// The loaded data plane.
pub struct DataPlane {
    /// The maps as memory.
    pub tables: Tables,
    /// From identity to service.
    pub service_index: aya::maps::HashMap<MapData, KeyOctets, u32>,
    /// What happened to packets other than being switched, by [`rlvs_switch::counters::Event`] and CPU.
    pub events: PerCpuArray<MapData, u64>,
    /// Copies of packets, for whoever watches.
    pub samples: RingBuf<MapData>,
    /// Fragments that came before the first of their packet.
    pub early_fragments: EarlyFragments,
    /// What the switch tells while synchronisation daemons run.
    pub changes: RingBuf<MapData>,
    /// Puts connections that others tell of into the table.
    pub importer: Importer,
    /// Packets that are to leave in fragments.
    pub large_packets: LargePackets,
    /// Where the first step is attached.
    pub attachments: Attachments,
    /// What finds, of all that the director itself sends, what is for the switch.
    pub local_out: SchedClassifier,
    /// Whether there was one to adopt.
    pub adopted: bool,
    /// Whether its programs were those of this binary already.
    pub same_programs: bool,
}

/// A service's identity as the map's key.
pub type KeyOctets = [u8; size_of::<ServiceKey>()];

impl DataPlane {
    /// Loads the data plane, or adopts what an earlier director left.
    pub fn open(config: &Config) -> Result<DataPlane, DirectorError> {
        if object::DIRECTOR.is_empty() {
            return Err(DirectorError::NoObject);
        }
        check_kernel()?;
        let pins = Pins::open()?;
        let adopted = pins.map("CONFIG").exists();
        let cpus = aya::util::nr_cpus()
            .map_err(|(_, source)| DirectorError::System { action: "count the CPUs", reason: source })?
            as u32;
        let tables = &config.tables;
        let places = rooms::length(tables.services, tables.destinations, MEMBERS_MAX);
        let mut loader = EbpfLoader::new();
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        for (name, size) in [
            ("CONNECTIONS4", tables.connections / WAYS as u32),
            ("CONNECTIONS6", tables.connections6 / WAYS as u32),
            // Real servers that may start calls are in it, too.
            ("SERVICE_INDEX", tables.services + tables.destinations),
            ("SERVICES", tables.services),
            ("MEMBERS", places),
            ("RANKS", places / PLACES_PER_NODE),
            ("HASH_TABLES", tables.services.max(MaglevHashing.parts() as u32) * TABLE_PARTS_PER_SERVICE),
            ("DESTINATIONS", tables.destinations),
            ("COUNTERS", tables.destinations * cpus),
        ] {
            loader.map_max_entries(name, size);
        }
        let mut ebpf = loader.load(object::DIRECTOR)?;
        let tables = Tables {
            config: mapped(&ebpf, "CONFIG")?,
            connections4: mapped(&ebpf, "CONNECTIONS4")?,
            connections6: mapped(&ebpf, "CONNECTIONS6")?,
            services: mapped(&ebpf, "SERVICES")?,
            members: mapped(&ebpf, "MEMBERS")?,
            ranks: mapped(&ebpf, "RANKS")?,
            mark_rules: mapped(&ebpf, "MARK_RULES")?,
            hash_tables: mapped(&ebpf, "HASH_TABLES")?,
            localities: mapped(&ebpf, "LOCALITY")?,
            destinations: mapped(&ebpf, "DESTINATIONS")?,
            counters: mapped(&ebpf, "COUNTERS")?,
            calls: map(&mut ebpf, "CALLS")?,
        };
        set_up(&tables, cpus)?;
        let service_index = map(&mut ebpf, "SERVICE_INDEX")?;
        let (events, samples) = (map(&mut ebpf, "EVENTS")?, map(&mut ebpf, "SAMPLES")?);
        let changes = map(&mut ebpf, "CHANGES")?;
        let (ring, records) = (map(&mut ebpf, "EARLY_FRAGMENTS")?, map(&mut ebpf, "FRAGMENTS")?);
        let large_packets = LargePackets::new(map(&mut ebpf, "LARGE_PACKETS")?);
        let same_programs = programs(&mut ebpf, &pins)?;
        let early_fragments = EarlyFragments::new(ring, records, step(&pins, Program::Director)?);
        let importer = Importer::new(step(&pins, Program::Import)?, step(&pins, Program::Import6)?);
        let attachments = Attachments::adopt(step(&pins, Program::Director)?, &pins)?;
        let local_out = SchedClassifier::from_pin(pins.program(LOCAL_OUT))?;
        Ok(DataPlane {
            tables,
            service_index,
            events,
            samples,
            early_fragments,
            changes,
            importer,
            large_packets,
            attachments,
            local_out,
            adopted,
            same_programs,
        })
    }
}

/// Takes the map of this name, as what it is.
fn map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DirectorError>
where
    T: TryFrom<Map, Error: std::fmt::Display>,
{
    let map = ebpf.take_map(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(|error| unusable(name, error))
}

fn missing(name: &'static str) -> DirectorError {
    DirectorError::Map { name, reason: "the object does not have it".into() }
}

fn unusable(name: &'static str, error: impl std::fmt::Display) -> DirectorError {
    DirectorError::Map { name, reason: error.to_string() }
}

fn check_kernel() -> Result<(), DirectorError> {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 1) {
        return Err(DirectorError::KernelTooOld { release: release.into_owned() });
    }
    Ok(())
}

fn mapped<T: Shared>(ebpf: &Ebpf, name: &'static str) -> Result<Mapped<T>, DirectorError> {
    let Map::Array(data) = ebpf.map(name).ok_or_else(|| missing(name))? else {
        return Err(unusable(name, "it is no array"));
    };
    // A pinned map keeps the size that it was made with.
    let elements = data.info().map_err(|error| unusable(name, error))?.max_entries();
    Mapped::new(data.fd().as_fd(), elements as usize).map_err(|error| unusable(name, error))
}

/// Fills in the settings of tables that are new.
fn set_up(tables: &Tables, cpus: u32) -> Result<(), DirectorError> {
    let settings = tables.settings();
    if settings.cpus() != 0 {
        return Ok(());
    }
    let mut seed = [0u8; 8 * rlvs_switch::config::SEEDS];
    let mut filled = 0;
    while filled < seed.len() {
        filled += rustix::rand::getrandom(&mut seed[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| DirectorError::System { action: "make a random key", reason: error.into() })?;
    }
    for (cell, octets) in settings.seed.iter().zip(seed.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(octets);
        cell.store(u64::from_ne_bytes(word), order::PLAIN);
    }
    settings.mask4.store(tables.connections4.all().len() as u32 - 1, order::PLAIN);
    settings.mask6.store(tables.connections6.all().len() as u32 - 1, order::PLAIN);
    settings.set_defaults();
    // As IPVS has it: what a backlog of messages may take of the memory that is free now.
    let messages = (defence::available_pages() / 32).min(i32::MAX as u64) as u32;
    settings.director.sync_qlen_max.store(messages, order::PLAIN);
    // Last, for it says that the rest is done.
    settings.cpus.store(cpus, order::PUBLISH);
    Ok(())
}

/// Whether all of this object's programs were loaded already. Else loads them and puts them in the places of their
/// predecessors.
fn programs(ebpf: &mut Ebpf, pins: &Pins) -> Result<bool, DirectorError> {
    let names = || Program::ALL.iter().map(|program| program.name()).chain([LOCAL_OUT]);
    let pinned = names().all(|name| pins.program(name).exists());
    if !pinned {
        pins.make_program_folder()?;
        load(ebpf)?;
        for name in names() {
            let path = pins.program(name);
            let _left_by_a_start_that_failed = std::fs::remove_file(&path);
            ebpf.program_mut(name)
                .ok_or_else(|| DirectorError::Map { name, reason: "the object has no such program".into() })?
                .pin(&path)
                .map_err(|error| DirectorError::Pin { path, reason: error.to_string() })?;
        }
    }
    let mut steps: ProgramArray<MapData> = map(ebpf, "STEPS")?;
    for &step in Program::ALL {
        steps.set(step as u32, self::step(pins, step)?.fd()?, 0).map_err(|error| unusable("STEPS", error))?;
    }
    pins.forget_other_programs();
    Ok(pinned)
}

/// Loads the programs, on all CPUs, for the kernel's verifier takes seconds for them.
fn load(ebpf: &mut Ebpf) -> Result<(), DirectorError> {
    let waiting = Mutex::new(ebpf.programs_mut());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<(), DirectorError> {
        while let Some((_, program)) = next() {
            let loaded = match program {
                Loaded::SchedClassifier(program) => program.load(),
                program => <&mut Xdp>::try_from(program)?.load(),
            };
            loaded.map_err(explain)?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// The program of a step.
fn step(pins: &Pins, step: Program) -> Result<Xdp, DirectorError> {
    Ok(Xdp::from_pin(pins.program(step.name()), XdpAttachType::Interface)?)
}

/// Tells a lack of privilege from other failures.
fn explain(error: ProgramError) -> DirectorError {
    if let ProgramError::LoadError { io_error, .. } = &error
        && io_error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
    {
        let source = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
        return DirectorError::NoPrivilege { action: "loading XDP programs", reason: source };
    }
    error.into()
}
