//! Mark rules: which packets carry which firewall mark.
//!
//! Netfilter sets its marks after XDP has seen the frame, so the switch has rules of its own. They are looked at in
//! order for a packet that may open a connection, and **the first that matches decides**, also if its mark is 0, which
//! leaves the packet unmarked.

use core::ops::ControlFlow;

use crate::cell::AtomicU32;
use crate::ip::Ip;
use crate::order;
use crate::platform::View;
use crate::table::Tuple;

/// Most rules. The kernel verifies the walk step by step.
pub const RULES_MAX: u32 = 1024;

/// Lists of rules: the valid one, and one that the director prepares.
pub const LISTS: u32 = 2;

/// A rule, in shared memory, written by the director. A packet matches if all of it does.
///
/// What a rule leaves open has a mask of 0, so that a match is one chain of operations: a branch for each condition would
/// be one more for the kernel's verifier to follow, in each step of the walk.
#[derive(Default)]
#[repr(C, align(64))]
pub struct MarkRule {
    /// The mark that matching packets get; 0: none.
    pub mark: AtomicU32,
    /// [`family_bit`]s of the IP versions that it is for.
    pub families: AtomicU32,
    /// [`rlvs_packet::protocol`].
    pub protocol: AtomicU32,
    /// Bits of the protocol that matter: all or none.
    pub protocol_mask: AtomicU32,
    /// Index of the interface that packets come in by; [`NO_INTERFACE`] while there is none of its name.
    pub interface: AtomicU32,
    /// Bits of the interface that matter: all or none.
    pub interface_mask: AtomicU32,
    /// Source address in network order; IPv4 takes the first word.
    pub source: [AtomicU32; 4],
    /// Its bits that matter.
    pub source_mask: [AtomicU32; 4],
    /// Destination address, likewise.
    pub destination: [AtomicU32; 4],
    /// Its bits that matter.
    pub destination_mask: [AtomicU32; 4],
    /// First and last source port in host order, `first | last << 16`.
    pub source_ports: AtomicU32,
    /// First and last destination port, likewise.
    pub destination_ports: AtomicU32,

    /// Director only: 1 if the rule comes from the configuration file.
    pub configured: AtomicU32,
    /// Director only: name of the interface, padded with zeros; empty: any.
    pub interface_name: [AtomicU32; 4],
}

/// A rule as a value; the default matches all packets and leaves them unmarked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The mark that matching packets get; 0: none.
    pub mark: u32,
    /// [`family_bit`]s of the IP versions that it is for.
    pub families: u32,
    /// [`rlvs_packet::protocol`]; `None`: any.
    pub protocol: Option<u8>,
    /// Index of the interface that packets come in by; `None`: any.
    pub interface: Option<u32>,
    /// Where packets come from.
    pub source: Prefix,
    /// Where they go.
    pub destination: Prefix,
    /// First and last source port, in host order.
    pub source_ports: (u16, u16),
    /// First and last destination port, in host order.
    pub destination_ports: (u16, u16),
}

/// Addresses that have some bits in common, as words in network order; IPv4 takes the first word. The default has all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// The bits.
    pub address: [u32; 4],
    /// Which bits.
    pub mask: [u32; 4],
}

impl Default for Rule {
    fn default() -> Self {
        Rule {
            mark: 0,
            families: family_bit(4) | family_bit(6),
            protocol: None,
            interface: None,
            source: Prefix::default(),
            destination: Prefix::default(),
            source_ports: (0, u16::MAX),
            destination_ports: (0, u16::MAX),
        }
    }
}

impl MarkRule {
    /// Writes the rule's part that the switch reads.
    pub fn store(&self, rule: &Rule) {
        let optional = |value: &AtomicU32, mask: &AtomicU32, wanted: Option<u32>| {
            value.store(wanted.unwrap_or(0), order::PLAIN);
            mask.store(if wanted.is_some() { u32::MAX } else { 0 }, order::PLAIN);
        };
        self.mark.store(rule.mark, order::PLAIN);
        self.families.store(rule.families, order::PLAIN);
        optional(&self.protocol, &self.protocol_mask, rule.protocol.map(u32::from));
        optional(&self.interface, &self.interface_mask, rule.interface);
        for i in 0..4 {
            self.source[i].store(rule.source.address[i], order::PLAIN);
            self.source_mask[i].store(rule.source.mask[i], order::PLAIN);
            self.destination[i].store(rule.destination.address[i], order::PLAIN);
            self.destination_mask[i].store(rule.destination.mask[i], order::PLAIN);
        }
        let range = |(first, last): (u16, u16)| first as u32 | (last as u32) << 16;
        self.source_ports.store(range(rule.source_ports), order::PLAIN);
        self.destination_ports.store(range(rule.destination_ports), order::PLAIN);
    }

