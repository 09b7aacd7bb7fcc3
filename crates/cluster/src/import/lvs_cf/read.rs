//! Reads an `lvs.cf` as Piranha does, but goes on after a fault to tell them all.

use std::net::Ipv4Addr;

use super::model::{File, Network, OnDevice, Other, Server, Virtual};
use super::words::{Fault, split};

/// Which block a line stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    File,
    Virtual,
    VirtualServer,
    Failover,
}

/// Reads a text.
///
/// # Errors
/// All faults, with their lines; at least one.
pub(super) fn read(text: &str) -> Result<File, Vec<(usize, Fault)>> {
    let mut reader = Reader { file: File::default(), within: Within::File };
    let mut faults = Vec::new();
    let (mut last, mut empty) = (1, true);
    for (line, content) in (1..).zip(text.lines()) {
        last = line;
        if content.trim_start().starts_with('#') {
            continue;
        }
        let words = match split(content) {
            Ok(words) => words,
            Err(fault) => {
                faults.push((line, fault));
                continue;
            }
        };
        empty &= words.is_empty();
        if let Some((keyword, rest)) = words.split_first()
            && let Err(fault) = reader.take(line, keyword, rest)
        {
            faults.push((line, fault));
        }
    }
    if reader.within != Within::File {
        faults.push((last, Fault::EndOfFile));
    } else if empty && faults.is_empty() {
        faults.push((last, Fault::Empty));
    }
    if faults.is_empty() { Ok(reader.file) } else { Err(faults) }
}

struct Reader {
    file: File,
    within: Within,
}

impl Reader {
    fn take(&mut self, line: usize, keyword: &str, words: &[String]) -> Result<(), Fault> {
        match (self.within, keyword) {
            (Within::File, "virtual") => {
                self.file.virtuals.push(Virtual::new(line, name(words)?));
                self.within = Within::Virtual;
                return Ok(());
            }
            (Within::File, "failover") => {
                self.file.failovers.push((line, name(words)?));
                self.within = Within::Failover;
                return Ok(());
            }
            (Within::Virtual, "server") => {
                if let Some(service) = self.file.virtuals.last_mut() {
                    service.servers.push(Server::new(line, name(words)?));
                }
                self.within = Within::VirtualServer;
                return Ok(());
            }
            (within, "}") => {
                self.within = match within {
                    Within::VirtualServer => Within::Virtual,
                    Within::Virtual | Within::Failover => Within::File,
                    Within::File => return Err(Fault::UnknownCommand),
                };
                return if words.is_empty() { Ok(()) } else { Err(Fault::UnexpectedArguments) };
            }
            _ => {}
        }
        let values = Values(line, words);
        let virtual_ = self.file.virtuals.last_mut();
        match (self.within, virtual_) {
            (Within::Virtual, Some(service)) => of_virtual(service, keyword, &values),
            (Within::VirtualServer, Some(service)) => match service.servers.last_mut() {
                Some(server) => of_server(server, keyword, &values),
                None => Ok(()),
            },
            (Within::Failover, _) => of_failover(keyword, &values),
            _ => of_file(&mut self.file, keyword, &values),
        }
    }
}

