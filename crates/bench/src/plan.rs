//! What the shim makes of the frame: the other side of `crates/xdp/src/bench.rs`.

use std::net::{IpAddr, Ipv4Addr};

/// Octets of IPv4 frames, and of IPv6 ones.
pub const LENGTH4: usize = 64;
pub const LENGTH6: usize = 80;
/// Words of the plan in its map.
pub const WORDS: usize = 16;
/// The first of the services that a plan may spread its flows over; the others have the addresses after it.
pub const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
/// TCP's flags.
pub const SYN: u8 = 2;
pub const ACK: u8 = 16;
/// The protocol's number.
const TCP: u8 = 6;
const HOPS: u8 = 64;

/// Frames of a number of flows, in an order that looks random.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub tcp_flags: u8,
    /// log2 of the number of flows.
    pub flows: u32,
    /// The first flow's number.
    pub base: u32,
    /// The client is the receiver.
    pub reply: bool,
    /// Walks of different rounds take different ways.
    pub round: u32,
    /// The flows come in the order that was drawn in advance.
    pub drawn: bool,
    /// Services from [`FIRST_SERVICE`] on that the flows are spread over; 0: that of the plan.
    pub services: u32,
}

impl Plan {
    /// As the shim reads it.
    pub fn words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        for (word, octets) in words.iter_mut().zip(self.template().chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(octets);
            *word = u64::from_ne_bytes(eight);
        }
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let (multiplier, increment) = if self.drawn {
            (1, 1)
        } else {
            // 5 modulo 8, and odd: the period is full.
            let multiplier = 0x9e37_79b1_u32.wrapping_mul(2 * self.round + 1) & !7 | 5;
            (multiplier, 0x7f4a_7c15_u32.wrapping_add(2 * self.round))
        };
        words[10] = pair(0, multiplier);
        words[11] = pair(increment, (1 << self.flows) - 1);
        words[12] = pair(self.base, self.reply.into());
        words[13] = pair(if self.destination.0.is_ipv6() { 6 } else { 4 }, self.drawn.into());
        words[14] = pair(self.services, self.flows);
        words[15] = pair(FIRST_SERVICE.to_bits(), 0);
        words
    }

    /// The frame with the client's address and port left as they are in the plan. Checksums are left out, for the switch
    /// changes them by difference, and looks at none; but for the IPv4 header's, which is right for clients of the plan's address.
    pub fn template(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8];
        match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00, 0x45, 0]);
                frame.extend(((LENGTH4 - 14) as u16).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, HOPS, TCP, 0, 0]); // don't fragment
                frame.extend([source.octets(), destination.octets()].concat());
                let words =
                    frame[14..].chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
                let sum: u32 = words.sum();
                let folded = (sum & 0xffff) + (sum >> 16);
                frame[24..26].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
            }
            (source, destination) => {
                let octets = |address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(((LENGTH6 - 54) as u16).to_be_bytes());
                frame.extend([TCP, HOPS]);
                frame.extend([octets(source), octets(destination)].concat());
            }
        }
        frame.extend(self.source.1.to_be_bytes());
        frame.extend(self.destination.1.to_be_bytes());
        frame.extend([0; 8]);
        frame.extend([5 << 4, self.tcp_flags]); // a header without options
        frame.resize(self.length(), 0);
        frame
    }

    /// Octets of the frame.
    pub fn length(&self) -> usize {
        if self.destination.0.is_ipv6() { LENGTH6 } else { LENGTH4 }
    }

    /// The client of a flow, as the shim has it: address in network order and port.
    pub fn client(flow: u32) -> (u32, u16) {
        ((10 << 24 | flow >> 4 & 0xff_ffff).to_be(), 0x8000 | (flow as u16 & 15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_walk_meets_all_flows_once() {
        for round in 0..6 {
            let endpoint = (IpAddr::from([127, 0, 0, 1]), 80);
            let plan = Plan {
                source: endpoint,
                destination: endpoint,
                tcp_flags: ACK,
                flows: 12,
                base: 0,
                reply: false,
                round,
                drawn: false,
                services: 0,
            };
            let words = plan.words();
            let (mask, multiplier, increment) =
                ((words[11] >> 32) as u32, (words[10] >> 32) as u32, words[11] as u32);
            let mut state = 0_u32;
            let met: HashSet<u32> = (0..1 << 12)
                .map(|_| {
                    state = state.wrapping_mul(multiplier).wrapping_add(increment) & mask;
                    state ^ state >> 5
                })
                .collect();
            assert_eq!(met.len(), 1 << 12, "round {round}");
        }
    }
}
