//! Fragments, ICMP errors about connections, packets with IPv6 extension headers.

use super::established::switch;
use super::seen::Seen;
use super::{Program, Step};
use crate::counters::Event;
use crate::frame::{Content, Link};
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::table::lookup::{Found, locate};
use crate::table::slot;
use rlvs_packet::protocol;

steps! {
    /// Switches them as the first step does plain packets.
    process, process6 => uncommon;
}

#[inline(always)]
fn uncommon<P: Platform, F: Seen>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Next(Program::TunnelError) };
    if frame.content == Content::EarlyFragment {
        platform.count(Event::Fragment);
        platform.keep_fragment(&F::key(&tuple, frame.detail));
        return Step::Done(Verdict::Pass);
    }
    // SCTP and IPsec take the first step only: the verifier has no room for them here.
    if frame.protocol != protocol::TCP && frame.protocol != protocol::UDP {
        return Step::Done(Verdict::Pass);
    }
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let hash = F::hash(config, &tuple);
    let found = locate(platform, &tuple, hash)
        .and_then(|(index, meta)| slot::<P, F>(platform, index).map(|slot| Found { slot, index, meta }));
    let may_be_gue = frame.content == Content::Error && frame.protocol == protocol::UDP;
    if may_be_gue && found.is_none() && config.settings.schedule_icmp.load(order::PLAIN) == 0 {
        return Step::Next(Program::TunnelError);
    }
    switch(platform, config, link, &frame, (&tuple, hash), found)
}
