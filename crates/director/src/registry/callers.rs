//! Real servers that may start calls: those of UDP services with `--pe sip`, over NAT. Their datagrams without a
//! connection leave as the service's (see `steps::call` of the switch).

use super::{Registry, keys};
use crate::dataplane::KeyOctets;
use rlvs_packet::protocol;
use rlvs_switch::destination::method;
use rlvs_switch::order;
use rlvs_switch::service::ServiceKey;
use std::collections::BTreeMap;

impl Registry {
    /// Finds what an earlier director has told the switch.
    pub(super) fn adopt_callers(&mut self) {
        let all = self.index.iter().filter_map(Result::ok);
        self.callers = all.filter(|(key, _)| keys::from_octets(key).is_real_server()).collect();
        self.set_callers();
    }

    /// Tells the switch about a service whose destinations, or which itself, changed.
    pub(super) fn set_callers_of(&mut self, sequence: u32) {
        let service =
            self.services.get(&sequence).and_then(|service| self.tables.services.get(service.index));
        if !self.callers.is_empty() || service.is_some_and(|entry| entry.tells_calls_apart()) {
            self.set_callers();
        }
    }

    fn set_callers(&mut self) {
        let now = self.callers_now();
        if now == self.callers {
            return;
        }
        for key in self.callers.keys().filter(|key| !now.contains_key(*key)) {
            let _not_there = self.index.remove(key);
        }
        for (key, destination) in &now {
            // There is room for all destinations.
            if let Err(error) = self.index.insert(key, destination, 0) {
                tracing::error!("calls of {:?} are not known to the switch: {error}", keys::from_octets(key));
            }
        }
        self.callers = now;
        self.set_look_ups();
    }

    /// Who may start calls, with the destination that each is; of several services, the first one's.
    fn callers_now(&self) -> BTreeMap<KeyOctets, u32> {
        let mut callers = BTreeMap::new();
        for service in self.services.values() {
            let Some(entry) = self.tables.services.get(service.index) else { continue };
            let key = keys::load(&entry.key);
            if !entry.tells_calls_apart() || key.protocol != protocol::UDP || key.port == 0 {
                continue;
            }
            for index in &service.members {
                let Some(destination) = self.tables.destinations.get(*index) else { continue };
                let port = destination.port.load(order::PLAIN) as u16;
                if destination.method.load(order::PLAIN) == method::MASQUERADE && port != 0 {
                    let address = destination.address_words();
                    let key = ServiceKey::of_real_server(protocol::UDP, key.family, address, port);
                    callers.entry(keys::octets(&key)).or_insert(*index);
                }
            }
        }
        callers
    }
}
