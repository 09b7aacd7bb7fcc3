//! What the director itself sends, on its way into the switch: a client on it that connects to a virtual service, a real
//! server of NAT that answers.
//!
//! The kernel sends such packets without receiving them, so XDP does not see them. Here is a way round:
//!
//! ```text
//!   local program --> loopback, eth0 ... --tc, egress: local_out--> rlvs-out ==veth== rlvs-in --XDP: the switch--> eth0 ...
//!   local program <------------------- received on rlvs-out <---------------- switch, for clients here
//! ```
//!
//! - [`pair`]: the two interfaces
//! - [`filter`]: the program that finds what is for the switch, on the interfaces that packets leave by
//! - [`offloads`]: has whole frames arrive at the switch
//!
//! All of it stays when the process ends, and is the next director's.

mod filter;
mod offloads;
mod pair;

use crate::dataplane::{Attachments, Mode};
use crate::egress::{Interface, InterfaceEvent};
use crate::error::DirectorError;
use crate::tables::Tables;
use aya::programs::SchedClassifier;
use filter::Filter;
use pair::Pair;
use rlvs_switch::order;
use std::sync::Arc;

/// Why the director's own packets cannot be switched.
#[derive(Debug, thiserror::Error)]
pub enum LocalOutError {
    /// A request to the kernel failed.
    #[error("cannot {action}: {reason}")]
    Request {
        /// What was asked, to follow "cannot".
        action: String,
        /// What came back.
        reason: rtnetlink::Error,
    },
    /// Something of the operating system failed.
    #[error("cannot {action}: {reason}")]
    System {
        /// What was tried, to follow "cannot".
        action: String,
        /// What the kernel says.
        reason: std::io::Error,
    },
    /// Somebody else has the interface's name.
    #[error("there is an interface {0} already that is not of this director's making; rename or delete it")]
    Foreign(&'static str),
    /// The switch does not run on the pair.
    #[error("the switch cannot be attached to {interface}: {0}", interface = pair::IN)]
    Attach(Box<DirectorError>),
}

/// The way into the switch, and where it begins.
pub(crate) struct LocalOut {
    pair: Pair,
    filter: Filter,
    tables: Arc<Tables>,
}

impl LocalOut {
    /// Makes the pair, or takes over an earlier director's, and lets the switch receive by it. The filter is attached
    /// nowhere yet, or where it was.
    pub(crate) async fn open(
        program: SchedClassifier,
        attachments: &mut Attachments,
        tables: Arc<Tables>,
    ) -> Result<LocalOut, LocalOutError> {
        let pair = Pair::open().await?;
        // Natively, frames of more than a page would not fit, and could only leave by interfaces that take frames of XDP.
        attachments
            .attach(pair.inner, Mode::Generic)
            .map_err(|error| LocalOutError::Attach(Box::new(error)))?;
        tables.settings().local_in.store(pair.inner, order::PUBLISH);
        tables.settings().local_out.store(pair.outer, order::PUBLISH);
        pair::warn_of_strict_filters();
        Ok(LocalOut { pair, filter: Filter::new(program), tables })
    }

    /// Whether this is where the switch receives what the director sends.
    pub(crate) fn receives_by(&self, interface: u32) -> bool {
        self.pair.inner == interface
    }

    /// Has the filter on loopback and these interfaces, if there are services, else nowhere.
    pub(crate) fn follow<'a>(&mut self, interfaces: impl Iterator<Item = &'a Interface>, services: bool) {
        if services {
            let others = interfaces.filter(|interface| !is_ours(interface));
            self.filter.attach(others.map(|interface| (interface.index, interface.name.as_str())));
        } else {
            self.filter.detach();
        }
    }

    /// Sees whether the pair has gone; then packets take the kernel's way again.
    pub(crate) fn notice(&mut self, event: &InterfaceEvent) {
        if let InterfaceEvent::Gone(interface) = event {
            self.filter.forget(interface.index);
            if [self.pair.outer, self.pair.inner].contains(&interface.index) {
                self.tables.settings().local_out.store(0, order::PUBLISH);
                tracing::warn!(
                    "interface {} is gone: what the director itself sends is not switched until `rlvs run` starts anew",
                    interface.name
                );
            }
        }
    }

    /// Puts right what others set on all interfaces that come (systemd's udev rules do).
    pub(crate) fn keep_settings(&self) {
        pair::write_settings();
    }
}

/// Whether the interface is one of the pair.
pub(crate) fn is_ours(interface: &Interface) -> bool {
    pair::is_end(&interface.name, &interface.mac)
}

/// Takes the filter off all interfaces, and the pair away. False if there was no pair.
pub async fn remove() -> Result<bool, LocalOutError> {
    filter::remove_all().await?;
    pair::remove().await
}
