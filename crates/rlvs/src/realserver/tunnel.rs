//! Unwrapping by the kernel's own tunnel devices.
//!
//! Each tunnel module makes one device that takes packets from any sender; those are used as they are, for no two
//! such devices can be. They take any inner destination: the host's addresses decide what is for it.

use std::fmt;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use netlink_packet_route::IpProtocol;
use netlink_packet_route::link::{InfoData, InfoIpTunnel, InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{LinkIp6Tnl, LinkIpIp, LinkMessageBuilder, LinkSit, LinkUnspec};

use super::host::{Host, Netlink};
use super::state::Device;

/// Inner protocols of ip6tnl0. Zero is not one, but "any": what it must be set to.
const ANY_PROTOCOL: u8 = 0;
const IPPROTO_IPIP: u8 = 4;
const IPPROTO_IPV6: u8 = 41;

/// A tunnel device of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// IPv4 in IPv4.
    Ipip,
    /// IPv6 in IPv4.
    Sit,
    /// Either in IPv6.
    Ip6Tnl,
}

impl Tunnel {
    /// Name of the device that the module makes.
    pub(super) fn device(self) -> &'static str {
        match self {
            Tunnel::Ipip => "tunl0",
            Tunnel::Sit => "sit0",
            Tunnel::Ip6Tnl => "ip6tnl0",
        }
    }

    /// Whether IPv4 packets come out of it.
    pub(super) fn takes_v4(self) -> bool {
        matches!(self, Tunnel::Ipip | Tunnel::Ip6Tnl)
    }

    fn request(self) -> LinkMessage {
        match self {
            Tunnel::Ipip => LinkIpIp::new(self.device()).build(),
            Tunnel::Sit => LinkSit::new(self.device()).build(),
            Tunnel::Ip6Tnl => LinkIp6Tnl::new(self.device()).mode(IpProtocol::from(ANY_PROTOCOL)).build(),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.device())
    }
}

/// The devices that it takes for these VIPs to be reached through tunnels to these addresses.
pub(super) fn needed(own: &[IpAddr], vips: &[IpAddr]) -> Vec<Tunnel> {
    let to_v4 = own.iter().any(IpAddr::is_ipv4);
    let to_v6 = own.iter().any(IpAddr::is_ipv6);
    let mut tunnels = Vec::new();
    if to_v4 && vips.iter().any(IpAddr::is_ipv4) {
        tunnels.push(Tunnel::Ipip);
    }
    if to_v4 && vips.iter().any(IpAddr::is_ipv6) {
        tunnels.push(Tunnel::Sit);
    }
    if to_v6 && !vips.is_empty() {
        tunnels.push(Tunnel::Ip6Tnl);
    }
    tunnels
}

/// Sees to it that the devices exist, which may load their modules. Returns the names of those made here, or `None`
/// if this kernel has not all of them.
pub(super) async fn provide(
    netlink: &Netlink,
    host: &Host,
    tunnels: &[Tunnel],
) -> Result<Option<Vec<Tunnel>>> {
    let mut made = Vec::new();
    for tunnel in tunnels {
        if host.link(tunnel.device()).is_ok() {
            continue;
        }
        match netlink.links().add(tunnel.request()).execute().await {
            Ok(()) => made.push(*tunnel),
            Err(error) => match errno(&error) {
                // The module was loaded, and made the device itself.
                Some(libc::EEXIST) => {}
                Some(libc::EOPNOTSUPP) => {
                    remove_all(netlink, &made).await?;
                    return Ok(None);
                }
                _ => return Err(error).with_context(|| format!("cannot make the tunnel device {tunnel}")),
            },
        }
    }
    Ok(Some(made))
}

/// What `remove` has to know to leave the device as it is now.
pub(super) async fn describe(
    netlink: &Netlink,
    host: &Host,
    tunnel: Tunnel,
    created: bool,
) -> Result<Device> {
    let link = host.link(tunnel.device())?;
    let protocol = match tunnel {
        Tunnel::Ip6Tnl if !created => protocol(netlink, tunnel).await?.filter(|now| *now != ANY_PROTOCOL),
        _ => None,
    };
    Ok(Device { name: tunnel.to_string(), created, was_up: link.interface.up, protocol })
}

