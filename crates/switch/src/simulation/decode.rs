//! What a frame says, read by a parser that has nothing in common with the switch's.

use super::GUE_PORT;
use crc::{CRC_32_ISCSI, Crc};
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpNumber, LinkExtSlice, LinkSlice, NetSlice, SlicedPacket, TcpSlice,
    TransportSlice, UdpSlice,
};
use rlvs_packet::ethernet::Mac;
use std::net::IpAddr;

/// A frame's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Receiver's MAC.
    pub to: Mac,
    /// Sender's MAC.
    pub from: Mac,
    /// The VLAN tag's control field.
    pub vlan: Option<u16>,
    /// IP headers, the outermost first: two of them if there is a tunnel.
    pub ip: Vec<Ip>,
    /// What is between two IP headers.
    pub between: Option<Between>,
    /// What the innermost IP packet carries.
    pub transport: Transport,
    /// Checksums that do not hold.
    pub wrong_checksums: Vec<&'static str>,
}

/// A header of a tunnel that is more than IP in IP.
#[derive(Clone, Debug, PartialEq)]
pub enum Between {
    /// UDP to [`GUE_PORT`].
    Gue {
        /// The sender's port.
        source: u16,
        /// Whether UDP has a checksum.
        checksum: bool,
    },
    /// GRE.
    Gre {
        /// Whether there is a checksum.
        checksum: bool,
    },
}

/// An IP header.
#[derive(Clone, Debug, PartialEq)]
pub struct Ip {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hops: u8,
    /// DSCP and ECN.
    pub class: u8,
    /// IPv4's identification.
    pub identification: u16,
    /// IPv4's "don't fragment".
    pub dont_fragment: bool,
    /// IPv4's options.
    pub options: Vec<u8>,
    /// Octets from this header on.
    pub length: usize,
}

/// A transport header and what follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// Sender's and receiver's port.
        ports: (u16, u16),
        /// The flags.
        flags: u8,
        /// The data.
        payload: Vec<u8>,
    },
    /// UDP.
    Udp {
        /// Sender's and receiver's port.
        ports: (u16, u16),
        /// Whether there is a checksum.
        checksum: bool,
        /// The data.
        payload: Vec<u8>,
    },
    /// SCTP.
    Sctp {
        /// Sender's and receiver's port.
        ports: (u16, u16),
        /// The chunks.
        payload: Vec<u8>,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type and code.
        kind: (u8, u8),
        /// The second word.
        word: u32,
        /// The packet that is reported.
        quote: Vec<u8>,
    },
    /// Anything else.
    Other,
}

/// Reads a frame.
///
/// # Errors
///
/// What is wrong with its structure. Wrong checksums are no error: see [`Decoded::wrong_checksums`].
pub fn decode(frame: &[u8]) -> Result<Decoded, String> {
    let mut packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let Some(LinkSlice::Ethernet2(link)) = packet.link else { return Err("no Ethernet header".to_owned()) };
    let vlan = packet.link_exts.iter().find_map(|extension| match extension {
        LinkExtSlice::Vlan(tag) => Some(
            u16::from(tag.priority_code_point().value()) << 13
                | u16::from(tag.drop_eligible_indicator()) << 12
                | tag.vlan_identifier().value(),
        ),
        _ => None,
    });
    let mut decoded = Decoded {
        to: link.destination(),
        from: link.source(),
        vlan,
        ip: Vec::new(),
        between: None,
        transport: Transport::Other,
        wrong_checksums: Vec::new(),
    };
    loop {
        let Some(net) = packet.net.clone() else { return Ok(decoded) };
        let Some((kind, payload)) = decoded.network(&net) else { return Ok(decoded) };
        let payload = match kind {
            IpNumber::IPV4 | IpNumber::IPV6 => payload,
            IpNumber::GRE => decoded.gre(payload)?,
            IpNumber::SCTP => {
                decoded.sctp(payload);
                return Ok(decoded);
            }
            _ => {
                decoded.transport(packet.transport.as_ref());
                match &decoded.transport {
                    Transport::Udp { ports: (source, GUE_PORT), checksum, .. } => {
                        decoded.between = Some(Between::Gue { source: *source, checksum: *checksum });
                        gue(&payload[8..])?
                    }
                    _ => return Ok(decoded),
                }
            }
        };
        packet = SlicedPacket::from_ip(payload).map_err(|error| format!("in the tunnel: {error}"))?;
    }
}

/// The IP packet behind a GUE header.
fn gue(packet: &[u8]) -> Result<&[u8], String> {
    match packet {
        [0, 4, 0, 0, inner @ ..] if inner.first().is_some_and(|first| first >> 4 == 4) => Ok(inner),
        [0, 41, 0, 0, inner @ ..] if inner.first().is_some_and(|first| first >> 4 == 6) => Ok(inner),
        _ => Err(format!("GUE: {:02x?}", packet.get(..5))),
    }
}

impl Decoded {
    /// The only IP header, or the one inside the tunnel.
    pub fn inner(&self) -> &Ip {
        &self.ip[self.ip.len() - 1]
    }

