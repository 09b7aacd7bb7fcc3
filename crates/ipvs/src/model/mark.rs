//! Mark rules: which packets the rlvs director gives which firewall mark.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Family, Protocol};

/// A mark rule: a packet that has all of this gets the mark. Of several rules the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark; 0 leaves the packet unmarked, whatever later rules say.
    pub mark: u32,
    /// IP version; `None`: both. That of the networks, if there are any.
    pub family: Option<Family>,
    /// TCP, UDP or SCTP; `None`: each of them.
    pub protocol: Option<Protocol>,
    /// Where packets come from; `None`: anywhere.
    pub source: Option<Network>,
    /// Where they go; `None`: anywhere.
    pub destination: Option<Network>,
    /// Source ports; `None`: all.
    pub source_ports: Option<Ports>,
    /// Destination ports; `None`: all.
    pub destination_ports: Option<Ports>,
    /// Name of the interface that packets come in by; `None`: any.
    pub interface: Option<String>,
}

/// A mark rule in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRuleEntry {
    /// Its place: 1 for the first.
    pub number: u32,
    /// It comes from the director's configuration file.
    pub configured: bool,
    /// The rule.
    pub rule: MarkRule,
}

/// Which mark rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkRuleId {
    /// That of this number in the listing.
    Number(u32),
    /// This very rule.
    Rule(MarkRule),
}

/// What is wrong with a mark rule or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkRuleError {
    /// Not a network.
    #[error(
        "`{0}` is no network; it can be an address, or one with a prefix length: 192.0.2.0/24, 2001:db8::/32"
    )]
    Network(String),
    /// Not ports.
    #[error("`{0}` is no port or range of ports; it can be 80 or 8000-8099")]
    Ports(String),
    /// Not a protocol that is switched.
    #[error("`{0}` is no protocol that marks are for; it can be tcp, udp or sctp")]
    Protocol(String),
    /// Not a mark.
    #[error("`{0}` is no mark; it can be a number from 0 to 4294967295, or hexadecimal as in 0x1f")]
    Mark(String),
    /// IPv4 and IPv6 in one rule.
    #[error("IPv4 and IPv6 in one rule: no packet is both")]
    Families,
    /// Not a name that an interface can have.
    #[error("`{0}` is no name of an interface: those have 1 to 15 octets, without `/` and blanks")]
    Interface(String),
}

impl MarkRule {
    /// The longest name of an interface.
    pub const INTERFACE_LENGTH: usize = 15;

    /// The rule in the one form that all rules which say the same have.
    ///
    /// # Errors
    /// If no packet can match, or no director could keep it.
    pub fn checked(mut self) -> Result<Self, MarkRuleError> {
        for network in [&mut self.source, &mut self.destination] {
            let Some(of_network) = network.map(|network| network.family()) else { continue };
            if *self.family.get_or_insert(of_network) != of_network {
                return Err(MarkRuleError::Families);
            }
            *network = network.filter(|network| network.length != 0);
        }
        for ports in [&mut self.source_ports, &mut self.destination_ports] {
            *ports = ports.filter(|ports| *ports != Ports { first: 0, last: u16::MAX });
        }
        if let Some(protocol) = self.protocol
            && ![Protocol::TCP, Protocol::UDP, Protocol::SCTP].contains(&protocol)
        {
            return Err(MarkRuleError::Protocol(protocol.0.to_string()));
        }
        if let Some(name) = &self.interface
            && (name.is_empty()
                || name.len() > Self::INTERFACE_LENGTH
                || name.contains(|c: char| c == '/' || c == '\0' || c.is_whitespace()))
        {
            return Err(MarkRuleError::Interface(name.clone()));
        }
        Ok(self)
    }

    /// Reads a mark: decimal, or hexadecimal with 0x.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse_mark(word: &str) -> Result<u32, MarkRuleError> {
        match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => word.parse(),
        }
        .map_err(|_| MarkRuleError::Mark(word.into()))
    }

    /// Reads a protocol's name or number.
    ///
    /// # Errors
    /// If it is none that is switched.
    pub fn parse_protocol(word: &str) -> Result<Protocol, MarkRuleError> {
        match word.to_ascii_lowercase().as_str() {
            "tcp" | "6" => Ok(Protocol::TCP),
            "udp" | "17" => Ok(Protocol::UDP),
            "sctp" | "132" => Ok(Protocol::SCTP),
            _ => Err(MarkRuleError::Protocol(word.into())),
        }
    }
}

/// As the words of `rlvs mark add`.
impl fmt::Display for MarkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            _ if self.source.is_some() || self.destination.is_some() => {}
            Some(Family::Inet) => f.write_str("--ipv4 ")?,
            Some(Family::Inet6) => f.write_str("--ipv6 ")?,
            None => {}
        }
        if let Some(protocol) = self.protocol {
            write!(f, "--protocol {} ", protocol.to_string().to_lowercase())?;
        }
        if let Some(network) = self.source {
            write!(f, "--source {network} ")?;
        }
        if let Some(network) = self.destination {
            write!(f, "--destination {network} ")?;
        }
        if let Some(ports) = self.source_ports {
            write!(f, "--source-port {ports} ")?;
        }
        if let Some(ports) = self.destination_ports {
            write!(f, "--destination-port {ports} ")?;
        }
        if let Some(name) = &self.interface {
            write!(f, "--interface {name} ")?;
        }
        write!(f, "--mark {}", self.mark)
    }
}

