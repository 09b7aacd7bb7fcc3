//! One CPU with one frame.

use super::{CLIENT_SIDE, Large, SPLIT_MIX_STEP, Simulation, split_mix};
use crate::cell::AtomicU32;
#[cfg(counted)]
use crate::cell::counted::{look_up, touch};
use crate::config::{Config, Tick};
use crate::counters::{Counters, Event};
use crate::destination::{Destination, Hop};
use crate::fragment::{FragmentKey, FragmentRecord, LARGE_MAX};
use crate::frame::octets;
use crate::host::{HEADROOM, Held, Holder};
use crate::mark::MarkRule;
use crate::order;
use crate::platform::{Memory, Platform, View};
use crate::scheduler::hash::TablePart;
use crate::scheduler::locality;
use crate::scheduler::ranking::Node;
use crate::service::{Service, ServiceKey};
use crate::sip::CallKey;
use crate::steps::Handover;
use crate::sync::Change;
use crate::table::{Bucket4, Bucket6};
use core::sync::atomic::Ordering::SeqCst;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::FromBytes;

#[cfg(not(counted))]
fn look_up(_: &'static str) {}

#[cfg(not(counted))]
fn touch(_: &u32) {}

/// A CPU of a [`Simulation`] with a frame that has come in.
pub struct Cpu<'a> {
    simulation: &'a Simulation,
    number: usize,
    ingress: u32,
    frame: Held,
}

impl<'a> Cpu<'a> {
    /// A CPU of this number (below [`super::CPUS`]) with a frame that came in by this interface.
    pub fn new(simulation: &'a Simulation, number: usize, ingress: u32, frame: &[u8]) -> Cpu<'a> {
        Cpu { simulation, number, ingress, frame: Held::new(HEADROOM, frame) }
    }

    /// The first CPU with a frame that has so little room before it, as after another program has used it up.
    pub fn with_headroom(simulation: &'a Simulation, headroom: usize, frame: &[u8]) -> Cpu<'a> {
        Cpu { simulation, number: 0, ingress: CLIENT_SIDE, frame: Held::new(headroom, frame) }
    }

    /// The frame as it is now.
    pub fn into_frame(self) -> Vec<u8> {
        self.frame.octets()
    }
}

impl Memory for Cpu<'_> {
    fn config(&self) -> Option<&Config> {
        look_up("settings");
        self.simulation.config()
    }

    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        look_up("connections");
        self.simulation.bucket4(index)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        look_up("connections");
        self.simulation.bucket6(index)
    }

    fn destination(&self, index: u32) -> Option<&Destination> {
        look_up("destinations");
        self.simulation.destination(index)
    }

    fn ranks(&self, index: u32) -> Option<&Node> {
        look_up("ranks");
        self.simulation.ranks(index)
    }

    fn count(&self, event: Event) {
        look_up("events");
        self.simulation.count(event);
    }

    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        self.simulation.exchange(cell, old, new)
    }

    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        self.simulation.add(cell, n)
    }

    fn set(&self, cell: &AtomicU32, bits: u32) {
        self.simulation.set(cell, bits);
    }

    fn interleave(&self) {
        self.simulation.interleave();
    }
}

/// Early fragments that are kept.
const KEPT_FRAGMENTS: usize = 1 << 10;

/// Packets that wait to be sent in fragments.
const LARGE_PACKETS: usize = 1 << 8;

impl View for Cpu<'_> {
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
        self.simulation.now()
    }

    fn find_service(&self, key: &ServiceKey) -> Option<u32> {
        look_up("identities");
        self.simulation.service_index.get(key).copied()
    }

    fn mark_rule(&self, index: u32) -> Option<&MarkRule> {
        look_up("mark rules");
        self.simulation.mark_rules.get(index as usize)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        look_up("fragments");
        self.simulation.fragments.lock().ok()?.get(key).copied()
    }

    fn remember_fragment(&self, key: &FragmentKey, record: &FragmentRecord) {
        look_up("fragments");
        if let Ok(mut fragments) = self.simulation.fragments.lock() {
            fragments.insert(*key, *record);
        }
    }

    fn handover(&self) -> Option<&Handover> {
        look_up("handover");
        self.simulation.handovers.get(self.number)
    }
}

