//! The Linux Virtual Server on XDP.
fn main() {}
