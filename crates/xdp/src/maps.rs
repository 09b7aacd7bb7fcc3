//! The maps. Their sizes here are the least; the director sets them when it loads the object.

use aya_ebpf::bindings::bpf_fib_lookup;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf};
use aya_ebpf::macros::btf_map;
use rlvs_switch::Program;
use rlvs_switch::config::Config;
use rlvs_switch::counters::{Counters, Event};
use rlvs_switch::destination::Destination;
use rlvs_switch::fragment::{FragmentKey, FragmentRecord};
use rlvs_switch::mark::{self, MarkRule};
use rlvs_switch::scheduler::hash::TablePart;
use rlvs_switch::scheduler::locality;
use rlvs_switch::scheduler::ranking::Node;
use rlvs_switch::service::{Service, ServiceKey};
use rlvs_switch::sip::{CallId, CallKey};
use rlvs_switch::steps::Handover;
use rlvs_switch::table::{Bucket4, Bucket6, STRIPES};

/// BPF_F_MMAPABLE: the director reads and writes the array as its own memory.
const MMAPABLE: usize = 1 << 10;

/// Fragmented packets at a time: 8,192 in 30 s.
const FRAGMENTS_MAX: usize = 1 << 13;

/// Calls whose Call-IDs are kept.
const CALLS_MAX: usize = 1 << 13;

/// Room for some 650 fragments that the director has not taken yet.
const EARLY_OCTETS: usize = 1 << 20;

/// Room for 65,536 changes, each with the ring's header.
const CHANGES_OCTETS: usize = 1 << 20;

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
/// From a service's identity to its index, and from a real server's to its destination's.
#[btf_map]
pub static SERVICE_INDEX: HashMap<ServiceKey, u32, 1, 0> = HashMap::new();
/// Virtual services.
#[btf_map]
pub static SERVICES: Array<Service, 1, MMAPABLE> = Array::new();
/// What the services' member lists are cut from.
#[btf_map]
pub static MEMBERS: Array<u32, 1, MMAPABLE> = Array::new();
/// Nodes of the trees of the members' ranks.
#[btf_map]
pub static RANKS: Array<Node, 1, MMAPABLE> = Array::new();
/// Rules that give packets their marks, in two lists.
#[btf_map]
pub static MARK_RULES: Array<MarkRule, { (mark::LISTS * mark::RULES_MAX) as usize }, MMAPABLE> = Array::new();
/// What the services' hash tables are cut from.
#[btf_map]
pub static HASH_TABLES: Array<TablePart, 1, MMAPABLE> = Array::new();
/// Who serves which address, for the locality-based schedulers.
#[btf_map]
pub static LOCALITY: Array<locality::Bucket, { locality::BUCKETS }, MMAPABLE> = Array::new();
/// Destinations.
#[btf_map]
pub static DESTINATIONS: Array<Destination, 1, MMAPABLE> = Array::new();
/// Counters, by destination and CPU.
#[btf_map]
pub static COUNTERS: Array<Counters, 1, MMAPABLE> = Array::new();
/// Counters of events.
#[btf_map]
pub static EVENTS: PerCpuArray<u64, { Event::COUNT }, 0> = PerCpuArray::new();

/// Copies of packets that were dropped (`Sample`s), while somebody watches.
#[btf_map]
pub static SAMPLES: RingBuf<(), { 1 << 16 }> = RingBuf::new();
/// What first fragments leave for later ones. The oldest go when there are too many.
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentRecord, FRAGMENTS_MAX, 0> = LruHashMap::new();

/// The Call-IDs of templates, for listings. The oldest go when there are too many.
#[btf_map]
pub static CALLS: LruHashMap<CallKey, CallId, CALLS_MAX, 0> = LruHashMap::new();

/// [`rlvs_switch::fragment::EarlyFragment`]s on their way to the director, which keeps them until the first of their packet has come.
#[btf_map]
pub static EARLY_FRAGMENTS: RingBuf<(), EARLY_OCTETS> = RingBuf::new();

/// [`rlvs_switch::sync::Change`]s on their way to the director's master, while there is one.
#[btf_map]
pub static CHANGES: RingBuf<(), CHANGES_OCTETS> = RingBuf::new();

/// [`rlvs_switch::fragment::LargePacket`]s on their way to the director, which sends them in fragments: some 250.
#[btf_map]
pub static LARGE_PACKETS: RingBuf<(), { 1 << 20 }> = RingBuf::new();

/// The programs for the switch's steps, by their numbers.
#[btf_map]
pub static STEPS: ProgramArray<{ Program::COUNT }> = ProgramArray::new();
/// What one step leaves for the next.
#[btf_map]
pub static HANDOVER: PerCpuArray<Handover, 1, 0> = PerCpuArray::new();

/// A question for the kernel: how it would send a packet on.
#[btf_map]
pub static ROUTE_QUERY: PerCpuArray<bpf_fib_lookup, 1, 0> = PerCpuArray::new();

/// Octets of the frame on their way to be added up.
#[btf_map]
pub static PIECE: PerCpuArray<Piece, 1, 0> = PerCpuArray::new();
/// Octets of a [`Piece`] that are used; the rest is room for padding.
pub const PIECE_OCTETS: usize = 512;
/// The element of [`PIECE`].
#[repr(C, align(8))]
pub struct Piece(pub [u8; PIECE_OCTETS + 8]);
