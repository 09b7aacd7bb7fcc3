//! What the director tells the switch as a whole: table sizes, hash key, timeouts.

use crate::cell::{AtomicU32, AtomicU64};
use crate::ftp;
use crate::mark::MarkLists;
use crate::order;
use crate::service::ServiceKey;
use crate::state::{sctp, tcp, udp};
use crate::sync::SyncDaemon;
use crate::table::Family;
use rlvs_packet::protocol;

/// A point in time: units of 2^26 ns (67.1 ms) of the coarse monotonic clock, modulo 2^32 (nine years).
///
/// Coarse on purpose: a connection's expiry time is written at most once per tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// log2 of the nanoseconds in a tick.
    pub const SHIFT: u32 = 26;

    /// The tick in which a time of the monotonic clock falls.
    #[inline(always)]
    pub fn from_nanoseconds(nanoseconds: u64) -> Tick {
        Tick((nanoseconds >> Self::SHIFT) as u32)
    }

    /// Ticks in so many seconds, rounded up.
    pub fn in_seconds(seconds: u32) -> u32 {
        (seconds as u64 * 1_000_000_000).div_ceil(1 << Self::SHIFT).min(i32::MAX as u64) as u32
    }

    /// Whole seconds in so many ticks.
    pub fn to_seconds(ticks: u32) -> u32 {
        (((ticks as u64) << Self::SHIFT) / 1_000_000_000) as u32
    }

    /// Ticks from `self` to `later`; negative if `later` has passed.
    #[inline(always)]
    pub fn until(self, later: Tick) -> i32 {
        later.0.wrapping_sub(self.0) as i32
    }

    /// So many ticks on.
    #[inline(always)]
    pub fn plus(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }
}

/// A thousand ICMP errors a second, as the kernel's `icmp_msgs_per_sec` has it; here for each CPU.
const ERRORS_PER_TICK: u32 = 67;

/// Words of the hash key: one to start with, and one for each 32-bit word of the longest tuple.
pub const SEEDS: usize = 11;

/// Seconds that the locality-based schedulers remember an address: a day.
const LOCALITY_EXPIRATION: u32 = 86_400;

/// The switch's settings, in shared memory. Written by the director, read by every packet.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Config {
    /// The hash key: random, secret, fixed for the life of the tables.
    pub seed: [AtomicU64; SEEDS],
    /// Buckets of the IPv4 table less one; the number of buckets is a power of two.
    pub mask4: AtomicU32,
    /// Buckets of the IPv6 table less one.
    pub mask6: AtomicU32,
    /// Grows whenever a route, neighbour or link changed: connections look their reply's way up again.
    pub generation: AtomicU32,
    /// CPUs that the counters are laid out for.
    pub cpus: AtomicU32,
    /// Index of the interface by which the switch receives what the director itself sends; 0: by none.
    pub local_in: AtomicU32,
    /// The least MTU of the director's interfaces: no larger packets get by all of them.
    pub least_mtu: AtomicU32,
    /// Ticks that a TCP connection lives after a packet, by state.
    pub tcp_timeouts: [AtomicU32; tcp::STATES],
    /// Ticks that an SCTP association lives after a packet, by state.
    pub sctp_timeouts: [AtomicU32; sctp::STATES],
    /// Ticks that a UDP "connection" lives after a packet.
    pub udp_timeout: AtomicU32,
    /// ICMP errors that a CPU may send in a tick; the rest are suppressed.
    pub errors_per_tick: AtomicU32,
    /// [`look_up`] bits for IPv4 packets.
    pub look_ups4: AtomicU32,
    /// The same for IPv6.
    pub look_ups6: AtomicU32,
    /// The first port that is not privileged: connections to it and those after it may have been arranged by FTP.
    pub unprivileged_port_start: AtomicU32,
    /// The [`Tick`] until which FTP data connections are expected whose client's port is not known; written by the switch.
    pub ftp_data_until: AtomicU32,
    /// The lists of mark rules.
    pub marks: MarkLists,
    /// What IPVS has as sysctls.
    pub settings: Settings,
    /// Director only: the other sysctls.
    pub director: DirectorSettings,
    /// Packets that may yet be copied for whoever watches drops; 0 unless somebody does. The switch counts down.
    pub samples: AtomicU32,
    /// Index of the interface by which what the director itself sends gets into the switch; 0: it does not.
    pub local_out: AtomicU32,
    /// Director only: what all counters together showed when everything was last zeroed.
    pub zero: [AtomicU64; 5],
    /// The master daemon and the backup daemon.
    pub daemons: [SyncDaemon; 2],
}

