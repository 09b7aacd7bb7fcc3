//! Replies that may be too large for the way to their client.

use super::{Step, drop_for, handed_over};
use crate::counters::Event;
use crate::forward;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::lookup::Found;
use crate::table::slot;

steps! {
    /// Sends the reply, in fragments if need be, or tells its sender.
    fit, fit6 => fit_in;
}

#[inline(always)]
fn fit_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(config) = platform.config() else { return Step::Done(Verdict::Pass) };
    let index = handed_over(platform, |words| &words.connection);
    if let Some(this) = slot::<P, F>(platform, index)
        && this.holds(&tuple)
        && let meta = this.meta()
        && meta.is_live()
        && let Some(entry) = this.entry(meta)
    {
        let found = Found { slot: this, index, meta };
        return forward::to_client_if_it_fits(
            platform,
            config,
            &frame,
            &found,
            (&entry.target(), entry.hop),
            tuple.destination,
        );
    }
    // Another connection has taken the slot just now.
    drop_for(platform, Event::Contended)
}
