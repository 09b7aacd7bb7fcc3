//! The director's programs: one for each step of the switch, by XDP, and one for what the director itself sends, by tc.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod home;
mod local_out;
mod maps;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use home::Kernel;
use rlvs_switch::{Program, Step};

/// Declares the program of each step; what they do is said at [`Program`]. Some take the usual next step at once, without a jump.
macro_rules! steps {
    ($($name:ident = $step:ident $(+ $usual:ident)?,)*) => {
        $(
            #[xdp]
            #[inline(always)] // Into the function that the kernel calls, however long it is.
            pub fn $name(context: XdpContext) -> u32 {
                let Some(platform) = platform(Program::$step, &context) else { return xdp_action::XDP_PASS };
                home::go_on(&platform, match Program::$step.run(&platform) {
                    $(Step::Next(Program::$usual) => Program::$usual.run(&platform),)?
                    step => step,
                })
            }
        )*
    };
}

/// The kernel around the program of a step. All but the first read what others have left.
#[inline(always)]
fn platform(step: Program, context: &XdpContext) -> Option<Kernel<xdp_md>> {
    let platform = Kernel::around(context.ctx).with_config()?;
    match step {
        Program::Director => Some(platform),
        _ => platform.with_handover(),
    }
}

steps! {
    director = Director,
    uncommon = Uncommon,
    uncommon6 = Uncommon6,
    tunnel_error = TunnelError,
    classify = Classify,
    open = Open + Schedule,
    call = Call,
    call6 = Call6,
    persist = Persist,
    persist6 = Persist6,
    create_template = CreateTemplate,
    create_template6 = CreateTemplate6,
    once = Once,
    once6 = Once6,
    once_back = OnceBack,
    once_back6 = OnceBack6,
    schedule = Schedule,
    create = Create,
    create6 = Create6,
    elsewhere = Elsewhere,
    elsewhere6 = Elsewhere6,
    create_reply = CreateReply,
    create_reply6 = CreateReply6,
    open_bypass = OpenBypass,
    open_bypass6 = OpenBypass6,
    bypass = Bypass,
    bypass6 = Bypass6,
    encapsulate = Encapsulate,
    encapsulate6 = Encapsulate6,
    cut = Cut,
    fit = Fit,
    fit6 = Fit6,
    ftp_command = FtpCommand,
    ftp_command6 = FtpCommand6,
    ftp_answer = FtpAnswer,
    ftp_answer6 = FtpAnswer6,
    ftp_expect = FtpExpect,
    ftp_expect6 = FtpExpect6,
    ftp_expect_r = FtpExpectReply,
    ftp_expect_r6 = FtpExpectReply6,
    ftp_deliver = FtpDeliver,
    ftp_deliver6 = FtpDeliver6,
    ftp_data = FtpData,
    ftp_data6 = FtpData6,
    end = End,
    end6 = End6,
    import = Import,
    import6 = Import6,
    import_reply = ImportReply,
    import_reply6 = ImportReply6,
    reject = Reject,
    watch = Watch,
}

/// What the director itself sends ([`rlvs_switch::steps::local_out`]); for the egress hook of its interfaces.
#[classifier]
pub fn local_out(context: TcContext) -> i32 {
    local_out::run(&context)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lets only programs of a GPL-compatible licence look up routes.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
