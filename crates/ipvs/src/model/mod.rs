//! The objects that IPVS's control protocol talks about. Ports are in host byte order throughout.

mod connection;
mod daemon;
mod destination;
mod explain;
mod info;
mod mark;
mod service;
mod stats;

pub use connection::{Connection, Endpoint};
pub use daemon::{Daemon, DaemonRole};
pub use destination::{
    Destination, DestinationEntry, DestinationId, Ending, ForwardingMethod, Tunnel, TunnelFlags, TunnelType,
};
pub use explain::{Detail, Finding, Form, IcmpProblem, Probe, SignalError, Value};
pub use info::{EventCount, Fact, Info, MAX_TIMEOUT, Sample, Setting, Timeouts, VERSION};
pub use mark::{MarkRule, MarkRuleEntry, MarkRuleError, MarkRuleId, Network, Ports};
pub use service::{Family, FlagsChange, Netmask, Protocol, Service, ServiceEntry, ServiceFlags, ServiceId};
pub use stats::{Stats, Totals};
