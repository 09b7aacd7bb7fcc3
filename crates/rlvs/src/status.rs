//! `rlvs status`: how the cluster is.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use rlvs_cluster::director::Place;
use rlvs_cluster::notify::Health;
use rlvs_cluster::pulse::InstanceStatus;
use rlvs_cluster::status::{self, CheckStatus, Follow, Grade, ServerStatus, ServiceStatus, Status, Time};

/// Show how the cluster is: virtual routers, services, real servers and what their checks have found.
#[derive(Debug, Args)]
pub struct Options {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Show events as they happen, until interrupted.
    #[arg(long)]
    follow: bool,
}

/// There is no cluster, or no asking it. 0, 1 and 2 are the grades, as monitoring programs have them.
const UNKNOWN: u8 = 3;

pub async fn run(options: Options) -> ExitCode {
    let shown = if options.follow { follow(options.json).await } else { show(options.json).await };
    match shown {
        Ok(code) => code.into(),
        Err(error) if is_end_of_reader(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rlvs: {error:#}");
            UNKNOWN.into()
        }
    }
}

async fn show(json: bool) -> Result<u8> {
    let status = status::ask(&status::socket_name(&Place::Here)).await?;
    let mut output = io::stdout();
    if json {
        writeln!(output, "{}", serde_json::to_string_pretty(&status)?)?;
    } else {
        write!(output, "{}", Page(&status))?;
    }
    Ok(match status.grade() {
        Grade::Good => 0,
        Grade::Warning => 1,
        Grade::Critical => 2,
    })
}

/// Shows events until the cluster ends.
async fn follow(json: bool) -> Result<u8> {
    let mut events = Follow::start(&status::socket_name(&Place::Here)).await?;
    let mut output = io::stdout();
    while let Some(dated) = events.next().await? {
        if json {
            writeln!(output, "{}", serde_json::to_string(&dated)?)?;
        } else {
            writeln!(output, "{} {}", dated.time, dated.notice)?;
        }
        output.flush()?;
    }
    eprintln!("rlvs: the cluster has ended");
    Ok(UNKNOWN)
}

fn is_end_of_reader(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A status for people.
struct Page<'s>(&'s Status);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        writeln!(f, "{}, read {}, running since {}", status.file, ago(status.read), ago(status.since))?;
        if let Some(reason) = &status.refused {
            writeln!(f, "a later version of the file is not in effect: {reason}")?;
        }
        if let Some(reason) = &status.director {
            writeln!(f, "the director does not have what it should have: {reason}")?;
        }
        status.instances.iter().try_for_each(|instance| self::instance(f, instance))?;
        status.services.iter().try_for_each(|service| self::service(f, service))
    }
}

fn instance(f: &mut fmt::Formatter<'_>, instance: &InstanceStatus) -> fmt::Result {
    let InstanceStatus { name, state, since, reason, interface, id, priority, base_priority, .. } = instance;
    write!(
        f,
        "\nVRRP {name}: {state} since {}: {reason}\n  {interface}, id {id}, priority {priority}",
        ago(*since)
    )?;
    if priority != base_priority {
        write!(f, " instead of {base_priority}")?;
    }
    writeln!(f)?;
    for address in &instance.addresses {
        writeln!(f, "  {address}")?;
    }
    for peer in &instance.peers {
        let heard = ago(peer.time);
        writeln!(f, "  heard {} with priority {} {heard}", peer.address, peer.priority)?;
    }
    Ok(())
}

fn service(f: &mut fmt::Formatter<'_>, service: &ServiceStatus) -> fmt::Result {
    let ServiceStatus { name, state, since, live, quorum, hysteresis, .. } = service;
    write!(f, "\nService {name}")?;
    if *name != service.service {
        write!(f, " ({})", service.service)?;
    }
    write!(f, ": {state} since {}: live servers weigh {live}, quorum {quorum}", ago(*since))?;
    if *hysteresis != 0 {
        write!(f, ", hysteresis {hysteresis}")?;
    }
    writeln!(f)?;
    service.servers.iter().try_for_each(|server| self::server(f, server))?;
    if let Some(sorry) = &service.sorry_server {
        let used = if sorry.in_use { "in use" } else { "not in use" };
        writeln!(f, "  {:<28} sorry server, {used}", sorry.address)?;
    }
    Ok(())
}

