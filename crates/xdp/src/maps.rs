//! The maps. Their sizes here are the least; the director sets them when it loads the object.

use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use rlvs_switch::config::Config;
use rlvs_switch::counters::{Counters, Event};
use rlvs_switch::destination::Destination;
use rlvs_switch::service::{Service, ServiceKey};
use rlvs_switch::table::{Bucket4, Bucket6, STRIPES};

/// BPF_F_MMAPABLE: the director reads and writes the array as its own memory.
const MMAPABLE: usize = 1 << 10;

/// Settings; one element.
#[btf_map]
pub static CONFIG: Array<Config, 1, MMAPABLE> = Array::new();
/// The connection table for IPv4.
#[btf_map]
pub static CONNECTIONS4: Array<Bucket4, 1, MMAPABLE> = Array::new();
/// The connection table for IPv6.
#[btf_map]
pub static CONNECTIONS6: Array<Bucket6, 1, MMAPABLE> = Array::new();
/// Locks for the creation of connections.
#[btf_map]
pub static STRIPE_LOCKS: Array<u32, { STRIPES as usize }, 0> = Array::new();
/// From a service's identity to its index.
#[btf_map]
pub static SERVICE_INDEX: HashMap<ServiceKey, u32, 1, 0> = HashMap::new();
/// Virtual services.
#[btf_map]
pub static SERVICES: Array<Service, 1, MMAPABLE> = Array::new();
/// What the services' member lists are cut from.
#[btf_map]
pub static MEMBERS: Array<u32, 1, MMAPABLE> = Array::new();
/// Destinations.
#[btf_map]
pub static DESTINATIONS: Array<Destination, 1, MMAPABLE> = Array::new();
/// Counters, by destination and CPU.
#[btf_map]
pub static COUNTERS: Array<Counters, 1, MMAPABLE> = Array::new();
/// Counters of events.
#[btf_map]
pub static EVENTS: PerCpuArray<u64, { Event::COUNT }, 0> = PerCpuArray::new();

/// The programs for the switch's steps, by the numbers below.
#[btf_map]
pub static STEPS: ProgramArray<8> = ProgramArray::new();
/// Established connections.
pub const STEP_PROCESS: u32 = 0;
/// Established connections, IPv6.
pub const STEP_PROCESS6: u32 = 1;
/// Scheduling.
pub const STEP_OPEN: u32 = 2;
/// New connections.
pub const STEP_CREATE: u32 = 3;
/// New connections, IPv6.
pub const STEP_CREATE6: u32 = 4;
/// NATed connections' replies.
pub const STEP_CREATE_REPLY: u32 = 5;
/// NATed connections' replies, IPv6.
pub const STEP_CREATE_REPLY6: u32 = 6;
/// Errors to a packet's sender.
pub const STEP_REJECT: u32 = 7;
/// A word from one step to the next.
#[btf_map]
pub static HANDOVER: PerCpuArray<u32, 1, 0> = PerCpuArray::new();