/// Which look-ups of a service, besides that by the packet's own port, can succeed: the rest is left out.
pub mod look_up {
    /// There are mark rules, and services of marks.
    pub const MARK: u32 = 1;
    /// There are TCP services on port 21.
    pub const FTP: u32 = 2;
    /// There are services for all ports.
    pub const ANY_PORT: u32 = 4;
    /// There are real servers whose datagrams may start calls: those of services with `--pe sip`, over NAT.
    pub const CALLS: u32 = 8;
}

/// Linux's `net.ipv4.ip_unprivileged_port_start`, if nobody changed it.
pub const UNPRIVILEGED_PORT_START: u32 = 1024;

/// Those of IPVS's sysctls (`net.ipv4.vs.*`, Linux's Documentation/networking/ipvs-sysctl.rst) that decide what
/// becomes of a packet, under their names there. Switches are on if they are not 0.
#[derive(Default)]
#[repr(C, align(8))]
pub struct Settings {
    /// Bit 0: a closed connection's tuple may open a new one; bit 1: also one that is half closed as far as a director sees that
    /// does not see replies.
    pub conn_reuse_mode: AtomicU32,
    /// Connections to deleted destinations end, and their packets are looked at anew.
    pub expire_nodest_conn: AtomicU32,
    /// Templates to destinations of weight 0 do not bind new connections.
    pub expire_quiescent_template: AtomicU32,
    /// Any TCP packet may open a connection, not only a SYN.
    pub sloppy_tcp: AtomicU32,
    /// Any SCTP packet may, not only an INIT.
    pub sloppy_sctp: AtomicU32,
    /// Packets of a mark's service without a destination go where they were going.
    pub cache_bypass: AtomicU32,
    /// A real server's packets without a connection are answered with "port unreachable".
    pub nat_icmp_send: AtomicU32,
    /// Tunnels copy "don't fragment", and tell senders of packets that do not fit.
    pub pmtu_disc: AtomicU32,
    /// ICMP errors without a connection are scheduled, too.
    pub schedule_icmp: AtomicU32,
    /// What came out of a tunnel is not scheduled again.
    pub ignore_tunneled: AtomicU32,
    /// While a backup synchronisation daemon runs, no requests are switched.
    pub backup_only: AtomicU32,
    /// One in so many packets that would open a connection is dropped; 0: none.
    pub drop_rate: AtomicU32,
    /// Such packets until the next one is dropped.
    pub drop_counter: AtomicU32,
    /// The TCP state table is the one against SYN floods.
    pub secure_tcp: AtomicU32,
    /// Ticks after which lblc forgets an address that nobody wants.
    pub lblc_expiration: AtomicU32,
    /// The same for lblcr; and ticks after which the most loaded of an unchanging set of destinations leaves it.
    pub lblcr_expiration: AtomicU32,
}

/// The rest of IPVS's sysctls: those that only the director reads, here for the next one to find. Signed numbers are
/// stored as their bits.
#[derive(Default)]
#[repr(C, align(8))]
pub struct DirectorSettings {
    /// Free pages below which memory counts as short.
    pub amemthresh: AtomicU32,
    /// The rate for mode 3 of `drop_packet`.
    pub am_droprate: AtomicU32,
    /// 0: never, 1 and 2: while memory is short (2: it is), 3: always take entries out of the table at random.
    pub drop_entry: AtomicU32,
    /// The same for dropping packets that would open a connection.
    pub drop_packet: AtomicU32,
    /// The same for the TCP state table against SYN floods.
    pub secure_tcp: AtomicU32,
    /// Always 1: replies are routed as packets of the VIP.
    pub snat_reroute: AtomicU32,
    /// 0: rates stay as they are.
    pub run_estimation: AtomicU32,
    /// Synchronisation: version of the messages.
    pub sync_version: AtomicU32,
    /// Packets of a connection before it is first sent.
    pub sync_threshold: AtomicU32,
    /// ... and between two times that it is.
    pub sync_period: AtomicU32,
    /// Seconds after which a connection is sent again if its timer changed little.
    pub sync_refresh_period: AtomicU32,
    /// Repetitions within a refresh period.
    pub sync_retries: AtomicU32,
    /// Ports, and threads, of the daemons.
    pub sync_ports: AtomicU32,
    /// Only templates are sent for persistent connections.
    pub sync_persist_mode: AtomicU32,
    /// Messages that may wait to be sent.
    pub sync_qlen_max: AtomicU32,
    /// Octets of the sockets' buffers; 0: the system's default.
    pub sync_sock_size: AtomicU32,
}

