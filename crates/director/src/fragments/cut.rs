//! Makes fragments of a packet (RFC 791, 3.2; RFC 8200, 4.5).

use rlvs_packet::checksum;
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use rlvs_packet::ipv4::{FRAGMENT_MASK, Ipv4, OFFSET_MASK};
use rlvs_packet::ipv6::{FragmentHeader, Ipv6, extension};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

/// "More fragments" in an IPv4 header.
const MORE: u16 = FRAGMENT_MASK & !OFFSET_MASK;

/// IPv4 options: the end of the list, one that does nothing, and the bit of those that every fragment has.
const END: u8 = 0;
/// See [`END`].
const NOTHING: u8 = 1;
/// See [`END`].
const COPIED: u8 = 0x80;

/// Makes fragments, and tells those of one packet from those of another.
pub(super) struct Cutter {
    identification: u32,
}

impl Cutter {
    pub(super) fn new() -> Cutter {
        let mut first = [0; 4];
        // Any number will do; a random one is not that of the director before.
        let _got = rustix::rand::getrandom(&mut first, rustix::rand::GetRandomFlags::empty());
        Cutter { identification: u32::from_ne_bytes(first) }
    }

    /// The frame's packet in frames that carry at most `mtu` octets each. `is_own`: its IP header is the director's, which
    /// numbers such packets itself. Nothing, if it is no IP packet, or none that can be cut so small.
    pub(super) fn cut(&mut self, frame: &[u8], mtu: usize, is_own: bool) -> Vec<Vec<u8>> {
        self.identification = self.identification.wrapping_add(1);
        let number = is_own.then_some(self.identification);
        in_frames(frame, mtu, number).unwrap_or_default()
    }
}

fn in_frames(frame: &[u8], mtu: usize, number: Option<u32>) -> Option<Vec<Vec<u8>>> {
    let (header, _) = Ethernet::read_from_prefix(frame).ok()?;
    let (kind, link) = if header.kind.get() == ethernet::VLAN {
        let (tag, _) = VlanTag::read_from_prefix(&frame[Ethernet::LENGTH..]).ok()?;
        (tag.kind.get(), Ethernet::LENGTH + VlanTag::LENGTH)
    } else {
        (header.kind.get(), Ethernet::LENGTH)
    };
    let (link, packet) = frame.split_at_checked(link)?;
    let packets = match (kind, number) {
        (ethernet::IPV4, _) => cut4(packet, mtu, number.map(|number| number as u16))?,
        // Others than the sender do not fragment.
        (ethernet::IPV6, Some(number)) => cut6(packet, mtu, number)?,
        _ => return None,
    };
    Some(packets.into_iter().map(|packet| [link, &packet].concat()).collect())
}

fn cut4(packet: &[u8], mtu: usize, number: Option<u16>) -> Option<Vec<Vec<u8>>> {
    let (mut header, _) = Ipv4::read_from_prefix(packet).ok()?;
    let packet = packet.get(..header.total_length.get().into())?;
    let (whole, data) = packet.split_at_checked(header.header_length())?;
    let options = whole.get(Ipv4::LENGTH..)?;
    let (start, more) = (header.fragment.get() & OFFSET_MASK, header.fragment.get() & MORE);
    if let Some(number) = number {
        header.identification = U16::new(number);
    }
    let parts = parts(data, mtu.checked_sub(whole.len())?)?;
    let fragment = |(part, offset, is_last): (&[u8], usize, bool)| {
        header.total_length = U16::new((whole.len() + part.len()) as u16);
        header.fragment =
            U16::new((start + (offset / 8) as u16) & OFFSET_MASK | if is_last { more } else { MORE });
        header.checksum = [0; 2];
        let options = if offset == 0 { options.to_vec() } else { copied(options) };
        let (words, _) = options.as_chunks::<4>();
        let of_options: u32 = words.iter().map(checksum::sum_of).sum();
        header.checksum = checksum::finish(checksum::sum_of(&header) + of_options);
        [header.as_bytes(), &options, part].concat()
    };
    Some(parts.map(fragment).collect())
}

/// The options with those blanked that only the first fragment has.
fn copied(options: &[u8]) -> Vec<u8> {
    let mut left = options.to_vec();
    let mut at = 0;
    while let Some(&kind) = options.get(at).filter(|kind| **kind != END) {
        let length = match options.get(at + 1) {
            Some(&length) if kind != NOTHING => usize::from(length).max(1),
            _ => 1,
        };
        let end = options.len().min(at + length);
        if kind & COPIED == 0 {
            left[at..end].fill(NOTHING);
        }
        at = end;
    }
    left
}

fn cut6(packet: &[u8], mtu: usize, number: u32) -> Option<Vec<Vec<u8>>> {
    let (mut header, _) = Ipv6::read_from_prefix(packet).ok()?;
    let data = packet.get(Ipv6::LENGTH..)?.get(..header.payload_length.get().into())?;
    let next_header = std::mem::replace(&mut header.next_header, extension::FRAGMENT);
    let parts = parts(data, mtu.checked_sub(Ipv6::LENGTH + FragmentHeader::LENGTH)?)?;
    let fragment = |(part, offset, is_last): (&[u8], usize, bool)| {
        header.payload_length = U16::new((FragmentHeader::LENGTH + part.len()) as u16);
        let place = offset as u16 | if is_last { 0 } else { FragmentHeader::MORE };
        let place = FragmentHeader {
            next_header,
            reserved: 0,
            offset: U16::new(place),
            identification: U32::new(number),
        };
        [header.as_bytes(), place.as_bytes(), part].concat()
    };
    Some(parts.map(fragment).collect())
}

