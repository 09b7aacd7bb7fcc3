//! `rlvs realserver add`.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};

use super::decapsulation::Decapsulation;
use super::host::{Assigned, Host, Link, Netlink, full_length};
use super::state::{State, Store};
use super::sysctl::{self, Setting};
use super::tunnel::{self, Tunnel};
use super::{Add, TunType, Unwrap};

/// Prepares this host. What was there before is written down before it is changed, and the VIP comes last: until
/// then no ARP answer can go wrong.
pub(super) async fn add(options: &Add) -> Result<()> {
    ensure!(
        options.tun_type == TunType::Ipip || options.unwrap != Unwrap::Kernel,
        "for GUE and GRE, the kernel's devices are yours to set up ('ip fou add', 'ip link add type gre'): leave \
         --tunnel out, or have the XDP program unwrap them (--unwrap xdp)"
    );
    ensure!(
        options.tun_port.is_none() || options.tun_type == TunType::Gue,
        "only GUE has a port: --tun-port goes with --tun-type gue"
    );
    let netlink = Netlink::open()?;
    let host = netlink.look().await?;
    for vip in &options.vips {
        accept(&host, *vip)?;
    }
    let facing = host.facing(options.interfaces.iter().map(String::as_str))?;
    let store = Store::lock()?;
    let mut state = store.load()?;
    state.interfaces.extend(facing.iter().map(|link| link.interface.name.clone()));

    let mut setup = Setup { options, netlink, store, state };
    let done = setup.run(&facing).await;
    done.context("stopped half-way; 'rlvs realserver remove' undoes what was done")
}

/// Refuses what cannot be a VIP of this host without doing harm.
fn accept(host: &Host, vip: IpAddr) -> Result<()> {
    ensure!(
        !vip.is_unspecified() && !vip.is_multicast() && !vip.is_loopback(),
        "{vip} cannot be the address of a virtual service"
    );
    for (link, Assigned { prefix, .. }) in host.holders(vip) {
        let name = &link.interface.name;
        if name == "lo" {
            ensure!(
                prefix == full_length(vip),
                "{vip} is on lo with prefix length {prefix}, which makes the whole network local: \
                 'ip address del {vip}/{prefix} dev lo' first"
            );
        } else if link.interface.resolves {
            bail!(
                "{vip} is on {name}, which answers for it in place of the director: \
                 'ip address del {vip}/{prefix} dev {name}' first"
            );
        }
    }
    Ok(())
}

/// What `add` works with.
struct Setup<'a> {
    options: &'a Add,
    netlink: Netlink,
    store: Store,
    state: State,
}

