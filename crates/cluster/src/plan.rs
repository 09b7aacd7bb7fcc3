//! From what runs to what is wanted: the fewest changes, in an order that leaves no service without servers on the way.

use std::fmt;

use rlvs_ipvs::{Destination, DestinationId, Ending, Netmask, Service, ServiceFlags, ServiceId, TunnelType};

/// A service with its destinations, as it runs or as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The service.
    pub service: Service,
    /// Its destinations.
    pub destinations: Vec<Destination>,
}

/// One request to the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new service.
    AddService(Service),
    /// A service with other values; which ones, in words.
    EditService(Service, String),
    /// A service that goes, with its destinations.
    DeleteService(ServiceId),
    /// A new destination.
    Add(ServiceId, Destination),
    /// A destination with other values; which ones, in words.
    Edit(ServiceId, Destination, String),
    /// A destination that goes.
    Delete(ServiceId, DestinationId),
    /// The same with its connections: nothing of this is in a plan, since it depends on why the destination goes.
    End(ServiceId, DestinationId, Ending),
}

/// What turns `running` into `wanted`. Services that are not wanted are deleted: leave out those that may stay.
pub fn changes(running: &[Setup], wanted: &[Setup]) -> Vec<Change> {
    let mut changes = Vec::new();
    for want in wanted {
        let id = want.service.id;
        match running.iter().find(|setup| setup.service.id == id) {
            Some(have) => {
                let words = service_words(&have.service, &want.service);
                if !words.is_empty() {
                    changes.push(Change::EditService(want.service.clone(), words.join(", ")));
                }
                changes.extend(destination_changes(id, &have.destinations, &want.destinations));
            }
            None => {
                changes.push(Change::AddService(want.service.clone()));
                changes.extend(destination_changes(id, &[], &want.destinations));
            }
        }
    }
    let gone = running.iter().map(|setup| setup.service.id);
    let gone = gone.filter(|id| wanted.iter().all(|setup| setup.service.id != *id));
    changes.extend(gone.map(Change::DeleteService));
    changes
}

/// What turns the destinations of a service into those wanted: new ones come before old ones go.
pub fn destination_changes(
    service: ServiceId,
    running: &[Destination],
    wanted: &[Destination],
) -> Vec<Change> {
    let mut changes = Vec::new();
    for want in wanted {
        match running.iter().find(|have| have.id == want.id) {
            None => changes.push(Change::Add(service, want.clone())),
            Some(have) => {
                let words = destination_words(have, want);
                if !words.is_empty() {
                    changes.push(Change::Edit(service, want.clone(), words.join(", ")));
                }
            }
        }
    }
    let gone = running.iter().map(|have| have.id).filter(|id| wanted.iter().all(|want| want.id != *id));
    changes.extend(gone.map(|id| Change::Delete(service, id)));
    changes
}

impl fmt::Display for Change {
    /// As a line of a listing of differences: what is added (+), changed (~) and deleted (-).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = |service: &ServiceId, id: &DestinationId| {
            format!("{} -> {}", service_name(service), server_name(id))
        };
        match self {
            Self::AddService(service) => {
                write!(f, "+ {} {}", service_name(&service.id), service.scheduler)?;
                match persistence(service) {
                    Some((timeout, ..)) => write!(f, " persistent {timeout}"),
                    None => Ok(()),
                }
            }
            Self::EditService(service, words) => write!(f, "~ {}: {words}", service_name(&service.id)),
            Self::DeleteService(id) => write!(f, "- {}", service_name(id)),
            Self::Add(service, new) => {
                write!(f, "+ {} {} weight {}", server(service, &new.id), new.method, new.weight)
            }
            Self::Edit(service, new, words) => write!(f, "~ {}: {words}", server(service, &new.id)),
            Self::Delete(service, id) => write!(f, "- {}", server(service, id)),
            Self::End(service, id, ending) => {
                let what = match ending {
                    Ending::Reset => "reset",
                    Ending::Move => "moved or reset",
                };
                write!(f, "- {}, its connections are {what}", server(service, id))
            }
        }
    }
}

/// A service in IPVS's words, such as `TCP 192.0.2.1:80` or `FWM 7 IPv6`.
pub fn service_name(id: &ServiceId) -> String {
    match id {
        ServiceId::Address { protocol, address, port } => {
            format!("{protocol} {}", std::net::SocketAddr::new(*address, *port))
        }
        ServiceId::Mark { family: rlvs_ipvs::Family::Inet, mark } => format!("FWM {mark}"),
        ServiceId::Mark { family: rlvs_ipvs::Family::Inet6, mark } => format!("FWM {mark} IPv6"),
    }
}

/// A destination's address and port, such as `10.0.0.1:80`.
pub fn server_name(id: &DestinationId) -> String {
    std::net::SocketAddr::new(id.address, id.port).to_string()
}

