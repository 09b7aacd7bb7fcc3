//! The checks of all real servers: each is made once, however many services it matters to.

use std::collections::HashMap;
use std::net::IpAddr;

use rlvs_ipvs::{DestinationId, ServiceId};
use tokio::sync::mpsc;

use super::monitor::{Monitor, News, Report, Verdict};
use crate::config::{Check, Config, Server};

/// A real server of a service.
pub type Subject = (ServiceId, DestinationId);

/// The monitors that go on, by the address that they ask.
#[derive(Debug)]
pub struct Rounds {
    watches: HashMap<IpAddr, Vec<Watch>>,
    to: mpsc::Sender<News<IpAddr>>,
}

#[derive(Debug)]
struct Watch {
    monitor: Monitor<IpAddr>,
    subjects: Vec<Subject>,
}

impl Rounds {
    /// Without any; verdicts of those to come go to `to`.
    pub fn new(to: mpsc::Sender<News<IpAddr>>) -> Self {
        Self { watches: HashMap::new(), to }
    }

    /// Begins the checks of a file that are new, goes on with those that are not, ends the others. Must be called within
    /// a tokio runtime.
    pub fn set(&mut self, config: &Config) {
        let mut old = std::mem::take(&mut self.watches);
        for service in &config.services {
            for server in &service.servers {
                for check in &server.checks {
                    let (address, subject) = (asked(server, check), (service.service.id, server.id()));
                    let watches = self.watches.entry(address).or_default();
                    if let Some(same) = watches.iter_mut().find(|watch| watch.monitor.is(&address, check)) {
                        same.subjects.push(subject);
                        continue;
                    }
                    let running = old.get_mut(&address).and_then(|old| {
                        let at = old.iter().position(|watch| watch.monitor.is(&address, check))?;
                        Some(old.swap_remove(at).monitor)
                    });
                    let monitor = running
                        .unwrap_or_else(|| Monitor::start(address, address, check.clone(), self.to.clone()));
                    watches.push(Watch { monitor, subjects: vec![subject] });
                }
            }
        }
    }

    /// Ends all checks; [`Self::set`] begins them anew.
    pub fn pause(&mut self) {
        self.watches.clear();
    }

    /// The servers that a verdict is about.
    pub fn subjects(&self, address: IpAddr, check: &Check) -> Vec<Subject> {
        self.watch(address, check).map_or(Vec::new(), |watch| watch.subjects.clone())
    }

    /// What the last check has found; none if none is done yet.
    pub fn last(&self, server: &Server, check: &Check) -> Option<Report> {
        self.watch(asked(server, check), check)?.monitor.last()
    }

    /// The verdict so far.
    pub fn verdict(&self, server: &Server, check: &Check) -> Option<Verdict> {
        self.watch(asked(server, check), check)?.monitor.verdict()
    }

    /// How many checks go on.
    pub fn count(&self) -> usize {
        self.watches.values().map(Vec::len).sum()
    }

    fn watch(&self, address: IpAddr, check: &Check) -> Option<&Watch> {
        self.watches.get(&address)?.iter().find(|watch| watch.monitor.is(&address, check))
    }
}

fn asked(server: &Server, check: &Check) -> IpAddr {
    check.address.unwrap_or(server.id().address)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CHECK: &str = "check = { type = \"tcp\", port = 9, jitter = \"1h\" }";

    fn config(services: &[&str]) -> Config {
        let service = |(check, mark): (&&str, u8)| {
            format!("[[service]]\nmark = {mark}\n{check}\nserver = [{{ address = \"127.0.0.1\" }}]\n")
        };
        let text: String = services.iter().zip(1..).map(service).collect();
        Config::parse(&text, Path::new("test")).unwrap()
    }

    #[tokio::test]
    async fn a_check_that_several_services_need_is_made_once() {
        let mut rounds = Rounds::new(mpsc::channel(1).0);
        let config = config(&[CHECK, CHECK, "check = { type = \"ping\" }"]);
        rounds.set(&config);
        assert_eq!(rounds.count(), 2);
        let check = &config.services[0].servers[0].checks[0];
        let of = |at: usize| (config.services[at].service.id, config.services[at].servers[0].id());
        let address = [127, 0, 0, 1].into();
        assert_eq!(rounds.subjects(address, check), [of(0), of(1)]);
        rounds.set(&self::config(&["", CHECK]));
        assert_eq!((rounds.count(), rounds.subjects(address, check)), (1, vec![of(1)]));
    }
}
