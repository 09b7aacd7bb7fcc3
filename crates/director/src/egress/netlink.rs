//! The two netlink sockets and the requests made on them.
//!
//! Two, because answers are told apart by sequence number only: the kernel copies into a multicast message the
//! number of the request that caused it, whoever's it was, and that may be one that we wait for.

use std::io;
use std::net::IpAddr;

use futures_util::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourState,
};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};

use super::EgressError;
use super::interface::Interface;
use super::neighbour::{Hop, Neighbour};
use super::path::Unreachable;
use super::route::Route;
use super::world::World;

/// Enough for some thousands of messages in one burst; the kernel may allow less (net.core.rmem_max).
const RECEIVE_BUFFER: u32 = 4 << 20;

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];

/// Both sockets. They belong to the network namespace of the thread that opened them.
pub(super) struct Netlink {
    requests: Handle,
    news: Box<dyn futures_util::Stream<Item = NetlinkPayload<RouteNetlinkMessage>> + Send + Sync + Unpin>,
}

/// Something heard on the multicast socket.
pub(super) enum News {
    /// A change.
    Message(Box<RouteNetlinkMessage>),
    /// Messages were lost: whatever is known may be out of date.
    Overrun,
    /// The socket failed and gives no more.
    End,
}

impl Netlink {
    /// Opens the sockets; must be called within a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        let (mut connection, _, news) = rtnetlink::new_multicast_connection(&GROUPS)?;
        use rtnetlink::sys::AsyncSocket;
        connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER)?;
        tokio::spawn(connection);
        let (connection, requests, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Netlink { requests, news: Box::new(news.map(|(message, _)| message.payload)) })
    }

    /// Waits for news. Cancel safe.
    pub(super) async fn news(&mut self) -> News {
        loop {
            match self.news.next().await {
                Some(NetlinkPayload::InnerMessage(message)) => return News::Message(Box::new(message)),
                Some(NetlinkPayload::Overrun(_)) => return News::Overrun,
                Some(_) => {}
                None => return News::End,
            }
        }
    }

    /// All interfaces and neighbours that the kernel has now.
    pub(super) async fn world(&self) -> Result<World, EgressError> {
        let refused = |request| move |reason| EgressError::Request { request, reason };
        let mut links = self.requests.link().get().execute();
        let mut interfaces = Vec::new();
        while let Some(link) = links.next().await {
            let link = link.map_err(refused("list the network interfaces"))?;
            interfaces.extend(Interface::from_message(&link));
        }
        let mut entries = self.requests.neighbours().get().execute();
        let mut neighbours = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(refused("list the neighbours"))?;
            neighbours.extend(Neighbour::from_message(&entry));
        }
        Ok(World::of(interfaces, neighbours))
    }

    /// Asks the kernel for the route that a packet of the director's own would take.
    pub(super) async fn route(&self, destination: IpAddr) -> Result<Route, EgressError> {
        let prefix = if destination.is_ipv4() { 32 } else { 128 };
        let failed = |reason| EgressError::Request { request: "look up a route", reason };
        let request = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, prefix)
            .map_err(|_| failed(rtnetlink::Error::RequestFailed))?
            .build();
        let mut answers = self.requests.route().get(request).execute();
        match answers.next().await {
            Some(Ok(route)) => Ok(Route::from_message(destination, &route)),
            Some(Err(rtnetlink::Error::NetlinkError(error))) => {
                Ok(Route::None(Unreachable::NoRoute(-error.raw_code())))
            }
            Some(Err(reason)) => Err(failed(reason)),
            None => Err(failed(rtnetlink::Error::RequestFailed)),
        }
    }

    /// Has the kernel resolve a neighbour now, and keep it resolved where it can (since 5.16).
    ///
    /// `known` tells whether the kernel has shown an entry for it; it must not be a static one, for that would
    /// become dynamic. An entry that it has not shown yet may be static: the kernel leaves it alone then.
    pub(super) async fn keep(&self, hop: Hop, known: bool) {
        self.use_neighbour(hop, known, Some(NeighbourExtFlags::Managed)).await;
    }

    /// Leaves a neighbour to the kernel's ordinary ageing again.
    pub(super) async fn release(&self, hop: Hop) {
        self.use_neighbour(hop, true, None).await;
    }

    /// Older kernels ignore the extended flags, and take this as one use of the neighbour, which resolves or
    /// confirms it.
    async fn use_neighbour(
        &self,
        (interface, address): Hop,
        replace: bool,
        flags: Option<NeighbourExtFlags>,
    ) {
        let add = self.requests.neighbours().add(interface, address);
        let mut request =
            if replace { add.replace() } else { add }.state(NeighbourState::None).flags(NeighbourFlags::Use);
        request.message_mut().attributes.extend(flags.map(NeighbourAttribute::ExtFlags));
        // The entry is there already, or the interface has just gone down: the message that says so is on its way.
        if let Err(error) = request.execute().await {
            tracing::debug!(interface, %address, %error, "the kernel does not resolve a neighbour");
        }
    }
}
