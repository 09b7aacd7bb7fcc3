//! Packets that are too large for the way to their destination, and may be fragmented.
//!
//! The switch has made them ready to leave. From one frame it cannot make several, so it hands them here.

use super::cut::Cutter;
use super::wire::Wire;
use super::{BATCH, PAUSE};
use crate::error::DirectorError;
use aya::maps::{MapData, RingBuf};
use rlvs_switch::fragment::LargePacket;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use zerocopy::FromBytes;

/// The director's end of the switch's large packets.
pub struct LargePackets {
    ring: RingBuf<MapData>,
}

impl LargePackets {
    pub(crate) fn new(ring: RingBuf<MapData>) -> LargePackets {
        LargePackets { ring }
    }

    /// Sends them in fragments until the process ends.
    ///
    /// # Errors
    ///
    /// When there can be no packet socket, for which it takes root or CAP_NET_RAW, or the kernel does not tell of packets.
    pub async fn run(mut self) -> Result<(), DirectorError> {
        let failed = |reason| DirectorError::System { action: "wait for packets to fragment", reason };
        let wire = Wire::open()
            .map_err(|reason| DirectorError::System { action: "open a packet socket", reason })?;
        let mut cutter = Cutter::new();
        // Nobody waits any more for what came while no director ran.
        while self.ring.next().is_some() {}
        // SAFETY: the ring has its descriptor open until it is dropped, and gives no other one meanwhile.
        #[allow(unsafe_code, reason = "a descriptor that the runtime waits for")]
        let ring = unsafe { AsyncFd::register(self.ring) };
        let mut ring = ring.map_err(|error| failed(error.into()))?;
        loop {
            let mut ready = ring.readable_mut().await.map_err(failed)?;
            if send(ready.get_inner_mut(), &mut cutter, &wire) < BATCH {
                ready.clear_ready();
            } else {
                sleep(PAUSE).await;
            }
        }
    }
}

/// Sends a batch of what is in the ring; how many there were.
fn send(ring: &mut RingBuf<MapData>, cutter: &mut Cutter, wire: &Wire) -> usize {
    for taken in 0..BATCH {
        let Some(item) = ring.next() else { return taken };
        let Ok((large, _)) = LargePacket::ref_from_prefix(&item) else { continue };
        let Some(frame) = large.frame.get(..large.length as usize) else { continue };
        for fragment in cutter.cut(frame, large.mtu as usize, large.is_own != 0) {
            if let Err(error) = wire.send(large.interface, &fragment) {
                tracing::debug!("a fragment is lost: {error}");
                break;
            }
        }
    }
    BATCH
}