    /// Sender's and receiver's port.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp { ports, .. } | Transport::Udp { ports, .. } | Transport::Sctp { ports, .. } => {
                Some(ports)
            }
            _ => None,
        }
    }

    fn gre<'a>(&mut self, packet: &'a [u8]) -> Result<&'a [u8], String> {
        let checksum = packet.first().is_some_and(|flags| flags & 0x80 != 0);
        let length = if checksum { 8 } else { 4 };
        let (Some(header), Some(payload)) = (packet.get(..length), packet.get(length..)) else {
            return Err("GRE: cut off".to_owned());
        };
        let known = match header[..4] {
            [0 | 0x80, 0, 8, 0] => payload.first().is_some_and(|first| first >> 4 == 4),
            [0 | 0x80, 0, 0x86, 0xdd] => payload.first().is_some_and(|first| first >> 4 == 6),
            _ => false,
        };
        if !known || header.get(6..).is_some_and(|reserved| reserved != [0, 0]) {
            return Err(format!("GRE: {header:02x?}"));
        }
        if checksum && Sum16BitWords::new().add_slice(packet).ones_complement() != 0 {
            self.wrong_checksums.push("GRE");
        }
        self.between = Some(Between::Gre { checksum });
        Ok(payload)
    }

    fn sctp(&mut self, packet: &[u8]) {
        let [a, b, c, d, _, _, _, _, checksum @ ..] = packet else { return };
        let Some((checksum, chunks)) = checksum.split_first_chunk::<4>() else { return };
        let covered = [&packet[..8], &[0; 4], chunks].concat();
        if Crc::<u32>::new(&CRC_32_ISCSI).checksum(&covered).to_le_bytes() != *checksum {
            self.wrong_checksums.push("SCTP");
        }
        let ports = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        self.transport = Transport::Sctp { ports, payload: chunks.to_vec() };
    }

    fn network<'a>(&mut self, net: &NetSlice<'a>) -> Option<(IpNumber, &'a [u8])> {
        match net {
            NetSlice::Ipv4(v4) => {
                let header = v4.header().to_header();
                // Of the octets as they are: etherparse's own sum leaves out the reserved flag.
                if Sum16BitWords::new().add_slice(v4.header().slice()).ones_complement() != 0 {
                    self.wrong_checksums.push("IPv4");
                }
                self.ip.push(Ip {
                    source: IpAddr::from(header.source),
                    destination: IpAddr::from(header.destination),
                    hops: header.time_to_live,
                    class: v4.header().slice()[1],
                    identification: header.identification,
                    dont_fragment: header.dont_fragment,
                    options: header.options.to_vec(),
                    length: v4.header().slice().len() + v4.payload().payload.len(),
                });
                Some((v4.payload().ip_number, v4.payload().payload))
            }
            NetSlice::Ipv6(v6) => {
                let header = v6.header();
                self.ip.push(Ip {
                    source: IpAddr::from(header.source()),
                    destination: IpAddr::from(header.destination()),
                    hops: header.hop_limit(),
                    class: header.traffic_class(),
                    identification: 0,
                    dont_fragment: true,
                    options: Vec::new(),
                    length: header.slice().len() + v6.payload().payload.len(),
                });
                Some((v6.payload().ip_number, v6.payload().payload))
            }
            _ => None,
        }
    }

    fn transport(&mut self, slice: Option<&TransportSlice<'_>>) {
        let addresses = (self.inner().source, self.inner().destination);
        self.transport = match slice {
            Some(TransportSlice::Tcp(tcp)) => self.tcp(tcp, addresses),
            Some(TransportSlice::Udp(udp)) => self.udp(udp, addresses),
            Some(TransportSlice::Icmpv4(icmp)) => self.icmp4(icmp),
            Some(TransportSlice::Icmpv6(icmp)) => self.icmp6(icmp, addresses),
            _ => Transport::Other,
        };
    }

    fn tcp(&mut self, tcp: &TcpSlice<'_>, addresses: (IpAddr, IpAddr)) -> Transport {
        let computed = match addresses {
            (IpAddr::V4(a), IpAddr::V4(b)) => tcp.calc_checksum_ipv4(a.octets(), b.octets()).ok(),
            (IpAddr::V6(a), IpAddr::V6(b)) => tcp.calc_checksum_ipv6(a.octets(), b.octets()).ok(),
            _ => None,
        };
        if computed != Some(tcp.checksum()) {
            self.wrong_checksums.push("TCP");
        }
        Transport::Tcp {
            ports: (tcp.source_port(), tcp.destination_port()),
            flags: tcp.header_slice()[13],
            payload: tcp.payload().to_vec(),
        }
    }

    fn udp(&mut self, udp: &UdpSlice<'_>, addresses: (IpAddr, IpAddr)) -> Transport {
        let header = udp.to_header();
        let computed = match addresses {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                header.calc_checksum_ipv4_raw(a.octets(), b.octets(), udp.payload()).ok()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                header.calc_checksum_ipv6_raw(a.octets(), b.octets(), udp.payload()).ok()
            }
            _ => None,
        };
        if udp.checksum() != 0 && computed != Some(udp.checksum()) {
            self.wrong_checksums.push("UDP");
        }
        Transport::Udp {
            ports: (udp.source_port(), udp.destination_port()),
            checksum: udp.checksum() != 0,
            payload: udp.payload().to_vec(),
        }
    }

    fn icmp4(&mut self, icmp: &Icmpv4Slice<'_>) -> Transport {
        if icmp.icmp_type().calc_checksum(icmp.payload()) != icmp.checksum() {
            self.wrong_checksums.push("ICMP");
        }
        Transport::Icmp {
            kind: (icmp.type_u8(), icmp.code_u8()),
            word: u32::from_be_bytes(icmp.bytes5to8()),
            quote: icmp.payload().to_vec(),
        }
    }

    fn icmp6(&mut self, icmp: &Icmpv6Slice<'_>, addresses: (IpAddr, IpAddr)) -> Transport {
        let (IpAddr::V6(a), IpAddr::V6(b)) = addresses else { return Transport::Other };
        if !icmp.is_checksum_valid(a.octets(), b.octets()) {
            self.wrong_checksums.push("ICMPv6");
        }
        Transport::Icmp {
            kind: (icmp.type_u8(), icmp.code_u8()),
            word: u32::from_be_bytes(icmp.bytes5to8()),
            quote: icmp.payload().to_vec(),
        }
    }
}
