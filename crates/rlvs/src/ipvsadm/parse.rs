//! A command line into an [`Action`].

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use rlvs_ipvs::{
    Daemon, DaemonRole, Destination, DestinationId, Family, FlagsChange, ForwardingMethod, Netmask, Protocol,
    Service, ServiceFlags, ServiceId, Timeouts, Tunnel, TunnelFlags, TunnelType,
};

use super::action::{Action, Format, List, Listed};
use super::address::{self, HostPort, Resolver};
use super::failure::Failure;
use super::option::{Command, Option as Opt, Seen, Tracked};
use super::words::Words;
use super::{checks, number, scheduler_flags};

/// 31 days, the longest timeout that can be asked for.
const LONGEST: i64 = 31 * 24 * 3600;

/// Reads the words after the program's name.
///
/// Values are checked as they come, then words that are left over, then scheduler flags, then which options go
/// together, then the whole: scripts see the first complaint.
pub fn parse(program: &str, words: &[String]) -> Result<Action, Failure> {
    let no_command = || Failure::NoCommand { program: program.into() };
    if words.is_empty() {
        let all = Listed::Services { only: None, format: Format::Plain, exact: false, sorted: true };
        return Ok(Action::List(List { what: all, numeric: false }));
    }
    let mut words = Words::new(words);
    // What is wrong with the first option does not matter: it is no command.
    let first = words.next().map_err(|_| no_command())?;
    let Some((Opt::Command(command), role)) = first else { return Err(no_command()) };
    match command {
        Command::Help => return Ok(Action::Help),
        Command::Version => return Ok(Action::Version),
        _ => {}
    }
    let mut line = Line { role: role.map(|word| daemon_role(command, word)).transpose()?, ..Line::default() };
    while let Some((option, value)) = words.next()? {
        if matches!(option, Opt::Command(_)) {
            return Err(usage(format!("invalid option `{}'", words.last())));
        }
        line.take(option, value.unwrap_or_default(), value.is_some())?;
    }
    let strays = words.strays();
    let strays = if command == Command::Set { line.take_timeouts(&strays)? } else { &strays[..] };
    if let Some(stray) = strays.first() {
        return Err(usage(format!("unexpected argument {stray}")));
    }
    line.into_action(command)
}

/// What was read so far.
#[derive(Debug, Default)]
struct Line {
    seen: Seen,
    resolver: Resolver,
    role: Option<DaemonRole>,
    service: Option<ServiceId>,
    scheduler: String,
    persistence: Option<u32>,
    netmask: Option<Netmask>,
    engine: String,
    scheduler_flags: String,
    server: Server,
    method: Option<ForwardingMethod>,
    weight: Option<i32>,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: Tunnel,
    timeouts: Timeouts,
    interface: Option<String>,
    sync_id: u32,
    max_length: u16,
    group: Option<IpAddr>,
    port: u16,
    ttl: u8,
}

/// A real server: read at once if its service came before it (then mistakes are found in order), else later, since
/// the service says which protocol its port's name is of.
#[derive(Debug, Default)]
enum Server {
    #[default]
    None,
    Unread(String),
    Read(HostPort),
}

impl Line {
    /// Takes in an option.
    fn take(&mut self, option: Opt, value: &str, given: bool) -> Result<(), Failure> {
        let tracked = match option {
            Opt::Command(_) | Opt::Sort => return Ok(()),
            Opt::Ipv6 => return self.take_ipv6(),
            Opt::Tcp | Opt::Udp | Opt::Sctp | Opt::Mark => Tracked::Service,
            Opt::Method(_) => Tracked::Method,
            Opt::Plain(tracked) => tracked,
        };
        if !self.seen.insert(tracked) {
            return Err(usage(format!("multiple '{}' options specified", tracked.name())));
        }
        match option {
            Opt::Tcp => self.take_service(value, Protocol::TCP),
            Opt::Udp => self.take_service(value, Protocol::UDP),
            Opt::Sctp => self.take_service(value, Protocol::SCTP),
            Opt::Mark => self.take_mark(value),
            Opt::Method(letter) => {
                self.method = Some(match letter {
                    'm' => ForwardingMethod::Masquerade,
                    'i' => ForwardingMethod::Tunnel,
                    _ => ForwardingMethod::DirectRoute,
                });
                Ok(())
            }
            _ => self.take_plain(tracked, value, given),
        }
    }

