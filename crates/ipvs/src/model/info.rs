//! The director as a whole.

/// IPVS's version word for 1.2.1, a component per octet.
pub const VERSION: u32 = 0x0001_0201;

/// Largest timeout in seconds that the kernel's IPVS takes at 250 ticks a second, (2^31 - 1) / 250.
pub const MAX_TIMEOUT: u32 = i32::MAX as u32 / 250;

/// Answer to GET_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version, see [`VERSION`].
    pub version: u32,
    /// Size of the connection table, in buckets.
    pub table_size: u32,
}

/// Timeouts of connections in seconds. In a request 0 leaves a value as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// One thing to know about the rlvs director, such as ("version", "0.1.0") or ("interface.eth0", "native").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One of IPVS's sysctls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name below `net.ipv4.vs`.
    pub name: String,
    /// Its value as text: what the file of the same name shows and takes.
    pub value: String,
}

/// A packet that was dropped or answered with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Name of the event that it was counted for.
    pub event: String,
    /// The event in words.
    pub words: String,
    /// The frame's beginning as it was received, from its link header on.
    pub frame: Vec<u8>,
}

/// How often something happened to packets other than being switched as usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// The event's name.
    pub name: String,
    /// The event in words, what became of the packet first.
    pub words: String,
    /// How often, since the data plane was made.
    pub count: u64,
}
