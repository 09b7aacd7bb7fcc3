//! Packet headers as plain values, checksums, and encapsulation headers.
//!
//! Every header is a `#[repr(C)]` struct without padding and without alignment, in the byte order of the
//! wire: what can be read can be written back unchanged. The crate knows no table and no policy, and it
//! never touches a frame itself: the caller copies headers in and out at offsets of its choosing, because
//! pointers into a frame do not survive a resize.

#![no_std]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// Hops that a packet of this machine's own may pass.
pub const HOPS: u8 = 64;

/// IP protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP encapsulation (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 encapsulation (RFC 2473, RFC 4213).
    pub const IPV6: u8 = 41;
    /// Generic Routing Encapsulation (RFC 2784).
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication Header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
