//! The inner header: whether it is for a VIP, and congestion that was marked on the way through the tunnel.

use crate::frame::{Address, at, mapped, words};
use crate::{VIPS, outcome};
use aya_ebpf::programs::XdpContext;
use rlvs_packet::checksum;
use rlvs_packet::ipv4::Ipv4;
use rlvs_packet::ipv6::Ipv6;
use zerocopy::network_endian::U32;

/// "Congestion experienced", of the two ECN bits (RFC 3168, 5).
const CE: u8 = 3;

/// Takes the mark of congestion over into the IPv4 header at `offset`; else the outcome.
#[inline(always)]
pub fn take_over_v4(ctx: &XdpContext, offset: usize, outer_ecn: u8) -> Result<(), u32> {
    let header = at::<Ipv4>(ctx, offset).ok_or(outcome::MALFORMED)?;
    // SAFETY: `at` has compared the whole header with the end of the frame; there is no other reference into it.
    let header = unsafe { &mut *header };
    if header.version_length >> 4 != 4 {
        return Err(outcome::MALFORMED);
    }
    if !is_vip(&mapped(header.destination)) {
        return Err(outcome::NOT_VIP);
    }
    if outer_ecn == CE && header.tos & CE != CE {
        if header.tos & CE == 0 {
            return Err(outcome::CONGESTED);
        }
        let before = [header.version_length, header.tos];
        header.tos |= CE;
        let after = [header.version_length, header.tos];
        header.checksum = checksum::update16(header.checksum, before, after);
    }
    Ok(())
}

/// The same for IPv6.
#[inline(always)]
pub fn take_over_v6(ctx: &XdpContext, offset: usize, outer_ecn: u8) -> Result<(), u32> {
    let header = at::<Ipv6>(ctx, offset).ok_or(outcome::MALFORMED)?;
    // SAFETY: as in `take_over_v4`.
    let header = unsafe { &mut *header };
    let start = header.version_class_flow.get();
    if start >> 28 != 6 {
        return Err(outcome::MALFORMED);
    }
    if !is_vip(&words(header.destination)) {
        return Err(outcome::NOT_VIP);
    }
    let ecn = header.traffic_class() & CE;
    if outer_ecn == CE && ecn != CE {
        if ecn == 0 {
            return Err(outcome::CONGESTED);
        }
        header.version_class_flow = U32::new(start | u32::from(CE) << 20);
    }
    Ok(())
}

#[inline(always)]
fn is_vip(address: &Address) -> bool {
    VIPS.get_ptr(address).is_some()
}
