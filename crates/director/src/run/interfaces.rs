//! Which interfaces the switch is attached to, and what is told about them.

use super::Director;
use crate::dataplane::{self, Attached, Mode};
use crate::egress::{Interface, Medium};
use crate::error::DirectorError;
use crate::local_out;
use rlvs_switch::order;

impl Director {
    /// Attaches to the interfaces that there are, and takes the switch off others that it was attached to.
    pub(super) fn attach_at_start(&mut self, first: Vec<Interface>) -> Result<(), DirectorError> {
        let unwanted: Vec<u32> = self
            .attachments
            .all()
            .map(|(index, _)| index)
            .filter(|index| !self.local_out.as_ref().is_some_and(|local| local.receives_by(*index)))
            .filter(|index| !first.iter().any(|i| i.index == *index && self.is_wanted(i)))
            .collect();
        for index in unwanted {
            self.attachments.detach(index);
        }
        for interface in first {
            let asked_for = self.wanted.contains(&interface.name);
            if let Err(error) = self.appeared(interface)
                && asked_for
            {
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn appeared(&mut self, interface: Interface) -> Result<(), DirectorError> {
        let result = if self.is_wanted(&interface) {
            self.attachments.attach(interface.index, mode_for(&interface)).map(|attached| {
                let name = &interface.name;
                match attached {
                    Attached::Now(mode) => tracing::info!("attached to {name} ({mode} XDP)"),
                    Attached::Already(mode) => tracing::info!("still attached to {name} ({mode} XDP)"),
                }
            })
        } else {
            Ok(())
        };
        if let Err(error) = &result {
            tracing::warn!("interface {}: {error}", interface.name);
        }
        self.interfaces.insert(interface.index, interface);
        self.tell_interfaces();
        result
    }

    fn is_wanted(&self, interface: &Interface) -> bool {
        if !self.wanted.is_empty() {
            return self.wanted.contains(&interface.name);
        }
        // Frames of these are seen on the device below them, or on their ports.
        let above =
            matches!(interface.kind.as_deref(), Some("vlan" | "macvlan" | "macvtap" | "bridge" | "bond"));
        interface.medium == Medium::Ethernet && !above && !local_out::is_ours(interface)
    }

    /// Rules name interfaces, packets know their indices; those larger than some interface takes are looked at twice.
    pub(super) fn tell_interfaces(&mut self) {
        let least = self.interfaces.values().map(|interface| interface.mtu).min();
        self.tables.settings().least_mtu.store(least.unwrap_or(u32::MAX), order::PLAIN);
        let by_name = self.interfaces.values().map(|interface| (interface.name.clone(), interface.index));
        self.registry.set_interfaces(by_name.collect());
    }

    /// Has the director's own packets looked at where the switch is attached, while there are services.
    pub(super) fn follow_local_out(&mut self) {
        let Some(local_out) = &mut self.local_out else { return };
        let attached = self.attachments.all().filter_map(|(index, _)| self.interfaces.get(&index));
        local_out.follow(attached, self.registry.has_services());
    }

    /// An interface's name; its index if it is not followed.
    pub(super) fn name_of(&self, index: u32) -> String {
        self.interfaces.get(&index).map_or_else(|| index.to_string(), |interface| interface.name.clone())
    }

    /// An interface's MTU; the usual one for those that are not followed, loopback for example.
    pub(super) fn mtu_of(&self, name: &str) -> Option<u32> {
        let followed = self.interfaces.values().find(|interface| interface.name == name);
        followed.map(|interface| interface.mtu).or_else(|| interface_exists(name).then_some(1500))
    }
}

/// A veth whose other end does not take frames from XDP works by generic XDP only, which has the kernel send them as
/// its own, with the checksums that their sender left to be finished.
fn mode_for(interface: &Interface) -> Mode {
    if interface.kind.as_deref() != Some("veth") || dataplane::can_send(interface.index) {
        return Mode::Native;
    }
    tracing::info!(
        "{}: the other end of this veth takes no frames from native XDP (for that, there: `ethtool -K IF gro on tx off`)",
        interface.name
    );
    Mode::Generic
}

fn interface_exists(name: &str) -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    socket.is_ok_and(|socket| rustix::net::netdevice::name_to_index(socket, name).is_ok())
}
