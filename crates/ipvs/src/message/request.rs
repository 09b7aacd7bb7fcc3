//! Requests on the wire.

use rustix::io::Errno;

use super::control::{self, CONTROL_FAMILY, FamilyName};
use super::numbers::{self, SETTING_LENGTH, command, rlvs, top};
use super::{Request, daemon, destination, explain, mark, service};
use crate::model::{Ending, MAX_TIMEOUT, Setting, Timeouts};
use crate::netlink::{self, Attribute, Message, Writer, attributes};

/// A message that a server got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// For the controller: which number has a family.
    Family(FamilyName),
    /// For the director.
    Request(Request),
    /// A listing that has nothing to list: IPVS answers GET_DEST with a bad service by an empty series.
    EmptyDump,
}

/// Client: a request's message to a family with this number.
pub fn encode(request: &Request, family_id: u16, sequence: u32) -> Vec<u8> {
    let mut w = Writer::default();
    encode_to(&mut w, request, family_id, sequence);
    w.take()
}

/// [`encode`], after what was written before.
pub fn encode_to(w: &mut Writer, request: &Request, family_id: u16, sequence: u32) {
    let flags = netlink::REQUEST | if request.is_dump() { netlink::DUMP } else { netlink::ACK };
    w.message(family_id, flags, sequence, |w| {
        w.generic(command_of(request));
        match request {
            Request::NewService(s) | Request::SetService(s) => {
                w.nest(top::SERVICE, |w| service::encode(w, s));
            }
            Request::DeleteService(id)
            | Request::GetService(id)
            | Request::ListDestinations(id)
            | Request::Zero(Some(id)) => w.nest(top::SERVICE, |w| service::encode_id(w, id)),
            Request::NewDestination(id, d) | Request::SetDestination(id, d) => {
                w.nest(top::SERVICE, |w| service::encode_id(w, id));
                if let Ok(d) = d {
                    w.nest(top::DEST, |w| destination::encode(w, d));
                }
            }
            Request::DeleteDestination(id, d) => {
                w.nest(top::SERVICE, |w| service::encode_id(w, id));
                if let Ok(d) = d {
                    w.nest(top::DEST, |w| destination::encode_id(w, d));
                }
            }
            Request::EndDestination(id, d, ending) => {
                w.nest(rlvs::SERVICE, |w| service::encode_id(w, id));
                w.nest(rlvs::DEST, |w| destination::encode_id(w, d));
                w.put(rlvs::ENDING, &[*ending as u8]);
            }
            Request::NewDaemon(d) => w.nest(top::DAEMON, |w| daemon::encode(w, d)),
            Request::DeleteDaemon(role) => w.nest(top::DAEMON, |w| daemon::encode_role(w, *role)),
            Request::SetTimeouts(t) => {
                w.put(top::TIMEOUT_TCP, &t.tcp.to_ne_bytes());
                w.put(top::TIMEOUT_TCP_FIN, &t.tcp_fin.to_ne_bytes());
                w.put(top::TIMEOUT_UDP, &t.udp.to_ne_bytes());
            }
            Request::GetSetting(name) => w.put_text(rlvs::SETTING_NAME, name),
            Request::SetSetting(setting) => {
                w.put_text(rlvs::SETTING_NAME, &setting.name);
                w.put_text(rlvs::SETTING_VALUE, &setting.value);
            }
            Request::ListServices
            | Request::ListDaemons
            | Request::GetTimeouts
            | Request::GetInfo
            | Request::Zero(None)
            | Request::Flush
            | Request::ListConnections
            | Request::GetFacts
            | Request::ListSettings
            | Request::ListEvents
            | Request::TakeSamples
            | Request::GetTotals
            | Request::ListMarkRules => {}
            Request::NewMarkRule { rule, before } => mark::encode_new(w, rule, *before),
            Request::DeleteMarkRule(id) => mark::encode_id(w, id),
            Request::Explain(probe) => explain::encode_probe(w, probe),
        }
    });
}

