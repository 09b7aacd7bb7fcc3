//! The program on the interfaces that packets leave by, as a filter of tc(8).

use super::{LocalOutError, pair};
use crate::egress::Interface;
use aya::programs::links::Link;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle as FilterHandle, qdisc_add_clsact,
};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::tc::TcHandle;
use std::collections::BTreeMap;

/// Which of the filters on an interface is ours; "rlvs" in part, so that nobody else has it.
const HANDLE: FilterHandle = FilterHandle::new(0, 0x6c76);
/// Its place among them.
const PRIORITY: u16 = 2;

/// What local programs reach the director's own addresses by.
const LOOPBACK: &str = "lo";
/// Its index, in every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// The filter and where it is.
pub(super) struct Filter {
    program: SchedClassifier,
    /// By index, with the name.
    attached: BTreeMap<u32, String>,
}

impl Filter {
    pub(super) fn new(program: SchedClassifier) -> Filter {
        Filter { program, attached: BTreeMap::new() }
    }

    /// Has it on loopback and on these interfaces. What is refused is logged: the others are better than none.
    pub(super) fn attach<'a>(&mut self, interfaces: impl Iterator<Item = (u32, &'a str)>) {
        for (index, name) in interfaces.chain([(LOOPBACK_INDEX, LOOPBACK)]) {
            if self.attached.contains_key(&index) {
                continue;
            }
            match attach(&mut self.program, name) {
                Ok(()) => {
                    self.attached.insert(index, name.to_owned());
                }
                Err(error) => {
                    tracing::warn!("what the director itself sends by {name} is not switched: {error}");
                }
            }
        }
    }

    /// Takes it off wherever it is.
    pub(super) fn detach(&mut self) {
        for name in std::mem::take(&mut self.attached).into_values() {
            if let Err(error) = detach(&name) {
                tracing::warn!("cannot take the filter off {name}: {error}");
            }
        }
    }

    /// The interface is gone, and the filter with it.
    pub(super) fn forget(&mut self, interface: u32) {
        self.attached.remove(&interface);
    }
}

/// Attaches the program, or puts it in the place of an earlier director's, at once for packets.
fn attach(program: &mut SchedClassifier, name: &str) -> Result<(), ProgramError> {
    // There may be one of somebody else's; a real failure shows below.
    let _already_there = qdisc_add_clsact(name);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let options = TcAttachOptions::Netlink(options);
    let id = match program.attach_with_options(name, TcAttachType::Egress, options) {
        Ok(id) => id,
        Err(_) => program.attach_to_link(link(name)?)?,
    };
    // Dropped, it would be detached.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Detaches it; an interface that does not have it is left alone.
fn detach(name: &str) -> Result<(), ProgramError> {
    link(name)?.detach()
}

/// What would be attached at this interface.
fn link(name: &str) -> Result<SchedClassifierLink, ProgramError> {
    SchedClassifierLink::attached(name, TcAttachType::Egress, PRIORITY, HANDLE, None)
        .map_err(ProgramError::IOError)
}

/// Takes the filter off all interfaces of the namespace, and what it was hung on where nothing else hangs there.
pub(super) async fn remove_all() -> Result<(), LocalOutError> {
    let netlink = pair::netlink()?;
    let links: Vec<_> = netlink
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(pair::refused("list the network interfaces"))?;
    for interface in links.iter().filter_map(Interface::from_message) {
        // None of ours there, else.
        if detach(&interface.name).is_ok() {
            remove_hook(&netlink, interface.index).await;
        }
    }
    Ok(())
}

/// Removes an interface's clsact qdisc, unless other filters need it.
async fn remove_hook(netlink: &rtnetlink::Handle, interface: u32) {
    let filters = || netlink.traffic_filter(interface as i32).get();
    for request in [filters().ingress(), filters().egress()] {
        if let Some(Ok(_somebody_elses)) = request.execute().next().await {
            return;
        }
    }
    let mut request = netlink.qdisc().del(interface as i32);
    request.message_mut().header.parent = TcHandle::CLSACT;
    if let Err(error) = request.execute().await {
        tracing::debug!("the clsact qdisc of interface {interface} stays: {error}");
    }
}
