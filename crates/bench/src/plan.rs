//! What the shim makes of the frame: the other side of `crates/xdp/src/bench.rs`.

use std::net::Ipv4Addr;

/// Octets of the frames.
pub const LENGTH: usize = 64;
/// Words of the plan in its map.
pub const WORDS: usize = 11;
/// TCP's flags.
pub const SYN: u8 = 2;
pub const ACK: u8 = 16;

/// Frames of a number of flows, in an order that looks random.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    pub tcp_flags: u8,
    /// log2 of the number of flows.
    pub flows: u32,
    /// The first flow's number.
    pub base: u32,
    /// The client is the receiver.
    pub reply: bool,
    /// Walks of different rounds take different ways.
    pub round: u32,
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
        // 5 modulo 8, and odd: the period is full.
        let multiplier = 0x9e37_79b1_u32.wrapping_mul(2 * self.round + 1) & !7 | 5;
        let increment = 0x7f4a_7c15_u32.wrapping_add(2 * self.round);
        words[8] = pair(0, multiplier);
        words[9] = pair(increment, (1 << self.flows) - 1);
        words[10] = pair(self.base, self.reply.into());
        words
    }

    /// The frame with the client's address and port left as they are in the plan. Checksums are left out: the switch
    /// changes them by difference, and looks at none.
    pub fn template(&self) -> [u8; LENGTH] {
        let mut frame = [0; LENGTH];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8]);
        frame[12..14].copy_from_slice(&0x0800_u16.to_be_bytes());
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&((LENGTH - 14) as u16).to_be_bytes());
        frame[20] = 0x40; // don't fragment
        frame[22] = 64; // hops
        frame[23] = 6; // TCP
        frame[26..30].copy_from_slice(&self.source.0.octets());
        frame[30..34].copy_from_slice(&self.destination.0.octets());
        frame[34..36].copy_from_slice(&self.source.1.to_be_bytes());
        frame[36..38].copy_from_slice(&self.destination.1.to_be_bytes());
        frame[46] = 5 << 4; // TCP header without options
        frame[47] = self.tcp_flags;
        frame
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
            let endpoint = (Ipv4Addr::LOCALHOST, 80);
            let plan = Plan {
                source: endpoint,
                destination: endpoint,
                tcp_flags: ACK,
                flows: 12,
                base: 0,
                reply: false,
                round,
            };
            let words = plan.words();
            let (mask, multiplier, increment) =
                ((words[9] >> 32) as u32, (words[8] >> 32) as u32, words[9] as u32);
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
