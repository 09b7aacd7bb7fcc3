//! A home of the switch over the shared memory that changes nothing of it: whatever the switch may write is copied when
//! it is first looked at, and the switch has the copy.

use super::arrival::Way;
use super::copies::Copies;
use crate::registry::Registry;
use crate::tables::Tables;
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::{Config, Tick, look_up};
use rlvs_switch::counters::{Counters, Event};
use rlvs_switch::destination::{Destination, Hop};
use rlvs_switch::fragment::{FragmentKey, FragmentRecord, LARGE_MAX};
use rlvs_switch::host::{HEADROOM, Held, Holder};
use rlvs_switch::mark::MarkRule;
use rlvs_switch::scheduler::hash::TablePart;
use rlvs_switch::scheduler::locality;
use rlvs_switch::scheduler::ranking::Node;
use rlvs_switch::service::{Service, ServiceKey};
use rlvs_switch::sip::CallKey;
use rlvs_switch::steps::Handover;
use rlvs_switch::sync::Change;
use rlvs_switch::table::{Bucket4, Bucket6};
use rlvs_switch::{Memory, Platform, Verdict, View, order};
use std::cell::{Cell, Ref, RefCell};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::SeqCst;
use zerocopy::FromBytes;

/// The shared memory as it is now, and a frame that has come in.
pub struct Overlay<'a> {
    tables: &'a Tables,
    registry: &'a Registry,
    ingress: u32,
    now: Tick,
    /// The way to the packet's receiver.
    way: Way,
    frame: Held,
    config: Copies<Config>,
    connections4: Copies<Bucket4>,
    connections6: Copies<Bucket6>,
    services: Copies<Service>,
    destinations: Copies<Destination>,
    localities: Copies<locality::Bucket>,
    ranks: Copies<Node>,
    counters: Copies<Counters>,
    stripes: Copies<AtomicU32>,
    handover: Handover,
    events: RefCell<Vec<Event>>,
    sought: RefCell<Vec<(ServiceKey, Option<u32>)>>,
    last_rule: Cell<Option<u32>>,
    fragmented_by: Cell<u32>,
    mark: Option<NonZeroU32>,
    first_fragment: Option<FragmentRecord>,
}

impl<'a> Overlay<'a> {
    /// The frame has come in by the interface of this index; `way` is the kernel's to its receiver, should the switch ask.
    pub fn new(
        tables: &'a Tables,
        registry: &'a Registry,
        ingress: u32,
        way: Way,
        frame: &[u8],
    ) -> Overlay<'a> {
        Overlay {
            tables,
            registry,
            ingress,
            now: tables.now(),
            way,
            frame: Held::new(HEADROOM, frame),
            config: Copies::default(),
            connections4: Copies::default(),
            connections6: Copies::default(),
            services: Copies::default(),
            destinations: Copies::default(),
            localities: Copies::default(),
            ranks: Copies::default(),
            counters: Copies::default(),
            stripes: Copies::default(),
            handover: Handover::default(),
            events: RefCell::default(),
            sought: RefCell::default(),
            last_rule: Cell::default(),
            fragmented_by: Cell::default(),
            mark: None,
            first_fragment: None,
        }
    }

    /// The packet carries this mark, whatever mark rules say.
    pub(super) fn marked(self, mark: Option<NonZeroU32>) -> Overlay<'a> {
        if let (Some(_), Some(config)) = (mark, self.config()) {
            // There is something to look up, even if no rule leads to it.
            for look_ups in [&config.look_ups4, &config.look_ups6] {
                look_ups.store(look_ups.load(order::PLAIN) | look_up::MARK, order::PLAIN);
            }
        }
        Overlay { mark, ..self }
    }

    /// The packet's first fragment has come, with these ports of this protocol.
    pub(super) fn after_first(self, ports: [[u8; 2]; 2], protocol: u8) -> Overlay<'a> {
        let [[a, b], [c, d]] = ports;
        let first_fragment = Some(FragmentRecord {
            ports: u32::from_ne_bytes([a, b, c, d]),
            protocol: protocol.into(),
            expires: self.now.plus(1).0,
            reserved: 0,
        });
        Overlay { first_fragment, ..self }
    }

    /// The mark that the packet carries already.
    pub(super) fn mark(&self) -> Option<NonZeroU32> {
        self.mark
    }

    /// Sees to it that the service is looked for by that mark, once rules have had their say.
    pub(super) fn carry_mark(&self) {
        if let Some(mark) = self.mark {
            self.handover.mark.store(mark.get(), order::PLAIN);
        }
    }

    /// The Call-ID that was read.
    pub(super) fn call_id(&self) -> String {
        let call = &self.handover.call;
        let octets = call.words.iter().flat_map(|word| word.load(order::PLAIN).to_le_bytes());
        let octets: Vec<u8> = octets.take(call.length.load(order::PLAIN) as usize).collect();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Runs the switch; what becomes of the frame.
    pub fn run(&self) -> (Verdict, Vec<u8>) {
        (rlvs_switch::run(self), self.frame())
    }

    /// The frame as it is now.
    pub fn frame(&self) -> Vec<u8> {
        self.frame.octets()
    }

    /// What would have been counted, in order.
    pub fn events(&self) -> Ref<'_, [Event]> {
        Ref::map(self.events.borrow(), Vec::as_slice)
    }

    /// The services that were looked for, and the index of those that there are.
    pub(super) fn sought(&self) -> Ref<'_, [(ServiceKey, Option<u32>)]> {
        Ref::map(self.sought.borrow(), Vec::as_slice)
    }

    /// Index of the mark rule that was looked at last.
    pub(super) fn last_rule(&self) -> Option<u32> {
        self.last_rule.get()
    }

    /// Index of the interface that the packet would leave by in fragments.
    pub(super) fn fragmented_by(&self) -> u32 {
        self.fragmented_by.get()
    }

    fn hop(&self) -> Option<Hop> {
        match self.way {
            Way::Via(hop, _) => Some(hop),
            Way::Unresolved | Way::Nowhere => None,
        }
    }

    fn narrow(&self, length: u16) -> Option<u32> {
        match self.way {
            Way::Via(_, mtu) if mtu < length.into() => Some(mtu),
            _ => None,
        }
    }

    /// What the steps have left for each other.
    pub(super) fn handed_over(&self, word: impl FnOnce(&Handover) -> &AtomicU32) -> u32 {
        word(&self.handover).load(order::PLAIN)
    }
}