/// Makes the device take what it has to, and sets it up.
pub(super) async fn open(netlink: &Netlink, host: &Host, tunnel: Tunnel) -> Result<()> {
    let link = host.link(tunnel.device())?;
    if tunnel == Tunnel::Ip6Tnl && takes_any(netlink, tunnel).await? == Some(false) {
        set_protocol(netlink, link.interface.index, ANY_PROTOCOL).await?;
    }
    let up = LinkUnspec::new_with_index(link.interface.index).up().build();
    netlink.links().set(up).execute().await.with_context(|| format!("cannot set {tunnel} up"))
}

/// Whether the device takes both families; `None` if it is not of a kind that could.
pub(super) async fn takes_any(netlink: &Netlink, tunnel: Tunnel) -> Result<Option<bool>> {
    match tunnel {
        Tunnel::Ip6Tnl => Ok(protocol(netlink, tunnel).await?.map(|now| now == ANY_PROTOCOL)),
        Tunnel::Ipip | Tunnel::Sit => Ok(None),
    }
}

/// Leaves the device as it was before.
pub(super) async fn close(netlink: &Netlink, host: &Host, device: &Device) -> Result<()> {
    // If somebody has removed it meanwhile, there is nothing left to undo.
    let Ok(link) = host.link(&device.name) else { return Ok(()) };
    let index = link.interface.index;
    if device.created {
        let deleted = netlink.links().del(index).execute().await;
        return deleted.with_context(|| format!("cannot delete {}", device.name));
    }
    if let Some(protocol) = device.protocol {
        set_protocol(netlink, index, protocol).await?;
    }
    if !device.was_up {
        let down = LinkUnspec::new_with_index(index).down().build();
        let result = netlink.links().set(down).execute().await;
        result.with_context(|| format!("cannot set {} down", device.name))?;
    }
    Ok(())
}

async fn remove_all(netlink: &Netlink, made: &[Tunnel]) -> Result<()> {
    let host = netlink.look().await?;
    for tunnel in made {
        let index = host.link(tunnel.device())?.interface.index;
        let deleted = netlink.links().del(index).execute().await;
        deleted.with_context(|| format!("cannot delete {tunnel}"))?;
    }
    Ok(())
}

/// The inner protocol that the device is set to.
async fn protocol(netlink: &Netlink, tunnel: Tunnel) -> Result<Option<u8>> {
    let mut answers = netlink.links().get().match_name(tunnel.device()).execute();
    let Some(message) = answers.next().await else { return Ok(None) };
    let message = message.with_context(|| format!("cannot look at {tunnel}"))?;
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.flatten().find_map(|info| match info {
        LinkInfo::Data(InfoData::IpTunnel(data)) => Some(data),
        _ => None,
    });
    Ok(data.into_iter().flatten().find_map(|part| match part {
        InfoIpTunnel::Protocol(protocol) => Some(u8::from(*protocol)),
        _ => None,
    }))
}

async fn set_protocol(netlink: &Netlink, index: u32, protocol: u8) -> Result<()> {
    let message = LinkMessageBuilder::<LinkIp6Tnl>::new_with_info_kind(InfoKind::Ip6Tnl)
        .index(index)
        .mode(IpProtocol::from(protocol))
        .build();
    match netlink.links().change(message).execute().await {
        // Some kernels (6.1 is one) take no change of this very device by netlink, only by the older ioctl.
        Err(error) if errno(&error) == Some(libc::EINVAL) => set_protocol_by_ip(protocol),
        result => result.context("cannot set the inner protocol of ip6tnl0"),
    }
}

fn set_protocol_by_ip(protocol: u8) -> Result<()> {
    let mode = match protocol {
        IPPROTO_IPIP => "ipip6",
        IPPROTO_IPV6 => "ip6ip6",
        _ => "any",
    };
    let words = ["-6", "tunnel", "change", Tunnel::Ip6Tnl.device(), "mode", mode];
    let output = Command::new("ip").args(words).output().context("cannot run 'ip' (package iproute2)")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "'ip {}' failed: {}", words.join(" "), complaint.trim());
    Ok(())
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_for_each_pair_of_families_that_can_occur() {
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        assert_eq!(needed(&[v4], &[v4]), [Tunnel::Ipip]);
        assert_eq!(needed(&[v4], &[v6]), [Tunnel::Sit]);
        assert_eq!(needed(&[v6], &[v4]), [Tunnel::Ip6Tnl]);
        assert_eq!(needed(&[v4, v6], &[v4, v6]), [Tunnel::Ipip, Tunnel::Sit, Tunnel::Ip6Tnl]);
        assert_eq!(needed(&[v4, v6], &[]), []);
    }
}
