//! What a client may do, by the credentials that the kernel vouches for.

use std::fs;

use tokio::net::unix::UCred;

/// Who may read without being allowed to change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Readers {
    /// Nobody but those who may change, as with the kernel's IPVS.
    #[default]
    Privileged,
    /// Members of the group with this number too.
    Group(u32),
    /// Everybody in the network namespace.
    Everybody,
}

/// What one client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and change.
    Change,
    /// Read.
    Read,
    /// Find out that it may not.
    Nothing,
}

impl Access {
    /// Whether it may change things.
    pub fn may_change(self) -> bool {
        self == Self::Change
    }

    /// Whether it may read.
    pub fn may_read(self) -> bool {
        self != Self::Nothing
    }
}

impl Readers {
    /// What this client may do.
    pub fn access(self, peer: &UCred) -> Access {
        if is_administrator(peer) {
            return Access::Change;
        }
        let may_read = match self {
            Self::Privileged => false,
            Self::Everybody => true,
            Self::Group(group) => peer.gid() == group || Status::of(peer).is_some_and(|s| s.has_group(group)),
        };
        if may_read { Access::Read } else { Access::Nothing }
    }
}

/// Root or CAP_NET_ADMIN, both as seen from our user namespace: an abstract socket can be reached from any user
/// namespace within the network namespace, and there everybody can be root.
///
/// The kernel translates the user id; capabilities are read from /proc and count only if the process is in our
/// user namespace. They are read right after the connection was accepted; a process id that changes hands in
/// that moment would have to go to a process of the same user.
pub fn is_administrator(peer: &UCred) -> bool {
    peer.uid() == 0 || (same_user_namespace(peer) && Status::of(peer).is_some_and(|s| s.has_net_admin()))
}

fn same_user_namespace(peer: &UCred) -> bool {
    let Some(pid) = peer.pid().filter(|&pid| pid > 0) else { return false };
    let theirs = fs::read_link(format!("/proc/{pid}/ns/user"));
    let ours = fs::read_link("/proc/self/ns/user");
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// The peer's /proc/PID/status.
struct Status(String);

impl Status {
    fn of(peer: &UCred) -> Option<Self> {
        let pid = peer.pid().filter(|&pid| pid > 0)?;
        let status = Self(fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
        let effective_uid = status.words("Uid:")?.nth(1)?;
        (effective_uid.parse() == Ok(peer.uid())).then_some(status)
    }

    fn has_net_admin(&self) -> bool {
        const CAP_NET_ADMIN: u32 = 12;
        let set = self.words("CapEff:").and_then(|mut words| u64::from_str_radix(words.next()?, 16).ok());
        set.is_some_and(|set| set & (1 << CAP_NET_ADMIN) != 0)
    }

    fn has_group(&self, group: u32) -> bool {
        self.words("Groups:").is_some_and(|mut words| words.any(|word| word.parse() == Ok(group)))
    }

    fn words(&self, label: &str) -> Option<impl Iterator<Item = &str>> {
        Some(self.0.lines().find_map(|line| line.strip_prefix(label))?.split_ascii_whitespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_by_its_labels() {
        let status = Status("Name:\tx\nUid:\t7\t7\t7\t7\nGroups:\t4 24 \nCapEff:\t0000000000001000\n".into());
        assert!(status.has_net_admin());
        assert!(status.has_group(24) && !status.has_group(2));
        assert!(!Status("CapEff:\t0000000000000fff\n".into()).has_net_admin());
        assert!(!Status(String::new()).has_net_admin());
    }
}
