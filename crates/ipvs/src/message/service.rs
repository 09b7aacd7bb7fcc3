//! The nest of a service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use rustix::io::Errno;

use super::numbers::{ENGINE_LENGTH, SCHEDULER_LENGTH, service};
use super::stats;
use crate::model::*;
use crate::netlink::{Attribute, Writer, attributes};

/// Attributes of a service as they come in; the last of a kind counts, as in the kernel.
#[derive(Default)]
struct Fields<'a> {
    family: Option<Attribute<'a>>,
    protocol: Option<Attribute<'a>>,
    address: Option<Attribute<'a>>,
    port: Option<Attribute<'a>>,
    mark: Option<Attribute<'a>>,
    scheduler: Option<Attribute<'a>>,
    flags: Option<Attribute<'a>>,
    timeout: Option<Attribute<'a>>,
    netmask: Option<Attribute<'a>>,
    stats: Option<Attribute<'a>>,
    engine: Option<Attribute<'a>>,
    stats64: Option<Attribute<'a>>,
}

impl<'a> Fields<'a> {
    fn of(nest: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for attribute in attributes(nest) {
            let field = match attribute.kind {
                service::AF => &mut fields.family,
                service::PROTOCOL => &mut fields.protocol,
                service::ADDR => &mut fields.address,
                service::PORT => &mut fields.port,
                service::FWMARK => &mut fields.mark,
                service::SCHED_NAME => &mut fields.scheduler,
                service::FLAGS => &mut fields.flags,
                service::TIMEOUT => &mut fields.timeout,
                service::NETMASK => &mut fields.netmask,
                service::STATS => &mut fields.stats,
                service::PE_NAME => &mut fields.engine,
                service::STATS64 => &mut fields.stats64,
                _ => continue,
            };
            *field = Some(attribute);
        }
        fields
    }

    fn id(&self) -> Result<ServiceId, Errno> {
        let family = integer(self.family, |a| a.u16())?;
        if self.mark.is_none() && (self.protocol.is_none() || self.address.is_none() || self.port.is_none()) {
            return Err(Errno::INVAL);
        }
        let family = Family::from_number(family).ok_or(Errno::AFNOSUPPORT)?;
        if self.mark.is_some() {
            let mark = integer(self.mark, |a| a.u32())?;
            return Ok(match NonZeroU32::new(mark) {
                Some(mark) => ServiceId::Mark { family, mark },
                // What the kernel makes of mark 0.
                None => {
                    ServiceId::Address { protocol: Protocol::TCP, address: family.unspecified(), port: 0 }
                }
            });
        }
        Ok(ServiceId::Address {
            protocol: Protocol(integer(self.protocol, |a| a.u16())?),
            address: self.address.and_then(|a| address(family, a.value)).ok_or(Errno::INVAL)?,
            port: integer(self.port, |a| a.be16())?,
        })
    }

    fn service(&self) -> Result<Service, Errno> {
        let id = self.id()?;
        let netmask = self.netmask.ok_or(Errno::INVAL)?;
        Ok(Service {
            id,
            scheduler: self.scheduler.and_then(|a| a.text(SCHEDULER_LENGTH)).ok_or(Errno::INVAL)?,
            flags: flags(self.flags.ok_or(Errno::INVAL)?.value),
            timeout: integer(self.timeout, |a| a.u32())?,
            netmask: match id.family() {
                Family::Inet => {
                    Netmask::V4(Ipv4Addr::from(*netmask.value.first_chunk::<4>().ok_or(Errno::INVAL)?))
                }
                Family::Inet6 => Netmask::V6(netmask.u32().ok_or(Errno::INVAL)?),
            },
            persistence_engine: match self.engine {
                None => None,
                Some(a) => Some(a.text(ENGINE_LENGTH).ok_or(Errno::INVAL)?).filter(|name| !name.is_empty()),
            },
        })
    }
}

/// Identity of the service in a nest: EINVAL if incomplete, EAFNOSUPPORT for another family.
pub fn decode_id(nest: &[u8]) -> Result<ServiceId, Errno> {
    Fields::of(nest).id()
}

/// A whole service.
pub fn decode(nest: &[u8]) -> Result<Service, Errno> {
    Fields::of(nest).service()
}

/// A service with its statistics.
pub fn decode_entry(nest: &[u8]) -> Result<ServiceEntry, Errno> {
    let fields = Fields::of(nest);
    Ok(ServiceEntry { service: fields.service()?, stats: stats::decode(fields.stats, fields.stats64) })
}

/// Writes what identifies a service.
pub fn encode_id(w: &mut Writer, id: &ServiceId) {
    w.put(service::AF, &(id.family() as u16).to_ne_bytes());
    match id {
        ServiceId::Mark { mark, .. } => w.put(service::FWMARK, &mark.get().to_ne_bytes()),
        ServiceId::Address { protocol, address, port } => {
            w.put(service::PROTOCOL, &protocol.0.to_ne_bytes());
            w.put(service::ADDR, &address_bytes(*address));
            w.put(service::PORT, &port.to_be_bytes());
        }
    }
}

/// Writes a whole service, in the kernel's order.
pub fn encode(w: &mut Writer, entry: &Service) {
    encode_id(w, &entry.id);
    w.put_text(service::SCHED_NAME, &entry.scheduler);
    if let Some(engine) = &entry.persistence_engine {
        w.put_text(service::PE_NAME, engine);
    }
    w.nest(service::FLAGS, |w| {
        w.raw(&entry.flags.flags.bits().to_ne_bytes());
        w.raw(&entry.flags.mask.bits().to_ne_bytes());
    });
    w.put(service::TIMEOUT, &entry.timeout.to_ne_bytes());
    match entry.netmask {
        Netmask::V4(mask) => w.put(service::NETMASK, &mask.octets()),
        Netmask::V6(prefix) => w.put(service::NETMASK, &prefix.to_ne_bytes()),
    }
}

/// Writes a service with its statistics.
pub fn encode_entry(w: &mut Writer, entry: &ServiceEntry) {
    encode(w, &entry.service);
    w.nest(service::STATS, |w| stats::encode_narrow(w, &entry.stats));
    w.nest(service::STATS64, |w| stats::encode_wide(w, &entry.stats));
}

/// An address attribute: octets that are missing are zero. `None` if it is longer than an address can be.
pub fn address(family: Family, value: &[u8]) -> Option<IpAddr> {
    let mut octets = [0; 16];
    octets.get_mut(..value.len())?.copy_from_slice(value);
    Some(match family {
        Family::Inet => Ipv4Addr::from(*octets.first_chunk::<4>()?).into(),
        Family::Inet6 => Ipv6Addr::from(octets).into(),
    })
}

/// An address as 16 octets, as the kernel always sends it.
pub fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
    }
}

/// An integer that must be there, whole.
pub fn integer<T>(
    attribute: Option<Attribute<'_>>,
    read: impl Fn(&Attribute<'_>) -> Option<T>,
) -> Result<T, Errno> {
    attribute.and_then(|a| read(&a)).ok_or(Errno::INVAL)
}

/// Flags and mask; octets that are missing are zero.
fn flags(value: &[u8]) -> FlagsChange {
    let mut octets = [0u8; 8];
    for (to, from) in octets.iter_mut().zip(value) {
        *to = *from;
    }
    let [a, b, c, d, e, f, g, h] = octets;
    FlagsChange {
        flags: ServiceFlags::from_bits_retain(u32::from_ne_bytes([a, b, c, d])),
        mask: ServiceFlags::from_bits_retain(u32::from_ne_bytes([e, f, g, h])),
    }
}
