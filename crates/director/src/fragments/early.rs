//! Fragments that came before the first of their packet.
//!
//! The switch can tell the connection of a fragment only after the packet's first one, and cannot wait. So it hands a
//! copy here, and here it waits: as soon as the first one has left its record, the copy goes through the first step
//! again, as if it had just come in by its interface. What is none of the switch's business never gets a record, and is forgotten.

use super::{BATCH, PAUSE};
use crate::error::DirectorError;
use crate::tables;
use aya::maps::{HashMap, MapData, RingBuf};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use rlvs_switch::fragment::{EarlyFragment, FragmentKey, FragmentRecord};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until};
use zerocopy::{FromBytes, IntoBytes};

/// How long a receiver waits for the rest of a packet.
const LIFE: Duration = Duration::from_secs(30);

/// After so long it is looked for the first one again; then after twice the time, and so on.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// Fragments that wait; the oldest goes when there are more.
const WAITING_MAX: usize = 512;

/// The records that first fragments leave, in the map's own form.
pub(crate) type Records = HashMap<MapData, [u8; size_of::<FragmentKey>()], [u8; size_of::<FragmentRecord>()]>;

/// The director's end of the switch's early fragments.
pub struct EarlyFragments {
    ring: RingBuf<MapData>,
    waiting: Waiting,
}

impl EarlyFragments {
    pub(crate) fn new(ring: RingBuf<MapData>, records: Records, first_step: Xdp) -> EarlyFragments {
        EarlyFragments { ring, waiting: Waiting { records, first_step, fragments: VecDeque::new() } }
    }

    /// Gives fragments back to the switch when it is time, until the process ends.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell of new fragments.
    pub async fn run(self) -> Result<(), DirectorError> {
        let failed = |reason| DirectorError::System { action: "wait for early fragments", reason };
        // SAFETY: the ring has its descriptor open until it is dropped, and gives no other one meanwhile.
        #[allow(unsafe_code, reason = "a descriptor that the runtime waits for")]
        let ring = unsafe { AsyncFd::register(self.ring) };
        let mut ring = ring.map_err(|error| failed(error.into()))?;
        let mut waiting = self.waiting;
        loop {
            let due = waiting.due();
            tokio::select! {
                ready = ring.readable_mut() => {
                    let mut ready = ready.map_err(failed)?;
                    if waiting.take(ready.get_inner_mut()) < BATCH {
                        ready.clear_ready();
                    } else {
                        sleep(PAUSE).await;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            waiting.give_back(Instant::now());
        }
    }
}

/// Fragments whose first one has not been seen.
struct Waiting {
    records: Records,
    first_step: Xdp,
    fragments: VecDeque<Fragment>,
}

struct Fragment {
    key: FragmentKey,
    interface: u32,
    frame: Vec<u8>,
    /// When it is looked for the first one next.
    due: Instant,
    /// How long after that again.
    wait: Duration,
    end: Instant,
}

impl Waiting {
    fn due(&self) -> Option<Instant> {
        self.fragments.iter().map(|fragment| fragment.due).min()
    }

    /// Takes a batch out of the ring; how many there were.
    fn take(&mut self, ring: &mut RingBuf<MapData>) -> usize {
        let now = Instant::now();
        for taken in 0..BATCH {
            let Some(item) = ring.next() else { return taken };
            let Ok((early, _)) = EarlyFragment::ref_from_prefix(&item) else { continue };
            let Some(frame) = early.frame.get(..early.length as usize) else { continue };
            if self.fragments.len() == WAITING_MAX {
                self.fragments.pop_front();
            }
            self.fragments.push_back(Fragment {
                key: early.key,
                interface: early.interface,
                frame: frame.to_vec(),
                due: now,
                wait: FIRST_WAIT,
                end: now + LIFE,
            });
        }
        BATCH
    }

    /// Looks for the first ones of those that are due.
    fn give_back(&mut self, now: Instant) {
        let Waiting { records, first_step, fragments } = self;
        fragments.retain_mut(|fragment| {
            if fragment.due > now {
                return true;
            }
            if has_first(records, &fragment.key) {
                if let Err(error) = receive(first_step, fragment) {
                    tracing::debug!("a fragment is lost: {error}");
                }
                return false;
            }
            fragment.due = now + fragment.wait;
            fragment.wait *= 2;
            fragment.due < fragment.end
        });
    }
}

/// Whether the first fragment has left its record.
fn has_first(records: &Records, key: &FragmentKey) -> bool {
    let mut octets = [0; size_of::<FragmentKey>()];
    octets.copy_from_slice(key.as_bytes());
    let Ok(value) = records.get(&octets, 0) else { return false };
    FragmentRecord::read_from_bytes(&value).is_ok_and(|record| record.is_valid(tables::now()))
}

/// Has the kernel run the first step on the frame, and do as it says (BPF_F_TEST_XDP_LIVE_FRAMES).
fn receive(first_step: &Xdp, fragment: &Fragment) -> Result<(), aya::programs::ProgramError> {
    // `struct xdp_md` of linux/bpf.h: data, its end, its metadata; interface and queue that it came in by; interface that it leaves by.
    let context = [0, fragment.frame.len() as u32, 0, fragment.interface, 0, 0];
    let options = TestRunOptions {
        data_in: Some(&fragment.frame),
        ctx_in: Some(context.as_bytes()),
        attrs: TestRunAttrs::new().xdp_live_frames(1),
        ..TestRunOptions::new()
    };
    first_step.test_run(options).map(drop)
}
