//! Addresses and ports, as words and as text.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dns_lookup::{AddrFamily, AddrInfoHints, getaddrinfo};
use rlvs_ipvs::Protocol;

use super::number;
use super::services::Services;

/// Turns names into numbers.
#[derive(Debug, Default)]
pub struct Resolver {
    services: Services,
}

/// What a word like `host:port` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The host's address; of a name, the first IPv4 address.
    pub address: IpAddr,
    /// The port, if given.
    pub port: Option<u16>,
}

impl Resolver {
    /// Reads `host`, `host:port`, `[host]:port` or an IPv6 literal without port.
    pub fn host_port(&mut self, text: &str, protocol: Protocol) -> Option<HostPort> {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once("]:")?;
            let address = host.parse::<Ipv6Addr>().ok().map(IpAddr::from).or_else(|| ipv4_host(host))?;
            return Some(HostPort { address, port: Some(self.port(port, protocol)?) });
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(HostPort { address: address.into(), port: None });
        }
        match text.rsplit_once(':') {
            None => Some(HostPort { address: ipv4_host(text)?, port: None }),
            Some((host, port)) => {
                Some(HostPort { address: ipv4_host(host)?, port: Some(self.port(port, protocol)?) })
            }
        }
    }

    fn port(&mut self, text: &str, protocol: Protocol) -> Option<u16> {
        match number::parse(text, 0..=u16::MAX.into()) {
            Some(port) => u16::try_from(port).ok(),
            None => self.services.port(text, protocol),
        }
    }
}

fn ipv4_host(host: &str) -> Option<IpAddr> {
    if let Some(address) = classic_ipv4(host) {
        return Some(address.into());
    }
    if host.is_empty() || host.contains(':') {
        return None;
    }
    // Asked for IPv4 alone, the C library also finds an address for a name that only ::1 has in /etc/hosts.
    let hints = AddrInfoHints { address: AddrFamily::Inet.into(), ..AddrInfoHints::default() };
    getaddrinfo(Some(host), None, Some(hints)).ok()?.flatten().map(|found| found.sockaddr.ip()).next()
}

/// The C library's inet_aton: one to four numbers, of which the last fills what is left; decimal, octal with 0,
/// hexadecimal with 0x; blanks and what follows them do not count.
pub fn classic_ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| c.is_ascii_whitespace()).next()?;
    let parts: Vec<u32> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|&part| part > 255) {
        return None;
    }
    let room = 32 - 8 * leading.len() as u32;
    if u64::from(*last) >= 1 << room {
        return None;
    }
    let high = leading.iter().fold(0u64, |sum, &part| sum << 8 | u64::from(part));
    Some(Ipv4Addr::from_bits(u32::try_from(high << room).ok()? | last))
}

fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // Rust takes a sign, C does not.
    digits.starts_with(|c: char| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Writes addresses and ports, by name or number.
#[derive(Debug, Default)]
pub struct Namer {
    /// Numbers only.
    pub numeric: bool,
    services: Services,
    hosts: HashMap<IpAddr, Option<String>>,
}

impl Namer {
    /// Writes numbers only, or names where there are any.
    pub fn new(numeric: bool) -> Self {
        Self { numeric, ..Self::default() }
    }

    /// `address:port`; an IPv6 address, or the name of one, in brackets.
    pub fn endpoint(&mut self, address: IpAddr, port: u16, protocol: Protocol) -> String {
        let mut host = address.to_string();
        let mut service = None;
        if !self.numeric {
            let name = self.hosts.entry(address).or_insert_with(|| dns_lookup::lookup_addr(&address).ok());
            host = name.clone().unwrap_or(host);
            service = self.services.name(port, protocol);
        }
        let service = service.map_or_else(|| port.to_string(), Into::into);
        match address {
            IpAddr::V4(_) => format!("{host}:{service}"),
            IpAddr::V6(_) => format!("[{host}]:{service}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_addresses() {
        let v4 = |a: [u8; 4], port| Some(HostPort { address: a.into(), port });
        let v6 = |a: &str, port| Some(HostPort { address: a.parse().unwrap(), port });
        let cases = [
            ("1.2.3.4:80", v4([1, 2, 3, 4], Some(80))),
            ("1.2.3.4:http", v4([1, 2, 3, 4], Some(80))),
            ("1.2.3.4:094", v4([1, 2, 3, 4], Some(94))),
            ("1.2.3.4:+93", v4([1, 2, 3, 4], Some(93))),
            ("1.2.3.4: 92", v4([1, 2, 3, 4], Some(92))),
            ("1.2.3.4 :91", v4([1, 2, 3, 4], Some(91))),
            ("1.2.3.4", v4([1, 2, 3, 4], None)),
            ("1.2:80", v4([1, 0, 0, 2], Some(80))),
            ("0x01020304:95", v4([1, 2, 3, 4], Some(95))),
            ("010.1.1.1:96", v4([8, 1, 1, 1], Some(96))),
            ("167772161:80", v4([10, 0, 0, 1], Some(80))),
            ("[10.0.0.1]:80", v4([10, 0, 0, 1], Some(80))),
            ("[::1]:80", v6("::1", Some(80))),
            ("::1", v6("::1", None)),
            ("fe80::1:80", v6("fe80::1:80", None)),
            ("localhost:80", v4([127, 0, 0, 1], Some(80))),
            ("80", None),
            ("", None),
            (":80", None),
            (" 1.2.3.4:91", None),
            ("[::1]", None),
            ("[::1]:", None),
            ("[]:80", None),
            ("[::1", None),
            ("::1%lo", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:65536", None),
            ("1.2.3.4:-1", None),
            ("1.2.3.4:0x50", None),
            ("1.2.3.4:80:90", None),
            ("1.2.3.256:80", None),
            ("1.2.3.4.5:80", None),
            ("1.+2.3.4:80", None),
        ];
        let mut resolver = Resolver::default();
        for (text, expected) in cases {
            assert_eq!(resolver.host_port(text, Protocol::TCP), expected, "{text:?}");
        }
        assert_eq!(resolver.host_port("1.2.3.4:domain", Protocol::UDP).and_then(|h| h.port), Some(53));
        assert_eq!(resolver.host_port("1.2.3.4:http", Protocol::UDP), None);
    }

    #[test]
    fn masks_are_no_prefix_lengths() {
        assert_eq!(classic_ipv4("255.255.255.0"), Some([255, 255, 255, 0].into()));
        assert_eq!(classic_ipv4("0xffffff00"), Some([255, 255, 255, 0].into()));
        assert_eq!(classic_ipv4("24"), Some([0, 0, 0, 24].into()));
        assert_eq!(classic_ipv4(""), None);
        assert_eq!(classic_ipv4("zork"), None);
    }

    #[test]
    fn numbers_for_addresses() {
        let mut namer = Namer::new(true);
        assert_eq!(namer.endpoint([1, 2, 3, 4].into(), 80, Protocol::TCP), "1.2.3.4:80");
        assert_eq!(namer.endpoint("2001:DB8::80".parse().unwrap(), 80, Protocol::TCP), "[2001:db8::80]:80");
    }
}