    fn take_plain(&mut self, option: Tracked, value: &str, given: bool) -> Result<(), Failure> {
        match option {
            Tracked::Scheduler => self.scheduler = cut(value, 15),
            Tracked::Persistent if given => {
                self.persistence = Some(integer(value, 1..=LONGEST).ok_or_else(|| invalid_timeout(value))?);
            }
            Tracked::Persistent => self.persistence = Some(360),
            Tracked::Netmask => self.netmask = Some(self.read_netmask(value)?),
            Tracked::Engine => self.engine = cut(value, 16),
            Tracked::SchedulerFlags => self.scheduler_flags = value.into(),
            Tracked::RealServer => {
                self.server = Server::Unread(value.into());
                if self.service.is_some() {
                    self.read_server()?;
                }
            }
            Tracked::Weight => {
                self.weight = Some(checked(value, 0..=i32::MAX.into(), "illegal weight specified")?)
            }
            Tracked::UpperThreshold => {
                self.upper_threshold = checked(value, 0..=i32::MAX.into(), "illegal u_threshold specified")?;
            }
            Tracked::LowerThreshold => {
                self.lower_threshold = checked(value, 0..=i32::MAX.into(), "illegal l_threshold specified")?;
            }
            Tracked::TunType => {
                self.tunnel.kind = match value {
                    "ipip" => TunnelType::Ipip,
                    "gue" => TunnelType::Gue,
                    "gre" => TunnelType::Gre,
                    _ => return Err(usage("illegal tunnel type specified")),
                };
            }
            Tracked::TunPort => {
                self.tunnel.port = checked(value, 1..=u16::MAX.into(), "illegal tunnel port specified")?;
            }
            Tracked::TunCsum => self.tunnel.flags = TunnelFlags::CHECKSUM,
            Tracked::TunRemcsum => self.tunnel.flags = TunnelFlags::REMOTE_CHECKSUM,
            Tracked::SyncId => self.sync_id = checked(value, 0..=255, "illegal syncid specified")?,
            Tracked::SyncMaxlen => {
                self.max_length = checked(value, 1..=65507, "illegal sync-maxlen specified")?
            }
            Tracked::McastInterface => self.interface = Some(cut(value, 15)),
            Tracked::McastGroup => self.group = Some(multicast_group(value)?),
            Tracked::McastPort => {
                self.port = checked(value, 1..=u16::MAX.into(), "illegal mcast-port specified")?
            }
            Tracked::McastTtl => self.ttl = checked(value, 1..=255, "illegal mcast-ttl specified")?,
            // The rest says all by being there.
            _ => {}
        }
        Ok(())
    }

    fn take_service(&mut self, value: &str, protocol: Protocol) -> Result<(), Failure> {
        let HostPort { address, port } = self
            .resolver
            .host_port(value, protocol)
            .ok_or_else(|| usage("illegal virtual server address[:port] specified"))?;
        self.service = Some(ServiceId::Address { protocol, address, port: port.unwrap_or(0) });
        if address.is_ipv6() {
            self.netmask = None;
        }
        Ok(())
    }

    fn take_mark(&mut self, value: &str) -> Result<(), Failure> {
        let mark = integer(value, 1..=u32::MAX.into())
            .and_then(NonZeroU32::new)
            .ok_or_else(|| usage(format!("invalid fwmark value `{value}' specified")))?;
        self.service = Some(ServiceId::Mark { family: Family::Inet, mark });
        Ok(())
    }

    fn take_ipv6(&mut self) -> Result<(), Failure> {
        match &mut self.service {
            Some(ServiceId::Mark { family, .. }) => {
                *family = Family::Inet6;
                // One that came before was IPv4's.
                self.netmask = None;
                Ok(())
            }
            _ => Err(usage("-6 used before -f\n")),
        }
    }

