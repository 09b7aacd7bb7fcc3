//! What a client says on the control connection.

use super::text::{LENGTH, NONE, address6, letters, numbers, port};
use super::{ACTIVE, EXTENDED, PASSIVE};
use crate::order;
use crate::platform::Platform;
use crate::steps::Handover;

/// Whether the text has a command for a passive data connection over IP of this version: [`PASSIVE`], [`EXTENDED`] or,
/// if it has none, [`ACTIVE`]. It need not be the first one.
#[inline(never)]
pub(crate) fn passive<P: Platform>(platform: &P, version: u32) -> u32 {
    let Some(handover) = platform.handover() else { return ACTIVE };
    let text = &handover.text;
    let mut i = 0;
    while i < LENGTH - 6 {
        let command = text.word(i);
        let next = text.octet(i + 4);
        if command == letters(b"pasv") && version == 4 && next == RETURN && text.octet(i + 5) == LINE_FEED {
            return PASSIVE;
        }
        if command == letters(b"epsv") {
            let with_version = next == b' ' as u32 && text.octet(i + 5) == digit(version);
            if next == RETURN || (with_version && text.octet(i + 6) == RETURN) {
                return EXTENDED;
            }
        }
        i += 1;
    }
    ACTIVE
}

const RETURN: u32 = b'\r' as u32;
const LINE_FEED: u32 = b'\n' as u32;

/// RFC 2428's digit for an IP version.
#[inline(always)]
fn digit(version: u32) -> u32 {
    if version == 6 { b'2' as u32 } else { b'1' as u32 }
}

/// Whether (1) or not (0) the text is a `PORT` or `EPRT` of this IP version. Then the address is in
/// [`Handover::client`] and the port in [`Handover::client_port`].
#[inline(never)]
pub(crate) fn active<P: Platform>(platform: &P, version: u32) -> u32 {
    let Some(handover) = platform.handover() else { return 0 };
    let text = &handover.text;
    let command = text.word(0);
    text.go_to(4);
    let mut spaces = 0;
    while spaces < SPACES {
        if !text.skip(b' ' as u32) {
            break;
        }
        spaces += 1;
    }
    if text.octet(4) != b' ' as u32 {
        return 0;
    }
    if command == letters(b"port") && version == 4 {
        let numbers = numbers(platform, b',' as u32 | 6 << 8);
        return if numbers == NONE { 0 } else { take4(handover, (numbers >> 16) as u32, numbers as u32) };
    }
    if command == letters(b"eprt") { extended(platform, handover, version) } else { 0 }
}

/// Most spaces before an argument.
const SPACES: u32 = 4;

/// The argument of `EPRT`: `|2|2001:db8::1|49152|`, with any delimiter.
#[inline(always)]
fn extended<P: Platform>(platform: &P, handover: &Handover, version: u32) -> u32 {
    let text = &handover.text;
    let delimiter = text.peek();
    if !(33..=126).contains(&delimiter)
        || !text.skip(delimiter)
        || !text.skip(digit(version))
        || !text.skip(delimiter)
    {
        return 0;
    }
    let mut address = 0;
    if version == 6 {
        if address6(platform) == 0 {
            return 0;
        }
    } else {
        address = numbers(platform, b'.' as u32 | 4 << 8);
        if address == NONE {
            return 0;
        }
    }
    if !text.skip(delimiter) {
        return 0;
    }
    let port = port(platform);
    if !text.skip(delimiter) {
        return 0;
    }
    if version == 6 {
        handover.client_port.store(port, order::PLAIN);
        return (port != 0) as u32;
    }
    take4(handover, address as u32, port)
}

/// Hands over an IPv4 address, in host order, and a port; 0 if there is no port.
#[inline(always)]
fn take4(handover: &Handover, address: u32, port: u32) -> u32 {
    let port = port & 0xffff;
    handover.client[0].store(address.to_be(), order::PLAIN);
    handover.client_port.store(port, order::PLAIN);
    (port != 0) as u32
}
