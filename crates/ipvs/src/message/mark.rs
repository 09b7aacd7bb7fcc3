//! Mark rules on the wire, in the family `RLVS`.

use rustix::io::Errno;

use super::numbers::mark;
use super::service::{address, address_bytes};
use super::{Call, Request};
use crate::model::*;
use crate::netlink::{Attribute, Writer, attributes};

/// The request of a command of mark rules; `None` if it is none of them.
pub(super) fn decode_request(command: u8, dump: bool, attribute_bytes: &[u8]) -> Option<Result<Call, Errno>> {
    let rule = || find(attribute_bytes, mark::RULE).map(|nest| decode(nest.value)).transpose();
    let number = find(attribute_bytes, mark::NUMBER).and_then(|a| a.u32());
    let request = match (command, dump) {
        (mark::GET, true) => Ok(Request::ListMarkRules),
        (mark::NEW, false) => rule()
            .and_then(|rule| rule.ok_or(Errno::INVAL))
            .map(|rule| Request::NewMarkRule { rule, before: number }),
        (mark::DELETE, false) => rule().and_then(|rule| match (rule, number) {
            (Some(rule), None) => Ok(Request::DeleteMarkRule(MarkRuleId::Rule(rule))),
            (None, Some(number)) => Ok(Request::DeleteMarkRule(MarkRuleId::Number(number))),
            _ => Err(Errno::INVAL),
        }),
        _ => return None,
    };
    Some(request.map(Call::Request))
}

/// A new rule, and its place.
pub(super) fn encode_new(w: &mut Writer, rule: &MarkRule, before: Option<u32>) {
    w.nest(mark::RULE, |w| encode(w, rule));
    if let Some(number) = before {
        w.put(mark::NUMBER, &number.to_ne_bytes());
    }
}

/// Which rule.
pub(super) fn encode_id(w: &mut Writer, id: &MarkRuleId) {
    match id {
        MarkRuleId::Number(number) => w.put(mark::NUMBER, &number.to_ne_bytes()),
        MarkRuleId::Rule(rule) => w.nest(mark::RULE, |w| encode(w, rule)),
    }
}

/// A rule of a listing.
pub(super) fn encode_entry(w: &mut Writer, entry: &MarkRuleEntry) {
    w.put(mark::NUMBER, &entry.number.to_ne_bytes());
    w.put(mark::CONFIGURED, &[entry.configured.into()]);
    w.nest(mark::RULE, |w| encode(w, &entry.rule));
}

/// The reverse of [`encode_entry`].
pub(super) fn decode_entry(attribute_bytes: &[u8]) -> Option<MarkRuleEntry> {
    Some(MarkRuleEntry {
        number: find(attribute_bytes, mark::NUMBER)?.u32()?,
        configured: find(attribute_bytes, mark::CONFIGURED)?.u8()? != 0,
        rule: decode(find(attribute_bytes, mark::RULE)?.value).ok()?,
    })
}

fn find(attribute_bytes: &[u8], kind: u16) -> Option<Attribute<'_>> {
    attributes(attribute_bytes).find(|a| a.kind == kind)
}

fn encode(w: &mut Writer, rule: &MarkRule) {
    w.put(mark::MARK, &rule.mark.to_ne_bytes());
    if let Some(family) = rule.family {
        w.put(mark::FAMILY, &(family as u16).to_ne_bytes());
    }
    if let Some(protocol) = rule.protocol {
        w.put(mark::PROTOCOL, &protocol.0.to_ne_bytes());
    }
    for (kind, network) in [(mark::SOURCE, rule.source), (mark::DESTINATION, rule.destination)] {
        let Some(network) = network else { continue };
        let mut value = [0; 17];
        value[..16].copy_from_slice(&address_bytes(network.address()));
        value[16] = network.length();
        w.put(kind, &value);
    }
    for (kind, ports) in
        [(mark::SOURCE_PORTS, rule.source_ports), (mark::DESTINATION_PORTS, rule.destination_ports)]
    {
        if let Some(Ports { first, last }) = ports {
            w.put(kind, &(u32::from(first) | u32::from(last) << 16).to_ne_bytes());
        }
    }
    if let Some(name) = &rule.interface {
        w.put_text(mark::INTERFACE, name);
    }
}

