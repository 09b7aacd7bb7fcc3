//! Probes and findings on the wire, in the family `RLVS`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use rustix::io::Errno;

use super::numbers::{INTERFACE_LENGTH, explain};
use super::service::{address, address_bytes};
use crate::model::{Detail, Family, Finding, Form, IcmpProblem, Probe, Protocol, Value};
use crate::netlink::{Attribute, Writer, attributes};

/// A probe's attributes.
pub(super) fn encode_probe(w: &mut Writer, probe: &Probe) {
    w.put(explain::FAMILY, &(Family::of(probe.source.ip()) as u16).to_ne_bytes());
    w.put(explain::PROTOCOL, &probe.protocol.0.to_ne_bytes());
    for (end, address, port) in [
        (probe.source, explain::SOURCE, explain::SOURCE_PORT),
        (probe.destination, explain::DESTINATION, explain::DESTINATION_PORT),
    ] {
        w.put(address, &address_bytes(end.ip()));
        w.put(port, &end.port().to_be_bytes());
    }
    w.put(explain::SIGNAL, &[probe.signal]);
    w.put(explain::LENGTH, &probe.length.to_ne_bytes());
    w.put(explain::HOPS, &[probe.hops]);
    if let Some(interface) = &probe.interface {
        w.put_text(explain::INTERFACE, interface);
    }
    if let Some(mark) = probe.mark {
        w.put(explain::MARK, &mark.get().to_ne_bytes());
    }
    w.put(explain::PAYLOAD, &probe.payload);
    w.put(explain::MAY_FRAGMENT, &[u8::from(probe.may_fragment)]);
    w.put(explain::FORM, &[form_number(probe.form)]);
    if let Form::Error(_, from) = probe.form {
        w.put(explain::FROM, &address_bytes(from));
    }
}

/// Forms by their numbers; behind them come ICMP errors, in the order of [`IcmpProblem::ALL`].
const FORMS: [Form; 4] = [Form::Whole, Form::FirstFragment, Form::LaterFragment, Form::EarlyFragment];

fn form_number(form: Form) -> u8 {
    let number = match form {
        Form::Error(problem, _) => {
            let place = IcmpProblem::ALL.iter().position(|(_, known)| *known == problem);
            place.map(|place| FORMS.len() + place)
        }
        form => FORMS.iter().position(|known| *known == form),
    };
    number.unwrap_or_default() as u8
}

/// The reverse of [`form_number`], with whom an error is from.
fn form(number: u8, from: Option<IpAddr>) -> Option<Form> {
    let number = usize::from(number);
    match FORMS.get(number) {
        Some(form) => Some(*form),
        None => {
            let (_, problem) = IcmpProblem::ALL.get(number - FORMS.len())?;
            Some(Form::Error(*problem, from?))
        }
    }
}

/// The reverse of [`encode_probe`].
pub(super) fn decode_probe(attribute_bytes: &[u8]) -> Result<Probe, Errno> {
    let find = |kind| find(attribute_bytes, kind).ok_or(Errno::INVAL);
    let number = find(explain::FAMILY)?.u16().ok_or(Errno::INVAL)?;
    let family = Family::from_number(number).ok_or(Errno::AFNOSUPPORT)?;
    let end = |at, port| -> Result<SocketAddr, Errno> {
        let port = find(port)?.be16().ok_or(Errno::INVAL)?;
        let address = address(family, find(at)?.value).ok_or(Errno::INVAL)?;
        Ok(SocketAddr::new(address, port))
    };
    let interface = match self::find(attribute_bytes, explain::INTERFACE) {
        Some(name) => Some(name.text(INTERFACE_LENGTH).ok_or(Errno::INVAL)?),
        None => None,
    };
    let optional = |kind| self::find(attribute_bytes, kind);
    let mark = match optional(explain::MARK) {
        Some(mark) => NonZeroU32::new(mark.u32().ok_or(Errno::INVAL)?),
        None => None,
    };
    let from = optional(explain::FROM).and_then(|from| address(family, from.value));
    Ok(Probe {
        protocol: Protocol(find(explain::PROTOCOL)?.u16().ok_or(Errno::INVAL)?),
        source: end(explain::SOURCE, explain::SOURCE_PORT)?,
        destination: end(explain::DESTINATION, explain::DESTINATION_PORT)?,
        signal: find(explain::SIGNAL)?.u8().ok_or(Errno::INVAL)?,
        length: find(explain::LENGTH)?.u16().ok_or(Errno::INVAL)?,
        hops: find(explain::HOPS)?.u8().ok_or(Errno::INVAL)?,
        interface,
        mark,
        payload: optional(explain::PAYLOAD).map(|payload| payload.value.to_vec()).unwrap_or_default(),
        may_fragment: optional(explain::MAY_FRAGMENT).and_then(|truth| truth.u8()).unwrap_or_default() != 0,
        form: form(optional(explain::FORM).and_then(|form| form.u8()).unwrap_or_default(), from)
            .ok_or(Errno::INVAL)?,
    })
}

