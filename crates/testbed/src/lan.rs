//! A network segment: a bridge on a host of its own, and cables to other hosts.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::namespace::Namespace;

/// A switched Ethernet segment. Bring it down by dropping it.
pub struct Lan {
    switch: Namespace,
    ports: AtomicU32,
}

/// A host's end of a cable.
pub struct Port<'a> {
    /// The interface's name on the host.
    pub interface: &'a str,
    /// Its addresses, with prefix length: "192.168.0.1/24", "2001:db8::1/64".
    pub addresses: &'a [&'a str],
}

impl Lan {
    /// A new segment without hosts.
    ///
    /// # Errors
    ///
    /// When this is not root, or the kernel has no bridges.
    pub fn new(name: &str) -> Result<Self> {
        let switch = Namespace::new(name)?;
        // The switch is no neighbour of anybody: it must not answer, nor delay frames by listening to spanning tree.
        switch.sysctl("net.ipv6.conf.default.disable_ipv6=1")?;
        switch.ip("link add bridge type bridge forward_delay 0 stp_state 0 mcast_snooping 0")?;
        switch.ip("link set bridge up")?;
        Ok(Self { switch, ports: AtomicU32::new(0) })
    }

    /// Plugs `host` in, and waits for nothing: the interface is up and has its addresses at return.
    ///
    /// Checksums and segments are whole on the wire, as on a real one: a veth pair otherwise hands over frames
    /// that are neither, and a director at XDP sends them on as they are. Receive offload is on at both ends, because
    /// a frame redirected into a veth is only taken by a peer that has an XDP program or that.
    ///
    /// # Errors
    ///
    /// When the host has an interface of that name, or an address is none.
    pub fn plug(&self, host: &Namespace, port: &Port<'_>) -> Result<()> {
        let number = self.ports.fetch_add(1, Ordering::Relaxed) + 1;
        let (interface, socket) = (port.interface, format!("port{number}"));
        let at_host = host.path();
        self.switch.ip(&format!("link add {socket} type veth peer name {interface} netns {at_host}"))?;
        for (end, device) in [(&self.switch, socket.as_str()), (host, interface)] {
            end.output(&["ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "on"])?;
        }
        self.switch.ip(&format!("link set {socket} master bridge up"))?;
        host.ip(&format!("link set {interface} up"))?;
        for address in port.addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            host.ip(&format!("addr add {address} dev {interface} {nodad}"))?;
        }
        Ok(())
    }

    /// Pulls the cable of port `number`, counted from 1 in the order of [`Lan::plug`], or puts it back.
    ///
    /// # Errors
    ///
    /// When there is no such port.
    pub fn connect(&self, number: u32, connected: bool) -> Result<()> {
        let state = if connected { "up" } else { "down" };
        self.switch.ip(&format!("link set port{number} {state}"))
    }

    /// Makes all ports what a veth is by itself: frames' checksums are left to be finished, and none are taken from
    /// native XDP. The ends at the hosts stay as they are.
    ///
    /// # Errors
    ///
    /// When a port is gone.
    pub fn leave_as_made(&self) -> Result<()> {
        (1..=self.ports.load(Ordering::Relaxed)).try_for_each(|number| {
            self.switch
                .output(&["ethtool", "-K", &format!("port{number}"), "tx", "on", "gro", "off"])
                .map(drop)
        })
    }

    /// The host that the bridge is on, for captures of what passes.
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::{EchoServer, ask_udp};

    #[test]
    #[ignore = "needs root"]
    fn hosts_on_a_segment_reach_each_other() {
        let (lan, one, two) =
            (Lan::new("lan").unwrap(), Namespace::new("one").unwrap(), Namespace::new("two").unwrap());
        lan.plug(&one, &Port { interface: "eth0", addresses: &["10.0.0.1/24", "fd00::1/64"] }).unwrap();
        lan.plug(&two, &Port { interface: "eth0", addresses: &["10.0.0.2/24", "fd00::2/64"] }).unwrap();
        let echo = |address: &str| EchoServer::start(&two, address.parse().unwrap(), 7, "two").unwrap();
        let _servers = (echo("10.0.0.2"), echo("fd00::2"));
        assert_eq!(ask_udp(&one, "10.0.0.2:7".parse().unwrap()).unwrap(), "two");
        assert_eq!(ask_udp(&one, "[fd00::2]:7".parse().unwrap()).unwrap(), "two");
        lan.connect(2, false).unwrap();
        assert!(ask_udp(&one, "10.0.0.2:7".parse().unwrap()).is_err());
    }
}
