//! Owner of the data plane: loads it, configures it, keeps it current.
//!
//! The director's process owns nothing that packets need. Programs, links and maps are pinned in bpffs, and all that it
//! knows of services and destinations lies in the maps, which it maps into its memory ([`memory`]): the process may end
//! at any moment, and the next one goes on with what it finds.
//!
//! - [`config`]: the configuration file
//! - [`dataplane`]: loading, pinning, attaching
//! - [`tables`]: the maps as shared memory
//! - [`registry`]: services and destinations; answers the control protocol
//! - [`egress`]: the way to each destination, from the kernel's routes and neighbours
//! - [`connections`]: listing and expiring connections
//! - [`settings`]: IPVS's sysctls
//! - `proc`: IPVS's files of /proc, by FUSE
//! - `local_out`: what the director itself sends, on its way into the switch
//! - `defence`: against floods
//! - `endings`: clients whose server has failed, and who only wait
//! - `totals`: statistics of all services together
//! - [`explain`]: what the switch would do with a packet, and why
//! - [`flow`]: whose packet a frame is
//! - [`sync`]: connections synchronised with other directors
//! - `fragments`: those that came before the first of their packet, and those that large packets leave in
//! - `estimator`: rates, as IPVS computes them
//! - [`run()`]: the loop that ties these together

#![deny(unsafe_code)]

pub mod config;
pub mod connections;
pub mod dataplane;
mod defence;
pub mod egress;
mod endings;
mod error;
mod estimator;
mod events;
pub mod explain;
pub mod flow;
mod fragments;
mod local_out;
pub mod memory;
pub mod namespace;
pub mod object;
mod proc;
pub mod registry;
mod run;
pub mod settings;
pub mod sweeper;
pub mod sync;
pub mod tables;
mod totals;

pub use error::DirectorError;
pub use run::{detach, run};

/// Most mark rules.
pub const MARK_RULES_MAX: usize = rlvs_switch::mark::RULES_MAX as usize;