impl Setup<'_> {
    async fn run(&mut self, facing: &[&Link]) -> Result<()> {
        if self.options.vips.iter().any(IpAddr::is_ipv4) {
            self.keep_quiet(facing)?;
        }
        let homes_v4 = if self.options.tunnel { self.unwrap(facing).await? } else { Vec::new() };
        self.own(&homes_v4).await
    }

    /// Sees to it that no ARP answer or request names a VIP.
    fn keep_quiet(&mut self, facing: &[&Link]) -> Result<()> {
        let names = facing.iter().map(|link| link.interface.name.as_str());
        for interface in std::iter::once("all").chain(names) {
            let ignore = Setting::new(interface, "arp_ignore");
            if !sysctl::ignores_arp_for_others(ignore.read()?) {
                self.set(&ignore, 1)?;
            }
            let announce = Setting::new(interface, "arp_announce");
            if !sysctl::announces_own_only(announce.read()?) {
                self.set(&announce, 2)?;
            }
        }
        Ok(())
    }

    /// Sees to it that tunnelled packets are unwrapped and let in. Returns the tunnel devices that IPv4 VIPs must be
    /// on: on a device without address the kernel lets nothing in, not even with the loose reverse-path filter.
    async fn unwrap(&mut self, facing: &[&Link]) -> Result<Vec<&'static str>> {
        let host = self.netlink.look().await?;
        let vips = &self.options.vips;
        let own = host.own(|address| vips.contains(address) || self.state.vips.contains_key(address));
        ensure!(!own.is_empty(), "this host has no address besides VIPs that packets could be tunnelled to");
        let earlier = self.state.vips.iter().filter(|(_, record)| record.tunnel).map(|(vip, _)| vip);
        let tunnelled: Vec<IpAddr> = earlier.chain(vips).copied().collect();
        let tunnels = tunnel::needed(&own, &tunnelled);

        let running = Decapsulation::running(&host)?;
        let by_kernel = match self.options.unwrap {
            Unwrap::Xdp => false,
            Unwrap::Auto if running.is_some() || self.options.tun_type != TunType::Ipip => false,
            Unwrap::Auto => self.unwrap_by_kernel(&host, &tunnels).await?,
            Unwrap::Kernel => {
                let done = self.unwrap_by_kernel(&host, &tunnels).await?;
                ensure!(done, "this kernel has no tunnel devices (modules ipip, sit, ip6_tunnel)");
                done
            }
        };
        let devices =
            if by_kernel { tunnels.into_iter().filter(|it| it.takes_v4()).collect() } else { Vec::new() };
        let devices: Vec<&str> = devices.into_iter().map(Tunnel::device).collect();
        let arrival = if by_kernel {
            devices.clone()
        } else {
            let program = running.map_or_else(Decapsulation::load, Ok)?;
            self.unwrap_by_xdp(&host, program, &own, &tunnelled, facing).await?;
            facing.iter().map(|link| link.interface.name.as_str()).collect()
        };
        // The client's packet comes from where its answer may not go: through the tunnel.
        for interface in arrival {
            if tunnelled.iter().any(IpAddr::is_ipv4)
                && sysctl::filters_strictly(sysctl::effective(interface, "rp_filter")?)
            {
                self.set(&Setting::new(interface, "rp_filter"), 2)?;
            }
        }
        Ok(devices)
    }

    /// Returns false if this kernel has not all the devices that it takes.
    async fn unwrap_by_kernel(&mut self, host: &Host, tunnels: &[Tunnel]) -> Result<bool> {
        let Some(made) = tunnel::provide(&self.netlink, host, tunnels).await? else { return Ok(false) };
        // Again, for some are new.
        let host = self.netlink.look().await?;
        for tunnel in tunnels {
            if self.state.device(tunnel.device()).is_none() {
                let created = made.contains(tunnel);
                self.state.devices.push(tunnel::describe(&self.netlink, &host, *tunnel, created).await?);
                self.store.save(&self.state)?;
                println!("tunnel device {tunnel} unwraps tunnelled packets");
            }
            tunnel::open(&self.netlink, &host, *tunnel).await?;
        }
        Ok(true)
    }

    async fn unwrap_by_xdp(
        &mut self,
        host: &Host,
        mut program: Decapsulation,
        own: &[IpAddr],
        vips: &[IpAddr],
        facing: &[&Link],
    ) -> Result<()> {
        program.set_own(own).context("cannot tell the XDP program this host's addresses")?;
        for vip in vips {
            program.add_vip(*vip)?;
        }
        if let Some(port) = self.options.tun_port {
            program.add_port(port)?;
        }
        for link in facing {
            let link = host.by_index(link.interface.index).context("an interface has just gone")?;
            let carrier = host.carrier(link);
            let name = &carrier.interface.name;
            self.state.unwrapping.insert(name.clone());
            self.store.save(&self.state)?;
            if let Some(mode) = program.attach(&self.netlink, carrier).await? {
                println!("XDP program on {name} ({mode}) unwraps tunnelled packets");
            }
        }
        Ok(())
    }

    /// Puts the VIPs on lo, or on these devices if they are IPv4 and there are any.
    async fn own(&mut self, homes_v4: &[&str]) -> Result<()> {
        let host = self.netlink.look().await?;
        for vip in &self.options.vips {
            let record = self.state.vips.entry(*vip).or_default();
            record.tunnel |= self.options.tunnel;
            let homes = if vip.is_ipv4() && !homes_v4.is_empty() { homes_v4 } else { &["lo"] };
            for home in homes {
                let link = host.link(home)?;
                if link.addresses.iter().any(|own| own.address == *vip) {
                    continue;
                }
                self.state.vips.entry(*vip).or_default().put_on.insert((*home).to_owned());
                self.store.save(&self.state)?;
                self.netlink.add_address(link, *vip).await?;
                println!("{vip}/{} is on {home}", full_length(*vip));
            }
            self.store.save(&self.state)?;
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, value: u8) -> Result<()> {
        let before = setting.read()?;
        self.state.note(setting, before, value);
        self.store.save(&self.state)?;
        setting.write(value)?;
        println!("{setting} = {value} (was {before})");
        Ok(())
    }
}