    /// The three words of --set; what is left of the words.
    fn take_timeouts<'w>(&mut self, words: &'w [&'w str]) -> Result<&'w [&'w str], Failure> {
        let [tcp, tcp_fin, udp, rest @ ..] = words else {
            return Err(usage("--set option requires 3 timeout values"));
        };
        let seconds = |word: &str| integer(word, 0..=LONGEST).ok_or_else(|| invalid_timeout(word));
        self.timeouts = Timeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? };
        Ok(rest)
    }

    fn read_server(&mut self) -> Result<(), Failure> {
        // For a mark, ports have TCP's names.
        let protocol = match self.service {
            Some(ServiceId::Address { protocol, .. }) => protocol,
            _ => Protocol::TCP,
        };
        if let Server::Unread(text) = &self.server {
            let server = self.resolver.host_port(text, protocol);
            self.server =
                Server::Read(server.ok_or_else(|| usage("illegal real server address[:port] specified"))?);
        }
        Ok(())
    }

    /// A netmask of the family that is known by now: IPv4's, unless the service was IPv6's already.
    fn read_netmask(&self, value: &str) -> Result<Netmask, Failure> {
        match self.service.map(|service| service.family()) {
            Some(Family::Inet6) => {
                Ok(Netmask::V6(checked(value, 1..=128, "illegal ipv6 netmask specified")?))
            }
            _ => address::classic_ipv4(value)
                .map(Netmask::V4)
                .ok_or_else(|| usage("illegal virtual server persistent mask specified")),
        }
    }

    fn into_action(mut self, command: Command) -> Result<Action, Failure> {
        if self.scheduler.is_empty() {
            self.scheduler = "wlc".into();
        }
        let flags = scheduler_flags::parse(&self.scheduler_flags, &self.scheduler)?;
        checks::command(command, self.seen)?;
        let numeric = self.seen.has(Tracked::Numeric);
        let role = || self.role.ok_or_else(|| usage("illegal start-daemon parameter specified"));
        Ok(match command {
            Command::AddService => Action::AddService(self.into_service(flags)?),
            Command::EditService => Action::EditService(self.into_service(flags)?),
            Command::DeleteService => Action::DeleteService(self.service_id()?),
            Command::Flush => Action::Flush,
            Command::Restore => Action::Restore,
            Command::Save => Action::Save { numeric },
            Command::AddServer => Action::AddServer(self.service_id()?, self.into_destination()?),
            Command::EditServer => Action::EditServer(self.service_id()?, self.into_destination()?),
            Command::DeleteServer => Action::DeleteServer(self.service_id()?, self.destination_id()?),
            Command::List => Action::List(List { what: self.listed(), numeric }),
            Command::Zero => Action::Zero(self.service),
            Command::Set => Action::SetTimeouts(self.timeouts),
            Command::StartDaemon => Action::StartDaemon(Daemon {
                role: role()?,
                interface: self.interface.filter(|name| !name.is_empty()).unwrap_or_else(|| "eth0".into()),
                sync_id: self.sync_id,
                max_length: self.max_length,
                group: self.group,
                port: self.port,
                ttl: self.ttl,
            }),
            Command::StopDaemon => Action::StopDaemon(role()?),
            Command::Help => Action::Help,
            Command::Version => Action::Version,
        })
    }

    fn service_id(&self) -> Result<ServiceId, Failure> {
        self.service.ok_or_else(|| usage("illegal virtual server address[:port] specified"))
    }

