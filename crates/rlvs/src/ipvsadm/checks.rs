//! Which option goes with which command, and which with which kind of tunnel.

use rlvs_ipvs::TunnelType;

use super::failure::Failure;
use super::option::{Command, Seen, Tracked};

/// Refuses options that are missing, out of place or at odds.
pub fn command(command: Command, seen: Seen) -> Result<(), Failure> {
    walk(seen, &Tracked::ALL, command.name(), "command", |option| for_command(command, option))?;
    if command == Command::List {
        list(seen)?;
    }
    Ok(())
}

/// Refuses options at odds with the encapsulation.
pub fn tunnel(kind: TunnelType, seen: Seen) -> Result<(), Failure> {
    let name = match kind {
        TunnelType::Ipip => "ipip",
        TunnelType::Gue => "gue",
        TunnelType::Gre => "gre",
    };
    walk(seen, &TUNNEL, name, "tunnel type", |option| for_tunnel(kind, option))
}

/// Options that only tunnels have.
pub const TUNNEL: [Tracked; 5] =
    [Tracked::TunType, Tracked::TunPort, Tracked::TunNocsum, Tracked::TunCsum, Tracked::TunRemcsum];

enum Rule {
    Required,
    Optional,
    /// At most one of those.
    OneOf,
    Illegal,
}

fn walk(
    seen: Seen,
    options: &[Tracked],
    of: &str,
    what: &str,
    rule: impl Fn(Tracked) -> Rule,
) -> Result<(), Failure> {
    let mut earlier: Option<&str> = None;
    for &option in options {
        let name = option.name();
        let complaint = match (rule(option), seen.has(option)) {
            (Rule::Required, false) => {
                format!("You need to supply the '{name}' option for the '{of}' {what}")
            }
            (Rule::Illegal, true) => format!("Illegal '{name}' option with the '{of}' {what}"),
            (Rule::OneOf, true) => match earlier.replace(name) {
                None => continue,
                Some(earlier) => {
                    format!("The option '{name}' conflicts with the '{earlier}' option in the '{of}' {what}")
                }
            },
            _ => continue,
        };
        return Err(Failure::Usage(complaint));
    }
    Ok(())
}

fn for_command(command: Command, option: Tracked) -> Rule {
    use Tracked::*;
    match (command, option) {
        (Command::AddService | Command::EditService, Service) => Rule::Required,
        (
            Command::AddService | Command::EditService,
            Scheduler | Persistent | Netmask | Ops | Engine | SchedulerFlags,
        ) => Rule::Optional,
        (Command::DeleteService, Service) => Rule::Required,
        (Command::AddServer | Command::EditServer | Command::DeleteServer, Service | RealServer) => {
            Rule::Required
        }
        (
            Command::AddServer | Command::EditServer,
            Method | Weight | UpperThreshold | LowerThreshold | TunType | TunPort | TunNocsum | TunCsum
            | TunRemcsum,
        ) => Rule::Optional,
        (Command::List, Connection | Service | Timeout | Daemon) => Rule::OneOf,
        (
            Command::List,
            Numeric | Stats | Rate | Thresholds | PersistentConn | TunInfo | Exact | NoSort | SyncId,
        ) => Rule::Optional,
        (Command::Save, Numeric) | (Command::Zero, Service) => Rule::Optional,
        (Command::StartDaemon, SyncId | McastInterface | McastGroup | McastPort | McastTtl | SyncMaxlen)
        | (Command::StopDaemon, SyncId) => Rule::Optional,
        _ => Rule::Illegal,
    }
}

fn for_tunnel(kind: TunnelType, option: Tracked) -> Rule {
    match (kind, option) {
        (_, Tracked::TunType) => Rule::Optional,
        (TunnelType::Gue, Tracked::TunPort) => Rule::Required,
        (TunnelType::Gue, Tracked::TunNocsum | Tracked::TunCsum | Tracked::TunRemcsum)
        | (TunnelType::Gre, Tracked::TunNocsum | Tracked::TunCsum) => Rule::OneOf,
        _ => Rule::Illegal,
    }
}

fn list(seen: Seen) -> Result<(), Failure> {
    use Tracked::{Connection, Daemon, PersistentConn, Rate, Stats, Thresholds, Timeout};
    let figures = seen.has_any(&[Connection, Timeout, Daemon]) && seen.has_any(&[Stats, Rate, Thresholds]);
    let persistence = seen.has_any(&[Timeout, Daemon]) && seen.has(PersistentConn);
    if figures || persistence {
        return Err(Failure::Usage("options conflicts in the list command".into()));
    }
    Ok(())
}
