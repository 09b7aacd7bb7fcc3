//! The XDP programs, built for the BPF target, as they are inside this binary.

/// `crates/xdp/src/decapsulate.rs`; empty if this crate was built without the BPF toolchain.
pub static DECAPSULATE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decapsulate.o"));

/// `crates/xdp/src/director.rs`; empty if this crate was built without the BPF toolchain.
pub static DIRECTOR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/director.o"));
