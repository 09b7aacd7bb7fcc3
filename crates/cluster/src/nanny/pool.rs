//! What the verdicts of the checks mean for a service.

use std::time::Instant;

use rlvs_ipvs::{Destination, DestinationId, Ending};

use super::monitor::Verdict;
use crate::config::{Check, Server, Service, Start, WhenDown};
use crate::notify::Health;

/// The real servers of a service.
#[derive(Clone, Debug)]
pub struct Pool {
    service: Service,
    members: Vec<Member>,
    /// None until it is known for all servers whether they are up, or enough are.
    quorum: Option<bool>,
    /// Since when it is so.
    quorum_since: Instant,
    /// With weight 0 until they have no connections any more.
    leaving: Vec<Leaving>,
}

/// A real server, and what is known of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// By check: what it found, or what is presumed until it has found something.
    checks: Vec<Finding>,
    /// The weight that a check wants.
    weight: Option<i32>,
    /// Since when it is up, down or unknown.
    since: Instant,
    /// It was down, or is new among others: when it is up, its weight rises slowly.
    returns: bool,
    rise: Option<Rise>,
}

/// A weight that rises to the full one, doubling with each step.
#[derive(Clone, Copy, Debug)]
struct Rise {
    from: Instant,
    done: u32,
}

/// Steps of a rise: it begins with a 32nd of the weight, as Piranha's.
const STEPS: u32 = 5;

/// A server that has gone and may keep its connections for a while.
#[derive(Clone, Debug)]
struct Leaving {
    destination: Destination,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Finding {
    good: bool,
    presumed: bool,
}

/// Something that the log and the programs of an operator hear about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A server is up.
    Up(DestinationId),
    /// A server is down, and why.
    Down(DestinationId, String),
    /// A check changes the weight of a server.
    Weight(DestinationId, i32),
    /// There is a quorum: the weights of the servers that are up.
    Quorum(u64),
    /// There is none.
    NoQuorum(u64),
}

impl Pool {
    /// Before any check. `running` are the destinations that the director has now.
    pub fn new(service: Service, running: &[Destination], now: Instant) -> Self {
        let members = service.servers.iter().map(|server| Member::unknown(server, running, now)).collect();
        let mut pool = Self { service, members, quorum: None, quorum_since: now, leaving: Vec::new() };
        pool.review_quorum(now);
        pool
    }

    /// The same pool by another configuration: what checks found that are still made stays.
    pub fn reconfigured(&self, service: Service, now: Instant) -> Self {
        let running = self.wanted();
        let member = |server: &Server| match self.position(server.id()) {
            None => Member { returns: true, ..Member::unknown(server, &running, now) },
            Some(old) => {
                let (was, old) = (&self.service.servers[old], &self.members[old]);
                let presumed = Finding { good: old.is_up(), presumed: true };
                let finding = |check: &Check| {
                    let same = was.checks.iter().position(|old| old == check);
                    same.map_or(presumed, |same| old.checks[same])
                };
                let checks: Vec<_> = server.checks.iter().map(finding).collect();
                let weight = old.weight.filter(|_| was.checks == server.checks);
                let rise = old.rise.filter(|_| !server.slow_start.is_zero());
                Member { checks, weight, rise, ..*old }
            }
        };
        let members: Vec<Member> = service.servers.iter().map(member).collect();
        // Those that are in both files and leave because they are down go on leaving; others of this file do not leave.
        let stays = |id| service.servers.iter().any(|server| server.id() == id);
        let down = |id| {
            let members = service.servers.iter().zip(&members);
            let mut down = members.filter(|(s, member)| s.when_down == WhenDown::Drain && !member.is_up());
            down.any(|(server, _)| server.id() == id)
        };
        let mut leaving = self.leaving.clone();
        leaving.retain(|old| !stays(old.destination.id) || down(old.destination.id));
        let gone = self.members().filter(|(server, _)| !server.drain.is_zero() && !stays(server.id()));
        for (server, _) in gone {
            let used = running.iter().find(|used| used.id == server.id());
            let used = used.filter(|used| leaving.iter().all(|old| old.destination.id != used.id));
            leaving.extend(used.map(|used| Leaving::new(used, server, now)));
        }
        let (quorum, quorum_since) = (self.quorum, self.quorum_since);
        let mut pool = Self { service, members, quorum, quorum_since, leaving };
        pool.review_quorum(now);
        pool
    }

