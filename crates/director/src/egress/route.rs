//! The kernel's answer to "how is this address reached".

use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use super::path::Unreachable;

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Out of an interface.
    Out {
        /// The interface index.
        interface: u32,
        /// Whose MAC address the frame gets: the gateway, or the destination itself. May be of the other family.
        next_hop: IpAddr,
        /// What the route says of the largest packet, discovered path MTU included; the interface's if `None`.
        mtu: Option<u32>,
        /// The address that packets of the director's own would carry.
        source: IpAddr,
    },
    /// To the director itself.
    Local,
    /// Nowhere.
    None(Unreachable),
}

impl Route {
    /// Reads the kernel's answer to a request for the route to `destination`.
    pub(super) fn from_message(destination: IpAddr, message: &RouteMessage) -> Self {
        match message.header.kind {
            RouteType::Unicast => {}
            RouteType::Local => return Route::Local,
            kind => return Route::None(Unreachable::RouteType(format!("{kind:?}").to_lowercase())),
        }
        let unspecified = match destination {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let (mut interface, mut next_hop, mut mtu, mut source) = (None, destination, None, unspecified);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => interface = Some(*index),
                RouteAttribute::Gateway(RouteAddress::Inet(gateway))
                | RouteAttribute::Via(RouteVia::Inet(gateway)) => next_hop = IpAddr::V4(*gateway),
                RouteAttribute::Gateway(RouteAddress::Inet6(gateway))
                | RouteAttribute::Via(RouteVia::Inet6(gateway)) => next_hop = IpAddr::V6(*gateway),
                RouteAttribute::PrefSource(RouteAddress::Inet(address)) => source = IpAddr::V4(*address),
                RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => source = IpAddr::V6(*address),
                RouteAttribute::Metrics(metrics) => {
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                        _ => None,
                    });
                }
                RouteAttribute::Encap(_) => return Route::None(Unreachable::Encapsulated),
                _ => {}
            }
        }
        match interface {
            Some(interface) => Route::Out { interface, next_hop, mtu, source },
            None => Route::None(Unreachable::InterfaceGone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESTINATION: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

    fn answer(kind: RouteType, attributes: Vec<RouteAttribute>) -> Route {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.attributes = attributes;
        Route::from_message(DESTINATION, &message)
    }

    #[test]
    fn on_link_the_next_hop_is_the_destination() {
        let source = IpAddr::from([192, 0, 2, 1]);
        let attributes = vec![RouteAttribute::Oif(3), RouteAttribute::PrefSource(source.into())];
        assert_eq!(
            answer(RouteType::Unicast, attributes),
            Route::Out { interface: 3, next_hop: DESTINATION, mtu: None, source }
        );
    }

    #[test]
    fn a_gateway_may_be_of_the_other_family() {
        let gateway = "fe80::1".parse().unwrap();
        let attributes = vec![
            RouteAttribute::Via(RouteVia::Inet6(gateway)),
            RouteAttribute::Oif(3),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
        ];
        let Route::Out { next_hop, mtu, .. } = answer(RouteType::Unicast, attributes) else {
            panic!("a unicast route leads out")
        };
        assert_eq!((next_hop, mtu), (IpAddr::V6(gateway), Some(1400)));
    }

    #[test]
    fn only_unicast_routes_lead_out() {
        assert_eq!(answer(RouteType::Local, vec![RouteAttribute::Oif(1)]), Route::Local);
        assert!(matches!(
            answer(RouteType::Broadcast, vec![RouteAttribute::Oif(1)]),
            Route::None(Unreachable::RouteType(_))
        ));
    }
}
