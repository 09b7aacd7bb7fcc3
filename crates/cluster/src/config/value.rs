//! Texts that stand for values.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Reads a duration: a whole or decimal number and a unit, such as `500ms`, `1.5s`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "a duration is a number and a unit (ms, s, m or h), such as \"500ms\"";
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(FORM)?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(FORM),
    };
    let number: f64 = number.parse().map_err(|_| FORM)?;
    Duration::try_from_secs_f64(number * milliseconds / 1_000.0).map_err(|_| "it is too long")
}

/// What the log and programs can have on one line.
pub(super) fn name(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// A name that the kernel takes for an interface: up to 15 octets, without slashes, colons and blanks.
pub(super) fn interface(text: &str) -> Option<String> {
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (fits && !text.contains(odd)).then(|| text.to_owned())
}

/// An address with a port or without: `192.0.2.1:80`, `192.0.2.1`, `[2001:db8::1]:80`, `2001:db8::1`.
pub(super) fn endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    match text.parse::<SocketAddr>() {
        Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => None,
        Ok(address) => Some((address.ip(), Some(address.port()))),
        Err(_) => text.parse().ok().map(|address| (address, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in
            [("500ms", 500), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1.2.3s", "5days", "1e3s", "999999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_have_a_port_or_none() {
        let v4 = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(endpoint("192.0.2.1:80"), Some((v4, Some(80))));
        assert_eq!(endpoint("192.0.2.1"), Some((v4, None)));
        assert_eq!(endpoint("[::1]:80"), Some(("::1".parse().unwrap(), Some(80))));
        assert_eq!(endpoint("::1"), Some(("::1".parse().unwrap(), None)));
        for text in ["", "www", "192.0.2.1:", "192.0.2.1:65536", "[::1]", "[fe80::1%2]:80", "192.0.2.1 :80"] {
            assert_eq!(endpoint(text), None, "{text}");
        }
    }
}
