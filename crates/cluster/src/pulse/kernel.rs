//! What this machine's kernel knows of interfaces and addresses, and how the virtual ones get there.

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_indextoname, if_nametoindex};
use nix::sys::socket::LinkAddr;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup};

use crate::config::Vip;

/// An interface as it is now.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Its number; 0: there is none of this name.
    pub index: u32,
    /// It is up, and has a carrier.
    pub running: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its link-layer address, with its number: what a packet socket is bound to.
    pub link: Option<LinkAddr>,
}

impl Interface {
    /// Looks for an interface.
    ///
    /// # Errors
    /// Those of the kernel. An interface that is not there is none: it does not run.
    pub fn look(name: &str) -> io::Result<Self> {
        let mut interface = Self { index: if_nametoindex(name).unwrap_or(0), ..Self::default() };
        for found in getifaddrs()?.filter(|found| found.interface_name == name) {
            interface.running = found.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
            let Some(address) = found.address else { continue };
            if let Some(link) = address.as_link_addr() {
                interface.link = Some(*link);
            } else if let Some(v4) = address.as_sockaddr_in() {
                interface.addresses.push(v4.ip().into());
            } else if let Some(v6) = address.as_sockaddr_in6() {
                interface.addresses.push(v6.ip().into());
            }
        }
        Ok(interface)
    }

    /// The name of the interface that has an address.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn that_has(address: IpAddr) -> io::Result<Option<String>> {
        let has = |found: &nix::ifaddrs::InterfaceAddress| match (found.address, address) {
            (Some(found), IpAddr::V4(own)) => found.as_sockaddr_in().is_some_and(|found| found.ip() == own),
            (Some(found), IpAddr::V6(own)) => found.as_sockaddr_in6().is_some_and(|found| found.ip() == own),
            (None, _) => false,
        };
        Ok(getifaddrs()?.find(has).map(|found| found.interface_name))
    }
}

/// Something has changed in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An interface, or its addresses: look again.
    Changed,
    /// The kernel will not tell any more.
    End,
}

/// Hears of changes.
pub(super) struct Listener {
    news: Box<dyn Stream<Item = NetlinkPayload<RouteNetlinkMessage>> + Send + Sync + Unpin>,
}

impl Listener {
    pub(super) fn open() -> io::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, news) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        Ok(Self { news: Box::new(news.map(|(message, _)| message.payload)) })
    }

    /// Waits for a change. Cancel safe.
    pub(super) async fn next(&mut self) -> News {
        match self.news.next().await {
            Some(_) => News::Changed,
            None => News::End,
        }
    }
}

/// Marks the addresses that we have put somewhere (IFA_PROTO, Linux 5.18). Others have no meaning for this number.
const OURS: AddressProtocol = AddressProtocol::Other(76);

/// Puts addresses on interfaces.
#[derive(Clone)]
pub(super) struct Addresses {
    requests: Handle,
}

impl Addresses {
    pub(super) fn open() -> io::Result<Self> {
        let (connection, requests, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self { requests })
    }

    /// Puts an address on its interface; one that is there stays.
    pub(super) async fn put(&self, vip: &Vip) -> Result<(), rtnetlink::Error> {
        let mut request = self.request(vip);
        if vip.address.is_ipv6() {
            // The former master may still answer: duplicate address detection would find it.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        tolerate(request.execute().await, libc::EEXIST)
    }

    /// Takes an address off its interface; one that is not there is no error.
    pub(super) async fn take(&self, vip: &Vip) -> Result<(), rtnetlink::Error> {
        // A request to delete looks like the one that added it.
        let message: AddressMessage = self.request(vip).message_mut().clone();
        let gone = self.requests.address().del(message).execute().await;
        let gone = tolerate(gone, libc::EADDRNOTAVAIL);
        tolerate(gone, libc::ENODEV)
    }

    /// Takes all addresses off that a process of ours has put somewhere; these, with their prefix lengths and interfaces.
    pub(super) async fn take_all(&self) -> Result<Vec<(IpAddr, u8, String)>, rtnetlink::Error> {
        let found: Vec<AddressMessage> = self.requests.address().get().execute().try_collect().await?;
        let is_ours = |attribute: &AddressAttribute| *attribute == AddressAttribute::Protocol(OURS);
        let mut taken = Vec::new();
        for message in found.into_iter().filter(|message| message.attributes.iter().any(is_ours)) {
            let (prefix, index) = (message.header.prefix_len, message.header.index);
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            tolerate(self.requests.address().del(message).execute().await, libc::EADDRNOTAVAIL)?;
            let name = if_indextoname(index).map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_else(|_| format!("interface {index}"));
            taken.extend(address.map(|address| (address, prefix, name)));
        }
        Ok(taken)
    }

    fn request(&self, vip: &Vip) -> rtnetlink::AddressAddRequest {
        let index = if_nametoindex(vip.interface.as_str()).unwrap_or(0);
        let mut request = self.requests.address().add(index, vip.address, vip.prefix);
        request.message_mut().attributes.push(AddressAttribute::Protocol(OURS));
        // No broadcast address of the virtual one: it is not there to be heard by it.
        request
            .message_mut()
            .attributes
            .retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
        request
    }
}

fn tolerate(result: Result<(), rtnetlink::Error>, errno: i32) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -errno => Ok(()),
        result => result,
    }
}
