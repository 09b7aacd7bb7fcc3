//! IPVS's control protocol: typed model, generic-netlink messages, an async client and a server.
//!
//! The same messages travel two ways: over AF_NETLINK to the kernel's IPVS, and over a Unix SOCK_SEQPACKET
//! socket in the abstract namespace (so: one per network namespace) to the rlvs director. Whoever drives
//! one drives the other.
//!
//! - [`model`]: services, destinations, daemons, statistics, connections, as values;
//! - [`message`]: their form on the wire, both directions;
//! - [`netlink`]: the framing;
//! - [`sync`]: what masters tell backups of their connections, a protocol of its own;
//! - [`Client`]: asks either back end;
//! - [`Server`]: how a director answers.
#![deny(unsafe_code)]

pub mod client;
pub mod message;
pub mod model;
pub mod netlink;
pub mod server;
mod socket;
pub mod sync;

pub use client::{Backend, Client, ClientError};
pub use message::{Reply, Request};
pub use model::*;
pub use rustix::io::Errno;
pub use server::{BindError, Call, Handler, Readers, Server, ServerConfig};

/// Abstract name of the director's control socket (without the leading NUL octet).
pub const SOCKET_NAME: &str = "rlvs/ipvs";