impl Memory for Overlay<'_> {
    fn config(&self) -> Option<&Config> {
        self.config.get(0, || self.tables.config.copy(0))
    }

    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        self.connections4.get(index, || self.tables.connections4.copy(index))
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        self.connections6.get(index, || self.tables.connections6.copy(index))
    }

    fn destination(&self, index: u32) -> Option<&Destination> {
        self.destinations.get(index, || self.tables.destinations.copy(index))
    }

    fn ranks(&self, index: u32) -> Option<&Node> {
        self.ranks.get(index, || self.tables.ranks.copy(index))
    }

    fn count(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    fn set(&self, cell: &AtomicU32, bits: u32) {
        cell.fetch_or(bits, SeqCst);
    }

    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        cell.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }

    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        cell.fetch_add(n, SeqCst)
    }
}

impl View for Overlay<'_> {
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        self.frame.read(offset)
    }

    fn length(&self) -> usize {
        self.frame.length()
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn now(&self) -> Tick {
        self.now
    }

    fn find_service(&self, key: &ServiceKey) -> Option<u32> {
        let found = self.registry.find_service(key);
        self.sought.borrow_mut().push((*key, found));
        found
    }

    fn mark_rule(&self, index: u32) -> Option<&MarkRule> {
        self.last_rule.set(Some(index));
        self.tables.mark_rules.get(index)
    }

    /// Only what is asked about has come.
    fn fragment(&self, _: &FragmentKey) -> Option<FragmentRecord> {
        self.first_fragment
    }

    fn remember_fragment(&self, _: &FragmentKey, _: &FragmentRecord) {}

    fn handover(&self) -> Option<&Handover> {
        Some(&self.handover)
    }
}

impl Holder for Overlay<'_> {
    fn held(&self) -> &Held {
        &self.frame
    }
}

impl Platform for Overlay<'_> {
    fn random(&self) -> u32 {
        let mut octets = [0; 4];
        // Without random numbers the lots of `twos` are all the first one, which is as good as any.
        let _got = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
        u32::from_ne_bytes(octets)
    }

    fn stripe(&self, index: u32) -> Option<&AtomicU32> {
        // Nobody else is at work on the copies.
        self.stripes.get(index, || Some(Box::default()))
    }

    fn service(&self, index: u32) -> Option<&Service> {
        self.services.get(index, || {
            let service = self.tables.services.copy(index)?;
            for list in &service.lists {
                list.lock.store(0, order::PLAIN);
            }
            Some(service)
        })
    }

    fn member(&self, index: u32) -> Option<u32> {
        Some(self.tables.members.get(index)?.0.load(order::PLAIN))
    }

    fn table_part(&self, index: u32) -> Option<&TablePart> {
        self.tables.hash_tables.get(index)
    }

    fn locality(&self, index: u32) -> Option<&locality::Bucket> {
        self.localities.get(index, || {
            let bucket = self.tables.localities.copy(index)?;
            bucket.lock.store(0, order::PLAIN);
            Some(bucket)
        })
    }

    fn counters(&self, destination: u32) -> Option<&Counters> {
        self.counters.get(destination, || Some(Box::default()))
    }

    fn keep_fragment(&self, _: &FragmentKey) {}

    fn tell(&self, _: Change) {}

    fn send_in_fragments(&self, interface: u32, _: u32, _: u32) -> bool {
        self.fragmented_by.set(interface);
        self.frame.length() <= LARGE_MAX
    }

    fn remember_call(&self, _: &CallKey) {}

    fn show(&self, _: u32) {}

    fn route4(&self, _source: u32, _destination: u32, _length: u16) -> Option<Hop> {
        self.hop()
    }

    fn narrow4(&self, _source: u32, _destination: u32, length: u16) -> Option<u32> {
        self.narrow(length)
    }

    fn narrow6(&self, _source: [u64; 2], _destination: [u64; 2], length: u16) -> Option<u32> {
        self.narrow(length)
    }

    fn forwards4(&self, _source: u32, _destination: u32) -> bool {
        self.way != Way::Nowhere
    }

    fn forwards6(&self, _source: [u64; 2], _destination: [u64; 2]) -> bool {
        self.way != Way::Nowhere
    }

    fn route6(&self, _source: [u64; 2], _destination: [u64; 2], _length: u16) -> Option<Hop> {
        self.hop()
    }
}
