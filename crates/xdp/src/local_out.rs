//! Sends what is the switch's, of what the director itself sends, to where the switch receives it.

use crate::home::{Context, Kernel, read_bounds};
use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1};
use aya_ebpf::helpers;
use aya_ebpf::programs::TcContext;
use rlvs_packet::ethernet::{self, Ethernet};
use rlvs_switch::steps;
use rlvs_switch::{Memory, View, order};

/// Whatever is not the switch's goes on as if there were no such program.
const GO_ON: i32 = TC_ACT_UNSPEC;

/// Redirects the packet into the switch if it is for it.
#[inline(always)]
pub fn run(context: &TcContext) -> i32 {
    let packet = context.skb.skb;
    let Some(view) = Kernel::around(packet).with_config().and_then(Kernel::with_handover) else {
        return GO_ON;
    };
    // Others' packets, which this machine forwards, have been with the switch already.
    if view.ingress() != 0 || !steps::local_out(&view) {
        return GO_ON;
    }
    let Some(config) = view.config() else { return GO_ON };
    let interface = config.local_out.load(order::PLAIN);
    if interface == 0 {
        return GO_ON;
    }
    let tagged_inside = view.read::<Ethernet>(0).is_some_and(|header| header.kind.get() == ethernet::VLAN);
    // SAFETY: the context that the kernel called the program with; the helpers check the frame and the size.
    unsafe {
        // The way that the packet would have taken had the tag; the switch finds one of its own.
        if (tagged_inside || (*packet).vlan_present != 0) && helpers::bpf_skb_vlan_pop(packet) != 0 {
            return GO_ON;
        }
        // As to a neighbour, whose address does not matter: the interface does without resolution. What a plain
        // `bpf_redirect` sends is marked as redirected, and the kernel does not show such packets to generic XDP.
        let mut neighbour = bpf_redir_neigh {
            nh_family: if (*packet).protocol == ethernet::IPV6.to_be() as u32 { AF_INET6 } else { AF_INET },
            __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
                ipv6_nh: [u32::from_ne_bytes([0xfe, 0x80, 0, 0]), 0, 0, 1],
            },
        };
        let size = size_of::<bpf_redir_neigh>() as i32;
        helpers::bpf_redirect_neigh(interface, &raw mut neighbour, size, 0) as i32
    }
}

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

impl Context for __sk_buff {
    #[inline(always)]
    unsafe fn bounds(context: *const Self) -> (usize, usize) {
        // SAFETY: the caller's.
        unsafe { read_bounds(&raw const (*context).data, &raw const (*context).data_end) }
    }

    /// Also of what is not in one piece with the headers.
    #[inline(always)]
    unsafe fn length(context: *const Self) -> usize {
        // SAFETY: the caller's.
        unsafe { (&raw const (*context).len).read_volatile() as usize }
    }

    #[inline(always)]
    unsafe fn is_joined(context: *const Self) -> bool {
        // SAFETY: the caller's.
        unsafe { (*context).gso_size != 0 }
    }

    #[inline(always)]
    unsafe fn ingress(context: *const Self) -> u32 {
        // SAFETY: the caller's.
        unsafe { (*context).ingress_ifindex }
    }
}
