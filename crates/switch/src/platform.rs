//! What the switch needs from where it runs.

use core::ops::ControlFlow;

use crate::cell::AtomicU32;
use crate::config::{Config, Tick};
use crate::counters::{Counters, Event};
use crate::destination::{Destination, Hop};
use crate::fragment::{FragmentKey, FragmentRecord};
use crate::mark::MarkRule;
use crate::scheduler::hash::TablePart;
use crate::scheduler::locality;
use crate::scheduler::ranking::Node;
use crate::service::{Service, ServiceKey};
use crate::sip::CallKey;
use crate::steps::Handover;
use crate::sync::Change;
use crate::table::{Bucket4, Bucket6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel of this machine gets it.
    Pass,
    /// It is gone.
    Drop,
    /// It leaves by the interface that it came in by.
    Transmit,
    /// It leaves by the interface of this index.
    Redirect(u32),
}

/// Memory that the switch on all CPUs and the director share, handed out as references to structs of atomics, so that
/// the switch itself is safe Rust.
pub trait Memory {
    /// What the director has configured.
    fn config(&self) -> Option<&Config>;
    /// A bucket of the IPv4 connection table.
    fn bucket4(&self, index: u32) -> Option<&Bucket4>;
    /// A bucket of the IPv6 connection table.
    fn bucket6(&self, index: u32) -> Option<&Bucket6>;
    /// A destination.
    fn destination(&self, index: u32) -> Option<&Destination>;
    /// A node of the trees of ranks.
    fn ranks(&self, index: u32) -> Option<&Node>;
    /// Counts something worth telling on this CPU.
    fn count(&self, event: Event);

    /// Atomically replaces `old` by `new`; false, and nothing done, if the cell holds something else.
    /// A full barrier.
    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool;
    /// Atomically adds (wrapping; add `n.wrapping_neg()` to subtract) and gives what was there before.
    fn add(&self, cell: &AtomicU32, n: u32) -> u32;
    /// Atomically sets bits.
    fn set(&self, cell: &AtomicU32, bits: u32);
    /// Calls `body` with 0, 1, 2, ... and the state until it breaks, at most `times` times; the state at the end. For long
    /// walks: the kernel's verifier follows a loop round by round, but here `body` once.
    ///
    /// Linux 6.1's does so for the first round only, and leaves out of the program what that cannot come to. So the
    /// state is words whose values at the start are hidden from it, and `body` changes nothing else of the stack.
    #[inline(always)]
    fn repeat<const N: usize>(
        &self,
        times: u32,
        mut state: [u64; N],
        body: impl Fn(u32, &mut [u64; N]) -> ControlFlow<()>,
    ) -> [u64; N] {
        let _end = (0..times).try_for_each(|number| body(number, &mut state));
        state
    }
    /// A point between two steps of a protocol among CPUs. Tests let another one go on here.
    #[inline(always)]
    fn interleave(&self) {}
}

/// A frame that can be read, and what is known about frames: enough to see whether one is for the switch.
pub trait View: Memory {
    /// Copies a value out of the frame; `None` if the frame ends before it does.
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T>;
    /// Octets of the frame, link header included.
    fn length(&self) -> usize;
    /// Whether it is several packets of one flow that the kernel has joined, and will take apart: the length in its header then
    /// means nothing.
    #[inline(always)]
    fn is_joined(&self) -> bool {
        false
    }
    /// Index of the interface that the frame came in by; 0: none, the director itself sends it.
    fn ingress(&self) -> u32;
    /// The time now.
    fn now(&self) -> Tick;

    /// The index of the virtual service with this identity, or of the destination if it is a real server's.
    fn find_service(&self, key: &ServiceKey) -> Option<u32>;
    /// An element of the array of mark rules, which holds both lists.
    fn mark_rule(&self, index: u32) -> Option<&MarkRule>;
    /// What the packet's first fragment left for the others.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord>;
    /// Keeps that; older records may have to go for it.
    fn remember_fragment(&self, key: &FragmentKey, record: &FragmentRecord);

    /// What the frame's last step left for this one.
    fn handover(&self) -> Option<&Handover>;
}

