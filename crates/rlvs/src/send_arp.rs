//! `rlvs send-arp`: tells neighbours who has an address.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rlvs_cluster::pulse::Interface;
use rlvs_cluster::pulse::announce::Announcer;

/// Between two rounds: a neighbour that was busy has time to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// Tell neighbours that this machine has an address: by gratuitous ARP, for IPv6 by neighbour advertisements.
#[derive(Debug, Args)]
pub struct SendArp {
    /// Send by this interface instead of the one that has the address.
    #[arg(short, long, value_name = "IF")]
    interface: Option<String>,
    /// Announce this MAC address instead of the interface's own.
    #[arg(long, value_name = "MAC", value_parser = mac)]
    mac: Option<[u8; 6]>,
    /// So many times, a second apart.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The addresses.
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<IpAddr>,
}

pub async fn run(options: SendArp) -> Result<ExitCode> {
    let mut announcers = Vec::new();
    for address in &options.addresses {
        let interface = match &options.interface {
            Some(name) => name.clone(),
            None => Interface::that_has(*address)
                .context("cannot list the interfaces")?
                .with_context(|| format!("no interface has {address}; name one with --interface"))?,
        };
        let announcer = Announcer::open(&interface).with_context(|| format!("cannot send by {interface}"))?;
        let announcer = match options.mac {
            Some(mac) => announcer.with_mac(mac),
            None => announcer,
        };
        announcers.push((announcer, *address, interface));
    }
    for round in 0..options.count {
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        for (announcer, address, interface) in &mut announcers {
            let sent = announcer.send(*address);
            sent.with_context(|| format!("cannot announce {address} on {interface}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Six octets in hexadecimal, with colons or hyphens between them or nothing.
fn mac(text: &str) -> Result<[u8; 6], String> {
    const FORM: &str = "a MAC address is six octets such as 02:00:00:00:00:01";
    let digits: Vec<char> = match text.split([':', '-']).collect::<Vec<_>>().as_slice() {
        [whole] => whole.chars().collect(),
        octets if octets.iter().all(|octet| octet.len() == 2) => octets.concat().chars().collect(),
        _ => return Err(FORM.into()),
    };
    let value = |digit: &char| digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
    let octet = |pair: &[char]| Some(value(pair.first()?)? << 4 | value(pair.get(1)?)?);
    let octets: Option<Vec<u8>> = digits.chunks(2).map(octet).collect();
    octets.and_then(|octets| octets.try_into().ok()).ok_or_else(|| FORM.into())
}

#[cfg(test)]
mod tests {
    use super::mac;

    #[test]
    fn mac_addresses_are_read() {
        for text in ["02:00:00:00:00:1f", "02-00-00-00-00-1F", "02000000001f"] {
            assert_eq!(mac(text), Ok([2, 0, 0, 0, 0, 0x1f]), "{text}");
        }
        for text in
            ["", "02:00:00:00:00", "2:0:0:0:0:1f", "02:00:00:00:00:1g", "02000000001", "02:00:00:00:00:1f:00"]
        {
            assert!(mac(text).is_err(), "{text}");
        }
    }
}
