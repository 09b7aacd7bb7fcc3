//! `rlvs realserver remove`.

use std::net::IpAddr;

use anyhow::Result;

use super::decapsulation::Decapsulation;
use super::host::Netlink;
use super::state::{State, Store};
use super::tunnel;

/// Undoes `add` for these VIPs, or for all if there are none. With the last tunnelled VIP the unwrapping ends, with
/// the last VIP the settings come back.
pub(super) async fn remove(vips: &[IpAddr]) -> Result<()> {
    let netlink = Netlink::open()?;
    let store = Store::lock()?;
    let mut state = store.load()?;
    if state == State::default() {
        println!("nothing to remove: 'rlvs realserver add' has done nothing in this network namespace");
        return Ok(());
    }
    let all: Vec<IpAddr> = state.vips.keys().copied().collect();
    for vip in if vips.is_empty() { &all } else { vips } {
        give_up(*vip, &netlink, &store, &mut state).await?;
    }
    if !state.tunnels() {
        stop_unwrapping(&netlink, &store, &mut state).await?;
    }
    if state.vips.is_empty() {
        restore(&store, &mut state)?;
    }
    Ok(())
}

async fn give_up(vip: IpAddr, netlink: &Netlink, store: &Store, state: &mut State) -> Result<()> {
    let Some(record) = state.vips.get(&vip).cloned() else {
        println!("{vip} was not added by 'rlvs realserver add': left alone");
        return Ok(());
    };
    let host = netlink.look().await?;
    if record.tunnel
        && let Some(mut program) = Decapsulation::running(&host)?
    {
        program.remove_vip(vip)?;
    }
    for (link, _) in host.holders(vip).filter(|(link, _)| record.put_on.contains(&link.interface.name)) {
        netlink.delete_address(link, vip).await?;
        println!("{vip} is off {}", link.interface.name);
    }
    state.vips.remove(&vip);
    store.save(state)
}

async fn stop_unwrapping(netlink: &Netlink, store: &Store, state: &mut State) -> Result<()> {
    let host = netlink.look().await?;
    let program = Decapsulation::running(&host)?;
    for name in std::mem::take(&mut state.unwrapping) {
        // Detached, replaced or gone with its interface: not ours any more.
        if let (Some(program), Ok(link)) = (&program, host.link(&name))
            && let Some(attached) = link.xdp
            && attached.program == program.id()
        {
            netlink.detach(link, attached.mode).await?;
            println!("XDP program is off {name}");
        }
    }
    for device in std::mem::take(&mut state.devices) {
        tunnel::close(netlink, &host, &device).await?;
        println!("tunnel device {} is as it was", device.name);
    }
    store.save(state)
}

fn restore(store: &Store, state: &mut State) -> Result<()> {
    for changed in std::mem::take(&mut state.settings) {
        let setting = &changed.setting;
        match setting.read() {
            Ok(now) if now == changed.after => {
                setting.write(changed.before)?;
                println!("{setting} = {} again", changed.before);
            }
            Ok(now) => println!("{setting} was changed to {now} by somebody else: left alone"),
            // Its interface is gone, and the setting with it.
            Err(_) => {}
        }
    }
    state.interfaces.clear();
    store.save(state)
}