    fn into_service(self, mut flags: ServiceFlags) -> Result<Service, Failure> {
        let id = self.service_id()?;
        if let (ServiceId::Address { port: 0, .. }, None) = (id, self.persistence) {
            return Err(usage("Zero port specified for non-persistent service"));
        }
        let ops = self.seen.has(Tracked::Ops);
        if let ServiceId::Address { protocol, .. } = id
            && ops
            && protocol != Protocol::UDP
        {
            return Err(usage("One-Packet Scheduling is only for UDP virtual services"));
        }
        flags.set(ServiceFlags::ONE_PACKET, ops);
        flags.set(ServiceFlags::PERSISTENT, self.persistence.is_some());
        Ok(Service {
            id,
            netmask: self.netmask.unwrap_or(Netmask::whole(id.family())),
            scheduler: self.scheduler,
            flags: FlagsChange::to(flags),
            timeout: self.persistence.unwrap_or(0),
            persistence_engine: Some(self.engine).filter(|name| !name.is_empty()),
        })
    }

    fn destination_id(&mut self) -> Result<DestinationId, Failure> {
        self.read_server()?;
        let Server::Read(HostPort { address, port }) = self.server else {
            return Err(usage("illegal real server address[:port] specified"));
        };
        let service_port = match self.service {
            Some(ServiceId::Address { port, .. }) => port,
            _ => 0,
        };
        Ok(DestinationId { address, port: port.unwrap_or(service_port) })
    }

    fn into_destination(mut self) -> Result<Destination, Failure> {
        let service = self.service_id()?;
        let mut id = self.destination_id()?;
        let method = self.method.unwrap_or(ForwardingMethod::DirectRoute);
        if let ServiceId::Address { port, .. } = service
            && method != ForwardingMethod::Masquerade
        {
            // Only NAT can change ports.
            id.port = port;
        }
        if id.family() != service.family() && method != ForwardingMethod::Tunnel {
            return Err(usage("Different address family is allowed only for tunneling servers"));
        }
        if method == ForwardingMethod::Tunnel {
            checks::tunnel(self.tunnel.kind, self.seen)?;
        } else if self.seen.has_any(&checks::TUNNEL) {
            return Err(usage("Tunnel options conflict with forward method"));
        }
        Ok(Destination {
            id,
            method,
            weight: self.weight.unwrap_or(1),
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            tunnel: self.tunnel,
        })
    }

    fn listed(&self) -> Listed {
        let has = |option| self.seen.has(option);
        if has(Tracked::Connection) {
            return Listed::Connections { engine: has(Tracked::PersistentConn) };
        }
        if has(Tracked::Timeout) {
            return Listed::Timeouts;
        }
        if has(Tracked::Daemon) {
            return Listed::Daemons;
        }
        let formats = [
            (Tracked::Stats, Format::Stats),
            (Tracked::Rate, Format::Rate),
            (Tracked::Thresholds, Format::Thresholds),
            (Tracked::PersistentConn, Format::PersistentConn),
            (Tracked::TunInfo, Format::TunInfo),
        ];
        Listed::Services {
            only: self.service,
            format: formats.into_iter().find(|(option, _)| has(*option)).map_or(Format::Plain, |f| f.1),
            exact: has(Tracked::Exact),
            sorted: !has(Tracked::NoSort),
        }
    }
}

fn daemon_role(command: Command, word: &str) -> Result<DaemonRole, Failure> {
    match word {
        "master" => Ok(DaemonRole::Master),
        "backup" => Ok(DaemonRole::Backup),
        // Two spellings: scripts may know either.
        _ if command == Command::StartDaemon => Err(usage("illegal start-daemon parameter specified")),
        _ => Err(usage("illegal start_daemon specified")),
    }
}

fn multicast_group(text: &str) -> Result<IpAddr, Failure> {
    let kind = if text.contains(':') { "IPv6" } else { "IPv4" };
    text.parse::<IpAddr>()
        .ok()
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| usage(format!("invalid {kind} mcast-group `{text}'")))
}

fn integer<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>) -> Option<T> {
    number::parse(text, range).and_then(|number| T::try_from(number).ok())
}

fn checked<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>, complaint: &str) -> Result<T, Failure> {
    integer(text, range).ok_or_else(|| usage(complaint))
}

fn invalid_timeout(text: &str) -> Failure {
    usage(format!("invalid timeout value `{text}' specified"))
}

/// As much of a name as IPVS has room for.
fn cut(name: &str, octets: usize) -> String {
    name[..name.floor_char_boundary(octets)].into()
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}