/// EINVAL: not a rule, or one that makes no sense.
fn decode(nest: &[u8]) -> Result<MarkRule, Errno> {
    let mut rule = MarkRule::default();
    // Networks can be read when the family is known.
    let (mut source, mut destination, mut marked) = (None, None, false);
    for a in attributes(nest) {
        match a.kind {
            mark::MARK => {
                rule.mark = a.u32().ok_or(Errno::INVAL)?;
                marked = true;
            }
            mark::FAMILY => {
                rule.family = Some(a.u16().and_then(Family::from_number).ok_or(Errno::AFNOSUPPORT)?);
            }
            mark::PROTOCOL => rule.protocol = Some(Protocol(a.u16().ok_or(Errno::INVAL)?)),
            mark::SOURCE => source = Some(a.value),
            mark::DESTINATION => destination = Some(a.value),
            mark::SOURCE_PORTS => rule.source_ports = Some(ports(a)?),
            mark::DESTINATION_PORTS => rule.destination_ports = Some(ports(a)?),
            mark::INTERFACE => {
                rule.interface = Some(a.text(MarkRule::INTERFACE_LENGTH).ok_or(Errno::INVAL)?);
            }
            _ => {}
        }
    }
    let network = |value: Option<&[u8]>| {
        let Some(value) = value else { return Ok(None) };
        let parse = || {
            let (octets, length) = value.split_first_chunk::<16>()?;
            Network::new(address(rule.family?, octets)?, *length.first()?)
        };
        parse().map(Some).ok_or(Errno::INVAL)
    };
    (rule.source, rule.destination) = (network(source)?, network(destination)?);
    if !marked {
        return Err(Errno::INVAL);
    }
    rule.checked().map_err(|_| Errno::INVAL)
}

fn ports(a: Attribute<'_>) -> Result<Ports, Errno> {
    let word = a.u32().ok_or(Errno::INVAL)?;
    Ports::new(word as u16, (word >> 16) as u16).ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FamilyName, decode as decode_call, encode as encode_request};
    use proptest::prelude::*;
    use std::net::IpAddr;

    prop_compose! {
        fn rules()(
            mark in any::<u32>(),
            addresses in any::<[Option<std::net::Ipv4Addr>; 2]>(),
            addresses6 in any::<[Option<std::net::Ipv6Addr>; 2]>(),
            is_ipv6 in any::<bool>(),
            length in 0u8..33,
            protocol in proptest::option::of(prop_oneof![Just(6), Just(17), Just(132)]),
            ports in any::<[Option<(u16, u16)>; 2]>(),
            interface in proptest::option::of("[a-z0-9.@-]{1,15}"),
            family in proptest::option::of(prop_oneof![Just(Family::Inet), Just(Family::Inet6)]),
        ) -> MarkRule {
            let [source, destination] = [0, 1].map(|i| {
                let address =
                    if is_ipv6 { addresses6[i].map(IpAddr::V6) } else { addresses[i].map(IpAddr::V4) };
                address.and_then(|address| Network::new(address, length))
            });
            let [source_ports, destination_ports] =
                ports.map(|ports| ports.and_then(|(a, b)| Ports::new(a.min(b), a.max(b))));
            let family = if source.or(destination).is_some() { None } else { family };
            MarkRule {
                mark, family, protocol: protocol.map(Protocol), source, destination, source_ports,
                destination_ports, interface,
            }
            .checked()
            .unwrap()
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rule in rules(), number in any::<Option<u32>>(), configured in any::<bool>()) {
            for request in [
                Request::NewMarkRule { rule: rule.clone(), before: number },
                Request::DeleteMarkRule(MarkRuleId::Rule(rule.clone())),
                Request::DeleteMarkRule(MarkRuleId::Number(number.unwrap_or(7))),
                Request::ListMarkRules,
            ] {
                let datagram = encode_request(&request, FamilyName::Rlvs.id(), 1);
                prop_assert_eq!(decode_call(&datagram), Some(Ok(Call::Request(request))));
            }
            let entry = MarkRuleEntry { number: number.unwrap_or(1), configured, rule };
            let mut w = Writer::default();
            encode_entry(&mut w, &entry);
            prop_assert_eq!(decode_entry(&w.take()), Some(entry));
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_einval() {
        let no_mark = Writer::default().take();
        assert_eq!(decode(&no_mark), Err(Errno::INVAL));
        for (kind, value) in [
            (mark::PROTOCOL, &1u16.to_ne_bytes()[..]),
            (mark::SOURCE, &[0; 17]),
            (mark::SOURCE_PORTS, &0x0001_0002u32.to_ne_bytes()),
            (mark::INTERFACE, b"no end"),
            (mark::INTERFACE, b"a/b\0"),
        ] {
            let mut w = Writer::default();
            w.put(mark::MARK, &5u32.to_ne_bytes());
            w.put(kind, value);
            assert_eq!(decode(&w.take()), Err(Errno::INVAL), "{kind}");
        }
    }
}
