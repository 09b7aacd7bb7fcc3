//! The switch's home in the kernel: its [`Platform`] on an XDP context.
//!
//! All unsafe code of the programs is here and in `local_out`: access to the frame through pointers that the verifier
//! checks, and the kernel's helpers.

use crate::maps;
use core::ops::ControlFlow;

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, BPF_RB_NO_WAKEUP,
    bpf_fib_lookup, xdp_action, xdp_md,
};
use aya_ebpf::helpers;
use aya_ebpf::programs::XdpContext;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd};
use rlvs_packet::checksum::fold;
use rlvs_packet::ethernet::{Ethernet, Mac};
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::counters::{Counters, Event, Sample};
use rlvs_switch::destination::{Destination, Hop};
use rlvs_switch::fragment::{EarlyFragment, FragmentKey, FragmentRecord, KEPT_MAX, LARGE_MAX, LargePacket};
use rlvs_switch::mark::MarkRule;
use rlvs_switch::scheduler::hash::TablePart;
use rlvs_switch::scheduler::locality;
use rlvs_switch::scheduler::ranking::Node;
use rlvs_switch::service::{Service, ServiceKey};
use rlvs_switch::sip::CallKey;
use rlvs_switch::steps::Handover;
use rlvs_switch::sync::Change;
use rlvs_switch::table::{Bucket4, Bucket6};
use rlvs_switch::{Edit, Memory, Platform, Step, Verdict, View, order};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Does with the frame what came of one of the switch's steps; the next one is left to its program.
#[inline(always)]
pub fn go_on(platform: &Kernel<xdp_md>, step: Step) -> u32 {
    let next = match step {
        Step::Done(Verdict::Pass) => return xdp_action::XDP_PASS,
        Step::Done(Verdict::Drop) => return xdp_action::XDP_DROP,
        Step::Done(Verdict::Transmit) => return xdp_action::XDP_TX,
        // SAFETY: a helper without pointers.
        Step::Done(Verdict::Redirect(interface)) => {
            return unsafe { helpers::bpf_redirect(interface, 0) as u32 };
        }
        Step::Next(program) => program as u32,
    };
    // SAFETY: nothing of this program is needed after the jump.
    unsafe { maps::STEPS.tail_call(&XdpContext::new(platform.context), next) };
    // Only reached when there is no such program, or after too many steps.
    platform.count(Event::NoStep);
    xdp_action::XDP_DROP
}

/// The kernel around the program, which it called with a `C`.
///
/// A look-up in a map is a call that the compiler cannot leave out, whatever it knows. What most of a program's functions want is
/// therefore looked up once, where the program begins, and nowhere else.
pub struct Kernel<C> {
    context: *mut C,
    config: Option<&'static Config>,
    handover: Option<&'static Handover>,
}

/// What the kernel calls a program with: the frame, in its way.
pub trait Context {
    /// Where the part of the frame that can be read starts and ends: [`read_bounds`].
    ///
    /// # Safety
    /// Only for the pointer that the kernel called the program with. The same holds for the others.
    unsafe fn bounds(context: *const Self) -> (usize, usize);
    /// Octets of the frame, link header included.
    unsafe fn length(context: *const Self) -> usize;
    /// [`View::is_joined`].
    unsafe fn is_joined(context: *const Self) -> bool;
    /// Index of the interface that it came in by; 0: none.
    unsafe fn ingress(context: *const Self) -> u32;
}

/// Reads where a frame starts and ends from two fields of a context. Volatile, or the compiler would see that a packet's own
/// length, once compared, makes later comparisons needless, which the verifier does not see.
///
/// # Safety
/// Both are fields of the context that the kernel called the program with.
#[inline(always)]
pub unsafe fn read_bounds(start: *const u32, end: *const u32) -> (usize, usize) {
    // SAFETY: the caller's.
    unsafe { (start.read_volatile() as usize, end.read_volatile() as usize) }
}

/// A word that the compiler knows nothing of: as `core::hint::black_box`, which takes it through the stack.
#[inline(always)]
fn hidden(mut word: usize) -> usize {
    // SAFETY: a word put where it is. (Without an instruction, the kernel would find two lines of the source at one place.)
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) word, options(pure, nomem, nostack, preserves_flags)) };
    word
}