/// Server: what a message asks for, or IPVS's errno for it.
pub(crate) fn decode_message(message: &Message<'_>) -> Result<Call, Errno> {
    let known = [CONTROL_FAMILY, FamilyName::Ipvs.id(), FamilyName::Rlvs.id()];
    if !known.contains(&message.kind) {
        return Err(Errno::NOENT);
    }
    let (command, attribute_bytes) = message.generic().ok_or(Errno::INVAL)?;
    let dump = message.flags & netlink::DUMP == netlink::DUMP;
    if message.kind == CONTROL_FAMILY {
        return if dump {
            Err(Errno::OPNOTSUPP)
        } else {
            control::decode_query(command, attribute_bytes).map(Call::Family)
        };
    }
    if message.kind == FamilyName::Rlvs.id() {
        return rlvs(command, dump, attribute_bytes);
    }
    ipvs(command, dump, attribute_bytes)
}

/// Server, tests and fuzzers: what the first message of a datagram asks for; `None` if there is none.
pub fn decode(datagram: &[u8]) -> Option<Result<Call, Errno>> {
    netlink::messages(datagram).next().map(|message| decode_message(&message))
}

fn rlvs(command: u8, dump: bool, attribute_bytes: &[u8]) -> Result<Call, Errno> {
    let attribute = |kind| attributes(attribute_bytes).filter(|a| a.kind == kind).last().ok_or(Errno::INVAL);
    let text = |kind| attribute(kind)?.text(SETTING_LENGTH).ok_or(Errno::INVAL);
    Ok(Call::Request(match (command, dump) {
        (rlvs::END_DEST, false) => {
            let id = service::decode_id(attribute(rlvs::SERVICE)?.value)?;
            let which = destination::decode_id(attribute(rlvs::DEST)?.value, id.family())?;
            let ending = attribute(rlvs::ENDING)?.u8().and_then(Ending::from_number);
            Request::EndDestination(id, which, ending.ok_or(Errno::INVAL)?)
        }
        (rlvs::GET_CONNECTIONS, true) => Request::ListConnections,
        (rlvs::GET_FACTS, true) => Request::GetFacts,
        (rlvs::GET_SETTINGS, true) => Request::ListSettings,
        (rlvs::GET_SETTINGS, false) => Request::GetSetting(text(rlvs::SETTING_NAME)?),
        (rlvs::SET_SETTING, false) => Request::SetSetting(Setting {
            name: text(rlvs::SETTING_NAME)?,
            value: text(rlvs::SETTING_VALUE)?,
        }),
        (rlvs::GET_EVENTS, true) => Request::ListEvents,
        (rlvs::TAKE_SAMPLES, true) => Request::TakeSamples,
        (rlvs::GET_TOTALS, false) => Request::GetTotals,
        (numbers::explain::EXPLAIN, true) => Request::Explain(explain::decode_probe(attribute_bytes)?),
        _ => return mark::decode_request(command, dump, attribute_bytes).unwrap_or(Err(Errno::OPNOTSUPP)),
    }))
}