fn of_file(file: &mut File, keyword: &str, values: &Values<'_>) -> Result<(), Fault> {
    match keyword {
        "primary" => file.primary = Some(values.address()?),
        "backup" => file.backup = Some(values.address()?),
        "primary_private" => file.primary_private = Some(values.address()?),
        "backup_private" => file.backup_private = Some(values.address()?),
        "backup_active" => file.backup_active = values.flag()?,
        "service" => file.balances = values.choice(&[("lvs", true), ("fos", false)])?,
        "heartbeat" => file.heartbeat = values.flag()?,
        "heartbeat_port" => file.heartbeat_port = values.number()?,
        "keepalive" => file.keepalive = values.number()?,
        "deadtime" => file.deadtime = values.number()?,
        "network" => {
            let methods = [("nat", Network::Nat), ("direct", Network::Direct), ("tunnel", Network::Tunnel)];
            file.network = values.choice(&methods)?;
        }
        "nat_router" => file.nat_router = Some(values.on_device()?),
        "nat_nmask" => file.nat_nmask = Some(values.mask()?),
        "monitor_links" => file.monitor_links = values.flag()?,
        "active_cmd" => file.active_cmd = Some(values.text()?),
        "inactive_cmd" => file.inactive_cmd = Some(values.text()?),
        "serial_no" => _ = values.number::<u32>()?,
        "debug_level" => _ = values.text()?,
        "primary_shared" | "backup_shared" => _ = values.address()?,
        "reservation_conflict_action" => values.choice(&[("nothing", ()), ("preempt", ())])?,
        "syncdaemon" if values.flag()? => file.others.push(values.other("syncdaemon")?),
        "hard_shutdown" if values.flag()? => file.others.push(values.other("hard_shutdown")?),
        "syncdaemon" | "hard_shutdown" => {}
        "syncd_iface" => file.others.push(values.other("syncd_iface")?),
        "rsh_command" => file.others.push(values.other("rsh_command")?),
        "syncd_id" => _ = values.number::<u8>()?,
        "tcp_timeout" | "tcpfin_timeout" | "udp_timeout" => {
            if values.number::<u32>()? != 0 {
                let known = ["tcp_timeout", "tcpfin_timeout", "udp_timeout"];
                let own = known.into_iter().find(|known| *known == keyword).unwrap_or("tcp_timeout");
                file.others.push(values.other(own)?);
            }
        }
        _ => return Err(Fault::UnknownCommand),
    }
    Ok(())
}

fn of_virtual(service: &mut Virtual, keyword: &str, values: &Values<'_>) -> Result<(), Fault> {
    match keyword {
        "active" => service.active = values.flag()?,
        "address" => service.address = Some(values.on_device()?),
        "vip_nmask" => service.vip_nmask = Some(values.mask()?),
        "port" => service.port = values.number()?,
        "protocol" => service.udp = values.choice(&[("tcp", false), ("udp", true)])?,
        "fwmark" => service.fwmark = Some(values.number()?).filter(|mark| *mark != 0),
        "scheduler" => {
            let known = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh"].map(|name| (name, name));
            service.scheduler = values.choice(&known)?.to_owned();
        }
        "persistent" => service.persistent = Some(values.number()?).filter(|seconds| *seconds != 0),
        "pmask" => service.pmask = Some(values.mask()?).filter(|mask| *mask != Ipv4Addr::BROADCAST),
        "send" => service.send = Some(values.text()?),
        "expect" => service.expect = Some(values.text()?),
        "use_regex" => service.use_regex = values.flag()?,
        "send_program" => service.send_program = Some(values.text()?),
        "timeout" => service.timeout = values.number()?,
        "reentry" => service.reentry = values.number()?,
        "quiesce_server" => service.quiesce_server = values.flag()?,
        "sorry_server" => service.sorry_server = Some(values.address()?),
        "client_monitor" => service.others.push(values.other("client_monitor")?),
        "load_monitor" => {
            let known = ["none", "rup", "ruptime", "uptime"].map(|name| (name, name));
            if values.choice(&known)? != "none" {
                service.others.push(values.other("load_monitor")?);
            }
        }
        _ => return Err(Fault::UnknownCommand),
    }
    Ok(())
}

fn of_server(server: &mut Server, keyword: &str, values: &Values<'_>) -> Result<(), Fault> {
    match keyword {
        "active" => server.active = values.flag()?,
        "address" => server.address = Some(values.address()?),
        "port" => server.port = Some(values.number()?),
        "weight" => server.weight = values.number()?,
        _ => return Err(Fault::UnknownCommand),
    }
    Ok(())
}

