//! The nest of a destination.

use rustix::io::Errno;

use super::numbers::dest;
use super::service::{address, address_bytes, integer};
use super::stats;
use crate::model::*;
use crate::netlink::{Attribute, Writer, attributes};

/// Attributes of a destination as they come in; the last of a kind counts, as in the kernel.
#[derive(Default)]
struct Fields<'a> {
    address: Option<Attribute<'a>>,
    port: Option<Attribute<'a>>,
    method: Option<Attribute<'a>>,
    weight: Option<Attribute<'a>>,
    upper: Option<Attribute<'a>>,
    lower: Option<Attribute<'a>>,
    active: Option<Attribute<'a>>,
    inactive: Option<Attribute<'a>>,
    persistent: Option<Attribute<'a>>,
    stats: Option<Attribute<'a>>,
    family: Option<Attribute<'a>>,
    stats64: Option<Attribute<'a>>,
    tunnel_type: Option<Attribute<'a>>,
    tunnel_port: Option<Attribute<'a>>,
    tunnel_flags: Option<Attribute<'a>>,
}

impl<'a> Fields<'a> {
    fn of(nest: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for attribute in attributes(nest) {
            let field = match attribute.kind {
                dest::ADDR => &mut fields.address,
                dest::PORT => &mut fields.port,
                dest::FWD_METHOD => &mut fields.method,
                dest::WEIGHT => &mut fields.weight,
                dest::U_THRESH => &mut fields.upper,
                dest::L_THRESH => &mut fields.lower,
                dest::ACTIVE_CONNS => &mut fields.active,
                dest::INACT_CONNS => &mut fields.inactive,
                dest::PERSIST_CONNS => &mut fields.persistent,
                dest::STATS => &mut fields.stats,
                dest::ADDR_FAMILY => &mut fields.family,
                dest::STATS64 => &mut fields.stats64,
                dest::TUN_TYPE => &mut fields.tunnel_type,
                dest::TUN_PORT => &mut fields.tunnel_port,
                dest::TUN_FLAGS => &mut fields.tunnel_flags,
                _ => continue,
            };
            *field = Some(attribute);
        }
        fields
    }

    fn id(&self, service: Family) -> Result<DestinationId, Errno> {
        let (Some(octets), Some(port)) = (self.address, self.port) else { return Err(Errno::INVAL) };
        let family = match optional(self.family, Attribute::u16)? {
            0 => service,
            number => Family::from_number(number).ok_or(Errno::AFNOSUPPORT)?,
        };
        Ok(DestinationId {
            address: address(family, octets.value).ok_or(Errno::INVAL)?,
            port: port.be16().ok_or(Errno::INVAL)?,
        })
    }

    fn destination(&self, service: Family) -> Result<Destination, Errno> {
        let method = integer(self.method, |a| a.u32());
        let weight = integer(self.weight, |a| a.u32());
        let (upper, lower) = (integer(self.upper, |a| a.u32()), integer(self.lower, |a| a.u32()));
        let kind = optional(self.tunnel_type, Attribute::u8)?;
        Ok(Destination {
            id: self.id(service)?,
            // Methods 5 to 7 and tunnel types from 3 on have no transmitter: the kernel stores them, we refuse.
            method: ForwardingMethod::from_flags(method?).ok_or(Errno::INVAL)?,
            weight: weight?.cast_signed(),
            upper_threshold: upper?,
            lower_threshold: lower?,
            tunnel: Tunnel {
                kind: TunnelType::from_number(kind).ok_or(Errno::INVAL)?,
                port: optional(self.tunnel_port, Attribute::be16)?,
                flags: TunnelFlags::from_bits_retain(optional(self.tunnel_flags, Attribute::u16)?),
            },
        })
    }
}

/// Identity of the destination in a nest; `service` is its service's family.
pub fn decode_id(nest: &[u8], service: Family) -> Result<DestinationId, Errno> {
    Fields::of(nest).id(service)
}

/// A whole destination.
pub fn decode(nest: &[u8], service: Family) -> Result<Destination, Errno> {
    Fields::of(nest).destination(service)
}

/// A destination with its gauges and statistics.
pub fn decode_entry(nest: &[u8], service: Family) -> Result<DestinationEntry, Errno> {
    let fields = Fields::of(nest);
    Ok(DestinationEntry {
        destination: fields.destination(service)?,
        active: optional(fields.active, Attribute::u32)?,
        inactive: optional(fields.inactive, Attribute::u32)?,
        persistent: optional(fields.persistent, Attribute::u32)?,
        stats: stats::decode(fields.stats, fields.stats64),
    })
}

/// Writes what identifies a destination.
pub fn encode_id(w: &mut Writer, id: &DestinationId) {
    w.put(dest::ADDR, &address_bytes(id.address));
    w.put(dest::PORT, &id.port.to_be_bytes());
    encode_family(w, id);
}

/// Writes a whole destination, as a request.
pub fn encode(w: &mut Writer, destination: &Destination) {
    encode_settings(w, destination);
    encode_family(w, &destination.id);
}

/// Writes a destination with gauges and statistics, in the kernel's order.
pub fn encode_entry(w: &mut Writer, entry: &DestinationEntry) {
    encode_settings(w, &entry.destination);
    w.put(dest::ACTIVE_CONNS, &entry.active.to_ne_bytes());
    w.put(dest::INACT_CONNS, &entry.inactive.to_ne_bytes());
    w.put(dest::PERSIST_CONNS, &entry.persistent.to_ne_bytes());
    encode_family(w, &entry.destination.id);
    w.nest(dest::STATS, |w| stats::encode_narrow(w, &entry.stats));
    w.nest(dest::STATS64, |w| stats::encode_wide(w, &entry.stats));
}

fn encode_settings(w: &mut Writer, destination: &Destination) {
    w.put(dest::ADDR, &address_bytes(destination.id.address));
    w.put(dest::PORT, &destination.id.port.to_be_bytes());
    w.put(dest::FWD_METHOD, &u32::from(destination.method as u8).to_ne_bytes());
    w.put(dest::WEIGHT, &destination.weight.to_ne_bytes());
    w.put(dest::TUN_TYPE, &[destination.tunnel.kind as u8]);
    w.put(dest::TUN_PORT, &destination.tunnel.port.to_be_bytes());
    w.put(dest::TUN_FLAGS, &destination.tunnel.flags.bits().to_ne_bytes());
    w.put(dest::U_THRESH, &destination.upper_threshold.to_ne_bytes());
    w.put(dest::L_THRESH, &destination.lower_threshold.to_ne_bytes());
}

fn encode_family(w: &mut Writer, id: &DestinationId) {
    w.put(dest::ADDR_FAMILY, &(id.family() as u16).to_ne_bytes());
}

/// An integer that may be missing (then 0) but must be whole.
fn optional<'a, T: Default>(
    attribute: Option<Attribute<'a>>,
    read: impl Fn(&Attribute<'a>) -> Option<T>,
) -> Result<T, Errno> {
    attribute.map_or(Ok(T::default()), |a| read(&a).ok_or(Errno::INVAL))
}
