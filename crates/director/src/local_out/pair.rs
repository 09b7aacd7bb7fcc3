//! The two interfaces between what the director sends and what its switch receives.

use super::{LocalOutError, offloads};
use crate::egress::Interface;
use futures_util::StreamExt;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::{fs, io};

/// Where the director's own packets are sent into, and where clients on it receive.
pub(super) const OUT: &str = "rlvs-out";
/// Its peer, where the switch receives.
pub(super) const IN: &str = "rlvs-in";

/// The MAC of both: the kernel sends by an interface without neighbour resolution as if to that interface itself.
const MAC: [u8; 6] = [0x02, b'r', b'l', b'v', b's', 0x01];

/// Whatever a local program can send by loopback fits: there is nothing that would be told of a smaller one.
const MTU: u32 = 65_535;

/// Kernel parameters of the pair, below `/proc/sys/net`. The sources of what comes by it are the director's own addresses.
const SETTINGS: [(&str, &str, &str); 12] = [
    ("ipv4", OUT, "accept_local=1"),
    ("ipv4", OUT, "rp_filter=0"),
    ("ipv4", IN, "accept_local=1"),
    ("ipv4", IN, "rp_filter=0"),
    // The kernel is asked here for the way of replies, and sends on what is not the switch's after all.
    ("ipv4", IN, "forwarding=1"),
    ("ipv6", OUT, "disable_ipv6=0"),
    ("ipv6", IN, "disable_ipv6=0"),
    // Without addresses: nobody speaks to the pair itself.
    ("ipv6", OUT, "addr_gen_mode=1"),
    ("ipv6", IN, "addr_gen_mode=1"),
    ("ipv6", OUT, "accept_ra=0"),
    ("ipv6", IN, "accept_ra=0"),
    ("ipv6", IN, "forwarding=1"),
];

/// The pair's interface indices.
pub(super) struct Pair {
    /// [`OUT`]'s.
    pub outer: u32,
    /// [`IN`]'s.
    pub inner: u32,
}

impl Pair {
    /// Takes over the pair that there is, or makes it.
    pub(super) async fn open() -> Result<Pair, LocalOutError> {
        let netlink = netlink()?;
        let pair = match find(&netlink).await? {
            Some(pair) => pair,
            None => {
                netlink
                    .link()
                    .add(message())
                    .execute()
                    .await
                    .map_err(refused("make the interfaces of the pair"))?;
                find(&netlink).await?.ok_or(LocalOutError::Foreign(OUT))?
            }
        };
        // Before they are up: afterwards the kernel would have given them addresses.
        write_settings();
        offloads::whole_frames(OUT)?;
        for index in [pair.outer, pair.inner] {
            let up = LinkUnspec::new_with_index(index).up().build();
            netlink.link().change(up).execute().await.map_err(refused("bring the pair up"))?;
        }
        Ok(pair)
    }
}

/// Deletes the pair. False if there was none.
pub(super) async fn remove() -> Result<bool, LocalOutError> {
    let netlink = netlink()?;
    let Some(pair) = find(&netlink).await? else { return Ok(false) };
    netlink.link().del(pair.outer).execute().await.map_err(refused("delete the interfaces of the pair"))?;
    Ok(true)
}

/// Sets what differs from [`SETTINGS`].
pub(super) fn write_settings() {
    for (family, interface, setting) in SETTINGS {
        let Some((name, value)) = setting.split_once('=') else { continue };
        let path = format!("/proc/sys/net/{family}/conf/{interface}/{name}");
        match fs::read_to_string(&path) {
            Ok(now) if now.trim() == value => {}
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => {
                if let Err(error) = fs::write(&path, value) {
                    tracing::warn!(
                        "clients on the director itself may get no answer: cannot set {path}: {error}"
                    );
                }
            }
        }
    }
}

/// The one parameter that the pair's own do not outweigh.
pub(super) fn warn_of_strict_filters() {
    let strict = fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter");
    if strict.is_ok_and(|value| value.trim() != "0") {
        tracing::warn!(
            "clients on the director itself get no answers over IPv4 while net.ipv4.conf.all.rp_filter is not 0; set it to \
             0, and net.ipv4.conf.INTERFACE.rp_filter where it is wanted"
        );
    }
}

/// Whether an interface of this name and MAC is one of the pair.
pub(super) fn is_end(name: &str, mac: &[u8]) -> bool {
    (name == OUT || name == IN) && mac == MAC
}

pub(super) fn netlink() -> Result<Handle, LocalOutError> {
    let opened = rtnetlink::new_connection();
    let (connection, handle, _) = opened
        .map_err(|reason| LocalOutError::System { action: "open a route netlink socket".into(), reason })?;
    tokio::spawn(connection);
    Ok(handle)
}

pub(super) fn refused(action: &str) -> impl FnOnce(rtnetlink::Error) -> LocalOutError {
    move |reason| LocalOutError::Request { action: action.into(), reason }
}

/// The pair, if both of its ends are here. One without the other is of no use to anybody, and deleted.
async fn find(netlink: &Handle) -> Result<Option<Pair>, LocalOutError> {
    match (end(netlink, OUT).await?, end(netlink, IN).await?) {
        (Some(outer), Some(inner)) => Ok(Some(Pair { outer, inner })),
        (Some(left), None) | (None, Some(left)) => {
            netlink.link().del(left).execute().await.map_err(refused("delete half a pair of interfaces"))?;
            Ok(None)
        }
        (None, None) => Ok(None),
    }
}

/// Index of the interface of this name, which must be ours.
async fn end(netlink: &Handle, name: &'static str) -> Result<Option<u32>, LocalOutError> {
    match netlink.link().get().match_name(name).execute().next().await {
        Some(Ok(link)) => match Interface::from_message(&link) {
            Some(interface) if is_end(name, &interface.mac) => Ok(Some(interface.index)),
            _ => Err(LocalOutError::Foreign(name)),
        },
        Some(Err(rtnetlink::Error::NetlinkError(error))) if error.raw_code() == -libc::ENODEV => Ok(None),
        Some(Err(error)) => Err(refused("look for the interfaces of the pair")(error)),
        None => Ok(None),
    }
}

/// What makes the pair.
fn message() -> LinkMessage {
    let peer =
        LinkMessageBuilder::<LinkUnspec>::new().name(IN).address(MAC.to_vec()).mtu(MTU).arp(false).build();
    let peer = InfoData::Veth(InfoVeth::Peer(peer));
    LinkVeth::new(OUT, IN).address(MAC.to_vec()).mtu(MTU).arp(false).set_info_data(peer).build()
}
