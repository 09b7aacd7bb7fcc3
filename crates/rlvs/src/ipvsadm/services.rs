//! Names of ports, from /etc/services.

use std::fs;

use rlvs_ipvs::Protocol;

/// What /etc/services says, read when first asked.
#[derive(Debug, Default)]
pub struct Services {
    entries: Option<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    names: Vec<String>,
    port: u16,
    protocol: &'static str,
}

impl Services {
    /// The port that goes by this name, alias or not.
    pub fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16> {
        let protocol = protocol_name(protocol)?;
        let entry =
            self.entries().iter().find(|e| e.protocol == protocol && e.names.iter().any(|n| n == name));
        entry.map(|e| e.port)
    }

    /// The first name of a port.
    pub fn name(&mut self, port: u16, protocol: Protocol) -> Option<&str> {
        let protocol = protocol_name(protocol)?;
        let entry = self.entries().iter().find(|e| e.protocol == protocol && e.port == port);
        entry.and_then(|e| e.names.first()).map(String::as_str)
    }

    fn entries(&mut self) -> &[Entry] {
        self.entries.get_or_insert_with(|| {
            // Without the file nothing has a name, as with the C library.
            fs::read_to_string("/etc/services")
                .map_or(Vec::new(), |text| text.lines().filter_map(parse).collect())
        })
    }
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split('#').next()?.split_ascii_whitespace();
    let name = words.next()?;
    let (port, protocol) = words.next()?.split_once('/')?;
    Some(Entry {
        names: std::iter::once(name).chain(words).map(Into::into).collect(),
        port: port.parse().ok()?,
        protocol: [Protocol::TCP, Protocol::UDP, Protocol::SCTP]
            .into_iter()
            .filter_map(protocol_name)
            .find(|known| *known == protocol)?,
    })
}

fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::TCP => Some("tcp"),
        Protocol::UDP => Some("udp"),
        Protocol::SCTP => Some("sctp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_name_a_port_and_aliases() {
        let lines =
            ["http\t80/tcp\twww # World", "# nothing", "", "domain 53/udp", "odd", "x 1/ddp", "y z/tcp"];
        let mut services = Services { entries: Some(lines.into_iter().filter_map(parse).collect()) };
        assert_eq!(services.port("www", Protocol::TCP), Some(80));
        assert_eq!(services.port("www", Protocol::UDP), None);
        assert_eq!(services.name(80, Protocol::TCP), Some("http"));
        assert_eq!(services.name(53, Protocol::UDP), Some("domain"));
        assert_eq!(services.name(1, Protocol::TCP), None);
        assert_eq!(services.entries().len(), 2);
    }
}
