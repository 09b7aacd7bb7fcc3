//! VRRP's packets (RFC 3768, 5; RFC 5798, 5; RFC 9568, 5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Type=1| Virtual Rtr ID|   Priority    |Count IP Addrs |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | v2: Auth Type | v2: seconds   |           Checksum            |
//! | v3: 0 | interval, centiseconds|                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  addresses, 4 or 16 octets each               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 v2: password, 8 octets, in any case           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rlvs_packet::checksum;

use crate::config::Version;

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of advertisements: nobody from another network can have sent one that arrives with it.
pub const HOP_LIMIT: u8 = 255;
/// Where IPv4 advertisements go.
pub const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where IPv6 advertisements go.
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

const HEADER: usize = 8;
const PASSWORD: usize = 8;
const ADVERTISEMENT: u8 = 1;
const SIMPLE_PASSWORD: u8 = 1;

/// A VRRP advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Version.
    pub version: Version,
    /// The virtual router (VRID).
    pub id: u8,
    /// The sender's priority; 0: it gives up being master.
    pub priority: u8,
    /// Time between advertisements.
    pub interval: Duration,
    /// Virtual addresses, at most 255, all of the packet's own family.
    pub addresses: Vec<IpAddr>,
    /// Version 2's password.
    pub password: Option<[u8; 8]>,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Shorter than it says.
    #[error("it is cut short")]
    Short,
    /// Neither version 2 nor 3, or version 2 over IPv6.
    #[error("its version is {0}")]
    Version(u8),
    /// No advertisement.
    #[error("its type is {0}")]
    Type(u8),
    /// The checksum does not match.
    #[error("its checksum is wrong")]
    Checksum,
    /// Authentication other than none and a password.
    #[error("its authentication is of type {0}")]
    Authentication(u8),
    /// An interval of zero.
    #[error("its interval is zero")]
    Interval,
}

impl Advertisement {
    /// The packet after its IP header. The checksum of version 3 covers the addresses of that header, but over IPv4 only
    /// with `pseudo_header`.
    pub fn encode(&self, from: IpAddr, to: IpAddr, pseudo_header: bool) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + 16 * self.addresses.len() + PASSWORD);
        // The configuration has no more than 255 addresses, and no longer intervals than fit.
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        match self.version {
            Version::V2 => {
                let seconds = u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX);
                let authentication = if self.password.is_some() { SIMPLE_PASSWORD } else { 0 };
                packet.extend([
                    2 << 4 | ADVERTISEMENT,
                    self.id,
                    self.priority,
                    count,
                    authentication,
                    seconds,
                ]);
            }
            Version::V3 => {
                let [high, low] =
                    u16::try_from(self.interval.as_millis() / 10).unwrap_or(0xfff).to_be_bytes();
                packet.extend([3 << 4 | ADVERTISEMENT, self.id, self.priority, count, high & 0xf, low]);
            }
        }
        packet.extend([0, 0]);
        for address in self.addresses.iter().take(usize::from(count)) {
            match address {
                IpAddr::V4(address) => packet.extend(address.octets()),
                IpAddr::V6(address) => packet.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            packet.extend(self.password.unwrap_or_default());
        }
        let pseudo = match (self.version, from) {
            (Version::V2, _) => 0,
            (Version::V3, IpAddr::V4(_)) if !pseudo_header => 0,
            (Version::V3, _) => sum_of_header(from, to, packet.len()),
        };
        let sum = checksum::finish(pseudo + sum_of(&packet));
        packet[6..8].copy_from_slice(&sum);
        packet
    }

    /// Reads a packet after its IP header. Padding behind it is no mistake. Over IPv4 the checksum of version 3 may
    /// cover the addresses of that header or not: senders differ.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(packet: &[u8], from: IpAddr, to: IpAddr) -> Result<Self, Malformed> {
        let &[first, id, priority, count, fifth, sixth, ..] = packet else { return Err(Malformed::Short) };
        let version = match (first >> 4, from) {
            (2, IpAddr::V4(_)) => Version::V2,
            (3, _) => Version::V3,
            (other, _) => return Err(Malformed::Version(other)),
        };
        if first & 0xf != ADVERTISEMENT {
            return Err(Malformed::Type(first & 0xf));
        }
        let one = if from.is_ipv4() { 4 } else { 16 };
        let password_at = HEADER + one * usize::from(count);
        let length = password_at + if version == Version::V2 { PASSWORD } else { 0 };
        let packet = packet.get(..length).ok_or(Malformed::Short)?;
        let sum = sum_of(packet);
        let whole = |sum| checksum::finish(sum) == [0, 0];
        let with_header = version == Version::V3 && whole(sum + sum_of_header(from, to, length));
        if !(with_header || (from.is_ipv4() && whole(sum))) {
            return Err(Malformed::Checksum);
        }
        let (interval, password) = match (version, fifth) {
            (Version::V2, 0) => (Duration::from_secs(sixth.into()), None),
            (Version::V2, SIMPLE_PASSWORD) => {
                (Duration::from_secs(sixth.into()), packet[password_at..].try_into().ok())
            }
            (Version::V2, other) => return Err(Malformed::Authentication(other)),
            (Version::V3, high) => {
                let centiseconds = u16::from_be_bytes([high & 0xf, sixth]);
                (Duration::from_millis(u64::from(centiseconds) * 10), None)
            }
        };
        if interval.is_zero() {
            return Err(Malformed::Interval);
        }
        let addresses = packet[HEADER..password_at].chunks(one).filter_map(address).collect();
        Ok(Self { version, id, priority, interval, addresses, password })
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn sum_of(octets: &[u8]) -> u32 {
    octets.chunks(2).map(|pair| checksum::sum_of(&[pair[0], pair.get(1).copied().unwrap_or(0)])).sum()
}

