//! Whether a packet is for a virtual router and in order (RFC 3768, 7.1; RFC 9568, 7.1).

use std::collections::HashSet;
use std::net::IpAddr;

use super::machine::Event;
use super::packet::HOP_LIMIT;
use super::wire::Heard;
use crate::config::{Instance, Version};

/// What a packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Another virtual router's, or this machine's own.
    NotOurs,
    /// Not to be listened to, and why.
    Wrong(String),
    /// An event.
    Good {
        event: Event,
        /// Something that is worth a word all the same.
        doubt: Option<String>,
    },
}

/// Looks at a packet; `own` is where this machine's come from.
pub(super) fn inspect(instance: &Instance, own: Option<IpAddr>, heard: &Heard) -> Finding {
    let Heard { from, hop_limit, packet, .. } = heard;
    if own == Some(*from) {
        return Finding::NotOurs;
    }
    let packet = match packet {
        Ok(packet) if packet.id != instance.id => return Finding::NotOurs,
        Ok(packet) => packet,
        Err(malformed) => return Finding::Wrong(malformed.to_string()),
    };
    let multicast = instance.peers.is_empty();
    if multicast && *hop_limit != HOP_LIMIT {
        return Finding::Wrong(format!("its TTL is {hop_limit}, so it is from another network"));
    }
    if !multicast && !instance.peers.contains(from) {
        return Finding::Wrong("it is no peer's".into());
    }
    if packet.version != instance.version {
        return Finding::Wrong("it is of the other version of VRRP".into());
    }
    if packet.password != instance.password {
        return Finding::Wrong("its password is another one".into());
    }
    if instance.version == Version::V2 && packet.interval != instance.interval {
        return Finding::Wrong(format!(
            "its interval is {:?}, ours is {:?}",
            packet.interval, instance.interval
        ));
    }
    let event = Event::Advertisement { from: *from, priority: packet.priority, interval: packet.interval };
    let (ours, theirs): (HashSet<_>, HashSet<_>) =
        (instance.advertised().collect(), packet.addresses.iter().copied().collect());
    let doubt = (ours != theirs).then(|| format!("has other virtual addresses: {:?}", packet.addresses));
    Finding::Good { event, doubt }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::pulse::packet::{Advertisement, Malformed};

    const OWN: [u8; 4] = [192, 0, 2, 1];

    fn instance(keys: &str) -> Instance {
        let text = format!(
            "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\nid = 51\naddresses = \"192.0.2.10\"\n{keys}\n"
        );
        Config::parse(&text, Path::new("test")).unwrap().instances.remove(0)
    }

    /// A good packet of another machine, after a change.
    fn heard(change: impl Fn(&mut Advertisement)) -> Heard {
        let mut packet = Advertisement {
            version: Version::V2,
            id: 51,
            priority: 100,
            interval: Duration::from_secs(1),
            addresses: vec![[192, 0, 2, 10].into()],
            password: None,
        };
        change(&mut packet);
        Heard { instance: "a".into(), from: [192, 0, 2, 2].into(), hop_limit: 255, packet: Ok(packet) }
    }

    fn found(keys: &str, heard: &Heard) -> Finding {
        inspect(&instance(keys), Some(OWN.into()), heard)
    }

    fn is_wrong(finding: Finding, reason: &str) -> bool {
        matches!(&finding, Finding::Wrong(found) if found.contains(reason))
    }

    #[test]
    fn a_packet_in_order_is_an_event() {
        let event = Event::Advertisement {
            from: [192, 0, 2, 2].into(),
            priority: 100,
            interval: Duration::from_secs(1),
        };
        assert_eq!(found("", &heard(|_| ())), Finding::Good { event, doubt: None });
        let other = found("", &heard(|packet| packet.addresses.clear()));
        let doubt = Some("has other virtual addresses: []".into());
        assert_eq!(other, Finding::Good { event, doubt }, "told, and listened to");
    }

    #[test]
    fn what_is_somebody_elses_is_passed_over() {
        assert_eq!(found("", &heard(|packet| packet.id = 52)), Finding::NotOurs);
        assert_eq!(found("", &Heard { from: OWN.into(), ..heard(|_| ()) }), Finding::NotOurs);
    }

    #[test]
    fn what_is_not_in_order_is_not_listened_to() {
        assert!(is_wrong(found("", &Heard { hop_limit: 254, ..heard(|_| ()) }), "TTL is 254"));
        let malformed = Heard { packet: Err(Malformed::Checksum), ..heard(|_| ()) };
        assert!(is_wrong(found("", &malformed), "checksum"));
        assert!(is_wrong(found("", &heard(|packet| packet.version = Version::V3)), "other version"));
        assert!(is_wrong(found("", &heard(|packet| packet.interval *= 2)), "interval is 2s"));
        assert!(is_wrong(found("", &heard(|packet| packet.password = Some(*b"secret\0\0"))), "password"));
        assert!(is_wrong(found("password = \"secret\"", &heard(|_| ())), "password"));
    }

    #[test]
    fn version_3_takes_any_interval() {
        let third =
            heard(|packet| (packet.version, packet.interval) = (Version::V3, Duration::from_millis(70)));
        assert!(matches!(found("version = 3", &third), Finding::Good { doubt: None, .. }));
    }

    #[test]
    fn by_unicast_only_peers_are_listened_to_from_any_distance() {
        let far = Heard { hop_limit: 60, ..heard(|_| ()) };
        assert!(matches!(found("peers = \"192.0.2.2\"", &far), Finding::Good { .. }));
        assert!(is_wrong(found("peers = \"192.0.2.3\"", &far), "no peer's"));
    }
}
