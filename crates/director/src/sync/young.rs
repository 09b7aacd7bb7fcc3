//! Flows of protocols without states that have just begun. Others are told only of those that last: one request and its answer are over
//! before a failover. The walk through the table takes seconds to see that, so new ones are looked at again before.

use rlvs_switch::config::Tick;
use rlvs_switch::table::{Family, Meta};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a flow is looked at again, after it began.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(600), Duration::from_millis(1500)];

/// Flows that wait for each of them; what is more is left to the walk.
const MOST: usize = 1 << 16;

/// A packet and its answer may come so many ticks after each other.
const ANSWERED_WITHIN: i32 = 2;

/// The flows that are to be looked at again.
#[derive(Default)]
pub(super) struct Young {
    /// By the look that they wait for, oldest first.
    waiting: [VecDeque<Flow>; LOOKS.len()],
}

/// One of them, as it was when it began.
pub(super) struct Flow {
    /// The IP version whose table it is in.
    pub family: u8,
    /// Index of its slot.
    pub slot: u32,
    meta: Meta,
    expires: Tick,
    since: Instant,
    looks: usize,
}

impl Flow {
    /// A flow that has begun now.
    pub fn new<F: Family>(slot: u32, meta: Meta, expires: Tick) -> Flow {
        Flow { family: F::NUMBER, slot, meta, expires, since: Instant::now(), looks: 0 }
    }

    /// Whether the slot still holds it.
    pub fn is(&self, meta: Meta) -> bool {
        meta.is_live() && meta.same_version(self.meta)
    }

    /// Whether there have been packets since, if it is to expire then.
    pub fn lasts(&self, expires: Tick) -> bool {
        self.expires.until(expires) >= ANSWERED_WITHIN
    }
}

impl Young {
    /// Has a flow looked at again; nothing if it was often enough.
    pub fn wait(&mut self, flow: Flow) {
        if let Some(queue) = self.waiting.get_mut(flow.looks).filter(|queue| queue.len() < MOST) {
            queue.push_back(flow);
        }
    }

    /// A flow that it is time to look at.
    pub fn due(&mut self, now: Instant) -> Option<Flow> {
        let of = |(queue, after): (&mut VecDeque<Flow>, Duration)| {
            queue.pop_front_if(|flow| now.saturating_duration_since(flow.since) >= after)
        };
        let flow = self.waiting.iter_mut().zip(LOOKS).find_map(of)?;
        Some(Flow { looks: flow.looks + 1, ..flow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_switch::table::V4;

    #[test]
    fn each_flow_is_looked_at_some_times() {
        let mut young = Young::default();
        young.wait(Flow::new::<V4>(7, Meta(1), Tick(100)));
        let began = Instant::now();
        assert!(young.due(began).is_none());
        for after in LOOKS {
            let flow = young.due(began + after).unwrap();
            assert_eq!((flow.slot, flow.family), (7, 4));
            assert!(flow.is(Meta(1)) && !flow.is(Meta(0x1_0001)) && !flow.is(Meta(0)));
            assert!(!flow.lasts(Tick(101)) && flow.lasts(Tick(102)));
            young.wait(flow);
            assert!(young.due(began + after).is_none());
        }
        assert!(young.due(began + Duration::from_secs(60)).is_none());
    }
}
