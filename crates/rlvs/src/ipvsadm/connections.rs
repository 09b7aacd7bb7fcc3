//! `-L -c`: the connection table, from the director or from the kernel's /proc/net/ip_vs_conn.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};

use rlvs_ipvs::{Backend, Client, Protocol};

use super::address::Namer;
use super::failure::{During, Failure};
use super::listing::{self, ConnectionLine};

/// The engine that finds Call-IDs.
const SIP: &str = "sip";

const PROC: &str = "/proc/net/ip_vs_conn";

/// Lists them all, in the director's order.
pub async fn list(
    client: &mut Client,
    engine: bool,
    namer: &mut Namer,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match client.backend() {
        Backend::Rlvs => from_director(client, engine, namer, out).await,
        Backend::Kernel => from_kernel(engine, namer, out),
    }
}

async fn from_director(
    client: &mut Client,
    engine: bool,
    namer: &mut Namer,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    out.write_all(listing::connection_titles(engine).as_bytes())?;
    let mut written = Ok(());
    let told = client.connections(|c| {
        let endpoints = [c.client, c.virtual_server, c.destination]
            .map(|end| namer.endpoint(end.address, end.port, c.protocol));
        let line = listing::connection(&ConnectionLine {
            protocol: &c.protocol.to_string(),
            state: c.state_name(),
            expires: c.expires,
            endpoints: &endpoints,
            engine: c.call_id.as_deref().map(|call_id| (SIP, call_id)).filter(|_| engine),
        });
        if written.is_ok() {
            written = out.write_all(line.as_bytes());
        }
    });
    told.await.map_err(|error| Failure::listing(During::Other, error))?;
    Ok(written?)
}

fn from_kernel(engine: bool, namer: &mut Namer, out: &mut dyn Write) -> Result<(), Failure> {
    let file = File::open(PROC).map_err(|_| Failure::Listing(format!("cannot open file {PROC}")))?;
    let mut lines = BufReader::new(file).lines();
    if !matches!(lines.next(), Some(Ok(_))) {
        return Err(Failure::Listing(format!("unexpected input from {PROC}")));
    }
    out.write_all(listing::connection_titles(engine).as_bytes())?;
    for line in lines {
        if let Some(row) = row(&line?, engine, namer) {
            out.write_all(row.as_bytes())?;
        }
    }
    Ok(())
}

/// Our line for one of the kernel's; `None` for one that has not the form of an entry.
fn row(line: &str, engine: bool, namer: &mut Namer) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let protocol = match name {
        "TCP" => Protocol::TCP,
        "UDP" => Protocol::UDP,
        "SCTP" => Protocol::SCTP,
        _ => Protocol::IP,
    };
    let mut endpoint = || {
        let address = address(words.next()?)?;
        let port = u16::from_str_radix(words.next()?, 16).ok()?;
        Some(namer.endpoint(address, port, protocol))
    };
    let endpoints = [endpoint()?, endpoint()?, endpoint()?];
    Some(listing::connection(&ConnectionLine {
        protocol: name,
        state: words.next()?,
        expires: words.next()?.parse().ok()?,
        endpoints: &endpoints,
        engine: words.next().zip(words.next()).filter(|_| engine),
    }))
}

/// Eight hexadecimal digits, or an address in its usual form.
fn address(word: &str) -> Option<IpAddr> {
    if word.len() == 8
        && let Ok(bits) = u32::from_str_radix(word, 16)
    {
        return Some(Ipv4Addr::from_bits(bits).into());
    }
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lines_become_rows() {
        let cases = [
            (
                "TCP C0A80105 8C3E C0A80164 0050 0A000001 0050 ESTABLISHED     899",
                false,
                "TCP 14:59  ESTABLISHED 192.168.1.5:35902  192.168.1.100:80   10.0.0.1:80\n",
            ),
            (
                "TCP 2001:0db8:0000:0000:0000:0000:0000:0005 8C3E 2001:0db8:0000:0000:0000:0000:0000:0064 0050 \
                 2001:0db8:0000:0000:0000:0000:0000:0001 0050 ESTABLISHED     899",
                false,
                "TCP 14:59  ESTABLISHED [2001:db8::5]:35902 [2001:db8::64]:80  [2001:db8::1]:80\n",
            ),
            (
                "IP  C0A80105 0000 00000005 0000 0A000001 0000 NONE            100",
                false,
                "IP  01:40  NONE        192.168.1.5:0      0.0.0.5:0          10.0.0.1:0\n",
            ),
            (
                "UDP C0A80105 13C4 C0A80164 13C4 0A000001 13C4 UDP           72000 sip abc123@host",
                true,
                "UDP 1200:00 UDP         192.168.1.5:5060   192.168.1.100:5060 10.0.0.1:5060    \
                 sip                abc123@host\n",
            ),
        ];
        for (line, engine, expected) in cases {
            assert_eq!(row(line, engine, &mut Namer::new(true)).as_deref(), Some(expected));
        }
        assert_eq!(row("TCP zork", false, &mut Namer::new(true)), None);
    }
}