fn service_words(old: &Service, new: &Service) -> Vec<String> {
    let flags = |service: &Service| {
        let flags = service.flags.apply(ServiceFlags::empty());
        // The director has flags of its own (HASHED).
        flags
            & (ServiceFlags::ONE_PACKET | ServiceFlags::SCHED1 | ServiceFlags::SCHED2 | ServiceFlags::SCHED3)
    };
    let named =
        |service: &Service| match flags(service).iter_names().map(|(name, _)| name).collect::<Vec<_>>() {
            none if none.is_empty() => "none".to_owned(),
            names => names.join("|"),
        };
    let persistent = |service: &Service| match persistence(service) {
        None => "none".to_owned(),
        Some((timeout, Netmask::V4(mask), engine)) => format!("{timeout} s {mask} {}", engine.unwrap_or("")),
        Some((timeout, Netmask::V6(length), engine)) => {
            format!("{timeout} s /{length} {}", engine.unwrap_or(""))
        }
    };
    [
        differs("scheduler", &old.scheduler, &new.scheduler),
        differs("flags", &named(old), &named(new)),
        differs("persistence", persistent(old).trim_end(), persistent(new).trim_end()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Without persistence, its values mean nothing.
fn persistence(service: &Service) -> Option<(u32, Netmask, Option<&str>)> {
    let persistent = service.flags.apply(ServiceFlags::empty()).contains(ServiceFlags::PERSISTENT);
    persistent.then_some((service.timeout, service.netmask, service.persistence_engine.as_deref()))
}

fn destination_words(old: &Destination, new: &Destination) -> Vec<String> {
    let tunnel = |destination: &Destination| match (destination.method, destination.tunnel) {
        (rlvs_ipvs::ForwardingMethod::Tunnel, tunnel) => match tunnel.kind {
            TunnelType::Ipip => "ipip".into(),
            TunnelType::Gue => format!("gue port {} checksum {:#x}", tunnel.port, tunnel.flags.bits()),
            TunnelType::Gre => format!("gre checksum {:#x}", tunnel.flags.bits()),
        },
        _ => "none".to_owned(),
    };
    [
        differs("weight", &old.weight, &new.weight),
        // A destination on the director itself is listed as Local, whatever was asked for.
        differs("method", &old.method, &new.method)
            .filter(|_| old.method != rlvs_ipvs::ForwardingMethod::Local),
        differs("tunnel", &tunnel(old), &tunnel(new))
            .filter(|_| old.method != rlvs_ipvs::ForwardingMethod::Local),
        differs("upper threshold", &old.upper_threshold, &new.upper_threshold),
        differs("lower threshold", &old.lower_threshold, &new.lower_threshold),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn differs<T: PartialEq + fmt::Display + ?Sized>(what: &str, old: &T, new: &T) -> Option<String> {
    (old != new).then(|| format!("{what} {old} -> {new}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_ipvs::{FlagsChange, Protocol};

    fn id(port: u16) -> ServiceId {
        ServiceId::Address { protocol: Protocol::TCP, address: [192, 0, 2, 1].into(), port }
    }

    fn server(last: u8) -> Destination {
        Destination::new(DestinationId { address: [10, 0, 0, last].into(), port: 80 })
    }

    fn setup(port: u16, servers: &[u8]) -> Setup {
        Setup {
            service: Service::new(id(port)),
            destinations: servers.iter().map(|last| server(*last)).collect(),
        }
    }

    fn lines(running: &[Setup], wanted: &[Setup]) -> Vec<String> {
        changes(running, wanted).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_the_same_is_not_touched() {
        let mut listed = setup(80, &[2, 1]);
        listed.service.flags = FlagsChange::to(ServiceFlags::HASHED);
        assert_eq!(lines(&[listed, setup(81, &[])], &[setup(81, &[]), setup(80, &[1, 2])]), [""; 0]);
    }

    #[test]
    fn only_the_differences_are_asked_for() {
        let mut new = setup(80, &[1, 3]);
        new.destinations[0].weight = 5;
        new.service.scheduler = "rr".into();
        let expected = [
            "~ TCP 192.0.2.1:80: scheduler wlc -> rr",
            "~ TCP 192.0.2.1:80 -> 10.0.0.1:80: weight 1 -> 5",
            "+ TCP 192.0.2.1:80 -> 10.0.0.3:80 Route weight 1",
            "- TCP 192.0.2.1:80 -> 10.0.0.2:80",
            "+ TCP 192.0.2.1:82 wlc",
            "+ TCP 192.0.2.1:82 -> 10.0.0.1:80 Route weight 1",
            "- TCP 192.0.2.1:81",
        ];
        assert_eq!(lines(&[setup(80, &[1, 2]), setup(81, &[1])], &[new, setup(82, &[1])]), expected);
    }

    #[test]
    fn persistence_counts_only_where_there_is_some() {
        let mut new = setup(80, &[]);
        new.service.timeout = 300;
        assert_eq!(lines(&[setup(80, &[])], std::slice::from_ref(&new)), [""; 0]);
        new.service.flags = FlagsChange::to(ServiceFlags::PERSISTENT);
        let line = "~ TCP 192.0.2.1:80: persistence none -> 300 s 255.255.255.255";
        assert_eq!(lines(&[setup(80, &[])], std::slice::from_ref(&new)), [line]);
    }

    #[test]
    fn a_destination_on_the_director_keeps_its_method() {
        let mut have = setup(80, &[1]);
        have.destinations[0].method = rlvs_ipvs::ForwardingMethod::Local;
        assert_eq!(lines(&[have], &[setup(80, &[1])]), [""; 0]);
    }
}
