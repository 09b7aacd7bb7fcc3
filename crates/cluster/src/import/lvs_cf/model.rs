//! What an `lvs.cf` says, with Piranha's defaults.

use std::net::Ipv4Addr;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// `virtual` blocks are used, not `failover` ones: `service = lvs`.
    pub(super) balances: bool,
    pub(super) primary: Option<Ipv4Addr>,
    pub(super) backup: Option<Ipv4Addr>,
    pub(super) primary_private: Option<Ipv4Addr>,
    pub(super) backup_private: Option<Ipv4Addr>,
    pub(super) backup_active: bool,
    pub(super) heartbeat: bool,
    pub(super) heartbeat_port: u16,
    /// Seconds.
    pub(super) keepalive: u32,
    /// Seconds.
    pub(super) deadtime: u32,
    pub(super) network: Network,
    pub(super) nat_router: Option<OnDevice>,
    pub(super) nat_nmask: Option<Ipv4Addr>,
    pub(super) monitor_links: bool,
    pub(super) active_cmd: Option<String>,
    pub(super) inactive_cmd: Option<String>,
    /// Those given that we have no word for, with their values as they stand there.
    pub(super) others: Vec<Other>,
    pub(super) virtuals: Vec<Virtual>,
    /// Line and name of each `failover` block.
    pub(super) failovers: Vec<(usize, String)>,
}

/// `virtual NAME { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Virtual {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) address: Option<OnDevice>,
    pub(super) vip_nmask: Option<Ipv4Addr>,
    pub(super) port: u16,
    pub(super) udp: bool,
    pub(super) fwmark: Option<u32>,
    pub(super) scheduler: String,
    /// Seconds.
    pub(super) persistent: Option<u32>,
    pub(super) pmask: Option<Ipv4Addr>,
    pub(super) send: Option<String>,
    pub(super) expect: Option<String>,
    pub(super) use_regex: bool,
    pub(super) send_program: Option<String>,
    /// Seconds.
    pub(super) timeout: u32,
    /// Seconds.
    pub(super) reentry: u32,
    pub(super) quiesce_server: bool,
    pub(super) sorry_server: Option<Ipv4Addr>,
    pub(super) others: Vec<Other>,
    pub(super) servers: Vec<Server>,
}

/// `server NAME { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) port: Option<u16>,
    pub(super) weight: u32,
}

/// An address and the device that it belongs on, without the alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnDevice {
    pub(super) address: Ipv4Addr,
    pub(super) device: String,
}

/// A keyword that is right, and has no counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) line: usize,
    pub(super) keyword: &'static str,
    pub(super) value: String,
}

/// Forwarding method of all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Nat,
    Direct,
    Tunnel,
}

impl Default for File {
    fn default() -> Self {
        Self {
            balances: true,
            primary: None,
            backup: None,
            primary_private: None,
            backup_private: None,
            backup_active: false,
            heartbeat: false,
            heartbeat_port: 539,
            keepalive: 2,
            deadtime: 5,
            network: Network::Nat,
            nat_router: None,
            nat_nmask: None,
            monitor_links: false,
            active_cmd: None,
            inactive_cmd: None,
            others: Vec::new(),
            virtuals: Vec::new(),
            failovers: Vec::new(),
        }
    }
}

impl Virtual {
    pub(super) fn new(line: usize, name: String) -> Self {
        Self {
            line,
            name,
            active: false,
            address: None,
            vip_nmask: None,
            port: 80,
            udp: false,
            fwmark: None,
            scheduler: "wlc".to_owned(),
            persistent: None,
            pmask: None,
            send: None,
            expect: None,
            use_regex: false,
            send_program: None,
            timeout: 10,
            reentry: 180,
            quiesce_server: false,
            sorry_server: None,
            others: Vec::new(),
            servers: Vec::new(),
        }
    }
}

impl Server {
    pub(super) fn new(line: usize, name: String) -> Self {
        Self { line, name, active: false, address: None, port: None, weight: 1 }
    }
}