/// Parts of the data, each of which has this room, with the offset of each, and whether it is the last.
fn parts(data: &[u8], room: usize) -> Option<impl Iterator<Item = (&[u8], usize, bool)>> {
    let room = room & !7;
    if room == 0 {
        return None;
    }
    let last = data.len().saturating_sub(1) / room;
    let place = move |(n, part)| (part, n * room, n == last);
    Some(data.chunks(room).enumerate().map(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_switch::simulation::{Packet, decode};

    const LINK: usize = 14;

    fn packet(octets: usize) -> Packet {
        let payload = (0..octets).map(|n| n as u8).collect();
        let (from, to) = ("192.0.2.7:4000".parse().unwrap(), "192.0.2.1:53".parse().unwrap());
        Packet { payload, dont_fragment: false, ..Packet::udp(from, to) }
    }

    #[test]
    fn fragments_make_the_packet_again() {
        for (octets, mtu) in [(1473, 1500), (3000, 576), (100, 68), (2000, 1499)] {
            for vlan in [None, Some(7)] {
                let packet = packet(octets);
                let with_tag = Packet { vlan, padding: 3, ..packet.clone() };
                let link = if vlan.is_some() { LINK + 4 } else { LINK };
                let cut = Cutter::new().cut(&with_tag.frame(), mtu, false);
                let room = (mtu - 20) & !7;
                assert!(cut.len() > 1);
                let expected: Vec<_> = packet.fragments(room).iter().map(|f| f[LINK..].to_vec()).collect();
                assert_eq!(cut.iter().map(|f| f[link..].to_vec()).collect::<Vec<_>>(), expected);
                assert!(cut.iter().all(|f| f[..link] == with_tag.frame()[..link] && f.len() <= link + mtu));
            }
        }
    }

    #[test]
    fn a_fragment_is_cut_like_any_packet() {
        let coarse = packet(3000).fragments(1480);
        let fine: Vec<_> = coarse.iter().flat_map(|frame| Cutter::new().cut(frame, 516, false)).collect();
        let place = |frame: &[u8]| u16::from_be_bytes([frame[LINK + 6], frame[LINK + 7]]);
        let places: Vec<_> =
            fine.iter().map(|frame| (place(frame) & OFFSET_MASK, place(frame) & MORE != 0)).collect();
        assert_eq!(
            places,
            [(0, true), (62, true), (124, true), (185, true), (247, true), (309, true), (370, false)]
        );
        let data: Vec<u8> = fine.iter().flat_map(|frame| frame[LINK + 20..].to_vec()).collect();
        assert_eq!(data, packet(3000).frame()[LINK + 20..]);
    }

    #[test]
    fn only_the_first_has_options_that_are_not_to_be_copied() {
        // Record route, which is not, then loose source route, which is, and the end of the list.
        let options = vec![7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 1, 2, 3, 4, 1, 0];
        let packet = Packet { options, ..packet(200) };
        let cut = Cutter::new().cut(&packet.frame(), 136, false);
        assert_eq!(cut.len(), 3);
        assert_eq!(cut[0][LINK + 20..][..16], packet.options);
        for later in &cut[1..] {
            assert_eq!(later[LINK + 20..][..16], [1, 1, 1, 1, 1, 1, 1, 131, 7, 4, 1, 2, 3, 4, 1, 0]);
        }
        for fragment in &cut {
            assert_eq!(decode(fragment).unwrap().wrong_checksums, Vec::<&str>::new());
        }
    }

    #[test]
    fn the_directors_own_packets_get_numbers() {
        let mut cutter = Cutter { identification: 0xffff };
        let number = |frame: &[u8]| [frame[LINK + 4], frame[LINK + 5]];
        let numbers: Vec<_> = [true, true, false]
            .map(|is_own| number(&cutter.cut(&packet(1500).frame(), 1500, is_own)[1]))
            .into();
        assert_eq!(numbers, [[0, 0], [0, 1], [0, 7]]);

        let (from, to) = ("[2001:db8::7]:4000".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap());
        let packet = Packet { identification: 3, payload: vec![5; 2000], ..Packet::udp(from, to) };
        let frame = packet.frame();
        let mut cutter = Cutter { identification: 2 };
        assert!(cutter.cut(&frame, 1280, true) == packet.fragments(1232));
        assert!(cutter.cut(&frame, 1280, false).is_empty(), "others than the sender do not fragment");
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        let frame = packet(200).frame();
        for mtu in [0, 19, 27] {
            assert!(Cutter::new().cut(&frame, mtu, true).is_empty());
        }
        for end in 0..LINK + 228 {
            assert!(Cutter::new().cut(&frame[..end], 100, true).is_empty(), "{end}");
        }
    }
}
