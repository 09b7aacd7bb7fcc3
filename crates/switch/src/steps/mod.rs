//! A packet's way through the director, in steps.
//!
//! The switch is cut into steps because each is a program of its own in the kernel, with a stack and a verification of
//! its own; established connections need the first one only. What one step has to tell the next is in [`Handover`].

#[macro_use]
mod version;

mod bypass;
mod call;
mod create;
mod create_reply;
mod cut;
mod deliver;
mod encapsulate;
mod end;
mod established;
mod fit;
mod ftp;
mod hash;
mod import;
mod local_out;
mod locality;
mod once;
mod open;
mod persist;
mod reject;
mod schedule;
mod seen;
mod tunnel_error;
mod uncommon;
mod watch;

use crate::cell::{AtomicU32, AtomicU64};
use crate::counters::Event;
use crate::frame::Link;
use crate::ftp::text::Text;
use crate::order;
use crate::platform::{Platform, Verdict, View};
use crate::sip::{CallId, Message};
use crate::table::{Family, Target};
use rlvs_packet::icmp::Cause;

pub use local_out::local_out;
pub use open::found_by;

/// What is to be done with a frame next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is decided.
    Done(Verdict),
    /// Go on with this program.
    Next(Program),
}

/// Declares [`Program`] with each one's name in the object and the function that it runs.
macro_rules! programs {
    ($($(#[$doc:meta])* $program:ident = $name:literal => $function:path,)*) => {
        /// The steps, as programs; their numbers are their places in the table that tail calls go through.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Program { $($(#[$doc])* $program,)* }

        impl Program {
            /// All programs, in the order of their numbers.
            pub const ALL: &'static [Program] = &[$(Program::$program,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The program's name in the object.
            pub const fn name(self) -> &'static str {
                match self { $(Program::$program => $name,)* }
            }

            /// Runs it on the platform's frame.
            #[inline(always)]
            pub fn run<P: Platform>(self, platform: &P) -> Step {
                match self { $(Program::$program => $function(platform),)* }
            }
        }
    };
}

programs! {
    /// First, for every frame: switches packets of known connections, and sees which packets are none of the switch's business.
    Director = "director" => established::process,
    /// Switches fragments, ICMP errors about connections, and packets with extension headers.
    Uncommon = "uncommon" => uncommon::process,
    /// The same for IPv6.
    Uncommon6 = "uncommon6" => uncommon::process6,
    /// Tells clients of ICMP errors from the way of their tunnel.
    TunnelError = "tunnel_error" => tunnel_error::tunnel_error,
    /// Finds the [`Handover::mark`] of a packet that may open a connection, if there are marks' services.
    Classify = "classify" => open::classify,
    /// Finds the service for a packet that may open a connection.
    Open = "open" => open::open,
    /// Finds the call that a datagram belongs to, if the service tells calls apart.
    Call = "call" => call::call,
    /// The same for IPv6.
    Call6 = "call6" => call::call6,
    /// Looks for the client's template, if the service is persistent.
    Persist = "persist" => persist::persist,
    /// The same for IPv6.
    Persist6 = "persist6" => persist::persist6,
    /// Makes a template to the [`Handover::destination`].
    CreateTemplate = "create_template" => persist::create_template,
    /// The same for IPv6.
    CreateTemplate6 = "create_template6" => persist::create_template6,
    /// Sends the packet to the [`Handover::destination`], and remembers nothing.
    Once = "once" => once::once,
    /// The same for IPv6.
    Once6 = "once6" => once::once6,
    /// Sends a real server's datagram to the client as the service's, and remembers nothing.
    OnceBack = "once_back" => call::once_back,
    /// The same for IPv6.
    OnceBack6 = "once_back6" => call::once_back6,
    /// Has the scheduler of the [`Handover::list`] choose a destination.
    Schedule = "schedule" => schedule::schedule,
    /// Puts the new connection to the [`Handover::destination`] into its home in the table, and sends its packet on as the first step would.
    Create = "create" => create::create,
    /// The same for IPv6.
    Create6 = "create6" => create::create6,
    /// Puts it where there is room, if its home bucket has none, or its tuple may be in the table already.
    Elsewhere = "elsewhere" => create::elsewhere,
    /// The same for IPv6.
    Elsewhere6 = "elsewhere6" => create::elsewhere6,
    /// With NAT: the entry for the replies of the [`Handover::connection`].
    CreateReply = "create_reply" => create_reply::create_reply,
    /// The same for IPv6.
    CreateReply6 = "create_reply6" => create_reply::create_reply6,
    /// Puts a connection without a destination into the table, for a service of a mark that has none.
    OpenBypass = "open_bypass" => bypass::open_bypass,
    /// The same for IPv6.
    OpenBypass6 = "open_bypass6" => bypass::open_bypass6,
    /// Sends the packet of the [`Handover::connection`], which has no destination, to where it was going.
    Bypass = "bypass" => bypass::bypass,
    /// The same for IPv6.
    Bypass6 = "bypass6" => bypass::bypass6,
    /// Sends the packet to the [`Handover::destination`] through a tunnel: GUE or GRE.
    Encapsulate = "encapsulate" => encapsulate::encapsulate,
    /// The same for IPv6, and all tunnels.
    Encapsulate6 = "encapsulate6" => encapsulate::encapsulate6,
    /// Sends an IPv4 packet to the [`Handover::destination`] in fragments, by NAT or direct routing.
    Cut = "cut" => cut::cut,
    /// Sends the reply of the [`Handover::connection`], which is larger than some interface takes, to the client.
    Fit = "fit" => fit::fit,
    /// The same for IPv6.
    Fit6 = "fit6" => fit::fit6,
    /// Reads a client's packet of an FTP control connection over NAT.
    FtpCommand = "ftp_command" => ftp::command,
    /// The same for IPv6.
    FtpCommand6 = "ftp_command6" => ftp::command6,
    /// Reads a server's packet of an FTP control connection over NAT.
    FtpAnswer = "ftp_answer" => ftp::answer,
    /// The same for IPv6.
    FtpAnswer6 = "ftp_answer6" => ftp::answer6,
    /// Puts a data connection to come into the table.
    FtpExpect = "ftp_expect" => ftp::expect,
    /// The same for IPv6.
    FtpExpect6 = "ftp_expect6" => ftp::expect6,
    /// The entry for the replies of the [`Handover::data`] connection.
    FtpExpectReply = "ftp_expect_r" => ftp::expect_reply,
    /// The same for IPv6.
    FtpExpectReply6 = "ftp_expect_r6" => ftp::expect_reply6,
    /// Sends on the packet of the control connection in [`Handover::connection`].
    FtpDeliver = "ftp_deliver" => ftp::deliver,
    /// The same for IPv6.
    FtpDeliver6 = "ftp_deliver6" => ftp::deliver6,
    /// Sees whether a packet opens a data connection to come.
    FtpData = "ftp_data" => ftp::data,
    /// The same for IPv6.
    FtpData6 = "ftp_data6" => ftp::data6,
    /// Not for packets: puts a connection that another director tells of ([`crate::sync::Import`]) into the table.
    Import = "import" => import::import4,
    /// The same for IPv6.
    Import6 = "import6" => import::import6,
    /// With NAT: the entry for the replies of that connection.
    ImportReply = "import_reply" => import::import_reply4,
    /// The same for IPv6.
    ImportReply6 = "import_reply6" => import::import_reply6,
    /// Ends the [`Handover::connection`], whose destination was deleted together with its connections.
    End = "end" => end::end,
    /// The same for IPv6.
    End6 = "end6" => end::end6,
    /// Tells the packet's sender the [`Handover::cause`] that it cannot go on for.
    Reject = "reject" => reject::reject,
    /// Shows the packet, which is dropped for the [`Handover::event`], to whoever watches.
    Watch = "watch" => watch::watch,
}

/// What a step leaves for the next: each CPU has its own, and a frame's steps run on one CPU without a break.
#[derive(Default)]
#[repr(C, align(8))]
pub struct Handover {
    /// The packet's IP version: 4 or 6.
    pub family: AtomicU32,
    /// Index of the virtual service; above all indexes: not looked for yet.
    pub service: AtomicU32,
    /// Number of its list of members that holds for this packet.
    pub list: AtomicU32,
    /// Index of the destination that was chosen, or that the packet goes to.
    pub destination: AtomicU32,
    /// Index of a slot: the connection's forward entry; of a reply that may be too large, its reply entry.
    pub connection: AtomicU32,
    /// [`Cause::pack`].
    pub cause: AtomicU32,
    /// Index of the slot that controls the new connection by now: the client's template, or FTP's control connection; above
    /// all indexes: none, or a template is wanted.
    pub template: AtomicU32,
    /// 1: the destination gets the packet on the port that it came for.
    pub keep_port: AtomicU32,
    /// 1: no connection is to be kept.
    pub one_packet: AtomicU32,
    /// 1: the packet is from the real server [`Self::destination`], and opens a connection as if its receiver had asked for it.
    pub from_server: AtomicU32,
    /// A UDP packet's data: where they start in the frame (lower half), and how many octets they are.
    pub(crate) payload: AtomicU32,
    /// [`crate::sip::hash`], lower half first.
    pub(crate) call_hash: [AtomicU32; 2],
    /// The message that the Call-ID is looked for in.
    pub(crate) message: Message,
    /// The Call-ID.
    pub call: CallId,
    /// An FTP data connection to come: the client's address, in the form that services hold it.
    pub client: [AtomicU32; 4],
    /// The client's port, in host order as the two others; 0: not known yet.
    pub client_port: AtomicU32,
    /// The VIP's port.
    pub vip_port: AtomicU32,
    /// The real server's port.
    pub server_port: AtomicU32,
    /// Index of its forward entry's slot.
    pub data: AtomicU32,
    /// The packet's text.
    pub text: Text,
    /// Where the numbers in it start.
    pub first: AtomicU32,
    /// The tuple of a packet that may open a connection ([`seen`]), by IP version.
    pub(crate) tuple4: [AtomicU64; 2],
    /// The same for IPv6.
    pub(crate) tuple6: [AtomicU64; 5],
    /// The tuple of the template that is wanted, by IP version.
    pub(crate) template4: [AtomicU64; 2],
    /// The same for IPv6.
    pub(crate) template6: [AtomicU64; 5],
    /// 1: that template is for one port of its service, else 0.
    pub(crate) template_port: AtomicU32,
    /// Of a packet that may open a connection: [`Family::hash`] of its tuple.
    pub(crate) hash: AtomicU64,
    /// When it came.
    pub(crate) now: AtomicU32,
    /// [`crate::frame::Frame::signal`].
    pub(crate) signal: AtomicU32,
    /// Of that packet: [`crate::frame::Link::pack`].
    pub(crate) link: AtomicU32,
    /// Of that packet, if it is plain TCP or UDP: length (upper half) and octets of the IP header, hops left (an octet each); else 0.
    pub(crate) extent: AtomicU32,
    /// 1: the connection or template is being made for the second time.
    pub(crate) again: AtomicU32,
    /// The packet's mark; 0: none.
    pub mark: AtomicU32,
    /// [`found_by`]: how the service was found.
    pub found_by: AtomicU32,
    /// Of a packet that leaves in fragments: its connection's forwarding method.
    pub(crate) method: AtomicU32,
    /// Its connection's address of the real server.
    pub(crate) address: AtomicU32,
    /// Its connection's port there, in network order.
    pub(crate) port: AtomicU32,
    /// Number of the event that the packet is dropped for.
    pub event: AtomicU32,
    /// Behind IPv6 extension headers: offset (16 bits), protocol and part ([`crate::extension`]).
    pub(crate) headers: AtomicU32,
    /// The identification in an IPv6 fragment header.
    pub(crate) identification: AtomicU32,
    /// Not of one frame, but of this CPU: the tick in which it sent ICMP errors last.
    pub(crate) errors_tick: AtomicU32,
    /// How many in that tick.
    pub(crate) errors: AtomicU32,
    /// Always 0, which the kernel's verifier does not know.
    pub zero: AtomicU64,
}

impl Handover {
    /// Where the packet that was kept starts.
    #[inline(always)]
    fn link(&self) -> Link {
        Link::unpack(self.link.load(order::PLAIN))
    }
}

/// Follows the steps to the end: the whole switch, where it need not be cut.
pub fn run<P: Platform>(platform: &P) -> Verdict {
    follow(platform, |_| {})
}

/// [`run`] for whoever wants to know each step before it is taken.
pub fn follow<P: Platform>(platform: &P, mut before: impl FnMut(Program)) -> Verdict {
    let mut program = Program::Director;
    for _ in 0..STEPS_MAX {
        before(program);
        match program.run(platform) {
            Step::Done(verdict) => return verdict,
            Step::Next(next) => program = next,
        }
    }
    platform.count(Event::NoStep);
    Verdict::Drop
}

/// Steps before a frame is given up; the kernel allows 33.
const STEPS_MAX: usize = 32;

/// No service, no destination, no slot.
const NONE: u32 = u32::MAX;

/// Reads a word that the step before left.
#[inline(always)]
fn handed_over<P: Platform>(platform: &P, word: impl FnOnce(&Handover) -> &AtomicU32) -> u32 {
    platform.handover().map_or(NONE, |handover| word(handover).load(order::PLAIN))
}

/// Leaves a word for the next step.
#[inline(always)]
fn hand_over<P: View>(platform: &P, word: impl FnOnce(&Handover) -> &AtomicU32, value: u32) {
    if let Some(handover) = platform.handover() {
        word(handover).store(value, order::PLAIN);
    }
}

/// Whether the packet is a real server's that starts a connection.
#[inline(always)]
fn is_from_server<P: Platform>(platform: &P) -> bool {
    handed_over(platform, |words| &words.from_server) == 1
}

/// The packet cannot go on, and its sender is to be told why.
#[inline(always)]
pub(crate) fn reject_for<P: Platform>(platform: &P, cause: Cause) -> Step {
    hand_over(platform, |words| &words.cause, cause.pack());
    Step::Next(Program::Reject)
}

/// There is a service for the packet, but no destination.
#[inline(always)]
fn leave<P: Platform>(platform: &P) -> Step {
    let found_by = handed_over(platform, |words| &words.found_by);
    if found_by == found_by::FTP {
        // It need not have to do with FTP: a program of this machine may listen there.
        return Step::Done(Verdict::Pass);
    }
    if found_by == found_by::MARK
        && platform.config().is_some_and(|config| config.settings.cache_bypass.load(order::PLAIN) != 0)
    {
        hand_over(platform, |words| &words.again, 0);
        let six = handed_over(platform, |words| &words.family) == 6;
        return Step::Next(if six { Program::OpenBypass6 } else { Program::OpenBypass });
    }
    nobody(platform)
}

/// Nobody takes the packet.
#[inline(always)]
fn nobody<P: Platform>(platform: &P) -> Step {
    platform.count(Event::NoDestination);
    reject_for(platform, Cause::PortUnreachable)
}

/// The packet goes to this destination, through a tunnel that takes a step of its own.
#[inline(always)]
pub(crate) fn encapsulate_for<P: Platform, F: Family>(platform: &P, destination: u32) -> Step {
    hand_over(platform, |words| &words.destination, destination);
    version::next::<F>(Program::Encapsulate, Program::Encapsulate6)
}

/// The packet is too large for the way to its destination, and may be sent in fragments.
#[inline(always)]
pub(crate) fn cut_for<P: Platform, F: Family>(platform: &P, target: &Target<F>) -> Step {
    hand_over(platform, |words| &words.destination, target.destination);
    hand_over(platform, |words| &words.method, target.method as u32);
    hand_over(platform, |words| &words.address, F::words(target.address)[0]);
    hand_over(platform, |words| &words.port, u16::from_ne_bytes(target.port) as u32);
    Step::Next(Program::Cut)
}

/// The reply, whose entry is in this slot, may be too large for the way to its client.
#[inline(always)]
pub(crate) fn fit_for<P: Platform, F: Family>(platform: &P, index: u32) -> Step {
    hand_over(platform, |words| &words.connection, index);
    version::next::<F>(Program::Fit, Program::Fit6)
}

#[inline(always)]
pub(crate) fn drop_for<P: Platform>(platform: &P, event: Event) -> Step {
    platform.count(event);
    if !watch::is_on(platform) {
        return Step::Done(Verdict::Drop);
    }
    hand_over(platform, |words| &words.event, event as u32);
    Step::Next(Program::Watch)
}
