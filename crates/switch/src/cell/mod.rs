//! Words in shared memory.
//!
//! On the host these are the standard library's atomics, or with `--cfg counted` (not a feature: nothing else is to be built with
//! it) cells of the same form that keep account of what is touched. For the BPF target the library has no atomics of 32 bits, so
//! there they are volatile cells; read-modify-write operations are [`crate::Platform`]'s in all.

#[cfg(counted)]
pub mod counted;

#[cfg(not(any(target_arch = "bpf", counted)))]
pub use core::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(counted)]
pub use counted::{AtomicU32, AtomicU64};

#[cfg(target_arch = "bpf")]
pub use bpf::{AtomicU32, AtomicU64};

#[cfg(target_arch = "bpf")]
#[allow(unsafe_code)]
mod bpf {
    use core::cell::UnsafeCell;
    use core::sync::atomic::Ordering;

    macro_rules! cell {
        ($name:ident, $value:ty) => {
            /// A word that several CPUs read and write.
            #[derive(Default)]
            #[repr(transparent)]
            pub struct $name(UnsafeCell<$value>);

            // SAFETY: loads and stores of an aligned word are single instructions of the BPF machine.
            unsafe impl Sync for $name {}

            impl $name {
                /// Reads the word.
                #[inline(always)]
                pub fn load(&self, _: Ordering) -> $value {
                    // SAFETY: valid and aligned as any reference.
                    unsafe { self.0.get().read_volatile() }
                }

                /// Writes the word.
                #[inline(always)]
                pub fn store(&self, value: $value, _: Ordering) {
                    // SAFETY: valid and aligned as any reference.
                    unsafe { self.0.get().write_volatile(value) }
                }

                /// Where the word is.
                #[inline(always)]
                pub fn as_ptr(&self) -> *mut $value {
                    self.0.get()
                }

                /// The word at this place.
                ///
                /// # Safety
                /// The place must be valid and aligned for as long as the reference is used.
                #[inline(always)]
                pub unsafe fn from_ptr<'a>(place: *mut $value) -> &'a $name {
                    // SAFETY: the caller's promise; the layouts are equal.
                    unsafe { &*place.cast() }
                }
            }
        };
    }

    cell!(AtomicU32, u32);
    cell!(AtomicU64, u64);
}
