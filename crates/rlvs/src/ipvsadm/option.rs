//! The commands and options that there are: spelling, values, names in messages.

use Takes::{MaybeValue, Nothing, Value};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// A value.
    Value,
    /// A value, if the next word does not begin with a dash.
    MaybeValue,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    AddService,
    EditService,
    DeleteService,
    Flush,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

impl Command {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Flush => "flush",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Zero => "zero",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Help => "help",
            Self::Version => "version",
        }
    }
}

/// Options that may be given once, in the order in which their legality is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tracked {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Method,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ops,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

impl Tracked {
    /// All, in order.
    pub const ALL: [Self; 34] = [
        Self::Numeric,
        Self::Connection,
        Self::Service,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::RealServer,
        Self::Method,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::Ops,
        Self::Engine,
        Self::SchedulerFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::Service => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::RealServer => "real-server",
            Self::Method => "forwarding-method",
            Self::Weight => "weight",
            Self::UpperThreshold => "u-threshold",
            Self::LowerThreshold => "l-threshold",
            Self::McastInterface => "mcast-interface",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::SyncId => "syncid",
            Self::Exact => "exact",
            Self::Ops => "ops",
            Self::Engine => "pe",
            Self::SchedulerFlags => "sched-flags",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::SyncMaxlen => "sync-maxlen",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNocsum => "tun-nocsum",
            Self::TunCsum => "tun-csum",
            Self::TunRemcsum => "tun-remcsum",
        }
    }
}

/// Which tracked options were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// Whether it was given.
    pub fn has(self, option: Tracked) -> bool {
        self.0 & (1 << option as u8) != 0
    }

    /// Whether any of them was.
    pub fn has_any(self, options: &[Tracked]) -> bool {
        options.iter().any(|&option| self.has(option))
    }

    /// Notes it; false if it had been given before.
    pub fn insert(&mut self, option: Tracked) -> bool {
        let before = *self;
        self.0 |= 1 << option as u8;
        *self != before
    }
}

/// A command or an option, as spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Option {
    Command(Command),
    Tcp,
    Udp,
    Sctp,
    Mark,
    /// -g, -i, -m: the method's letter.
    Method(char),
    Ipv6,
    Sort,
    /// Everything that is told by its tracked name alone.
    Plain(Tracked),
}

impl Option {
    /// By its letter.
    pub fn by_short(letter: char) -> std::option::Option<Self> {
        TABLE.iter().find(|(short, ..)| *short == Some(letter)).map(|row| row.2)
    }

    /// By its name without the dashes.
    pub fn by_long(name: &str) -> std::option::Option<Self> {
        TABLE.iter().find(|(_, long, ..)| *long == name).map(|row| row.2)
    }

    /// What it takes.
    pub fn takes(self) -> Takes {
        TABLE.iter().find(|row| row.2 == self).map_or(Nothing, |row| row.3)
    }
}

/// Letter, name, meaning, value.
type Row = (std::option::Option<char>, &'static str, Option, Takes);

const TABLE: &[Row] = &[
    (Some('A'), "add-service", Option::Command(Command::AddService), Nothing),
    (Some('E'), "edit-service", Option::Command(Command::EditService), Nothing),
    (Some('D'), "delete-service", Option::Command(Command::DeleteService), Nothing),
    (Some('C'), "clear", Option::Command(Command::Flush), Nothing),
    (Some('R'), "restore", Option::Command(Command::Restore), Nothing),
    (Some('S'), "save", Option::Command(Command::Save), Nothing),
    (Some('a'), "add-server", Option::Command(Command::AddServer), Nothing),
    (Some('e'), "edit-server", Option::Command(Command::EditServer), Nothing),
    (Some('d'), "delete-server", Option::Command(Command::DeleteServer), Nothing),
    (Some('L'), "list", Option::Command(Command::List), Nothing),
    (Some('l'), "list", Option::Command(Command::List), Nothing),
    (Some('Z'), "zero", Option::Command(Command::Zero), Nothing),
    (None, "set", Option::Command(Command::Set), Nothing),
    (None, "start-daemon", Option::Command(Command::StartDaemon), Value),
    (None, "stop-daemon", Option::Command(Command::StopDaemon), Value),
    (Some('h'), "help", Option::Command(Command::Help), Nothing),
    (Some('v'), "version", Option::Command(Command::Version), Nothing),
    (Some('t'), "tcp-service", Option::Tcp, Value),
    (Some('u'), "udp-service", Option::Udp, Value),
    (None, "sctp-service", Option::Sctp, Value),
    (Some('f'), "fwmark-service", Option::Mark, Value),
    (Some('6'), "ipv6", Option::Ipv6, Nothing),
    (Some('s'), "scheduler", Option::Plain(Tracked::Scheduler), Value),
    (Some('p'), "persistent", Option::Plain(Tracked::Persistent), MaybeValue),
    (Some('M'), "netmask", Option::Plain(Tracked::Netmask), Value),
    (None, "pe", Option::Plain(Tracked::Engine), Value),
    (Some('b'), "sched-flags", Option::Plain(Tracked::SchedulerFlags), Value),
    (Some('o'), "ops", Option::Plain(Tracked::Ops), Nothing),
    (Some('r'), "real-server", Option::Plain(Tracked::RealServer), Value),
    (Some('g'), "gatewaying", Option::Method('g'), Nothing),
    (Some('i'), "ipip", Option::Method('i'), Nothing),
    (Some('m'), "masquerading", Option::Method('m'), Nothing),
    (Some('w'), "weight", Option::Plain(Tracked::Weight), Value),
    (Some('x'), "u-threshold", Option::Plain(Tracked::UpperThreshold), Value),
    (Some('y'), "l-threshold", Option::Plain(Tracked::LowerThreshold), Value),
    (None, "tun-type", Option::Plain(Tracked::TunType), Value),
    (None, "tun-port", Option::Plain(Tracked::TunPort), Value),
    (None, "tun-nocsum", Option::Plain(Tracked::TunNocsum), Nothing),
    (None, "tun-csum", Option::Plain(Tracked::TunCsum), Nothing),
    (None, "tun-remcsum", Option::Plain(Tracked::TunRemcsum), Nothing),
    (Some('n'), "numeric", Option::Plain(Tracked::Numeric), Nothing),
    (Some('c'), "connection", Option::Plain(Tracked::Connection), Nothing),
    (None, "timeout", Option::Plain(Tracked::Timeout), Nothing),
    (None, "daemon", Option::Plain(Tracked::Daemon), Nothing),
    (None, "stats", Option::Plain(Tracked::Stats), Nothing),
    (None, "rate", Option::Plain(Tracked::Rate), Nothing),
    (None, "thresholds", Option::Plain(Tracked::Thresholds), Nothing),
    (None, "persistent-conn", Option::Plain(Tracked::PersistentConn), Nothing),
    (None, "tun-info", Option::Plain(Tracked::TunInfo), Nothing),
    (None, "exact", Option::Plain(Tracked::Exact), Nothing),
    (None, "nosort", Option::Plain(Tracked::NoSort), Nothing),
    (None, "sort", Option::Sort, Nothing),
    (None, "syncid", Option::Plain(Tracked::SyncId), Value),
    (None, "sync-maxlen", Option::Plain(Tracked::SyncMaxlen), Value),
    (None, "mcast-interface", Option::Plain(Tracked::McastInterface), Value),
    (None, "mcast-group", Option::Plain(Tracked::McastGroup), Value),
    (None, "mcast-port", Option::Plain(Tracked::McastPort), Value),
    (None, "mcast-ttl", Option::Plain(Tracked::McastTtl), Value),
];
