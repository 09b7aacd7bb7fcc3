//! Memory orders of shared words.
//!
//! On the BPF target (ISA v3) loads and stores are plain machine instructions. That is enough where the
//! processor keeps loads in order and stores in order, as x86-64 does, and where read-modify-write
//! instructions are full barriers, as the kernel's BPF demands; the compiler is held back by the fences
//! below. On the host the orders are the language's own, so that Miri and weaker processors check them.

use core::sync::atomic::Ordering;

/// A word whose value alone matters.
pub const PLAIN: Ordering = Ordering::Relaxed;
/// A load after which what was published with it may be read.
#[cfg(not(target_arch = "bpf"))]
pub const LOAD: Ordering = Ordering::Acquire;
/// A store that publishes what was written before it.
#[cfg(not(target_arch = "bpf"))]
pub const PUBLISH: Ordering = Ordering::Release;
/// A load after which what was published with it may be read.
#[cfg(target_arch = "bpf")]
pub const LOAD: Ordering = Ordering::Relaxed;
/// A store that publishes what was written before it.
#[cfg(target_arch = "bpf")]
pub const PUBLISH: Ordering = Ordering::Relaxed;

/// Keeps loads before it before what follows.
#[inline(always)]
pub fn after_loads() {
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::fence(Ordering::Acquire);
    #[cfg(target_arch = "bpf")]
    core::sync::atomic::compiler_fence(Ordering::AcqRel);
}

/// Keeps stores before it before what follows.
#[inline(always)]
pub fn after_stores() {
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::fence(Ordering::Release);
    #[cfg(target_arch = "bpf")]
    core::sync::atomic::compiler_fence(Ordering::AcqRel);
}