fn ipvs(command: u8, dump: bool, attribute_bytes: &[u8]) -> Result<Call, Errno> {
    let attribute = |kind| attributes(attribute_bytes).filter(|a| a.kind == kind).last();
    let nest = |kind| attribute(kind).map(|a| a.value).ok_or(Errno::INVAL);
    let service_id = || service::decode_id(nest(top::SERVICE)?);
    if dump {
        return Ok(match command {
            command::GET_SERVICE => Call::Request(Request::ListServices),
            command::GET_DEST => {
                service_id().map_or(Call::EmptyDump, |id| Call::Request(Request::ListDestinations(id)))
            }
            command::GET_DAEMON => Call::Request(Request::ListDaemons),
            _ => return Err(Errno::OPNOTSUPP),
        });
    }
    let whole_destination = |id: crate::model::ServiceId| {
        nest(top::DEST).and_then(|bytes| destination::decode(bytes, id.family()))
    };
    Ok(Call::Request(match command {
        command::NEW_SERVICE => Request::NewService(service::decode(nest(top::SERVICE)?)?),
        command::SET_SERVICE => Request::SetService(service::decode(nest(top::SERVICE)?)?),
        command::DEL_SERVICE => Request::DeleteService(service_id()?),
        command::GET_SERVICE => Request::GetService(service_id()?),
        command::NEW_DEST => {
            let id = service_id()?;
            Request::NewDestination(id, whole_destination(id))
        }
        command::SET_DEST => {
            let id = service_id()?;
            Request::SetDestination(id, whole_destination(id))
        }
        command::DEL_DEST => {
            let id = service_id()?;
            let which = nest(top::DEST).and_then(|bytes| destination::decode_id(bytes, id.family()));
            Request::DeleteDestination(id, which)
        }
        command::NEW_DAEMON => Request::NewDaemon(daemon::decode(nest(top::DAEMON)?)?),
        command::DEL_DAEMON => Request::DeleteDaemon(daemon::decode_role(nest(top::DAEMON)?)?),
        command::SET_CONFIG => Request::SetTimeouts(Timeouts {
            tcp: timeout(attribute(top::TIMEOUT_TCP))?,
            tcp_fin: timeout(attribute(top::TIMEOUT_TCP_FIN))?,
            udp: timeout(attribute(top::TIMEOUT_UDP))?,
        }),
        command::GET_CONFIG => Request::GetTimeouts,
        command::GET_INFO => Request::GetInfo,
        command::ZERO => match attribute(top::SERVICE) {
            Some(_) => Request::Zero(Some(service_id()?)),
            None => Request::Zero(None),
        },
        command::FLUSH => Request::Flush,
        _ => return Err(Errno::OPNOTSUPP),
    }))
}

fn timeout(attribute: Option<Attribute<'_>>) -> Result<u32, Errno> {
    let Some(attribute) = attribute else { return Ok(0) };
    match attribute.u32().ok_or(Errno::RANGE)? {
        seconds if seconds <= MAX_TIMEOUT => Ok(seconds),
        _ => Err(Errno::INVAL),
    }
}

fn command_of(request: &Request) -> u8 {
    match request {
        Request::NewService(_) => command::NEW_SERVICE,
        Request::SetService(_) => command::SET_SERVICE,
        Request::DeleteService(_) => command::DEL_SERVICE,
        Request::GetService(_) | Request::ListServices => command::GET_SERVICE,
        Request::NewDestination(..) => command::NEW_DEST,
        Request::SetDestination(..) => command::SET_DEST,
        Request::DeleteDestination(..) => command::DEL_DEST,
        Request::ListDestinations(_) => command::GET_DEST,
        Request::EndDestination(..) => rlvs::END_DEST,
        Request::NewDaemon(_) => command::NEW_DAEMON,
        Request::DeleteDaemon(_) => command::DEL_DAEMON,
        Request::ListDaemons => command::GET_DAEMON,
        Request::SetTimeouts(_) => command::SET_CONFIG,
        Request::GetTimeouts => command::GET_CONFIG,
        Request::GetInfo => command::GET_INFO,
        Request::Zero(_) => command::ZERO,
        Request::Flush => command::FLUSH,
        Request::ListConnections => rlvs::GET_CONNECTIONS,
        Request::GetFacts => rlvs::GET_FACTS,
        Request::ListSettings | Request::GetSetting(_) => rlvs::GET_SETTINGS,
        Request::SetSetting(_) => rlvs::SET_SETTING,
        Request::ListEvents => rlvs::GET_EVENTS,
        Request::TakeSamples => rlvs::TAKE_SAMPLES,
        Request::GetTotals => rlvs::GET_TOTALS,
        Request::NewMarkRule { .. } => numbers::mark::NEW,
        Request::DeleteMarkRule(_) => numbers::mark::DELETE,
        Request::ListMarkRules => numbers::mark::GET,
        Request::Explain(_) => numbers::explain::EXPLAIN,
    }
}