/// A finding's attributes.
pub(super) fn encode_finding(w: &mut Writer, finding: &Finding) {
    w.put_text(explain::SUBJECT, &finding.subject);
    w.put_text(explain::TEXT, &finding.text);
    for detail in &finding.details {
        w.nest(explain::DETAIL, |w| {
            w.put_text(explain::NAME, &detail.name);
            match &detail.value {
                Value::Number(number) => w.put(explain::NUMBER, &number.to_ne_bytes()),
                Value::Truth(truth) => w.put(explain::TRUTH, &[u8::from(*truth)]),
                Value::Text(text) => w.put_text(explain::WORD, text),
            }
        });
    }
}

/// The reverse of [`encode_finding`].
pub(super) fn decode_finding(attribute_bytes: &[u8]) -> Option<Finding> {
    let details = attributes(attribute_bytes).filter(|a| a.kind == explain::DETAIL);
    Some(Finding {
        subject: text(attribute_bytes, explain::SUBJECT)?,
        text: text(attribute_bytes, explain::TEXT)?,
        details: details.map(|detail| decode_detail(detail.value)).collect::<Option<_>>()?,
    })
}

fn decode_detail(attribute_bytes: &[u8]) -> Option<Detail> {
    let find = |kind| find(attribute_bytes, kind);
    let value = match (find(explain::NUMBER), find(explain::TRUTH)) {
        (Some(number), _) => Value::Number(number.u64()?),
        (None, Some(truth)) => Value::Truth(truth.u8()? != 0),
        (None, None) => Value::Text(text(attribute_bytes, explain::WORD)?),
    };
    Some(Detail { name: text(attribute_bytes, explain::NAME)?, value })
}

fn text(attribute_bytes: &[u8], kind: u16) -> Option<String> {
    find(attribute_bytes, kind)?.text(usize::from(u16::MAX))
}

fn find(attribute_bytes: &[u8], kind: u16) -> Option<Attribute<'_>> {
    attributes(attribute_bytes).find(|a| a.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Call, Request, decode, encode};
    use crate::netlink::{self, REQUEST};
    use proptest::prelude::*;

    fn probe() -> impl Strategy<Value = Probe> {
        let ends = prop_oneof![
            any::<[std::net::SocketAddrV4; 2]>().prop_map(|ends| ends.map(SocketAddr::from)),
            any::<[(std::net::Ipv6Addr, u16); 2]>().prop_map(|ends| ends.map(SocketAddr::from)),
        ];
        let interface = proptest::option::of("[a-z0-9.]{0,15}");
        let rest = (any::<u32>(), any::<Vec<u8>>(), any::<bool>(), 0u8..8);
        (any::<u16>(), ends, any::<(u8, u16, u8)>(), interface, rest).prop_map(
            |(protocol, [source, destination], (signal, length, hops), interface, rest)| {
                let (mark, payload, may_fragment, number) = rest;
                Probe {
                    signal,
                    length,
                    hops,
                    interface,
                    mark: NonZeroU32::new(mark),
                    payload,
                    may_fragment,
                    form: form(number, Some(destination.ip())).unwrap(),
                    ..Probe::new(Protocol(protocol), source, destination)
                }
            },
        )
    }

    fn detail() -> impl Strategy<Value = Detail> {
        let value = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[^\0]{0,30}".prop_map(Value::from),
        ];
        ("[a-z_]{0,20}", value).prop_map(|(name, value)| Detail { name, value })
    }

    proptest! {
        #[test]
        fn probes_survive_the_wire(probe in probe()) {
            let request = Request::Explain(probe);
            let datagram = encode(&request, request.family().id(), 1);
            prop_assert_eq!(decode(&datagram), Some(Ok(Call::Request(request))));
        }

        #[test]
        fn damaged_probes_are_harmless(
            probe in probe(), at in any::<prop::sample::Index>(), octet in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let request = Request::Explain(probe);
            let mut datagram = encode(&request, request.family().id(), 1);
            let at = at.index(datagram.len());
            datagram[at] = octet;
            let _ = decode(&datagram);
            datagram.truncate(cut.index(datagram.len()));
            let _ = decode(&datagram);
            let _ = decode_finding(&datagram);
        }

        #[test]
        fn findings_survive_the_wire(
            subject in "[a-z]{0,20}", text in "[^\0]{0,90}", details in prop::collection::vec(detail(), 0..9),
        ) {
            let finding = Finding { subject, text, details };
            let mut w = Writer::default();
            w.message(0x21, REQUEST, 1, |w| encode_finding(w, &finding));
            let datagram = w.take();
            let message = netlink::messages(&datagram).next().map(|message| message.payload);
            prop_assert_eq!(message.and_then(decode_finding), Some(finding));
        }
    }
}
