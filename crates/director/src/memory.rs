//! BPF arrays as memory of this process.
#![allow(unsafe_code, reason = "memory shared with the kernel")]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, copy_nonoverlapping};
use std::sync::atomic::{AtomicU64, Ordering};

/// Types that may lie in memory that the kernel and other processes change at any time.
///
/// # Safety
/// Made of atomics (and padding) only, with the layout of the map's values; any octets are a valid value.
pub unsafe trait Shared: Sync {}

// SAFETY: structs of atomics, `#[repr(C)]`.
unsafe impl Shared for rlvs_switch::config::Config {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::table::Bucket4 {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::table::Bucket6 {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::service::Service {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::mark::MarkRule {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::scheduler::hash::TablePart {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::scheduler::locality::Bucket {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::scheduler::ranking::Node {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::destination::Destination {}
// SAFETY: as above.
unsafe impl Shared for rlvs_switch::counters::Counters {}
// SAFETY: as above.
unsafe impl Shared for crate::tables::Member {}

/// All elements of a BPF array of `T`.
#[derive(Debug)]
pub struct Mapped<T: Shared> {
    start: NonNull<T>,
    elements: usize,
}

// SAFETY: a shared reference to the elements is all that it gives, and they are Sync.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl<T: Shared> Mapped<T> {
    /// Maps the array, which has this many elements.
    pub fn new(array: BorrowedFd<'_>, elements: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8), "the kernel pads elements to 8 octets") };
        let length = Self::length(elements);
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice; the kernel refuses one that is longer than the
        // array, so all elements are there for as long as the mapping is.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, array, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Mapped { start, elements })
    }

    fn length(elements: usize) -> usize {
        (elements * size_of::<T>()).next_multiple_of(rustix::param::page_size())
    }

    /// The elements.
    pub fn all(&self) -> &[T] {
        // SAFETY: mapped and aligned (to a page) since `new`; changed by others only as atomics may be.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.elements) }
    }

    /// An element.
    pub fn get(&self, index: u32) -> Option<&T> {
        self.all().get(index as usize)
    }

    /// A copy of an element as it was at one moment; of one that changes all the time, as it was at several.
    pub(crate) fn copy(&self, index: u32) -> Option<Box<T>> {
        const TRIES: usize = 8;
        let start = std::ptr::from_ref(self.get(index)?).cast::<AtomicU64>();
        // SAFETY: an element is whole words of 8 octets (see `new`) and aligned to them, for the kernel lays elements out one
        // after the other from a page on. Words that this process changes are changed by the thread that copies.
        let words = unsafe { std::slice::from_raw_parts(start, size_of::<T>() / size_of::<AtomicU64>()) };
        let read = || words.iter().map(|word| word.load(Ordering::Acquire)).collect::<Vec<u64>>();
        let mut octets = read();
        for _ in 0..TRIES {
            let again = read();
            if again == octets {
                break;
            }
            octets = again;
        }
        let mut copy = Box::<T>::new_uninit();
        // SAFETY: as many octets as `T` has, into memory of its own; any are a valid `T` (see `Shared`).
        unsafe {
            copy_nonoverlapping(octets.as_ptr().cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), size_of::<T>());
            Some(copy.assume_init())
        }
    }
}

impl<T: Shared> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), Self::length(self.elements)) };
    }
}
