//! Numbers of commands and attributes. Those of the family `IPVS` are Linux's (uapi/linux/ip_vs.h); those of
//! `RLVS` are ours and only ever grow.

pub mod command {
    pub const NEW_SERVICE: u8 = 1;
    pub const SET_SERVICE: u8 = 2;
    pub const DEL_SERVICE: u8 = 3;
    pub const GET_SERVICE: u8 = 4;
    pub const NEW_DEST: u8 = 5;
    pub const SET_DEST: u8 = 6;
    pub const DEL_DEST: u8 = 7;
    pub const GET_DEST: u8 = 8;
    pub const NEW_DAEMON: u8 = 9;
    pub const DEL_DAEMON: u8 = 10;
    pub const GET_DAEMON: u8 = 11;
    pub const SET_CONFIG: u8 = 12;
    pub const GET_CONFIG: u8 = 13;
    pub const SET_INFO: u8 = 14;
    pub const GET_INFO: u8 = 15;
    pub const ZERO: u8 = 16;
    pub const FLUSH: u8 = 17;
}

/// Top level.
pub mod top {
    pub const SERVICE: u16 = 1;
    pub const DEST: u16 = 2;
    pub const DAEMON: u16 = 3;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
}

/// Top level of SET_INFO.
pub mod info {
    pub const VERSION: u16 = 1;
    pub const CONN_TAB_SIZE: u16 = 2;
}

pub mod service {
    pub const AF: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const ADDR: u16 = 3;
    pub const PORT: u16 = 4;
    pub const FWMARK: u16 = 5;
    pub const SCHED_NAME: u16 = 6;
    pub const FLAGS: u16 = 7;
    pub const TIMEOUT: u16 = 8;
    pub const NETMASK: u16 = 9;
    pub const STATS: u16 = 10;
    pub const PE_NAME: u16 = 11;
    pub const STATS64: u16 = 12;
}

pub mod dest {
    pub const ADDR: u16 = 1;
    pub const PORT: u16 = 2;
    pub const FWD_METHOD: u16 = 3;
    pub const WEIGHT: u16 = 4;
    pub const U_THRESH: u16 = 5;
    pub const L_THRESH: u16 = 6;
    pub const ACTIVE_CONNS: u16 = 7;
    pub const INACT_CONNS: u16 = 8;
    pub const PERSIST_CONNS: u16 = 9;
    pub const STATS: u16 = 10;
    pub const ADDR_FAMILY: u16 = 11;
    pub const STATS64: u16 = 12;
    pub const TUN_TYPE: u16 = 13;
    pub const TUN_PORT: u16 = 14;
    pub const TUN_FLAGS: u16 = 15;
}

pub mod daemon {
    pub const STATE: u16 = 1;
    pub const MCAST_IFN: u16 = 2;
    pub const SYNC_ID: u16 = 3;
    pub const SYNC_MAXLEN: u16 = 4;
    pub const MCAST_GROUP: u16 = 5;
    pub const MCAST_GROUP6: u16 = 6;
    pub const MCAST_PORT: u16 = 7;
    pub const MCAST_TTL: u16 = 8;
}

/// Linux's `nlctrl` (uapi/linux/genetlink.h).
pub mod control {
    pub const NEW_FAMILY: u8 = 1;
    pub const GET_FAMILY: u8 = 3;
    pub const FAMILY_ID: u16 = 1;
    pub const FAMILY_NAME: u16 = 2;
    pub const VERSION: u16 = 3;
    pub const HEADER_SIZE: u16 = 4;
    pub const MAX_ATTRIBUTE: u16 = 5;
}

/// Commands and attributes of the family `RLVS`.
pub mod rlvs {
    pub const GET_CONNECTIONS: u8 = 1;
    pub const CONNECTIONS: u8 = 2;
    pub const GET_FACTS: u8 = 3;
    pub const FACT: u8 = 4;
    pub const GET_SETTINGS: u8 = 5;
    pub const SETTING: u8 = 6;
    pub const SET_SETTING: u8 = 7;
    pub const GET_EVENTS: u8 = 8;
    pub const EVENT: u8 = 9;
    pub const GET_TOTALS: u8 = 10;
    pub const TOTALS: u8 = 11;
    pub const TAKE_SAMPLES: u8 = 12;
    pub const SAMPLE: u8 = 13;
    pub const END_DEST: u8 = 14;

    /// Records of connections, one after the other.
    pub const RECORDS: u16 = 1;
    pub const FACT_NAME: u16 = 2;
    pub const FACT_VALUE: u16 = 3;
    pub const SETTING_NAME: u16 = 4;
    pub const SETTING_VALUE: u16 = 5;
    pub const EVENT_NAME: u16 = 6;
    pub const EVENT_WORDS: u16 = 7;
    pub const EVENT_COUNT: u16 = 8;
    pub const STATS: u16 = 9;
    pub const CPU: u16 = 10;
    pub const FRAME: u16 = 11;
    /// As IPVS's [`super::top::SERVICE`] and [`super::top::DEST`].
    pub const SERVICE: u16 = 12;
    pub const DEST: u16 = 13;
    pub const ENDING: u16 = 14;
}

/// Mark rules, in the family `RLVS`; the attributes of a rule are in a nest of their own.
pub mod mark {
    pub const GET: u8 = 32;
    pub const ENTRY: u8 = 33;
    pub const NEW: u8 = 34;
    pub const DELETE: u8 = 35;

    pub const RULE: u16 = 32;
    pub const NUMBER: u16 = 33;
    pub const CONFIGURED: u16 = 34;

    pub const MARK: u16 = 1;
    pub const FAMILY: u16 = 2;
    pub const PROTOCOL: u16 = 3;
    /// Address (16 octets, IPv4 in the first 4) and prefix length (1 octet).
    pub const SOURCE: u16 = 4;
    pub const DESTINATION: u16 = 5;
    /// First port, and last << 16.
    pub const SOURCE_PORTS: u16 = 6;
    pub const DESTINATION_PORTS: u16 = 7;
    pub const INTERFACE: u16 = 8;
}

/// Explanations, in the family `RLVS`; a detail's name and value are in a nest of their own.
pub mod explain {
    pub const EXPLAIN: u8 = 64;
    pub const FINDING: u8 = 65;

    pub const FAMILY: u16 = 64;
    pub const PROTOCOL: u16 = 65;
    pub const SOURCE: u16 = 66;
    pub const SOURCE_PORT: u16 = 67;
    pub const DESTINATION: u16 = 68;
    pub const DESTINATION_PORT: u16 = 69;
    pub const SIGNAL: u16 = 70;
    pub const LENGTH: u16 = 71;
    pub const HOPS: u16 = 72;
    pub const INTERFACE: u16 = 73;

    pub const SUBJECT: u16 = 74;
    pub const TEXT: u16 = 75;
    pub const DETAIL: u16 = 76;

    pub const MARK: u16 = 77;
    pub const PAYLOAD: u16 = 78;
    pub const MAY_FRAGMENT: u16 = 79;
    pub const FORM: u16 = 80;
    pub const FROM: u16 = 81;

    pub const NAME: u16 = 1;
    pub const NUMBER: u16 = 2;
    pub const WORD: u16 = 3;
    pub const TRUTH: u16 = 4;
}

/// Longest names, without the NUL.
pub const SCHEDULER_LENGTH: usize = 15;
pub const ENGINE_LENGTH: usize = 16;
pub const INTERFACE_LENGTH: usize = 15;
/// Of a setting's name or value.
pub const SETTING_LENGTH: usize = 255;
