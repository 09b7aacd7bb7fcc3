//! VRRP's state machine (RFC 9568, 6.4) as a pure function: events and the time in, actions out.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{Instance, Version};

/// The state of a virtual router on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started.
    Init,
    /// Another machine is master, or nobody yet.
    Backup,
    /// This machine has the addresses.
    Master,
    /// It cannot be master: something that it depends on is down.
    Fault,
}

/// What a machine goes by. Of a changed configuration, all can be replaced at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Version.
    pub version: Version,
    /// The priority to advertise, 1 to 255.
    pub priority: u8,
    /// Its own time between advertisements.
    pub interval: Duration,
    /// Takes over from a master of lower priority.
    pub preempt: bool,
    /// After so long.
    pub preempt_delay: Duration,
}

impl Rules {
    /// Those of an instance.
    pub fn of(instance: &Instance) -> Self {
        Self {
            version: instance.version,
            priority: instance.priority,
            interval: instance.interval,
            preempt: instance.preempt,
            preempt_delay: instance.preempt_delay,
        }
    }
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins.
    Start,
    /// An advertisement of another machine, well formed and for this virtual router.
    Advertisement {
        /// Who sent it.
        from: IpAddr,
        /// Its priority.
        priority: u8,
        /// Its time between advertisements.
        interval: Duration,
    },
    /// The time of [`Machine::deadline`] has come.
    Deadline,
    /// Something that it depends on is down (true), or all is up again.
    Fault(bool),
    /// Others of its group are master now, so it is, too.
    FollowMaster,
    /// Others of its group are not master any more.
    FollowBackup,
    /// It ends.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement with this priority.
    Send(u8),
    /// The state is a new one: [`State::Master`] takes the addresses, all others give them up.
    Enter(State),
    /// Tell neighbours once more who has the addresses.
    Announce,
}

/// A virtual router on this machine.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    /// Who this machine is to others, if it can send: decides between equal priorities.
    own_address: Option<IpAddr>,
    state: State,
    /// The master's time between advertisements, as far as it is known.
    masters_interval: Duration,
    deadline: Option<Duration>,
    /// Until then a master of lower priority is put up with.
    preempt_at: Option<Duration>,
}

/// Advertisements that must fail to come before a master is taken for dead.
const MISSED: u32 = 3;
/// Priority of the owner of the addresses.
const OWNER: u8 = 255;
/// Priority of a master that gives up.
const RESIGNING: u8 = 0;