impl Holder for Cpu<'_> {
    fn held(&self) -> &Held {
        &self.frame
    }
}

impl Platform for Cpu<'_> {
    fn random(&self) -> u32 {
        // Steps as wide as SplitMix64's own, so that each call gives the sequence's next number.
        let mut state = self.simulation.random.fetch_add(SPLIT_MIX_STEP, SeqCst);
        (split_mix(&mut state) >> 32) as u32
    }

    fn stripe(&self, index: u32) -> Option<&AtomicU32> {
        look_up("locks");
        self.simulation.stripes.get(index as usize)
    }

    fn service(&self, index: u32) -> Option<&Service> {
        look_up("services");
        self.simulation.services.get(index as usize)
    }

    fn member(&self, index: u32) -> Option<u32> {
        look_up("members");
        let member = self.simulation.members.get(index as usize)?;
        touch(member);
        Some(*member)
    }

    fn table_part(&self, index: u32) -> Option<&TablePart> {
        look_up("hash tables");
        self.simulation.hash_tables.get(index as usize)
    }

    fn locality(&self, index: u32) -> Option<&locality::Bucket> {
        look_up("localities");
        self.simulation.localities.get(index as usize)
    }

    fn counters(&self, destination: u32) -> Option<&Counters> {
        look_up("counters");
        self.simulation.counters(self.number, destination)
    }

    fn keep_fragment(&self, key: &FragmentKey) {
        if let Ok(mut kept) = self.simulation.kept_fragments.lock()
            && kept.len() < KEPT_FRAGMENTS
        {
            kept.push((*key, self.ingress, self.frame.octets()));
        }
    }

    fn tell(&self, change: Change) {
        self.simulation.told().push(change);
    }

    fn send_in_fragments(&self, interface: u32, mtu: u32, is_own: u32) -> bool {
        let frame = self.frame.octets();
        let mut large = self.simulation.large();
        if frame.len() > LARGE_MAX || large.len() == LARGE_PACKETS {
            return false;
        }
        large.push(Large { interface, mtu, is_own: is_own != 0, frame });
        true
    }

    fn remember_call(&self, key: &CallKey) {
        let Some(call) = self.handover().map(|handover| &handover.call) else { return };
        let octets = call.words.iter().flat_map(|word| word.load(order::PLAIN).to_le_bytes());
        let call = octets.take(call.length.load(order::PLAIN) as usize).collect();
        if let Ok(mut calls) = self.simulation.calls.lock() {
            calls.insert(*key, call);
        }
    }

    fn show(&self, event: u32) {
        self.simulation.shown().push((Event::ALL[event as usize], self.frame.octets()));
    }

    fn route4(&self, _source: u32, destination: u32, _length: u16) -> Option<Hop> {
        let to = IpAddr::V4(Ipv4Addr::from(destination.to_ne_bytes()));
        self.simulation.routes.get(&to).copied()
    }

    fn narrow4(&self, _source: u32, destination: u32, length: u16) -> Option<u32> {
        self.simulation.narrow(IpAddr::V4(Ipv4Addr::from(destination.to_ne_bytes())), length)
    }

    fn narrow6(&self, _source: [u64; 2], destination: [u64; 2], length: u16) -> Option<u32> {
        self.simulation.narrow(IpAddr::V6(Ipv6Addr::from(octets(destination))), length)
    }

    fn forwards4(&self, _source: u32, destination: u32) -> bool {
        !self.simulation.own.contains(&IpAddr::V4(Ipv4Addr::from(destination.to_ne_bytes())))
    }

    fn forwards6(&self, _source: [u64; 2], destination: [u64; 2]) -> bool {
        !self.simulation.own.contains(&IpAddr::V6(Ipv6Addr::from(octets(destination))))
    }

    fn route6(&self, _source: [u64; 2], destination: [u64; 2], _length: u16) -> Option<Hop> {
        let to = IpAddr::V6(Ipv6Addr::from(octets(destination)));
        self.simulation.routes.get(&to).copied()
    }
}
