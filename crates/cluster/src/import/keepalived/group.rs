//! Which services a `virtual_server` is: one, or those of a `virtual_server_group`.

use std::net::IpAddr;

use rlvs_ipvs::{Family, Protocol, ServiceId};

use super::context::Context;
use super::global::Globals;
use super::tree::Statement;
use super::virtual_server::mark;
use crate::import::Place;
use crate::import::range::{MOST, between, number};

/// The services of a definition, each with its place.
pub(super) fn services(
    context: &mut Context,
    globals: &Globals,
    definition: &Statement,
    protocol: Protocol,
    family: Family,
) -> Vec<(Place, ServiceId)> {
    let arguments = definition.arguments();
    let of_line = |context: &mut Context, line: &Statement, words: &[&str]| {
        let ids = line_of(words, protocol, family);
        if ids.is_none() {
            context.wrong(line, format!("an address, or a range of at most {MOST}, and a port are expected"));
        }
        ids.into_iter().flatten().map(|id| (line.place.clone(), id)).collect::<Vec<_>>()
    };
    match arguments.as_slice() {
        ["group", name] => match globals.server_groups.get(*name) {
            Some(lines) => lines
                .iter()
                .flat_map(|line| {
                    let words: Vec<_> = line.words.iter().map(String::as_str).collect();
                    of_line(context, line, &words)
                })
                .collect(),
            None => {
                context.wrong(definition, "there is no virtual_server_group of this name");
                Vec::new()
            }
        },
        words => of_line(context, definition, words),
    }
}

/// `fwmark N [inet|inet6]`, or addresses and a port.
fn line_of(words: &[&str], protocol: Protocol, family: Family) -> Option<Vec<ServiceId>> {
    let (addresses, port) = match *words {
        ["fwmark", number] => return Some(vec![ServiceId::Mark { family, mark: mark(number)? }]),
        ["fwmark", number, family] => {
            let family = if family == "inet6" { Family::Inet6 } else { Family::Inet };
            return Some(vec![ServiceId::Mark { family, mark: mark(number)? }]);
        }
        [addresses] => (addresses, 0),
        [addresses, port] => (addresses, port.parse().ok()?),
        _ => return None,
    };
    let id = |address| ServiceId::Address { protocol, address, port };
    Some(range(addresses)?.into_iter().map(id).collect())
}

/// `192.0.2.1`, `192.0.2.1-10`, `192.0.2.250-192.0.3.5`, `192.0.2.8/29`, and the same with IPv6.
fn range(text: &str) -> Option<Vec<IpAddr>> {
    let (first, last) = if let Some((first, length)) = text.split_once('/') {
        let first: IpAddr = first.parse().ok()?;
        let (length, bits) = (length.parse::<u32>().ok()?, if first.is_ipv4() { 32_u32 } else { 128 });
        let host = 1_u128.checked_shl(bits.checked_sub(length)?)?.checked_sub(1)?;
        (first, number(first) | host)
    } else if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = match last.parse::<IpAddr>() {
            Ok(last) => number(last),
            // The last part only.
            Err(_) if first.is_ipv4() => number(first) & !0xff | u128::from(last.parse::<u8>().ok()?),
            Err(_) => number(first) & !0xffff | u128::from(u16::from_str_radix(last, 16).ok()?),
        };
        (first, last)
    } else {
        return Some(vec![text.parse().ok()?]);
    };
    between(number(first), last, first.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted_to_their_ends() {
        let shown = |text: &str| {
            let all = range(text)?;
            let ends: Vec<_> =
                [all.first(), all.last()].into_iter().flatten().map(ToString::to_string).collect();
            Some(format!("{} {}", ends.join(" "), all.len()))
        };
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1 192.0.2.1 1"),
            ("192.0.2.1-10", "192.0.2.1 192.0.2.10 10"),
            ("192.0.2.250-192.0.3.5", "192.0.2.250 192.0.3.5 12"),
            ("192.0.2.8/29", "192.0.2.8 192.0.2.15 8"),
            ("2001:db8::fe-101", "2001:db8::fe 2001:db8::101 4"),
            ("::8/126", "::8 ::b 4"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["192.0.2.9-1", "192.0.2.1-256", "10.0.0.0/8", "192.0.2.1/33", "::/0", "a-b", "1.2.3.4-::1"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
