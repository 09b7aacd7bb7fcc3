//! Network namespaces, real servers and clients for tests, demonstration and measurement.
//!
//! A [`Namespace`] is a host of its own: network, mounts, `/run`. [`Lan`]s join them. A [`Topology`] is the classical
//! network: a client, a director, real servers; a [`Cluster`] is that network at work, a [`Pair`] has two directors on it. On a
//! host run [`Process`]es: a [`Director`], [`real_server`] programs, [`load`]; a [`Download`] is to outlive a director. Everything ends with the value that stands for it, also on a panic; and when the whole test is killed,
//! the kernel ends the rest, because a namespace lives no longer than the thread that made it.
//!
//! All of this needs root, and a test that uses it says so: `#[ignore = "needs root"]`. `cargo xtask test` runs it.
#![deny(unsafe_code)]

mod capture;
mod cluster;
mod director;
mod download;
mod echo;
mod lan;
pub mod load;
mod namespace;
mod pair;
mod process;
pub mod real_server;
mod topology;
pub mod wait;

pub use capture::Capture;
pub use cluster::Cluster;
pub use director::{Director, binary, rlvs};
pub use download::Download;
pub use echo::{EchoServer, ask_http, ask_udp};
pub use lan::{Lan, Port};
pub use namespace::Namespace;
pub use pair::{FILE, Pair, Side};
pub use process::Process;
pub use topology::{Family, Method, Topology, with_port};
