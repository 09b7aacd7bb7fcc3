//! Replies on the wire.

use rustix::io::Errno;

use super::connection;
use super::numbers::{self, command, info, rlvs, top};
use super::{FamilyName, Reply, Request, daemon, destination, explain, mark, service, stats};
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
    /// A setting.
    Setting(Setting),
    /// An event's count.
    Event(EventCount),
    /// A dropped packet.
    Sample(Sample),
    /// The totals.
    Totals(Totals),
    /// A mark rule.
    MarkRule(MarkRuleEntry),
    /// A part of an explanation.
    Finding(Finding),
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
        Request::ListConnections => nest(rlvs::RECORDS).and_then(connection::decode).map(Item::Connections),
        Request::GetFacts => decode_fact(attribute_bytes).map(Item::Fact),
        Request::ListSettings | Request::GetSetting(_) => decode_setting(attribute_bytes).map(Item::Setting),
        Request::ListEvents => decode_event(attribute_bytes).map(Item::Event),
        Request::TakeSamples => decode_sample(attribute_bytes).map(Item::Sample),
        Request::GetTotals => decode_totals(attribute_bytes).map(Item::Totals),
        Request::ListMarkRules => mark::decode_entry(attribute_bytes).map(Item::MarkRule),
        Request::Explain(_) => explain::decode_finding(attribute_bytes).map(Item::Finding),
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
        Item::Setting(_) => (FamilyName::Rlvs, rlvs::SETTING),
        Item::Event(_) => (FamilyName::Rlvs, rlvs::EVENT),
        Item::Sample(_) => (FamilyName::Rlvs, rlvs::SAMPLE),
        Item::Totals(_) => (FamilyName::Rlvs, rlvs::TOTALS),
        Item::MarkRule(_) => (FamilyName::Rlvs, numbers::mark::ENTRY),
        Item::Finding(_) => (FamilyName::Rlvs, numbers::explain::FINDING),
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
                connections.iter().for_each(|c| connection::encode(w, c));
            }),
            Item::Fact(fact) => {
                w.put_text(rlvs::FACT_NAME, &fact.name);
                w.put_text(rlvs::FACT_VALUE, &fact.value);
            }
            Item::Setting(setting) => {
                w.put_text(rlvs::SETTING_NAME, &setting.name);
                w.put_text(rlvs::SETTING_VALUE, &setting.value);
            }
            Item::Event(event) => {
                w.put_text(rlvs::EVENT_NAME, &event.name);
                w.put_text(rlvs::EVENT_WORDS, &event.words);
                w.put(rlvs::EVENT_COUNT, &event.count.to_ne_bytes());
            }
            Item::Sample(sample) => {
                w.put_text(rlvs::EVENT_NAME, &sample.event);
                w.put_text(rlvs::EVENT_WORDS, &sample.words);
                w.put(rlvs::FRAME, &sample.frame);
            }
            Item::Totals(totals) => {
                w.nest(rlvs::STATS, |w| stats::encode_wide(w, &totals.stats));
                for cpu in &totals.cpus {
                    w.nest(rlvs::CPU, |w| cpu.iter().for_each(|number| w.raw(&number.to_ne_bytes())));
                }
            }
            Item::MarkRule(entry) => mark::encode_entry(w, entry),
            Item::Finding(finding) => explain::encode_finding(w, finding),
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
                let batch = connection::batch(&mut *connections);
                (!batch.is_empty()).then_some(Item::Connections(batch))
            })),
            Self::Facts(facts) => Box::new(facts.into_iter().map(Item::Fact)),
            Self::Settings(settings) => Box::new(settings.into_iter().map(Item::Setting)),
            Self::Events(events) => Box::new(events.into_iter().map(Item::Event)),
            Self::Samples(samples) => Box::new(samples.into_iter().map(Item::Sample)),
            Self::Totals(totals) => Box::new(std::iter::once(Item::Totals(totals))),
            Self::MarkRules(rules) => Box::new(rules.into_iter().map(Item::MarkRule)),
            Self::Findings(findings) => Box::new(findings.into_iter().map(Item::Finding)),
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

fn decode_fact(attribute_bytes: &[u8]) -> Option<Fact> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind)?.text(usize::from(u16::MAX));
    Some(Fact { name: find(rlvs::FACT_NAME)?, value: find(rlvs::FACT_VALUE)? })
}

fn decode_setting(attribute_bytes: &[u8]) -> Option<Setting> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind)?.text(usize::from(u16::MAX));
    Some(Setting { name: find(rlvs::SETTING_NAME)?, value: find(rlvs::SETTING_VALUE)? })
}

fn decode_event(attribute_bytes: &[u8]) -> Option<EventCount> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind);
    let text = |kind| find(kind)?.text(usize::from(u16::MAX));
    Some(EventCount {
        name: text(rlvs::EVENT_NAME)?,
        words: text(rlvs::EVENT_WORDS)?,
        count: find(rlvs::EVENT_COUNT)?.u64()?,
    })
}

fn decode_sample(attribute_bytes: &[u8]) -> Option<Sample> {
    let find = |kind| attributes(attribute_bytes).find(|a| a.kind == kind);
    let text = |kind| find(kind)?.text(usize::from(u16::MAX));
    Some(Sample {
        event: text(rlvs::EVENT_NAME)?,
        words: text(rlvs::EVENT_WORDS)?,
        frame: find(rlvs::FRAME)?.value.into(),
    })
}

fn decode_totals(attribute_bytes: &[u8]) -> Option<Totals> {
    let nest = attributes(attribute_bytes).find(|a| a.kind == rlvs::STATS)?;
    let cpus = attributes(attribute_bytes).filter(|a| a.kind == rlvs::CPU).map(|a| {
        let (numbers, rest) = a.value.as_chunks::<8>();
        let mut cpu = [0; 5];
        for (number, octets) in cpu.iter_mut().zip(numbers) {
            *number = u64::from_ne_bytes(*octets);
        }
        (rest.is_empty() && numbers.len() == cpu.len()).then_some(cpu)
    });
    Some(Totals { stats: stats::decode(None, Some(nest)), cpus: cpus.collect::<Option<_>>()? })
}
