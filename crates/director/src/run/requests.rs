//! What the director answers to requests.

use super::Director;
use crate::defence;
use crate::events;
use crate::explain::{self, Arrival, Interfaces};
use crate::settings;
use rlvs_ipvs::{Errno, Fact, Probe, Reply, Request, Setting};

impl Director {
    /// Answers requests that came together.
    pub(super) async fn answer(&mut self, requests: &[Request]) -> Vec<Result<Reply, Errno>> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(match request {
                Request::Explain(probe) => self.explain(probe).await,
                request => self.carry_out(request.clone()),
            });
        }
        self.registry.write_tables();
        self.settle().await;
        answers
    }

    /// Answers a request.
    pub(super) fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
        let reply = self.carry_out(request);
        self.registry.write_tables();
        reply
    }

    /// All of a request but [`crate::registry::Registry::write_tables`].
    fn carry_out(&mut self, request: Request) -> Result<Reply, Errno> {
        match request {
            Request::GetFacts => Ok(Reply::Facts(self.facts())),
            Request::ListSettings => Ok(Reply::Settings(self.settings()?)),
            Request::GetSetting(name) => Ok(Reply::Settings(vec![self.setting(&name)?])),
            Request::SetSetting(setting) => self.set_setting(&setting).map(|()| Reply::Done),
            Request::ListEvents => Ok(Reply::Events(events::counts(&self.events_counted)?)),
            Request::TakeSamples => {
                Ok(Reply::Samples(events::take_samples(&mut self.samples, self.tables.settings())))
            }
            Request::GetTotals => Ok(Reply::Totals(self.totals.report(&self.tables))),
            Request::NewDaemon(daemon) => {
                let mtu = self.mtu_of(&daemon.interface);
                self.registry.start_daemon(&daemon, mtu)?;
                if let Err(error) = self.sync.follow(&self.registry.daemons()) {
                    self.registry.stop_daemon(daemon.role)?;
                    return Err(error);
                }
                Ok(Reply::Done)
            }
            request @ Request::DeleteDaemon(_) => {
                let reply = self.registry.carry_out(request);
                let _of_the_other_one = self.sync.follow(&self.registry.daemons());
                reply
            }
            request => {
                if request == Request::Zero(None) {
                    self.totals.zero(&self.tables);
                }
                let reply = self.registry.carry_out(request);
                self.follow_local_out();
                self.tell_tracker();
                reply
            }
        }
    }

    pub(super) async fn explain(&self, probe: &Probe) -> Result<Reply, Errno> {
        let ends = probe.ends();
        let [from, to] = [self.tracker.find(ends[0]).await, self.tracker.find(ends[1]).await];
        let attached: Vec<u32> = self.attachments.all().map(|(index, _)| index).collect();
        let arrival = Arrival::new(probe, [&from, &to], &self.interfaces, &attached)?;
        let known = Interfaces {
            name: &|index| self.name_of(index),
            is_attached: &|index| attached.contains(&index),
        };
        let explanation = explain::explain(&self.tables, &self.registry, probe, &arrival, &known)?;
        Ok(Reply::Findings(explanation.findings))
    }

    fn settings(&self) -> Result<Vec<Setting>, Errno> {
        settings::names().map(|name| self.setting(name)).collect()
    }

    fn setting(&self, name: &str) -> Result<Setting, Errno> {
        Ok(Setting { name: name.into(), value: settings::read(self.tables.settings(), name)? })
    }

    fn set_setting(&mut self, setting: &Setting) -> Result<(), Errno> {
        settings::write(self.tables.settings(), &setting.name, &setting.value)?;
        defence::settings_changed(&self.tables);
        Ok(())
    }

    fn facts(&self) -> Vec<Fact> {
        let fact = |name: String, value: String| Fact { name, value };
        let mut facts = vec![
            fact("version".into(), env!("CARGO_PKG_VERSION").into()),
            fact("adopted".into(), self.adopted.to_string()),
        ];
        for (index, mode) in self.attachments.all() {
            facts.push(fact(format!("interface {}", self.name_of(index)), format!("{mode} XDP")));
        }
        facts.extend(self.sync.facts());
        facts
    }
}
