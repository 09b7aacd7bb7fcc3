//! Replies on the wire.

use rustix::io::Errno;

use super::connection::{self, BATCH, RECORD};
use super::numbers::{self, command, info, rlvs, top};
use super::{FamilyName, Reply, Request, daemon, destination, mark, service};
use crate::model::*;
use crate::netlink::{Writer, attributes};

/// The content of one message of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A service.
    Service(ServiceEntry),
    /// A destination.
    Destination(DestinationEntry),
    /// A sync daemon.
    Daemon(Daemon),
    /// The timeouts.
    Timeouts(Timeouts),
    /// Version and table size.
    Info(Info),
    /// Some connections.
    Connections(Vec<Connection>),
    /// A fact.
    Fact(Fact),
    /// A mark rule.
    MarkRule(MarkRuleEntry),
}

/// Client: the content of a message that answers `request`; `attribute_bytes` follow its generic header.
///
/// EBADMSG: the message is not what the request asks for.
pub fn decode_item(request: &Request, attribute_bytes: &[u8]) -> Result<Item, Errno> {
    let nest = |kind| attributes(attribute_bytes).find(|a| a.kind == kind).map(|a| a.value);
    let item = match request {
        Request::ListServices | Request::GetService(_) => {
            nest(top::SERVICE).and_then(|n| service::decode_entry(n).ok()).map(Item::Service)
        }
        Request::ListDestinations(id) => nest(top::DEST)
            .and_then(|n| destination::decode_entry(n, id.family()).ok())
            .map(Item::Destination),
        Request::ListDaemons => nest(top::DAEMON).and_then(|n| daemon::decode(n).ok()).map(Item::Daemon),
        Request::GetTimeouts => decode_timeouts(attribute_bytes).map(Item::Timeouts),
        Request::GetInfo => decode_info(attribute_bytes).map(Item::Info),
        Request::ListConnections => nest(rlvs::RECORDS).and_then(decode_connections).map(Item::Connections),
        Request::GetFacts => decode_fact(attribute_bytes).map(Item::Fact),
        Request::ListMarkRules => mark::decode_entry(attribute_bytes).map(Item::MarkRule),
        _ => None,
    };
    item.ok_or(Errno::BADMSG)
}

/// Server: writes one message of a reply.
pub(crate) fn encode_item(w: &mut Writer, item: &Item, flags: u16, sequence: u32) {
    let (family, command) = match item {
        Item::Service(_) => (FamilyName::Ipvs, command::NEW_SERVICE),
        Item::Destination(_) => (FamilyName::Ipvs, command::NEW_DEST),
        Item::Daemon(_) => (FamilyName::Ipvs, command::NEW_DAEMON),
        Item::Timeouts(_) => (FamilyName::Ipvs, command::SET_CONFIG),
        Item::Info(_) => (FamilyName::Ipvs, command::SET_INFO),
        Item::Connections(_) => (FamilyName::Rlvs, rlvs::CONNECTIONS),
        Item::Fact(_) => (FamilyName::Rlvs, rlvs::FACT),
        Item::MarkRule(_) => (FamilyName::Rlvs, numbers::mark::ENTRY),
    };
    w.message(family.id(), flags, sequence, |w| {
        w.generic(command);
        match item {
            Item::Service(entry) => w.nest(top::SERVICE, |w| service::encode_entry(w, entry)),
            Item::Destination(entry) => w.nest(top::DEST, |w| destination::encode_entry(w, entry)),
            Item::Daemon(d) => w.nest(top::DAEMON, |w| daemon::encode(w, d)),
            Item::Timeouts(t) => {
                w.put(top::TIMEOUT_TCP, &t.tcp.to_ne_bytes());
                w.put(top::TIMEOUT_TCP_FIN, &t.tcp_fin.to_ne_bytes());
                w.put(top::TIMEOUT_UDP, &t.udp.to_ne_bytes());
            }
            Item::Info(i) => {
                w.put(info::VERSION, &i.version.to_ne_bytes());
                w.put(info::CONN_TAB_SIZE, &i.table_size.to_ne_bytes());
            }
            Item::Connections(connections) => w.nest(rlvs::RECORDS, |w| {
                connections.iter().for_each(|c| w.raw(&connection::encode(c)));
            }),
            Item::Fact(fact) => {
                w.put_text(rlvs::FACT_NAME, &fact.name);
                w.put_text(rlvs::FACT_VALUE, &fact.value);
            }
            Item::MarkRule(entry) => mark::encode_entry(w, entry),
        }
    });
}

impl Reply {
    /// Server: the messages of the reply, made as they are drawn; none for [`Reply::Done`].
    pub(crate) fn into_items(self) -> Box<dyn Iterator<Item = Item> + Send> {
        match self {
            Self::Done => Box::new(std::iter::empty()),
            Self::Service(entry) => Box::new(std::iter::once(Item::Service(entry))),
            Self::Services(entries) => Box::new(entries.into_iter().map(Item::Service)),
            Self::Destinations(entries) => Box::new(entries.into_iter().map(Item::Destination)),
            Self::Daemons(daemons) => Box::new(daemons.into_iter().map(Item::Daemon)),
            Self::Timeouts(timeouts) => Box::new(std::iter::once(Item::Timeouts(timeouts))),
            Self::Info(info) => Box::new(std::iter::once(Item::Info(info))),
            Self::Connections(mut connections) => Box::new(std::iter::from_fn(move || {
                let batch: Vec<_> = connections.by_ref().take(BATCH).collect();
                (!batch.is_empty()).then_some(Item::Connections(batch))
            })),
            Self::Facts(facts) => Box::new(facts.into_iter().map(Item::Fact)),
            Self::MarkRules(rules) => Box::new(rules.into_iter().map(Item::MarkRule)),
        }
    }
}

fn decode_timeouts(attribute_bytes: &[u8]) -> Option<Timeouts> {
    let mut timeouts = Timeouts::default();
    for a in attributes(attribute_bytes) {
        match a.kind {
            top::TIMEOUT_TCP => timeouts.tcp = a.u32()?,
            top::TIMEOUT_TCP_FIN => timeouts.tcp_fin = a.u32()?,
            top::TIMEOUT_UDP => timeouts.udp = a.u32()?,
            _ => {}
        }
    }
    Some(timeouts)
}

fn decode_info(attribute_bytes: &[u8]) -> Option<Info> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind)?.u32();
    Some(Info { version: find(info::VERSION)?, table_size: find(info::CONN_TAB_SIZE)? })
}

fn decode_connections(records: &[u8]) -> Option<Vec<Connection>> {
    let (records, rest) = records.as_chunks::<RECORD>();
    rest.is_empty().then(|| records.iter().map(connection::decode).collect())?
}

fn decode_fact(attribute_bytes: &[u8]) -> Option<Fact> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind)?.text(usize::from(u16::MAX));
    Some(Fact { name: find(rlvs::FACT_NAME)?, value: find(rlvs::FACT_VALUE)? })
}