/// RFC 8200, 8.1, and the same with IPv4's addresses.
fn sum_of_header(from: IpAddr, to: IpAddr, length: usize) -> u32 {
    let of = |address| match address {
        IpAddr::V4(address) => checksum::sum_of(&address.octets()),
        IpAddr::V6(address) => checksum::sum_of(&address.octets()),
    };
    // At most 255 addresses.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    of(from) + of(to) + checksum::sum_of_pseudo(PROTOCOL, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const TO: IpAddr = IpAddr::V4(GROUP4);

    fn plain(version: Version) -> Advertisement {
        Advertisement {
            version,
            id: 51,
            priority: 100,
            interval: Duration::from_secs(1),
            addresses: vec![IpAddr::from([192, 0, 2, 10])],
            password: None,
        }
    }

    /// As keepalived 2.2.7 sends them: id 51, priority 100, address 192.0.2.10, from 192.0.2.1.
    #[test]
    fn packets_are_those_of_others() {
        let v2 = [0x21, 51, 100, 1, 0, 1, 0xb8, 0xbf, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        let v3 = [0x31, 51, 100, 1, 0, 100, 0x05, 0xcc, 192, 0, 2, 10];
        for (version, packet) in [(Version::V2, &v2[..]), (Version::V3, &v3[..])] {
            assert_eq!(plain(version).encode(FROM, TO, true), packet);
            assert_eq!(Advertisement::decode(packet, FROM, TO), Ok(plain(version)));
        }
        let v6 = Advertisement { addresses: vec!["2001:db8::10".parse().unwrap()], ..plain(Version::V3) };
        assert_eq!(v6.encode("fe80::1".parse().unwrap(), GROUP6.into(), true).len(), 24);
    }

    #[test]
    fn what_is_malformed_is_told() {
        let good = plain(Version::V2).encode(FROM, TO, true);
        let changed = |at: usize, to: u8| {
            let mut packet = good.clone();
            packet[at] = to;
            Advertisement::decode(&packet, FROM, TO)
        };
        assert_eq!(changed(0, 0x41), Err(Malformed::Version(4)));
        assert_eq!(changed(0, 0x22), Err(Malformed::Type(2)));
        assert_eq!(changed(2, 99), Err(Malformed::Checksum));
        assert_eq!(changed(3, 2), Err(Malformed::Short));
        for length in 0..good.len() {
            assert_eq!(Advertisement::decode(&good[..length], FROM, TO), Err(Malformed::Short), "{length}");
        }
        let v6: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(Advertisement::decode(&good, v6, GROUP6.into()), Err(Malformed::Version(2)));
    }

    prop_compose! {
        fn advertisements()(v6: bool, v3: bool, id: u8, priority: u8, interval in 1..=255_u64, count in 0..20_u8,
                            password: Option<[u8; 8]>) -> Advertisement {
            let version = if v3 || v6 { Version::V3 } else { Version::V2 };
            let address = |last| match v6 {
                true => IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
                false => IpAddr::from([10, 0, 0, last]),
            };
            Advertisement {
                version, id, priority,
                interval: match version {
                    Version::V2 => Duration::from_secs(interval),
                    Version::V3 => Duration::from_millis(interval * 160),
                },
                addresses: (0..count).map(address).collect(),
                password: password.filter(|_| version == Version::V2),
            }
        }
    }

    fn ends(advertisement: &Advertisement) -> (IpAddr, IpAddr) {
        match advertisement.addresses.first() {
            Some(IpAddr::V6(_)) => ("fe80::1".parse().unwrap(), GROUP6.into()),
            _ => (FROM, TO),
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_can_be_read(sent in advertisements(), pseudo_header: bool, padding in 0..9_usize) {
            let (from, to) = ends(&sent);
            let mut packet = sent.encode(from, to, pseudo_header);
            packet.resize(packet.len() + padding, 0);
            prop_assert_eq!(Advertisement::decode(&packet, from, to), Ok(sent));
        }

        #[test]
        fn any_octets_are_harmless(packet: Vec<u8>, v6: bool) {
            let (from, to) = if v6 { ("fe80::1".parse().unwrap(), GROUP6.into()) } else { (FROM, TO) };
            let _any = Advertisement::decode(&packet, from, to);
        }

        /// With a checksum that is right, so that the rest is looked at.
        #[test]
        fn any_packet_is_read_as_it_is_or_refused(
            sent in advertisements(), changes in proptest::collection::vec((0..400_usize, any::<u8>()), 0..4), length in 8..400_usize,
        ) {
            let (from, to) = ends(&sent);
            let mut packet = sent.encode(from, to, true);
            packet.truncate(length);
            for (at, octet) in changes {
                let at = at % packet.len();
                packet[at] = octet;
            }
            packet[6..8].fill(0);
            let pseudo = if packet[0] >> 4 == 2 { 0 } else { sum_of_header(from, to, packet.len()) };
            let sum = checksum::finish(pseudo + sum_of(&packet));
            packet[6..8].copy_from_slice(&sum);
            if let Ok(read) = Advertisement::decode(&packet, from, to) {
                prop_assert_eq!(Advertisement::decode(&read.encode(from, to, true), from, to), Ok(read));
            }
        }

        #[test]
        fn a_flipped_bit_is_noticed(sent in advertisements(), bit in 0..64_usize) {
            let (from, to) = ends(&sent);
            let mut packet = sent.encode(from, to, true);
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Advertisement::decode(&packet, from, to), Ok(sent));
        }
    }
}
