//! Entries of the connection table.

use std::net::IpAddr;

use super::Protocol;

/// An address and a port (host byte order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// A connection or a persistence template. Client and virtual address are of one family; the destination's may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Protocol; 0 for a template of a mark service. Only the low octet travels.
    pub protocol: Protocol,
    /// IPVS's number of the protocol's state.
    pub state: u8,
    /// IPVS's connection flags; the low three bits are the forwarding method.
    pub flags: u32,
    /// Whole seconds to expiry.
    pub expires: u32,
    /// The client.
    pub client: Endpoint,
    /// The virtual service; for a template of a mark service the mark, as an address.
    pub virtual_server: Endpoint,
    /// The real server.
    pub destination: Endpoint,
    /// A template's SIP Call-ID, as the persistence engine `sip` found it; at most 255 octets.
    pub call_id: Option<String>,
}

impl Connection {
    /// Connection flag: a persistence template.
    pub const TEMPLATE: u32 = 0x1000;
    /// State of a template: replies were seen.
    const TEMPLATE_ASSURED: u8 = 1;

    /// The state's name, as /proc/net/ip_vs_conn shows it.
    pub fn state_name(&self) -> &'static str {
        const TCP: [&str; 11] = [
            "NONE",
            "ESTABLISHED",
            "SYN_SENT",
            "SYN_RECV",
            "FIN_WAIT",
            "TIME_WAIT",
            "CLOSE",
            "CLOSE_WAIT",
            "LAST_ACK",
            "LISTEN",
            "SYNACK",
        ];
        const SCTP: [&str; 14] = [
            "NONE",
            "INIT1",
            "INIT",
            "C-SENT",
            "C-REPLIED",
            "C-WAIT",
            "COOKIE",
            "C-ECHOED",
            "ESTABLISHED",
            "S-SENT",
            "S-RECEIVED",
            "S-ACK-SENT",
            "REJECTED",
            "CLOSED",
        ];
        if self.flags & Self::TEMPLATE != 0 {
            return if self.state & Self::TEMPLATE_ASSURED != 0 { "ASSURED" } else { "NONE" };
        }
        let state = usize::from(self.state);
        match self.protocol {
            Protocol::TCP => TCP.get(state).copied(),
            Protocol::UDP => (state == 0).then_some("UDP"),
            Protocol::SCTP => SCTP.get(state).copied(),
            Protocol::IP => Some("NONE"),
            _ => None,
        }
        .unwrap_or("ERR!")
    }
}