/// Addresses that have their first bits in common; the other bits are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// The network of an address; `None` if it has fewer bits than that.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) => {
                let rest = 32u32.checked_sub(length.into())?;
                Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into()
            }
            IpAddr::V6(address) => {
                let rest = 128u32.checked_sub(length.into())?;
                Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into()
            }
        };
        Some(Self { address, length })
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are common.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The family of its addresses.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// The addresses that are in both: those of the smaller network, or none.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (small, large) = if self.length >= other.length { (self, other) } else { (other, self) };
        (Self::new(small.address, large.length)? == large).then_some(small)
    }
}

impl FromStr for Network {
    type Err = MarkRuleError;

    fn from_str(word: &str) -> Result<Self, MarkRuleError> {
        let parse = || {
            let (address, length) = match word.split_once('/') {
                Some((address, length)) => (address.parse().ok()?, length.parse().ok()?),
                None => {
                    let address: IpAddr = word.parse().ok()?;
                    (address, if address.is_ipv4() { 32 } else { 128 })
                }
            };
            Self::new(address, length)
        };
        parse().ok_or_else(|| MarkRuleError::Network(word.into()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A range of ports, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last, not before the first.
    pub last: u16,
}

impl Ports {
    /// A range; `None` if it ends before it begins.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The ports that are in both.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

impl FromStr for Ports {
    type Err = MarkRuleError;

    fn from_str(word: &str) -> Result<Self, MarkRuleError> {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let range = first.parse().ok().zip(last.parse().ok());
        range
            .and_then(|(first, last)| Self::new(first, last))
            .ok_or_else(|| MarkRuleError::Ports(word.into()))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_lose_the_bits_that_do_not_count() {
        for (word, shown) in [
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::7/33", "2001:db8::/33"),
            ("::1/0", "::/0"),
        ] {
            assert_eq!(word.parse::<Network>().unwrap().to_string(), shown);
        }
        for word in ["192.0.2.7/33", "::/129", "192.0.2/24", "", "/8", "10.0.0.0/-1", "10.0.0.0/"] {
            assert_eq!(word.parse::<Network>(), Err(MarkRuleError::Network(word.into())));
        }
    }

    #[test]
    fn ports_are_one_or_a_range() {
        for (word, shown) in
            [("80", "80"), ("80-80", "80"), ("8000-8099", "8000-8099"), ("0-65535", "0-65535")]
        {
            assert_eq!(word.parse::<Ports>().unwrap().to_string(), shown);
        }
        for word in ["81-80", "65536", "", "-", "a"] {
            assert_eq!(word.parse::<Ports>(), Err(MarkRuleError::Ports(word.into())));
        }
    }

    #[test]
    fn intersections() {
        let network = |word: &str| word.parse::<Network>().unwrap();
        assert_eq!(network("10.0.0.0/8").intersection(network("10.1.0.0/16")), Some(network("10.1.0.0/16")));
        assert_eq!(network("10.2.0.0/16").intersection(network("10.1.0.0/16")), None);
        assert_eq!(network("::/0").intersection(network("10.1.0.0/16")), None);
        let ports = |word: &str| word.parse::<Ports>().unwrap();
        assert_eq!(ports("1-10").intersection(ports("5-20")), Some(ports("5-10")));
        assert_eq!(ports("1-10").intersection(ports("11-20")), None);
    }

    #[test]
    fn a_checked_rule_has_one_form() {
        let all = MarkRule {
            mark: 1,
            source: "0.0.0.0/0".parse().ok(),
            destination_ports: Ports::new(0, u16::MAX),
            ..MarkRule::default()
        };
        let expected = MarkRule { mark: 1, family: Some(Family::Inet), ..MarkRule::default() };
        assert_eq!(all.checked(), Ok(expected));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let mixed = MarkRule {
            source: "10.0.0.0/8".parse().ok(),
            destination: "2001:db8::/32".parse().ok(),
            ..MarkRule::default()
        };
        assert_eq!(mixed.checked(), Err(MarkRuleError::Families));
        let icmp = MarkRule { protocol: Some(Protocol(1)), ..MarkRule::default() };
        assert_eq!(icmp.checked(), Err(MarkRuleError::Protocol("1".into())));
        for name in ["", "a/b", "a b", "sixteen-octets-x"] {
            let rule = MarkRule { interface: Some(name.into()), ..MarkRule::default() };
            assert_eq!(rule.checked(), Err(MarkRuleError::Interface(name.into())));
        }
    }
}
