//! One CPU with one frame.

use super::{CLIENT_SIDE, SPLIT_MIX_STEP, Simulation, split_mix};
use crate::cell::AtomicU32;
use crate::config::{Config, Tick};
use crate::counters::{Counters, Event};
use crate::destination::{Destination, Hop};
use crate::fragment::{FragmentKey, FragmentRecord};
use crate::frame::octets;
use crate::mark::MarkRule;
use crate::order;
use crate::platform::{Memory, Platform, View};
use crate::scheduler::hash::TablePart;
use crate::scheduler::locality;
use crate::service::{Service, ServiceKey};
use crate::steps::Handover;
use crate::table::{Bucket4, Bucket6};
use core::cell::RefCell;
use core::sync::atomic::Ordering::SeqCst;
use rlvs_packet::checksum::fold;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Octets before a frame that it can grow into, as many as the kernel's XDP hook gives.
pub const HEADROOM: usize = 256;

/// What fills room that a frame has grown into: the kernel leaves anything there.
const UNDEFINED: u8 = 0xa5;

/// A CPU of a [`Simulation`] with a frame that has come in.
pub struct Cpu<'a> {
    simulation: &'a Simulation,
    number: usize,
    ingress: u32,
    frame: RefCell<Frame>,
}

struct Frame {
    octets: Vec<u8>,
    start: usize,
}

impl<'a> Cpu<'a> {
    /// A CPU of this number (below [`super::CPUS`]) with a frame that came in by this interface.
    pub fn new(simulation: &'a Simulation, number: usize, ingress: u32, frame: &[u8]) -> Cpu<'a> {
        let held = Frame { octets: [&[UNDEFINED; HEADROOM], frame].concat(), start: HEADROOM };
        Cpu { simulation, number, ingress, frame: RefCell::new(held) }
    }

    /// The first CPU with a frame that has so little room before it, as after another program has used it up.
    pub fn with_headroom(simulation: &'a Simulation, headroom: usize, frame: &[u8]) -> Cpu<'a> {
        let held = Frame { octets: [&vec![UNDEFINED; headroom], frame].concat(), start: headroom };
        Cpu { simulation, number: 0, ingress: CLIENT_SIDE, frame: RefCell::new(held) }
    }

    /// The frame as it is now.
    pub fn into_frame(self) -> Vec<u8> {
        let mut frame = self.frame.into_inner();
        frame.octets.split_off(frame.start)
    }
}

impl Memory for Cpu<'_> {
    fn config(&self) -> Option<&Config> {
        self.simulation.config()
    }

    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        self.simulation.bucket4(index)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        self.simulation.bucket6(index)
    }

    fn destination(&self, index: u32) -> Option<&Destination> {
        self.simulation.destination(index)
    }

    fn count(&self, event: Event) {
        self.simulation.count(event);
    }

    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        self.simulation.exchange(cell, old, new)
    }

    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        self.simulation.add(cell, n)
    }

    fn interleave(&self) {
        self.simulation.interleave();
    }
}

/// Early fragments that are kept.
const KEPT_FRAGMENTS: usize = 1 << 10;

