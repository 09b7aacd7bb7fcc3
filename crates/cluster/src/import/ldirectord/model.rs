//! What an `ldirectord.cf` says, with ldirectord's defaults.

use std::net::IpAddr;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) settings: Settings,
    /// The line that turns it on.
    pub(super) autoreload: Option<usize>,
    /// Lines that were left out because they name a host.
    pub(super) names: Vec<(usize, String)>,
    /// Directives without a counterpart, for the whole file.
    pub(super) others: Vec<Other>,
    pub(super) virtuals: Vec<Virtual>,
}

/// What may be said for the whole file, and for a virtual service instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Seconds.
    pub(super) checktimeout: Option<u32>,
    /// Seconds.
    pub(super) negotiatetimeout: Option<u32>,
    /// Seconds.
    pub(super) checkinterval: Option<u32>,
    pub(super) failurecount: Option<u32>,
    pub(super) fallback: Option<Fallback>,
    pub(super) fallbackcommand: Option<String>,
    pub(super) quiescent: Option<bool>,
    pub(super) maintenancedir: Option<String>,
}

impl Settings {
    /// What of these is not said is as in `others`.
    pub(super) fn or(self, others: &Self) -> Self {
        // Each of the two time limits stands in for the other, the nearer ones first.
        let (checktimeout, negotiatetimeout) = match (self.checktimeout, self.negotiatetimeout) {
            (None, None) => (others.checktimeout, others.negotiatetimeout),
            limits => limits,
        };
        Self {
            checktimeout: checktimeout.or(negotiatetimeout),
            negotiatetimeout: negotiatetimeout.or(checktimeout),
            checkinterval: self.checkinterval.or(others.checkinterval),
            failurecount: self.failurecount.or(others.failurecount),
            fallback: self.fallback.or_else(|| others.fallback.clone()),
            fallbackcommand: self.fallbackcommand.or_else(|| others.fallbackcommand.clone()),
            quiescent: self.quiescent.or(others.quiescent),
            // For the whole file only.
            maintenancedir: others.maintenancedir.clone(),
        }
    }
}

/// `virtual=...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Virtual {
    pub(super) line: usize,
    /// As it stands there.
    pub(super) text: String,
    pub(super) address: Address,
    pub(super) is_v6: bool,
    pub(super) settings: Settings,
    pub(super) others: Vec<Other>,
    pub(super) reals: Vec<Real>,
    pub(super) checktype: CheckType,
    pub(super) service: Option<String>,
    pub(super) checkcommand: Option<String>,
    pub(super) checkport: Option<u16>,
    pub(super) request: Option<String>,
    pub(super) receive: Option<String>,
    pub(super) head: bool,
    pub(super) virtualhost: Option<String>,
    pub(super) scheduler: Option<String>,
    /// Seconds.
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) ops: bool,
}

/// Where a virtual service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Mark(u32),
    Ip(IpAddr, u16),
}

/// Of a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Mark,
}

/// `real=...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Real {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) method: Method,
    pub(super) weight: u32,
    pub(super) lower: Option<u32>,
    pub(super) upper: Option<u32>,
    pub(super) request: Option<String>,
    pub(super) receive: Option<String>,
}

/// `fallback=...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fallback {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) method: Method,
}

/// Forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Gate,
    Masq,
    Ipip,
}

/// `checktype=...`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum CheckType {
    #[default]
    Negotiate,
    Connect,
    /// So many connects after each negotiation.
    Mixed(u32),
    Ping,
    External,
    ExternalPerl,
    On,
    Off,
}

/// A directive without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// Services that ldirectord knows, with their ports.
pub(super) const SERVICES: [(&str, u16); 22] = [
    ("http", 80),
    ("https", 443),
    ("http_proxy", 3128),
    ("ftp", 21),
    ("smtp", 25),
    ("submission", 587),
    ("pop", 110),
    ("pops", 995),
    ("imap", 143),
    ("imaps", 993),
    ("nntp", 119),
    ("ldap", 389),
    ("ldaps", 636),
    ("mysql", 3306),
    ("pgsql", 5432),
    ("oracle", 1521),
    ("radius", 1812),
    ("dns", 53),
    ("sip", 5060),
    // Names of ports, other than those of services.
    ("domain", 53),
    ("www", 80),
    ("pop3", 110),
];

impl Virtual {
    pub(super) fn new(line: usize, text: &str, address: Address, is_v6: bool) -> Self {
        Self {
            line,
            text: text.to_owned(),
            address,
            is_v6,
            settings: Settings::default(),
            others: Vec::new(),
            reals: Vec::new(),
            checktype: CheckType::default(),
            service: None,
            checkcommand: None,
            checkport: None,
            request: None,
            receive: None,
            head: false,
            virtualhost: None,
            scheduler: None,
            persistent: None,
            netmask: None,
            protocol: None,
            ops: false,
        }
    }

    /// The port of the address.
    pub(super) fn port(&self) -> Option<u16> {
        match self.address {
            Address::Ip(_, port) => Some(port),
            Address::Mark(_) => None,
        }
    }

    /// What its servers are asked as.
    pub(super) fn service(&self) -> &str {
        if let Some(service) = &self.service {
            return service;
        }
        let named = SERVICES.iter().find(|(_, port)| Some(*port) == self.port());
        named.map_or("none", |(name, _)| name)
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.address {
            Address::Mark(_) => Protocol::Mark,
            Address::Ip(_, 53) => self.protocol.unwrap_or(Protocol::Udp),
            Address::Ip(..) => self.protocol.unwrap_or(Protocol::Tcp),
        }
    }
}
