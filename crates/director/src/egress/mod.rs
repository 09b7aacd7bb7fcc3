//! How a frame reaches an address, kept current: route, neighbour and interface, from the kernel's own tables.
//!
//! The switch sends frames itself, so it must know for each destination the interface, the VLAN tag and the two
//! MAC addresses. The kernel stays the one that decides: routes are asked of it one by one (policy routing and
//! path MTU discovery included), neighbours are resolved and kept by it. This module only watches, and says what
//! changed.
//!
//! - [`interface`] and [`neighbour`]: the kernel's objects, as far as they matter here, read from rtnetlink
//! - [`route`]: what the kernel answers when asked for the route to an address
//! - [`world`]: the links and neighbours known now, and what a message changes about them
//! - [`path`]: the decision: route, links and neighbours make a [`Path`]
//! - [`netlink`]: the two sockets, and every request made on them
//! - [`tracker`]: the task that ties these together

mod interface;
mod neighbour;
mod netlink;
mod path;
mod route;
mod tracker;
mod world;

use std::net::IpAddr;

pub use interface::{Interface, InterfaceEvent, Medium, Vlan};
pub use path::{Egress, Path, Unreachable};
pub use tracker::EgressTracker;

/// What the tracker tells its owner, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The way to a watched address, told after [`EgressTracker::watch`] and whenever it changes.
    Path {
        /// The address as it was given to `watch`.
        destination: IpAddr,
        /// How frames reach it from now on.
        path: Path,
    },
    /// Something changed that may have altered any path found earlier: what was cached elsewhere (the way of
    /// replies to clients, for one) must be found anew. Comes after the [`Event::Path`]s of the same change.
    Generation,
    /// An Ethernet interface of this network namespace came, went or changed.
    Interface(InterfaceEvent),
}

/// Why the tracker could not start.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The kernel refused a netlink socket.
    #[error("cannot open a route netlink socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A request to the kernel failed as a whole (not: was answered "no route").
    #[error("cannot {request}: {reason}")]
    Request {
        /// What was asked, to follow "cannot".
        request: &'static str,
        /// What came back.
        reason: rtnetlink::Error,
    },
}