/// They are not translated, but must be right.
fn of_failover(keyword: &str, values: &Values<'_>) -> Result<(), Fault> {
    match keyword {
        "active" => _ = values.flag()?,
        "address" => _ = values.on_device()?,
        "vip_nmask" => _ = values.mask()?,
        "port" => _ = values.number::<u16>()?,
        "timeout" => _ = values.number::<u32>()?,
        "send" | "expect" | "start_cmd" | "stop_cmd" => _ = values.text()?,
        _ => return Err(Fault::UnknownCommand),
    }
    Ok(())
}

/// `NAME {`.
fn name(words: &[String]) -> Result<String, Fault> {
    match words {
        [name, brace] if brace == "{" => Ok(name.clone()),
        [] => Err(Fault::MissingArguments),
        [_] | [_, _] => Err(Fault::ListExpected),
        _ => Err(Fault::UnexpectedArguments),
    }
}

/// The line, and what stands behind the keyword.
struct Values<'w>(usize, &'w [String]);

impl Values<'_> {
    /// Behind the equal sign, `N` words.
    fn words<const N: usize>(&self) -> Result<&[String; N], Fault> {
        let Some((equal, words)) = self.1.split_first() else { return Err(Fault::EqualSignExpected) };
        if equal != "=" {
            return Err(Fault::EqualSignExpected);
        }
        words.try_into().map_err(|_| match words.len() < N {
            true => Fault::MissingArguments,
            false => Fault::UnexpectedArguments,
        })
    }

    fn text(&self) -> Result<String, Fault> {
        self.words().map(|[text]| text.clone())
    }

    fn other(&self, keyword: &'static str) -> Result<Other, Fault> {
        Ok(Other { line: self.0, keyword, value: self.text()? })
    }

    fn flag(&self) -> Result<bool, Fault> {
        match self.words()? {
            [text] if text == "0" => Ok(false),
            [text] if text == "1" => Ok(true),
            _ => Err(Fault::BooleanExpected),
        }
    }

    /// Decimal, hexadecimal with `0x`, octal with `0`.
    fn number<T: TryFrom<i64>>(&self) -> Result<T, Fault> {
        let [text] = self.words()?;
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.as_str()),
        };
        // What parses numbers would take a second sign.
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Fault::IntegerExpected);
        }
        let lower = digits.to_ascii_lowercase();
        let number = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
            (Some(hexadecimal), _) if !hexadecimal.starts_with('+') => i64::from_str_radix(hexadecimal, 16),
            (None, Some(octal)) if !octal.is_empty() && !octal.starts_with('+') => {
                i64::from_str_radix(octal, 8)
            }
            _ => lower.parse(),
        };
        let number = number.map_err(|_| Fault::IntegerExpected)?;
        T::try_from(if negative { -number } else { number }).map_err(|_| Fault::InvalidArgument)
    }

    fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Fault> {
        let [text] = self.words()?;
        let found = words.iter().find(|(word, _)| word == text);
        found.map(|(_, value)| *value).ok_or(Fault::InvalidArgument)
    }

    fn address(&self) -> Result<Ipv4Addr, Fault> {
        let [text] = self.words()?;
        text.parse().map_err(|_| Fault::InvalidAddress)
    }

    fn mask(&self) -> Result<Ipv4Addr, Fault> {
        let [text] = self.words()?;
        let mask: Ipv4Addr = text.parse().map_err(|_| Fault::BadMask)?;
        let bits = u32::from(mask);
        if bits.leading_ones() + bits.trailing_zeros() == 32 { Ok(mask) } else { Err(Fault::BadMask) }
    }

    /// `192.0.2.10 eth0:1`.
    fn on_device(&self) -> Result<OnDevice, Fault> {
        let [address, device] = self.words()?;
        let address = address.parse().map_err(|_| Fault::InvalidAddress)?;
        let device = device.split_once(':').map_or(device.as_str(), |(device, _)| device);
        Ok(OnDevice { address, device: device.to_owned() })
    }
}