fn server(f: &mut fmt::Formatter<'_>, server: &ServerStatus) -> fmt::Result {
    let weight = server.weight.map_or("not used".into(), |weight| format!("weight {weight}"));
    let ServerStatus { address, state, since, .. } = server;
    // Health formats without regard to a width.
    writeln!(f, "  {address:<28} {:<7} {weight}, since {}", state.to_string(), ago(*since))?;
    // What is well needs no words.
    let checks = server.checks.iter().filter(|check| *state != Health::Up || !is_good(check));
    for CheckStatus { kind, last } in checks {
        match last {
            None => writeln!(f, "    {kind}: not done yet")?,
            Some(last) => {
                let found = last.reason.as_deref().unwrap_or("good");
                writeln!(f, "    {kind}: {found} ({}, took {} ms)", ago(last.time), last.took_ms)?;
            }
        }
    }
    Ok(())
}

fn is_good(check: &CheckStatus) -> bool {
    check.last.as_ref().is_some_and(|last| last.good)
}

/// How long ago, to the second; below ten seconds to a tenth.
fn ago(time: Time) -> String {
    let age = time.age();
    if age < Duration::from_secs(10) {
        return format!("{:.1}s ago", age.as_secs_f64());
    }
    format!("{} ago", humantime::format_duration(Duration::from_secs(age.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    /// Its times are yet to come, so they are no time ago, however long tests take.
    const DEGRADED: &str = r#"{"file":"/etc/rlvs/cluster.toml","since":"2999-01-01T00:00:00Z","read":"2999-01-01T00:00:00Z",
        "instances":[{"name":"outside","state":"BACKUP","since":"2999-01-01T00:00:00Z","reason":"it begins",
            "interface":"eth0","id":51,"priority":80,"base_priority":100,"addresses":["192.0.2.1"],
            "peers":[{"address":"192.0.2.7","priority":150,"interval_ms":1000,"time":"2999-01-01T00:00:00Z"}]}],
        "services":[{"name":"web","service":"TCP 192.0.2.1:80","state":"UP","since":"2999-01-01T00:00:00Z","live":1,"quorum":1,
            "hysteresis":0,"sorry_server":{"address":"10.0.0.9:80","in_use":false},
            "servers":[{"address":"10.0.0.1:80","state":"UP","since":"2999-01-01T00:00:00Z","weight":1,"checks":[]},
                {"address":"10.0.0.2:80","state":"DOWN","since":"2999-01-01T00:00:00Z","weight":null,
                 "checks":[{"kind":"http","last":{"time":"2999-01-01T00:00:00Z","took_ms":3,"good":false,"reason":"status 503"}}]}]}]}"#;

    #[test]
    fn a_page_says_what_is_not_well_and_why() {
        let page = Page(&status(DEGRADED)).to_string();
        let expected = "\
/etc/rlvs/cluster.toml, read 0.0s ago, running since 0.0s ago

VRRP outside: BACKUP since 0.0s ago: it begins
  eth0, id 51, priority 80 instead of 100
  192.0.2.1
  heard 192.0.2.7 with priority 150 0.0s ago

Service web (TCP 192.0.2.1:80): UP since 0.0s ago: live servers weigh 1, quorum 1
  10.0.0.1:80                  UP      weight 1, since 0.0s ago
  10.0.0.2:80                  DOWN    not used, since 0.0s ago
    http: status 503 (0.0s ago, took 3 ms)
  10.0.0.9:80                  sorry server, not in use
";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_server_down_is_a_warning_and_a_service_down_critical() {
        assert_eq!(status(DEGRADED).grade(), Grade::Warning);
        let mut well = status(DEGRADED);
        well.services[0].servers.pop();
        assert_eq!(well.grade(), Grade::Good);
        well.refused = Some("a mistake".into());
        assert_eq!(well.grade(), Grade::Warning);
        well.services[0].state = Health::Down;
        assert_eq!(well.grade(), Grade::Critical);
        let mut faulty = status(DEGRADED);
        faulty.instances[0].state = "FAULT".into();
        assert_eq!(faulty.grade(), Grade::Critical);
    }
}