impl View for Cpu<'_> {
    fn read<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        let frame = self.frame.borrow();
        let octets = frame.octets[frame.start..].get(offset..)?;
        T::read_from_prefix(octets).ok().map(|(value, _)| value)
    }

    fn length(&self) -> usize {
        let frame = self.frame.borrow();
        frame.octets.len() - frame.start
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn now(&self) -> Tick {
        self.simulation.now()
    }

    fn find_service(&self, key: &ServiceKey) -> Option<u32> {
        self.simulation.service_index.get(key).copied()
    }

    fn mark_rule(&self, index: u32) -> Option<&MarkRule> {
        self.simulation.mark_rules.get(index as usize)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentRecord> {
        self.simulation.fragments.lock().ok()?.get(key).copied()
    }

    fn remember_fragment(&self, key: &FragmentKey, record: &FragmentRecord) {
        if let Ok(mut fragments) = self.simulation.fragments.lock() {
            fragments.insert(*key, *record);
        }
    }

    fn handover(&self) -> Option<&Handover> {
        self.simulation.handovers.get(self.number)
    }
}

impl Platform for Cpu<'_> {
    fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Option<()> {
        let mut frame = self.frame.borrow_mut();
        let start = frame.start;
        value.write_to_prefix(frame.octets[start..].get_mut(offset..)?).ok()
    }

    fn sum(&self, offset: usize, length: usize) -> Option<u16> {
        let frame = self.frame.borrow();
        let octets = frame.octets[frame.start..].get(offset..offset + length)?;
        let words =
            octets.chunks(2).map(|word| u16::from_ne_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        Some(fold(words.map(u64::from).sum()))
    }

    fn load(&self, offset: usize, length: usize, words: &[AtomicU32; 32]) -> Option<()> {
        let frame = self.frame.borrow();
        let octets = frame.octets[frame.start..].get(offset..offset + length.min(128))?;
        for (word, octets) in words.iter().zip(octets.chunks(4)) {
            let mut four = [0; 4];
            four[..octets.len()].copy_from_slice(octets);
            word.store(u32::from_le_bytes(four), order::PLAIN);
        }
        Some(())
    }

    fn store(&self, offset: usize, length: usize, words: &[AtomicU32; 32]) -> Option<()> {
        let frame = &mut *self.frame.borrow_mut();
        let octets = frame.octets[frame.start..].get_mut(offset..offset + length.min(128))?;
        for (word, octets) in words.iter().zip(octets.chunks_mut(4)) {
            octets.copy_from_slice(&word.load(order::PLAIN).to_le_bytes()[..octets.len()]);
        }
        Some(())
    }

    fn move_head(&self, by: i32) -> bool {
        let mut frame = self.frame.borrow_mut();
        match frame.start.checked_add_signed(by as isize) {
            Some(start) if start < frame.octets.len() => {
                let old = frame.start;
                frame.octets[start.min(old)..old].fill(UNDEFINED);
                frame.start = start;
                true
            }
            _ => false,
        }
    }

    fn move_tail(&self, by: i32) -> bool {
        let mut frame = self.frame.borrow_mut();
        match frame.octets.len().checked_add_signed(by as isize) {
            Some(end) if by <= 0 && end > frame.start => {
                frame.octets.truncate(end);
                true
            }
            _ => false,
        }
    }

    fn random(&self) -> u32 {
        // Steps as wide as SplitMix64's own, so that each call gives the sequence's next number.
        let mut state = self.simulation.random.fetch_add(SPLIT_MIX_STEP, SeqCst);
        (split_mix(&mut state) >> 32) as u32
    }

    fn stripe(&self, index: u32) -> Option<&AtomicU32> {
        self.simulation.stripes.get(index as usize)
    }

    fn service(&self, index: u32) -> Option<&Service> {
        self.simulation.services.get(index as usize)
    }

    fn member(&self, index: u32) -> Option<u32> {
        self.simulation.members.get(index as usize).copied()
    }

    fn table_part(&self, index: u32) -> Option<&TablePart> {
        self.simulation.hash_tables.get(index as usize)
    }

    fn locality(&self, index: u32) -> Option<&locality::Bucket> {
        self.simulation.localities.get(index as usize)
    }

    fn counters(&self, destination: u32) -> Option<&Counters> {
        self.simulation.counters(self.number, destination)
    }

    fn keep_fragment(&self, key: &FragmentKey) {
        let frame = self.frame.borrow();
        if let Ok(mut kept) = self.simulation.kept_fragments.lock()
            && kept.len() < KEPT_FRAGMENTS
        {
            kept.push((*key, self.ingress, frame.octets[frame.start..].to_vec()));
        }
    }

    fn show(&self, event: u32) {
        let frame = self.frame.borrow();
        self.simulation.shown().push((Event::ALL[event as usize], frame.octets[frame.start..].to_vec()));
    }

    fn route4(&self, _source: u32, destination: u32, _length: u16) -> Option<Hop> {
        let to = IpAddr::V4(Ipv4Addr::from(destination.to_ne_bytes()));
        self.simulation.routes.get(&to).copied()
    }

    fn route6(&self, _source: [u64; 2], destination: [u64; 2], _length: u16) -> Option<Hop> {
        let to = IpAddr::V6(Ipv6Addr::from(octets(destination)));
        self.simulation.routes.get(&to).copied()
    }
}