    /// The reverse of [`Self::store`].
    pub fn load(&self) -> Rule {
        let optional = |value: &AtomicU32, mask: &AtomicU32| {
            (mask.load(order::PLAIN) != 0).then(|| value.load(order::PLAIN))
        };
        let words = |cells: &[AtomicU32; 4]| core::array::from_fn(|i| cells[i].load(order::PLAIN));
        let range = |cell: &AtomicU32| {
            let range = cell.load(order::PLAIN);
            (range as u16, (range >> 16) as u16)
        };
        Rule {
            mark: self.mark.load(order::PLAIN),
            families: self.families.load(order::PLAIN),
            protocol: optional(&self.protocol, &self.protocol_mask).map(|protocol| protocol as u8),
            interface: optional(&self.interface, &self.interface_mask),
            source: Prefix { address: words(&self.source), mask: words(&self.source_mask) },
            destination: Prefix { address: words(&self.destination), mask: words(&self.destination_mask) },
            source_ports: range(&self.source_ports),
            destination_ports: range(&self.destination_ports),
        }
    }
}

impl MarkLists {
    /// Number of the valid list.
    #[inline(always)]
    pub fn current(&self) -> u32 {
        self.current.load(order::LOAD) & (LISTS - 1)
    }

    /// Rules of this list.
    #[inline(always)]
    pub fn length(&self, list: u32) -> u32 {
        self.length[(list & (LISTS - 1)) as usize].load(order::PLAIN)
    }

    /// Makes `list`, of so many rules, the valid one.
    pub fn publish(&self, list: u32, length: u32) {
        self.length[(list & (LISTS - 1)) as usize].store(length, order::PLAIN);
        self.current.store(list, order::PUBLISH);
    }
}

/// No interface has this index.
pub const NO_INTERFACE: u32 = u32::MAX;

/// Which list of rules is valid, and how long each is.
#[derive(Default)]
#[repr(C)]
pub struct MarkLists {
    /// The valid list. List `n` begins at rule `n *` [`RULES_MAX`].
    pub current: AtomicU32,
    /// Rules of each list.
    pub length: [AtomicU32; LISTS as usize],
}

/// The bit for an IP version, 4 or 6, in [`MarkRule::families`].
#[inline(always)]
pub const fn family_bit(family: u8) -> u32 {
    if family == 6 { 2 } else { 1 }
}

/// The mark of a packet; 0 if it has none.
#[inline(always)]
pub(crate) fn mark_of<P: View, F: Ip>(platform: &P, tuple: &Tuple<F>) -> u32 {
    let Some(config) = platform.config() else { return 0 };
    let current = config.marks.current();
    let length = config.marks.length(current).min(RULES_MAX);
    let first = current * RULES_MAX;
    let packet = Packet {
        source: pairs(F::words(tuple.source)),
        destination: pairs(F::words(tuple.destination)),
        ports: tuple.ports.map(|port| u16::from_be_bytes(port) as u32),
        protocol: tuple.protocol as u32,
        interface: platform.ingress(),
        family: family_bit(F::NUMBER),
    };
    let [mark] = platform.repeat(length, [0], |number, [mark]| {
        let Some(rule) = platform.mark_rule(first.wrapping_add(number)) else {
            return ControlFlow::Break(());
        };
        if packet.differs_from(rule) != 0 {
            return ControlFlow::Continue(());
        }
        *mark = rule.mark.load(order::PLAIN) as u64;
        ControlFlow::Break(())
    });
    mark as u32
}

/// What rules look at.
struct Packet {
    source: [u64; 2],
    destination: [u64; 2],
    ports: [u32; 2],
    protocol: u32,
    interface: u32,
    family: u32,
}

impl Packet {
    /// 0 if the packet matches.
    #[inline(always)]
    fn differs_from(&self, rule: &MarkRule) -> u32 {
        let differs = |cell: &AtomicU32, mask: &AtomicU32, value: u32| {
            (cell.load(order::PLAIN) ^ value) & mask.load(order::PLAIN)
        };
        let mut difference = self.family & !rule.families.load(order::PLAIN)
            | differs(&rule.protocol, &rule.protocol_mask, self.protocol)
            | differs(&rule.interface, &rule.interface_mask, self.interface)
            | outside(&rule.source_ports, self.ports[0])
            | outside(&rule.destination_ports, self.ports[1]);
        let mut i = 0;
        while i < 4 {
            let word = |pairs: &[u64; 2]| (pairs[i / 2] >> (32 * (i % 2))) as u32;
            difference |= differs(&rule.source[i], &rule.source_mask[i], word(&self.source))
                | differs(&rule.destination[i], &rule.destination_mask[i], word(&self.destination));
            i += 1;
        }
        difference
    }
}

/// An address's words, two in one, the first one lower: on the verifier's stack all that is kept must be aligned to 8 octets.
#[inline(always)]
fn pairs(words: [u32; 4]) -> [u64; 2] {
    [words[0] as u64 | (words[1] as u64) << 32, words[2] as u64 | (words[3] as u64) << 32]
}

/// 0 if the port is within the range, by the sign of two differences.
#[inline(always)]
fn outside(range: &AtomicU32, port: u32) -> u32 {
    let range = range.load(order::PLAIN);
    (port.wrapping_sub(range & 0xffff) | (range >> 16).wrapping_sub(port)) >> 31
}
