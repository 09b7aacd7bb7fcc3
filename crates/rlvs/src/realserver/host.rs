//! Interfaces and addresses of this network namespace, and changes to them, by rtnetlink.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rlvs_director::egress::{Interface, Medium};
use rtnetlink::{Handle, LinkUnspec};

/// From linux/if_link.h: refuse if the interface has a program already; generic; native.
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// What this namespace had when it was looked at.
pub(super) struct Host {
    pub(super) links: Vec<Link>,
}

/// An interface with its addresses.
pub(super) struct Link {
    pub(super) interface: Interface,
    pub(super) addresses: Vec<Assigned>,
    /// The XDP program on it.
    pub(super) xdp: Option<Attached>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// Of global scope: others may know it.
    pub(super) global: bool,
}

/// An XDP program on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) program: u32,
    pub(super) mode: XdpMode,
}

/// How an interface runs an XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XdpMode {
    /// In the driver.
    Native,
    /// After the kernel has made an skb: slower, works everywhere.
    Generic,
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        })
    }
}

impl Host {
    pub(super) fn link(&self, name: &str) -> Result<&Link> {
        match self.links.iter().find(|link| link.interface.name == name) {
            Some(link) => Ok(link),
            None => {
                let names: Vec<_> = self.links.iter().map(|link| link.interface.name.as_str()).collect();
                bail!("there is no interface {name} here; there are: {}", names.join(", "))
            }
        }
    }

    pub(super) fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.interface.index == index)
    }

    /// The named interfaces, or, if none is named, all Ethernet ones with an address that others may know.
    pub(super) fn facing<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a Link>> {
        let named: Vec<_> = names.into_iter().map(|name| self.link(name)).collect::<Result<_>>()?;
        if !named.is_empty() {
            return Ok(named);
        }
        let reachable = |link: &&Link| {
            link.interface.medium == Medium::Ethernet && link.addresses.iter().any(|own| own.global)
        };
        let found: Vec<_> = self.links.iter().filter(reachable).collect();
        if found.is_empty() {
            bail!("no Ethernet interface has an address; name one with --interface");
        }
        Ok(found)
    }

    /// The interface whose frames carry those of `link`: the one below a VLAN device, else itself.
    pub(super) fn carrier<'a>(&'a self, link: &'a Link) -> &'a Link {
        let lower = link.interface.vlan.and_then(|vlan| vlan.lower);
        lower.and_then(|index| self.by_index(index)).unwrap_or(link)
    }

    /// Where an address is.
    pub(super) fn holders(&self, address: IpAddr) -> impl Iterator<Item = (&Link, Assigned)> {
        self.links.iter().flat_map(move |link| {
            let matching = link.addresses.iter().filter(move |own| own.address == address);
            matching.map(move |own| (link, *own))
        })
    }

    /// The addresses that others may send tunnelled packets to.
    pub(super) fn own(&self, except: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
        let all = self.links.iter().flat_map(|link| &link.addresses);
        all.filter(|own| own.global && !except(&own.address)).map(|own| own.address).collect()
    }
}

/// The connection to the kernel.
pub(super) struct Netlink {
    handle: Handle,
}

impl Netlink {
    pub(super) fn open() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a route netlink socket")?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    pub(super) async fn look(&self) -> Result<Host> {
        let mut links = Vec::new();
        let mut answers = self.handle.link().get().execute();
        while let Some(message) = answers.next().await {
            let message = message.context("cannot list the network interfaces")?;
            links.extend(Interface::from_message(&message).map(|interface| Link {
                interface,
                addresses: Vec::new(),
                xdp: xdp_of(&message),
            }));
        }
        let mut answers = self.handle.address().get().execute();
        while let Some(message) = answers.next().await {
            let message = message.context("cannot list the addresses")?;
            let index = message.header.index;
            if let Some(link) = links.iter_mut().find(|link| link.interface.index == index) {
                link.addresses.extend(assigned(&message));
            }
        }
        Ok(Host { links })
    }

    /// Puts an address on an interface as that one host only, and without duplicate address detection: others own
    /// it, too.
    pub(super) async fn add_address(&self, link: &Link, address: IpAddr) -> Result<()> {
        let mut request = self.handle.address().add(link.interface.index, address, full_length(address));
        if address.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.with_context(|| format!("cannot put {address} on {}", link.interface.name))
    }

    pub(super) async fn delete_address(&self, link: &Link, address: IpAddr) -> Result<()> {
        let addresses = self.handle.address();
        // A request to delete looks like the one that added it.
        let message =
            addresses.add(link.interface.index, address, full_length(address)).message_mut().clone();
        let deleted = addresses.del(message).execute().await;
        deleted.with_context(|| format!("cannot take {address} off {}", link.interface.name))
    }

    /// Attaches an XDP program where there is none, in the driver if it can.
    pub(super) async fn attach(&self, link: &Link, program: BorrowedFd<'_>) -> Result<XdpMode> {
        let native =
            self.set_xdp(link, program.as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_DRV_MODE);
        if native.await.is_ok() {
            return Ok(XdpMode::Native);
        }
        let generic =
            self.set_xdp(link, program.as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST | XDP_FLAGS_SKB_MODE);
        generic.await.with_context(|| format!("cannot attach an XDP program to {}", link.interface.name))?;
        Ok(XdpMode::Generic)
    }

    pub(super) async fn detach(&self, link: &Link, mode: XdpMode) -> Result<()> {
        let flags = match mode {
            XdpMode::Native => XDP_FLAGS_DRV_MODE,
            XdpMode::Generic => XDP_FLAGS_SKB_MODE,
        };
        let detached = self.set_xdp(link, -1, flags).await;
        detached.with_context(|| format!("cannot detach the XDP program from {}", link.interface.name))
    }

    /// Access to link requests, for tunnel devices.
    pub(super) fn links(&self) -> rtnetlink::LinkHandle {
        self.handle.link()
    }

    async fn set_xdp(&self, link: &Link, program: i32, flags: u32) -> Result<(), rtnetlink::Error> {
        let message = LinkUnspec::new_with_index(link.interface.index)
            .append_extra_attribute(LinkAttribute::Xdp(vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)]))
            .build();
        self.handle.link().set(message).execute().await
    }
}

/// The prefix length that means one address: 32 or 128.
pub(super) fn full_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn xdp_of(message: &LinkMessage) -> Option<Attached> {
    let parts = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => Some(parts),
        _ => None,
    })?;
    parts.iter().find_map(|part| match part {
        LinkXdp::DrvProgId(program) => Some(Attached { program: *program, mode: XdpMode::Native }),
        LinkXdp::SkbProgId(program) => Some(Attached { program: *program, mode: XdpMode::Generic }),
        _ => None,
    })
}

fn assigned(message: &AddressMessage) -> Option<Assigned> {
    // With a peer, "address" is the peer's and "local" our own; without, IPv6 has no "local".
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some(Assigned {
        address,
        prefix: message.header.prefix_len,
        global: message.header.scope == AddressScope::Universe && !address.is_loopback(),
    })
}
