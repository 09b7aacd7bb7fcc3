//! What makes directors and real servers a cluster.
//!
//! One file says what should be ([`config`]). [`plan`] compares that with what runs; [`nanny`] checks real servers and
//! decides who serves. [`pulse`] speaks VRRP, so that one of several machines has the virtual addresses. [`run`] ties
//! these together, says how it is ([`status`]) and drives the director as an operator would, by IPVS's control protocol: rlvs's own director or the
//! kernel's IPVS.
#![forbid(unsafe_code)]

mod caught_up;
mod cluster;
pub mod config;
pub mod director;
pub mod import;
pub mod nanny;
pub mod notify;
pub mod plan;
mod program;
pub mod pulse;
mod source;
pub mod status;

pub use cluster::{ClusterError, Order, run};
pub use config::Config;
pub use source::{Source, SourceError};
