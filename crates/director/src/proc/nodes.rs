//! The tree: folders and files, by inode number.

use crate::settings;

/// A file or folder.
#[derive(Debug)]
pub(super) struct Node {
    /// Inode number of its folder; the root's own.
    pub(super) parent: u64,
    /// Name in there.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// `net/ip_vs`
    Services,
    /// `net/ip_vs_conn`
    Connections,
    /// `net/ip_vs_conn_sync`
    SyncedConnections,
    /// `net/ip_vs_stats`
    Statistics,
    /// `net/ip_vs_stats_percpu`
    StatisticsByCpu,
    /// `net/ip_vs_app`
    Applications,
    /// A setting, by its name.
    Setting(&'static str),
}

/// All nodes. An inode number is the place in here, counted from 1.
pub(super) fn all() -> Vec<Node> {
    let node = |parent, name, kind| Node { parent, name, kind };
    let mut nodes = vec![
        node(1, "", Kind::Folder),
        node(1, "net", Kind::Folder),
        node(1, "sys", Kind::Folder),
        node(3, "net", Kind::Folder),
        node(4, "ipv4", Kind::Folder),
        node(5, "vs", Kind::Folder),
        node(2, "ip_vs", Kind::Services),
        node(2, "ip_vs_app", Kind::Applications),
        node(2, "ip_vs_conn", Kind::Connections),
        node(2, "ip_vs_conn_sync", Kind::SyncedConnections),
        node(2, "ip_vs_stats", Kind::Statistics),
        node(2, "ip_vs_stats_percpu", Kind::StatisticsByCpu),
    ];
    nodes.extend(settings::names().map(|name| node(6, name, Kind::Setting(name))));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_proc() {
        let nodes = all();
        let path = |mut number: u64| {
            let mut path = String::new();
            while number != 1 {
                let node = &nodes[number as usize - 1];
                path = format!("/{}{path}", node.name);
                number = node.parent;
            }
            path
        };
        let paths: Vec<_> = (1..=nodes.len() as u64).map(path).collect();
        assert!(paths.contains(&"/net/ip_vs_stats".into()), "{paths:?}");
        assert!(paths.contains(&"/sys/net/ipv4/vs/drop_entry".into()), "{paths:?}");
    }
}