/// A frame that can be changed.
///
/// Offsets into it are kept, pointers never: a resize moves the frame.
pub trait Edit: View {
    /// Copies a value into the frame; `None` if the frame ends before it does.
    fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Option<()>;
    /// Has `change` work on a value where it stands in the frame, which is compared with the frame's end only once; what it gives. `None` if the
    /// frame ends before the value does. `change` must leave the platform alone.
    fn edit<T, R>(&self, offset: usize, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: FromBytes + IntoBytes + KnownLayout + Unaligned;
    /// Adds up `length` octets of the frame as 16-bit words, as [`rlvs_packet::checksum`] does, folded; `None` if the frame
    /// ends before. For packets without a checksum that would make it needless.
    fn sum(&self, offset: usize, length: usize) -> Option<u16>;
    /// Copies octets of the frame, at least one and no more than there is room for, into words (a power of two of them), the first octet
    /// lowest; what is behind them is undefined. `None` if the frame ends before.
    fn load<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()>;
    /// The reverse of [`Self::load`].
    fn store<const N: usize>(&self, offset: usize, length: usize, words: &[AtomicU32; N]) -> Option<()>;
    /// Moves the start of the frame: a positive number takes octets away, a negative one adds some, whose
    /// content is undefined. Offsets count from the new start. False if there is no room.
    fn move_head(&self, by: i32) -> bool;
    /// Moves the end of the frame: a negative number takes octets away. False if there is no room.
    fn move_tail(&self, by: i32) -> bool;
}

/// The home of the switch: the kernel's XDP hook, or a test on any machine.
pub trait Platform: Edit {
    /// A random number.
    fn random(&self) -> u32;

    /// One of the [`crate::table::STRIPES`] locks that serialise the creation of equal tuples.
    fn stripe(&self, index: u32) -> Option<&AtomicU32>;
    /// A virtual service.
    fn service(&self, index: u32) -> Option<&Service>;
    /// An element of the array that all services' member lists are cut from: a destination's index.
    fn member(&self, index: u32) -> Option<u32>;
    /// An element of the array that all services' hash tables are cut from.
    fn table_part(&self, index: u32) -> Option<&TablePart>;
    /// A bucket of the table of who serves which address.
    fn locality(&self, index: u32) -> Option<&locality::Bucket>;
    /// This CPU's counters of a destination.
    fn counters(&self, destination: u32) -> Option<&Counters>;

    /// Gives the director a copy of this frame, a fragment with this key that came before the first of its packet: to be
    /// received again when that has come. Without room for it nothing is done.
    fn keep_fragment(&self, key: &FragmentKey);

    /// Tells the director, while a synchronisation daemon runs. Without room for it nothing is done: the master walks the table,
    /// too, and other packets ask for ways.
    fn tell(&self, change: Change);

    /// Has the director send the frame by this interface, in fragments of at most `mtu` octets each; `is_own` as in
    /// [`crate::fragment::LargePacket`]. False if there is no room for it.
    fn send_in_fragments(&self, interface: u32, mtu: u32, is_own: u32) -> bool;

    /// Keeps the Call-ID in [`Handover::call`] for listings; older ones may have to go for it.
    fn remember_call(&self, key: &CallKey);

    /// Gives a copy of the frame's beginning to whoever watches; `event` is the number of what happened to it.
    fn show(&self, event: u32);

    /// How the kernel would send a packet of this length on (0: of any): for replies, whose receivers are not among the
    /// destinations. `None` if it has no route, or no neighbour yet.
    fn route4(&self, source: u32, destination: u32, length: u16) -> Option<Hop>;
    /// The same for IPv6.
    fn route6(&self, source: [u64; 2], destination: [u64; 2], length: u16) -> Option<Hop>;

    /// What the kernel's way for such packets carries, if that is less than this length.
    fn narrow4(&self, source: u32, destination: u32, length: u16) -> Option<u32>;
    /// The same for IPv6.
    fn narrow6(&self, source: [u64; 2], destination: [u64; 2], length: u16) -> Option<u32>;

    /// Whether the kernel has a route to another machine for such packets: it does not keep them itself, or drop them as nobody's.
    fn forwards4(&self, source: u32, destination: u32) -> bool;
    /// The same for IPv6.
    fn forwards6(&self, source: [u64; 2], destination: [u64; 2]) -> bool;
}