impl Context for xdp_md {
    #[inline(always)]
    unsafe fn bounds(context: *const Self) -> (usize, usize) {
        // SAFETY: the caller's.
        unsafe { read_bounds(&raw const (*context).data, &raw const (*context).data_end) }
    }

    #[inline(always)]
    unsafe fn length(context: *const Self) -> usize {
        // SAFETY: the caller's.
        let (start, end) = unsafe { Self::bounds(context) };
        // Hidden from the compiler, which would subtract pointers in 32 bits where no more are asked for.
        hidden(end - start)
    }

    #[inline(always)]
    unsafe fn is_joined(_: *const Self) -> bool {
        false
    }

    #[inline(always)]
    unsafe fn ingress(context: *const Self) -> u32 {
        // SAFETY: the caller's.
        unsafe { (*context).ingress_ifindex }
    }
}

impl<C: Context> Kernel<C> {
    /// The kernel as it calls a program with this context.
    #[inline(always)]
    pub fn around(context: *mut C) -> Kernel<C> {
        Kernel { context, config: None, handover: None }
    }

    /// Ready for programs that need the settings whatever comes; `None`: never, but the verifier does not know that.
    #[inline(always)]
    pub fn with_config(self) -> Option<Kernel<C>> {
        Some(Kernel { config: Some(maps::CONFIG.get(0)?), ..self })
    }

    /// Ready for programs that need what the step before has left; `None` as above.
    #[inline(always)]
    pub fn with_handover(self) -> Option<Kernel<C>> {
        Some(Kernel { handover: Some(handover()?), ..self })
    }

    /// A pointer to a value in the frame, compared against the frame's end as the verifier demands.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        // SAFETY: the context that the kernel called the program with.
        let (start, end) = unsafe { C::bounds(self.context) };
        let place = start + offset;
        let mut behind = place + size_of::<T>();
        if size_of::<T>() == 1 {
            // Hidden from the compiler, which would compare `place` itself: from that the verifier learns nothing.
            behind = hidden(behind);
        }
        if behind > end { None } else { Some(place as *mut T) }
    }
}

impl Kernel<xdp_md> {
    /// The kernel's answer to a query, BPF_FIB_LKUP_RET_*, and what it found in the query.
    #[inline(always)]
    fn answer(&self, query: &mut bpf_fib_lookup) -> i64 {
        query.ifindex = self.ingress();
        // SAFETY: the structure is the helper's own and lives in a map.
        unsafe {
            helpers::bpf_fib_lookup(
                self.context.cast(),
                &raw mut *query,
                size_of::<bpf_fib_lookup>() as i32,
                0,
            )
        }
    }

    #[inline(always)]
    fn look_up_route(&self, query: &mut bpf_fib_lookup) -> Option<Hop> {
        if self.answer(query) != BPF_FIB_LKUP_RET_SUCCESS as i64 {
            return None;
        }
        Some(Hop::new(query.ifindex, aligned(&query.dmac), aligned(&query.smac), 0))
    }
}

impl Kernel<xdp_md> {
    /// The MTU of the way, if the packet is larger.
    #[inline(always)]
    fn narrow(&self, query: &mut bpf_fib_lookup) -> Option<u32> {
        if self.answer(query) != BPF_FIB_LKUP_RET_FRAG_NEEDED as i64 {
            return None;
        }
        // SAFETY: an integer, under whichever name.
        Some(unsafe { query.__bindgen_anon_1.mtu_result } as u32)
    }
}

