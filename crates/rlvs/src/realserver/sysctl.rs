//! Settings of IPv4 interfaces: net.ipv4.conf.INTERFACE.KEY.

use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One setting of one interface, or of "all".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Setting {
    pub(super) interface: String,
    pub(super) key: String,
}

impl Setting {
    pub(super) fn new(interface: &str, key: &str) -> Self {
        Setting { interface: interface.to_owned(), key: key.to_owned() }
    }

    /// The value now, in the network namespace of the calling thread.
    pub(super) fn read(&self) -> Result<u8> {
        let text = std::fs::read_to_string(self.path()).with_context(|| format!("cannot read {self}"))?;
        text.trim().parse().with_context(|| format!("{self} has the odd value {:?}", text.trim()))
    }

    pub(super) fn write(&self, value: u8) -> Result<()> {
        std::fs::write(self.path(), value.to_string())
            .with_context(|| format!("cannot set {self} to {value}"))
    }

    // Not the dotted name: an interface name may hold dots itself ("eth0.100").
    fn path(&self) -> String {
        format!("/proc/sys/net/ipv4/conf/{}/{}", self.interface, self.key)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.ipv4.conf.{}.{}", self.interface, self.key)
    }
}

/// What the kernel goes by: for these keys, the higher one of the interface's value and that of "all".
pub(super) fn effective(interface: &str, key: &str) -> Result<u8> {
    Ok(Setting::new("all", key).read()?.max(Setting::new(interface, key).read()?))
}

/// Whether the kernel answers ARP only for addresses of the interface that was asked. 0 answers for any; 3 and up
/// have other meanings.
pub(super) fn ignores_arp_for_others(arp_ignore: u8) -> bool {
    matches!(arp_ignore, 1 | 2)
}

/// Whether the kernel never gives a VIP as its own address in ARP requests.
pub(super) fn announces_own_only(arp_announce: u8) -> bool {
    arp_announce == 2
}

/// Whether packets are dropped whose answer would leave by another interface (RFC 3704, 2.2).
pub(super) fn filters_strictly(rp_filter: u8) -> bool {
    rp_filter == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_values_keep_the_vip_quiet() {
        assert_eq!((0..=8).filter(|value| ignores_arp_for_others(*value)).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((0..=2).filter(|value| announces_own_only(*value)).collect::<Vec<_>>(), [2]);
        assert_eq!((0..=2).filter(|value| filters_strictly(*value)).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn dots_in_interface_names_stay() {
        let setting = Setting::new("eth0.100", "arp_ignore");
        assert_eq!(setting.path(), "/proc/sys/net/ipv4/conf/eth0.100/arp_ignore");
    }
}