    /// Its configuration.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Takes the verdict of a check of a server. Those of servers or checks that are no more change nothing.
    pub fn judge(
        &mut self,
        server: DestinationId,
        check: &Check,
        verdict: Verdict,
        now: Instant,
    ) -> Vec<Event> {
        let Some(at) = self.position(server) else { return Vec::new() };
        let Some(number) = self.service.servers[at].checks.iter().position(|own| own == check) else {
            return Vec::new();
        };
        let member = &mut self.members[at];
        let (was_up, was_known) = (member.is_up(), member.is_known());
        let was = member.health();
        member.checks[number] = Finding { good: verdict.is_ok(), presumed: false };
        if member.health() != was {
            member.since = now;
        }
        let (is_up, server_of) = (member.is_up(), &self.service.servers[at]);
        if was_up && !is_up {
            (member.returns, member.rise) = (true, None);
            if server_of.when_down == WhenDown::Drain {
                self.leaving.push(Leaving::new(&server_of.destination, server_of, now));
            }
        } else if is_up && !was_up {
            self.leaving.retain(|leaving| leaving.destination.id != server);
            if member.returns && !server_of.slow_start.is_zero() {
                member.rise = Some(Rise { from: now, done: 0 });
            }
        }
        let mut events = Vec::new();
        let (reason, weight) = match verdict {
            Ok(weight) => (String::new(), weight),
            Err(reason) => (reason, member.weight),
        };
        if weight != member.weight {
            member.weight = weight;
            events.push(Event::Weight(server, weight.unwrap_or(self.service.servers[at].destination.weight)));
        }
        match (was_up, is_up) {
            (false, true) => events.push(Event::Up(server)),
            (true, false) => events.push(Event::Down(server, reason)),
            // Expected, but worth a word the first time.
            (false, false) if !was_known && member.is_known() => events.push(Event::Down(server, reason)),
            _ => {}
        }
        events.extend(self.review_quorum(now));
        events
    }

    /// The destinations that the director should have.
    pub fn wanted(&self) -> Vec<Destination> {
        let sorry = self.service.sorry_server.as_ref().filter(|_| self.quorum == Some(false));
        let servers = self.service.servers.iter().zip(&self.members).filter_map(|(server, member)| {
            let serves = member.is_up() && sorry.is_none();
            match (serves, server.when_down) {
                (true, _) => {
                    Some(Destination { weight: member.present_weight(server), ..server.destination.clone() })
                }
                // Those that could serve stay where the sorry server stands in for them.
                (false, WhenDown::Drain) if member.is_up() => {
                    Some(Destination { weight: 0, ..server.destination.clone() })
                }
                (false, WhenDown::Quiesce) => Some(Destination { weight: 0, ..server.destination.clone() }),
                (false, WhenDown::Remove | WhenDown::Drain | WhenDown::Reset | WhenDown::Move) => None,
            }
        });
        let leaving = self.leaving.iter().map(|leaving| leaving.destination.clone());
        servers.chain(sorry.cloned()).chain(leaving).collect()
    }

    /// What becomes of the connections of a server that is deleted because it is down: `None` leaves them alone. Servers that are not known
    /// to be down, or that the sorry server stands in for, keep theirs.
    pub fn ending(&self, server: DestinationId) -> Option<Ending> {
        let at = self.position(server)?;
        match self.service.servers[at].when_down {
            _ if self.members[at].health() != Health::Down => None,
            WhenDown::Reset => Some(Ending::Reset),
            WhenDown::Move => Some(Ending::Move),
            WhenDown::Remove | WhenDown::Quiesce | WhenDown::Drain => None,
        }
    }

    /// Goes on with rising weights as far as it is time to, and lets those go whose time is over.
    pub fn advance(&mut self, now: Instant) {
        for (server, member) in self.service.servers.iter().zip(&mut self.members) {
            let Some(rise) = &mut member.rise else { continue };
            while rise.done < STEPS && rise.next(server) <= now {
                rise.done += 1;
            }
            if rise.done == STEPS {
                member.rise = None;
            }
        }
        self.leaving.retain(|leaving| leaving.until > now);
    }

    /// When it is time to [`Self::advance`].
    pub fn deadline(&self) -> Option<Instant> {
        let rising = self.members().filter_map(|(server, member)| Some(member.rise?.next(server)));
        rising.chain(self.leaving.iter().map(|leaving| leaving.until)).min()
    }