impl<C: Context> Memory for Kernel<C> {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        match self.config {
            Some(config) => Some(config),
            None => maps::CONFIG.get(0),
        }
    }

    #[inline(always)]
    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        maps::CONNECTIONS4.get(index)
    }

    #[inline(always)]
    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        maps::CONNECTIONS6.get(index)
    }

    #[inline(always)]
    fn destination(&self, index: u32) -> Option<&Destination> {
        maps::DESTINATIONS.get(index)
    }

    #[inline(always)]
    fn ranks(&self, index: u32) -> Option<&Node> {
        maps::RANKS.get(index)
    }

    #[inline(always)]
    fn count(&self, event: Event) {
        if let Some(cell) = maps::EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: this CPU's own cell.
            unsafe { *cell += 1 };
        }
    }

    #[inline(always)]
    fn repeat<const N: usize>(
        &self,
        times: u32,
        mut state: [u64; N],
        body: impl Fn(u32, &mut [u64; N]) -> ControlFlow<()>,
    ) -> [u64; N] {
        let Some(handover) = self.handover() else { return state };
        let zero = handover.zero.load(order::PLAIN);
        let mut i = 0;
        while i < N {
            state[i] ^= zero;
            i += 1;
        }
        let mut rounds = Rounds { state, body };
        // SAFETY: the helper calls `once` with what it is given here, and has returned when that ends.
        unsafe { helpers::bpf_loop(times, once(&rounds), (&raw mut rounds).cast(), 0) };
        rounds.state
    }

    #[inline(always)]
    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        // SAFETY: a shared word that all use atomically.
        unsafe {
            atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                cell.as_ptr(),
                old,
                new,
            )
            .1
        }
    }

    #[inline(always)]
    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        // SAFETY: a shared word that all use atomically.
        unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::SeqCst }>(cell.as_ptr(), n) }
    }

    #[inline(always)]
    fn set(&self, cell: &AtomicU32, bits: u32) {
        // SAFETY: a shared word that all use atomically.
        unsafe { atomic_or::<u32, u32, { AtomicOrdering::SeqCst }>(cell.as_ptr(), bits) };
    }
}