impl Config {
    /// Says which look-ups can succeed with these services and real servers, and with or without mark rules.
    pub fn set_look_ups(&self, services: impl Iterator<Item = ServiceKey>, mark_rules: bool) {
        let mut look_ups = [0; 2];
        for service in services {
            look_ups[(service.version() == 6) as usize] |= match service {
                _ if service.is_real_server() => look_up::CALLS,
                _ if service.mark().is_some() => look_up::MARK * mark_rules as u32,
                ServiceKey { port: 0, .. } => look_up::ANY_PORT,
                ServiceKey { port, protocol: protocol::TCP, .. } if port.to_ne_bytes() == ftp::CONTROL => {
                    look_up::FTP
                }
                _ => 0,
            };
        }
        self.look_ups4.store(look_ups[0], order::PUBLISH);
        self.look_ups6.store(look_ups[1], order::PUBLISH);
    }

    /// Whether another director switches requests, and this one only replies: it runs a backup daemon, under `backup_only`.
    #[inline(always)]
    pub fn is_standby(&self) -> bool {
        let [_, backup] = &self.daemons;
        self.settings.backup_only.load(order::PLAIN) != 0 && backup.started.load(order::PLAIN) != 0
    }

    /// Whether a master daemon runs, which is to hear of connections.
    #[inline(always)]
    pub fn has_master(&self) -> bool {
        let [master, _] = &self.daemons;
        master.started.load(order::PLAIN) != 0
    }

    /// Whether a master or a backup daemon runs.
    #[inline(always)]
    pub fn has_daemon(&self) -> bool {
        let [master, backup] = &self.daemons;
        master.started.load(order::PLAIN) | backup.started.load(order::PLAIN) != 0
    }

    /// Puts timeouts and settings to IPVS's default values.
    pub fn set_defaults(&self) {
        for (cell, seconds) in self.tcp_timeouts.iter().zip(tcp::TIMEOUTS) {
            cell.store(Tick::in_seconds(seconds), order::PLAIN);
        }
        for (cell, seconds) in self.sctp_timeouts.iter().zip(sctp::TIMEOUTS) {
            cell.store(Tick::in_seconds(seconds), order::PLAIN);
        }
        self.udp_timeout.store(Tick::in_seconds(udp::TIMEOUT), order::PLAIN);
        self.errors_per_tick.store(ERRORS_PER_TICK, order::PLAIN);
        self.least_mtu.store(u32::MAX, order::PLAIN);
        self.unprivileged_port_start.store(UNPRIVILEGED_PORT_START, order::PLAIN);
        self.settings.conn_reuse_mode.store(1, order::PLAIN);
        for cell in [&self.settings.lblc_expiration, &self.settings.lblcr_expiration] {
            cell.store(Tick::in_seconds(LOCALITY_EXPIRATION), order::PLAIN);
        }
        self.settings.pmtu_disc.store(1, order::PLAIN);
        let director = &self.director;
        for (cell, value) in [
            (&director.amemthresh, 1024),
            (&director.am_droprate, 10),
            (&director.snat_reroute, 1),
            (&director.run_estimation, 1),
            (&director.sync_version, 1),
            (&director.sync_threshold, 3),
            (&director.sync_period, 50),
            (&director.sync_ports, 1),
        ] {
            cell.store(value, order::PLAIN);
        }
    }

    /// [`look_up`] bits for packets of this IP version.
    #[inline(always)]
    pub(crate) fn look_ups<F: Family>(&self) -> u32 {
        if F::NUMBER == 6 { &self.look_ups6 } else { &self.look_ups4 }.load(order::PLAIN)
    }

    /// Buckets less one of the IPv4 table.
    #[inline(always)]
    pub fn mask4(&self) -> u32 {
        self.mask4.load(order::PLAIN)
    }

    /// Buckets less one of the IPv6 table.
    #[inline(always)]
    pub fn mask6(&self) -> u32 {
        self.mask6.load(order::PLAIN)
    }

    /// CPUs that the counters are laid out for.
    #[inline(always)]
    pub fn cpus(&self) -> u32 {
        self.cpus.load(order::PLAIN)
    }

    /// The generation of routes and neighbours, as connections keep it.
    #[inline(always)]
    pub fn generation(&self) -> u16 {
        self.generation.load(order::PLAIN) as u16
    }
}