    /// The servers that go when they have no connections any more.
    pub fn leaving(&self) -> impl Iterator<Item = DestinationId> {
        self.leaving.iter().map(|leaving| leaving.destination.id)
    }

    /// A server that was leaving has no connections any more.
    pub fn release(&mut self, server: DestinationId) {
        self.leaving.retain(|leaving| leaving.destination.id != server);
    }

    /// Its servers and what is known of them.
    pub fn members(&self) -> impl Iterator<Item = (&Server, &Member)> {
        self.service.servers.iter().zip(&self.members)
    }

    /// Whether there is a quorum, and since when it is so.
    pub fn health(&self) -> (Health, Instant) {
        let health = match self.quorum {
            None => Health::Unknown,
            Some(true) => Health::Up,
            Some(false) => Health::Down,
        };
        (health, self.quorum_since)
    }

    /// What the servers weigh that are up.
    pub fn live(&self) -> u64 {
        let live = self.members().filter(|(_, member)| member.is_up());
        live.map(|(server, member)| u64::from(member.weight(server).unsigned_abs())).sum()
    }

    fn position(&self, server: DestinationId) -> Option<usize> {
        self.service.servers.iter().position(|own| own.id() == server)
    }

    /// Gained at quorum + hysteresis, lost below quorum - hysteresis, and always when nobody is left.
    fn review_quorum(&mut self, now: Instant) -> Option<Event> {
        let live = self.live();
        let (quorum, hysteresis) = (u64::from(self.service.quorum), u64::from(self.service.hysteresis));
        let gained = match self.quorum {
            Some(true) => live > 0 && live >= quorum.saturating_sub(hysteresis),
            _ => live >= quorum + hysteresis,
        };
        // As long as enough servers may still turn out to be up, nothing is lost.
        let undecided = self.quorum.is_none() && !gained && !self.members.iter().all(Member::is_known);
        if undecided || self.quorum == Some(gained) {
            return None;
        }
        (self.quorum, self.quorum_since) = (Some(gained), now);
        Some(if gained { Event::Quorum(live) } else { Event::NoQuorum(live) })
    }
}

impl Member {
    /// What it is taken for, and since when. What is only presumed is unknown.
    pub fn state(&self) -> (Health, Instant) {
        (self.health(), self.since)
    }

    /// The checks that have not found anything yet; `server` is the one that this is about.
    pub fn unanswered<'s>(&self, server: &'s Server) -> impl Iterator<Item = &'s Check> {
        let findings = server.checks.iter().zip(&self.checks);
        findings.filter(|(_, finding)| finding.presumed).map(|(check, _)| check)
    }

    fn health(&self) -> Health {
        match (self.is_known(), self.is_up()) {
            (true, true) => Health::Up,
            (_, false) if self.checks.iter().any(|finding| !finding.good && !finding.presumed) => {
                Health::Down
            }
            _ => Health::Unknown,
        }
    }

    fn unknown(server: &Server, running: &[Destination], now: Instant) -> Self {
        let good = match server.start {
            Start::AsFound => running.iter().any(|found| found.id == server.id() && found.weight > 0),
            Start::Up => true,
            Start::Down => false,
        };
        let checks = vec![Finding { good, presumed: true }; server.checks.len()];
        Self { checks, weight: None, since: now, returns: false, rise: None }
    }

    fn is_up(&self) -> bool {
        self.checks.iter().all(|finding| finding.good)
    }

    fn is_known(&self) -> bool {
        self.checks.iter().all(|finding| !finding.presumed)
    }

    /// The full weight.
    fn weight(&self, server: &Server) -> i32 {
        self.weight.unwrap_or(server.destination.weight)
    }

    /// The weight as far as it has risen.
    fn present_weight(&self, server: &Server) -> i32 {
        let full = self.weight(server);
        self.rise.map_or(full, |rise| (full >> (STEPS - rise.done)).max(full.min(1)))
    }
}

impl Rise {
    /// When the next step is due.
    fn next(&self, server: &Server) -> Instant {
        self.from + server.slow_start * (self.done + 1) / STEPS
    }
}

impl Leaving {
    fn new(destination: &Destination, server: &Server, now: Instant) -> Self {
        Self { destination: Destination { weight: 0, ..destination.clone() }, until: now + server.drain }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