impl<C: Context> View for Kernel<C> {
    #[inline(always)]
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        let place = self.at::<T>(offset)?;
        // SAFETY: within the frame; any octets make a T.
        Some(unsafe { place.read_unaligned() })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        // SAFETY: the context that the kernel called the program with.
        unsafe { C::length(self.context) }
    }

    #[inline(always)]
    fn is_joined(&self) -> bool {
        // SAFETY: the context that the kernel called the program with.
        unsafe { C::is_joined(self.context) }
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context that the kernel called the program with.
        unsafe { C::ingress(self.context) }
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        // SAFETY: a helper without pointers.
        Tick::from_nanoseconds(unsafe { helpers::bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn find_service(&self, key: &ServiceKey) -> Option<u32> {
        // SAFETY: the value is a plain word; a concurrent change shows the old or the new one.
        unsafe { maps::SERVICE_INDEX.get(key) }.copied()
    }

    #[inline(always)]
    fn mark_rule(&self, index: u32) -> Option<&MarkRule> {
        maps::MARK_RULES.get(index)
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        // SAFETY: a record is written once, before it is in the map; a changed one would be of a packet with the same key.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, record: &FragmentRecord) {
        // Fails only without memory, and then the later fragments pass.
        let _ = maps::FRAGMENTS.insert(key, record, 0);
    }

    #[inline(always)]
    fn handover(&self) -> Option<&Handover> {
        match self.handover {
            Some(handover) => Some(handover),
            None => handover(),
        }
    }
}

impl Edit for Kernel<xdp_md> {
    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Option<()> {
        let place = self.at::<T>(offset)?;
        // SAFETY: within the frame.
        unsafe { place.write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn edit<T, R>(&self, offset: usize, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned,
    {
        let place = self.at::<T>(offset)?;
        // SAFETY: within the frame; any octets make a T, wherever it stands, and `change` has no other way to them.
        Some(change(unsafe { &mut *place }))
    }

    #[inline(always)]
    fn sum(&self, offset: usize, length: usize) -> Option<u16> {
        let sum = sum_frame(self.context, offset as u32, length as u32);
        (sum >= 0).then_some(sum as u16)
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        let (offset, length) = (offset as u32, text_length::<N>(length));
        let words = words.as_ptr().cast_mut();
        // SAFETY: no more octets than there is room for in the words, which are shared by the steps of one packet only.
        let result = unsafe { helpers::bpf_xdp_load_bytes(self.context, offset, words.cast(), length) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn store<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()> {
        let (offset, length) = (offset as u32, text_length::<N>(length));
        let words = words.as_ptr().cast_mut();
        // SAFETY: as above.
        let result = unsafe { helpers::bpf_xdp_store_bytes(self.context, offset, words.cast(), length) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn move_head(&self, by: i32) -> bool {
        // SAFETY: the helper checks the room; no pointer into the frame is kept over it.
        unsafe { helpers::bpf_xdp_adjust_head(self.context, by) == 0 }
    }

    #[inline(always)]
    fn move_tail(&self, by: i32) -> bool {
        // SAFETY: as above.
        unsafe { helpers::bpf_xdp_adjust_tail(self.context, by) == 0 }
    }
}

impl Platform for Kernel<xdp_md> {
    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without pointers.
        unsafe { helpers::bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn stripe(&self, index: u32) -> Option<&AtomicU32> {
        let cell = maps::STRIPE_LOCKS.get_ptr_mut(index)?;
        // SAFETY: an array's element stays where it is, and all that use it do so atomically.
        Some(unsafe { AtomicU32::from_ptr(cell) })
    }

    #[inline(always)]
    fn service(&self, index: u32) -> Option<&Service> {
        maps::SERVICES.get(index)
    }

    #[inline(always)]
    fn member(&self, index: u32) -> Option<u32> {
        maps::MEMBERS.get(index).copied()
    }

    #[inline(always)]
    fn table_part(&self, index: u32) -> Option<&TablePart> {
        maps::HASH_TABLES.get(index)
    }

    #[inline(always)]
    fn locality(&self, index: u32) -> Option<&locality::Bucket> {
        maps::LOCALITY.get(index)
    }

    #[inline(always)]
    fn counters(&self, destination: u32) -> Option<&Counters> {
        // SAFETY: a helper without pointers.
        let cpu = unsafe { helpers::bpf_get_smp_processor_id() };
        let cpus = self.config()?.cpus();
        maps::COUNTERS.get(destination.wrapping_mul(cpus).wrapping_add(cpu))
    }

    #[inline(always)]
    fn keep_fragment(&self, key: &FragmentKey) {
        let length = self.length();
        if length > KEPT_MAX {
            return;
        }
        let Some(mut entry) = maps::EARLY_FRAGMENTS.reserve_untyped::<EarlyFragment>(0) else { return };
        let place = entry.as_mut_ptr();
        // Known already, but not to the verifier, and hidden from the compiler; the helper takes no length of 0.
        let length = core::hint::black_box(length).clamp(Ethernet::LENGTH, KEPT_MAX);
        // SAFETY: this entry is nobody else's until it is submitted, and the helper writes within it.
        let copied = unsafe {
            (&raw mut (*place).key).write(*key);
            (&raw mut (*place).interface).write(self.ingress());
            (&raw mut (*place).length).write(length as u32);
            let frame = (&raw mut (*place).frame).cast();
            helpers::bpf_xdp_load_bytes(self.context, 0, frame, length as u32) == 0
        };
        if copied { entry.submit(0) } else { entry.discard(0) }
    }

    #[inline(always)]
    fn tell(&self, change: Change) {
        let Some(mut entry) = maps::CHANGES.reserve_untyped::<Change>(0) else { return };
        // SAFETY: this entry is nobody else's until it is submitted.
        unsafe { entry.as_mut_ptr().write(change) };
        // The master polls: nobody need be woken.
        entry.submit(BPF_RB_NO_WAKEUP as u64);
    }

    #[inline(always)]
    fn send_in_fragments(&self, interface: u32, mtu: u32, is_own: u32) -> bool {
        let length = self.length();
        if length > LARGE_MAX {
            return false;
        }
        let Some(mut entry) = maps::LARGE_PACKETS.reserve_untyped::<LargePacket>(0) else { return false };
        let place = entry.as_mut_ptr();
        // As above.
        let length = core::hint::black_box(length).clamp(Ethernet::LENGTH, LARGE_MAX);
        // SAFETY: as above.
        let copied = unsafe {
            (&raw mut (*place).interface).write(interface);
            (&raw mut (*place).mtu).write(mtu);
            (&raw mut (*place).is_own).write(is_own);
            (&raw mut (*place).length).write(length as u32);
            let frame = (&raw mut (*place).frame).cast();
            helpers::bpf_xdp_load_bytes(self.context, 0, frame, length as u32) == 0
        };
        if copied {
            entry.submit(0)
        } else {
            entry.discard(0)
        }
        copied
    }

    #[inline(always)]
    fn remember_call(&self, key: &CallKey) {
        if let Some(handover) = self.handover() {
            // Fails only without memory, and then the listing shows none.
            let _ = maps::CALLS.insert(key, &handover.call, 0);
        }
    }

    #[inline(always)]
    fn show(&self, event: u32) {
        let Some(mut entry) = maps::SAMPLES.reserve_untyped::<Sample>(0) else { return };
        let place = entry.as_mut_ptr();
        // A frame has a link header at least; and the helper takes no length of 0.
        let length = self.length().clamp(Ethernet::LENGTH, Sample::OCTETS) as u32;
        // SAFETY: the ring's memory for one sample; the helper writes `length` octets, at most those of the array.
        unsafe {
            (&raw mut (*place).event).write(event);
            (&raw mut (*place).length).write(length);
            let frame = (&raw mut (*place).frame).cast();
            if helpers::generated::bpf_xdp_load_bytes(self.context, 0, frame, length) != 0 {
                (&raw mut (*place).length).write(0);
            }
        }
        // The watcher polls: nobody need be woken.
        entry.submit(BPF_RB_NO_WAKEUP as u64);
    }

    #[inline(always)]
    fn route4(&self, source: u32, destination: u32, length: u16) -> Option<Hop> {
        self.look_up_route(query4(source, destination, length)?)
    }

    #[inline(always)]
    fn narrow4(&self, source: u32, destination: u32, length: u16) -> Option<u32> {
        self.narrow(query4(source, destination, length)?)
    }

    #[inline(always)]
    fn narrow6(&self, source: [u64; 2], destination: [u64; 2], length: u16) -> Option<u32> {
        self.narrow(query6(source, destination, length)?)
    }

    #[inline(always)]
    fn forwards4(&self, source: u32, destination: u32) -> bool {
        query4(source, destination, 0).is_some_and(|query| self.answer(query) != NOT_FORWARDED)
    }

    #[inline(always)]
    fn route6(&self, source: [u64; 2], destination: [u64; 2], length: u16) -> Option<Hop> {
        self.look_up_route(query6(source, destination, length)?)
    }

    #[inline(always)]
    fn forwards6(&self, source: [u64; 2], destination: [u64; 2]) -> bool {
        query6(source, destination, 0).is_some_and(|query| self.answer(query) != NOT_FORWARDED)
    }
}

/// The answer to a query for an address that is this machine's or nobody's.
const NOT_FORWARDED: i64 = BPF_FIB_LKUP_RET_NOT_FWDED as i64;

/// A query for a route for packets of this length; 0: of any.
#[inline(always)]
fn query4<'a>(source: u32, destination: u32, length: u16) -> Option<&'a mut bpf_fib_lookup> {
    let query = empty_query()?;
    query.family = 2; // AF_INET
    query.__bindgen_anon_1.tot_len = length;
    query.__bindgen_anon_3.ipv4_src = source;
    query.__bindgen_anon_4.ipv4_dst = destination;
    Some(query)
}

/// The same for IPv6.
#[inline(always)]
fn query6<'a>(source: [u64; 2], destination: [u64; 2], length: u16) -> Option<&'a mut bpf_fib_lookup> {
    let words = |[a, b]: [u64; 2]| [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
    let query = empty_query()?;
    query.family = 10; // AF_INET6
    query.__bindgen_anon_1.tot_len = length;
    query.__bindgen_anon_3.ipv6_src = words(source);
    query.__bindgen_anon_4.ipv6_dst = words(destination);
    Some(query)
}

/// A length of at least one octet and at most `N` words, as the verifier wants to see it.
#[inline(always)]
fn text_length<const N: usize>(length: usize) -> u32 {
    const { assert!(N.is_power_of_two()) };
    (core::hint::black_box(length as u32).wrapping_sub(1) & (4 * N as u32 - 1)) + 1
}

/// Adds up the frame's octets from `offset` on; the folded sum, or -1 if the frame ends before. A BPF function of its
/// own. Pieces are copied out of the frame, for there the kernel's helper takes sizes that the verifier does not know.
#[inline(never)]
fn sum_frame(context: *mut xdp_md, offset: u32, length: u32) -> i64 {
    let Some(piece) = maps::PIECE.get_ptr_mut(0) else { return -1 };
    let (mut place, mut left, mut sum) = (offset, length & FRAME_MAX, 0);
    while left >= PIECE {
        if !add_up(context, place, piece, PIECE, &mut sum) {
            return -1;
        }
        place += PIECE;
        left -= PIECE;
    }
    // Hidden from the compiler, which would not mask it: the verifier wants to see that it is not 0.
    let rest = (core::hint::black_box(left.wrapping_sub(1)) & (PIECE - 1)) + 1;
    if left != 0 && !add_up(context, place, piece, rest, &mut sum) {
        return -1;
    }
    fold(sum as u64) as i64
}

/// Octets that the kernel's helper adds up at once.
const PIECE: u32 = maps::PIECE_OCTETS as u32;
/// More octets than a frame without fragments has.
const FRAME_MAX: u32 = 0x1fff;

/// Adds octets of the frame to a sum, by way of this memory; false if the frame ends before. They are from 1 to [`PIECE`].
#[inline(always)]
fn add_up(context: *mut xdp_md, place: u32, piece: *mut maps::Piece, octets: u32, sum: &mut u32) -> bool {
    // SAFETY: this CPU's own memory, longer by a word than any piece; the helpers check frame and sizes.
    unsafe {
        let start = piece.cast::<u8>();
        if helpers::bpf_xdp_load_bytes(context, place, start.cast(), octets) != 0 {
            return false;
        }
        start.add(octets as usize).cast::<u32>().write_unaligned(0);
        *sum = helpers::bpf_csum_diff(core::ptr::null_mut(), 0, start.cast(), (octets + 3) & !3, *sum) as u32;
    }
    true
}

/// A MAC from the stack, read in words of two octets: it is not aligned for larger ones, which the compiler would take.
#[inline(always)]
fn aligned(mac: &Mac) -> Mac {
    let words = mac.as_ptr().cast::<u16>();
    // SAFETY: three words make six octets; both MACs lie at even offsets of their structure.
    let [a, b, c] = unsafe {
        [words.read_volatile(), words.add(1).read_volatile(), words.add(2).read_volatile()]
            .map(u16::to_ne_bytes)
    };
    [a[0], a[1], b[0], b[1], c[0], c[1]]
}

/// This CPU's query for a route, with nothing in it yet. Not on the stack, which IPv6's program fills.
#[inline(always)]
fn empty_query<'a>() -> Option<&'a mut bpf_fib_lookup> {
    let place = maps::ROUTE_QUERY.get_ptr_mut(0)?;
    // SAFETY: this CPU's own memory, made of integers and aligned as all values of maps are; a program has one query at a time.
    // Volatile, or the compiler would call a function that clears it octet by octet.
    unsafe {
        place.cast::<[u64; size_of::<bpf_fib_lookup>() / 8]>().write_volatile(Default::default());
        Some(&mut *place)
    }
}

/// What the steps of this CPU's frame hand over.
#[inline(always)]
fn handover() -> Option<&'static Handover> {
    let place = maps::HANDOVER.get_ptr(0)?;
    // SAFETY: this CPU's own element, made of atomics, and there for as long as the program runs.
    Some(unsafe { &*place })
}

/// What the rounds of a [`Memory::repeat`] go on with.
#[repr(C, align(8))]
struct Rounds<const N: usize, F> {
    state: [u64; N],
    body: F,
}

/// A round, as the kernel calls it: 1 ends the loop.
extern "C" fn round<const N: usize, F>(number: u64, rounds: *mut Rounds<N, F>) -> i64
where
    F: Fn(u32, &mut [u64; N]) -> ControlFlow<()>,
{
    // SAFETY: `repeat` gave a pointer to its own, which only this function uses meanwhile.
    let rounds = unsafe { &mut *rounds };
    (rounds.body)(number as u32, &mut rounds.state).is_break() as i64
}

/// [`round`] for rounds of this kind.
#[inline(always)]
fn once<const N: usize, F>(_: &Rounds<N, F>) -> *mut core::ffi::c_void
where
    F: Fn(u32, &mut [u64; N]) -> ControlFlow<()>,
{
    round::<N, F> as *mut core::ffi::c_void
}