impl Machine {
    /// Not started.
    pub fn new(rules: Rules) -> Self {
        let masters_interval = rules.interval;
        Self {
            rules,
            own_address: None,
            state: State::Init,
            masters_interval,
            deadline: None,
            preempt_at: None,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The priority that it advertises.
    pub fn priority(&self) -> u8 {
        self.rules.priority
    }

    /// When it wants [`Event::Deadline`], on the clock of [`Self::handle`].
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Goes on by other rules; a running timer runs on.
    pub fn set_rules(&mut self, rules: Rules) {
        if rules.version == Version::V2 || self.state == State::Master {
            self.masters_interval = rules.interval;
        }
        self.rules = rules;
    }

    /// Has another address from now on.
    pub fn set_own_address(&mut self, address: Option<IpAddr>) {
        self.own_address = address;
    }

    /// Takes an event that happens at `now`, on a clock of the caller's that does not go back.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match (self.state, event) {
            (State::Init, Event::Start) => self.begin(now),
            (State::Init, Event::Fault(true)) => self.enter(State::Fault),
            (State::Init, _) => Vec::new(),
            (State::Fault, Event::Fault(false)) => self.begin(now),
            (State::Master, Event::Stop) => self.resign(State::Init),
            (_, Event::Stop) => self.enter(State::Init),
            (State::Fault, _) => Vec::new(),
            (State::Master, Event::Fault(true)) => self.resign(State::Fault),
            (State::Backup, Event::Fault(true)) => self.enter(State::Fault),
            (State::Backup, Event::Deadline | Event::FollowMaster) => self.take_over(now),
            (State::Backup, Event::Advertisement { priority, interval, .. }) => {
                self.hear_as_backup(now, priority, interval);
                Vec::new()
            }
            (State::Master, Event::Deadline) => self.advertise(now),
            (State::Master, Event::FollowBackup) => self.yield_to_other(now),
            (State::Master, Event::Advertisement { from, priority, interval }) => {
                self.hear_as_master(now, from, priority, interval)
            }
            (_, Event::Start | Event::Fault(false) | Event::FollowMaster | Event::FollowBackup) => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration) -> Vec<Action> {
        if self.rules.priority == OWNER {
            return self.take_over(now);
        }
        self.masters_interval = self.rules.interval;
        self.step_back(now)
    }

    fn step_back(&mut self, now: Duration) -> Vec<Action> {
        let actions = self.enter(State::Backup);
        self.deadline = Some(now + self.masters_silence());
        actions
    }

    fn take_over(&mut self, now: Duration) -> Vec<Action> {
        self.masters_interval = self.rules.interval;
        // Others hear of it before anything else is done: the sooner they know, the better.
        let mut actions = vec![Action::Send(self.rules.priority)];
        actions.extend(self.enter(State::Master));
        self.deadline = Some(now + self.rules.interval);
        actions
    }

    fn advertise(&mut self, now: Duration) -> Vec<Action> {
        self.deadline = Some(now + self.rules.interval);
        vec![Action::Send(self.rules.priority)]
    }

    /// Both were master, and neighbours may have heard this machine last; but only the other one can tell them again, and it may not know
    /// of this one. So it hears once more of it. RFC 9568 is silent there; a last word of lower priority changes nobody's mind.
    fn yield_to_other(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = vec![Action::Send(self.rules.priority)];
        actions.extend(self.step_back(now));
        actions
    }

    fn resign(&mut self, to: State) -> Vec<Action> {
        let mut actions = vec![Action::Send(RESIGNING)];
        actions.extend(self.enter(to));
        actions
    }

    fn enter(&mut self, state: State) -> Vec<Action> {
        self.deadline = None;
        self.preempt_at = None;
        if self.state == state {
            return Vec::new();
        }
        self.state = state;
        vec![Action::Enter(state)]
    }

    fn hear_as_backup(&mut self, now: Duration, priority: u8, interval: Duration) {
        if priority == RESIGNING {
            self.deadline = Some(now + self.skew());
            return;
        }
        let mut put_up = !self.rules.preempt || priority >= self.rules.priority;
        if put_up {
            self.preempt_at = None;
        } else if !self.rules.preempt_delay.is_zero() {
            let until = *self.preempt_at.get_or_insert(now + self.rules.preempt_delay);
            put_up = now < until;
        }
        // Otherwise the timer runs out, whatever is heard.
        if put_up {
            self.learn(interval);
            let silence = now + self.masters_silence();
            // When the delay is over there is nothing to wait for any more.
            self.deadline = Some(self.preempt_at.map_or(silence, |until| silence.min(until.max(now))));
        }
    }

    fn hear_as_master(
        &mut self,
        now: Duration,
        from: IpAddr,
        priority: u8,
        interval: Duration,
    ) -> Vec<Action> {
        let equal = priority == self.rules.priority;
        let prevails =
            priority > self.rules.priority || (equal && self.own_address.is_some_and(|own| from > own));
        if prevails {
            self.learn(interval);
            return self.yield_to_other(now);
        }
        let mut actions = self.advertise(now);
        if priority != RESIGNING {
            // Both were master, so neighbours may know either.
            actions.push(Action::Announce);
        }
        actions
    }

    /// Version 2 has the same interval everywhere.
    fn learn(&mut self, interval: Duration) {
        if self.rules.version == Version::V3 {
            self.masters_interval = interval;
        }
    }

    fn masters_silence(&self) -> Duration {
        self.masters_interval * MISSED + self.skew()
    }

    /// Who has a higher priority waits less. Version 2: of a second; version 3: of the master's interval.
    fn skew(&self) -> Duration {
        let whole = match self.rules.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.masters_interval,
        };
        whole * (256 - u32::from(self.rules.priority)) / 256
    }
}

impl fmt::Display for State {
    /// As programs and logs have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "STOP",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
        })
    }
}
