//! Piranha's heartbeat as a pure function: events and the time in, actions out.
//!
//! Two machines tell each other every so often whether they are active. A standby that hears nothing for long becomes active.
//! Nobody takes over from a machine that lives and is active, whoever is the primary.

use std::time::Duration;

use crate::pulse::machine::State;

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// I am active.
    Running,
    /// I am not.
    Stopped,
}

/// What a machine goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Prevails if both are active, and begins if none is.
    pub(super) is_primary: bool,
    /// There is no other machine.
    pub(super) is_alone: bool,
    /// Time between heartbeats.
    pub(super) keepalive: Duration,
    /// Who is not heard for so long is dead.
    pub(super) deadtime: Duration,
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It begins.
    Start,
    /// A heartbeat of the other machine.
    Heard(Word),
    /// The time of [`Machine::deadline`] has come.
    Deadline,
    /// It cannot be active (true), or can again.
    Fault(bool),
    /// It ends.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tell the other machine.
    Send(Word),
    /// The state is a new one: [`State::Master`] takes the addresses, all others give them up.
    Enter(State),
    /// Tell neighbours once more who has the addresses.
    Announce,
}

/// One of the two machines: this one.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    rules: Rules,
    state: State,
    /// What the other one said last.
    partner: Option<Word>,
    send_at: Option<Duration>,
    /// When the other one is dead.
    dead_at: Option<Duration>,
}

impl Machine {
    /// Not started.
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, state: State::Init, partner: None, send_at: None, dead_at: None }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Goes on by other rules; running timers run on.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When it wants [`Event::Deadline`], on the clock of [`Self::handle`].
    pub(super) fn deadline(&self) -> Option<Duration> {
        [self.send_at, self.dead_at].into_iter().flatten().min()
    }

    /// Takes an event that happens at `now`, on a clock of the caller's that does not go back.
    pub(super) fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match (self.state, event) {
            (State::Init, Event::Start) | (State::Fault, Event::Fault(false)) => self.begin(now),
            (State::Init | State::Backup, Event::Fault(true)) => self.leave(State::Fault),
            (State::Master, Event::Fault(true)) => self.give_up(State::Fault),
            (State::Master, Event::Stop) => self.give_up(State::Init),
            (State::Backup | State::Fault, Event::Stop) => self.leave(State::Init),
            (State::Backup, Event::Heard(word)) => self.hear_as_backup(now, word),
            (State::Master, Event::Heard(word)) => self.hear_as_master(now, word),
            (State::Backup | State::Master, Event::Deadline) => self.wake(now),
            (State::Init | State::Fault, _) | (_, Event::Start | Event::Fault(false)) => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration) -> Vec<Action> {
        self.partner = None;
        if self.rules.is_alone {
            self.state = State::Master;
            return vec![Action::Enter(State::Master)];
        }
        self.stand_by(now)
    }

    fn stand_by(&mut self, now: Duration) -> Vec<Action> {
        self.state = State::Backup;
        self.dead_at = Some(now + self.rules.deadtime);
        vec![Action::Enter(State::Backup), self.send(now)]
    }

    fn activate(&mut self, now: Duration) -> Vec<Action> {
        self.state = State::Master;
        self.dead_at = None;
        // The other one hears of it before anything else is done.
        vec![self.send(now), Action::Enter(State::Master)]
    }

    fn leave(&mut self, state: State) -> Vec<Action> {
        (self.state, self.send_at, self.dead_at) = (state, None, None);
        vec![Action::Enter(state)]
    }

    /// The addresses are gone before the other one hears that it may have them.
    fn give_up(&mut self, state: State) -> Vec<Action> {
        let mut actions = self.leave(state);
        if !self.rules.is_alone {
            actions.push(Action::Send(Word::Stopped));
        }
        actions
    }

    fn hear_as_backup(&mut self, now: Duration, word: Word) -> Vec<Action> {
        self.dead_at = Some(now + self.rules.deadtime);
        let before = self.partner.replace(word);
        // If both wait, the primary begins; and whoever gives up is followed at once.
        let mine = self.rules.is_primary || before == Some(Word::Running);
        if word == Word::Stopped && mine { self.activate(now) } else { Vec::new() }
    }

    fn hear_as_master(&mut self, now: Duration, word: Word) -> Vec<Action> {
        self.partner = Some(word);
        match (word, self.rules.is_primary) {
            (Word::Stopped, _) => Vec::new(),
            // Both were active, so neighbours may know either.
            (Word::Running, true) => vec![Action::Announce],
            (Word::Running, false) => {
                // One last time, so that the primary knows of it, and announces itself.
                let mut actions = vec![Action::Send(Word::Running)];
                actions.extend(self.stand_by(now));
                actions
            }
        }
    }

    fn wake(&mut self, now: Duration) -> Vec<Action> {
        if self.dead_at.is_some_and(|at| at <= now) {
            self.partner = None;
            return self.activate(now);
        }
        if self.send_at.is_some_and(|at| at <= now) { vec![self.send(now)] } else { Vec::new() }
    }

    /// The heartbeat of the state, and the next one in time.
    fn send(&mut self, now: Duration) -> Action {
        self.send_at = Some(now + self.rules.keepalive);
        Action::Send(if self.state == State::Master { Word::Running } else { Word::Stopped })
    }
}

impl Word {
    /// As it goes over the network: in the order of the machine's octets, as Piranha has it.
    pub(super) fn octets(self) -> [u8; 4] {
        let word: u32 = match self {
            Self::Running => 0xbdad_dbda,
            Self::Stopped => 0xadbd_dabd,
        };
        word.to_ne_bytes()
    }

    /// None for the words that were never finished, and for anything else.
    pub(super) fn of(octets: &[u8]) -> Option<Self> {
        [Self::Running, Self::Stopped].into_iter().find(|word| word.octets() == octets)
    }
}

#[cfg(test)]
mod tests {
    use super::Action::*;
    use super::Word::*;
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn machine(is_primary: bool) -> Machine {
        let mut machine =
            Machine::new(Rules { is_primary, is_alone: false, keepalive: at(2), deadtime: at(5) });
        assert_eq!(machine.handle(at(0), Event::Start), [Enter(State::Backup), Send(Stopped)]);
        machine
    }

    #[test]
    fn a_silent_partner_is_dead_in_time() {
        let mut backup = machine(false);
        assert_eq!(backup.deadline(), Some(at(2)));
        assert_eq!(backup.handle(at(2), Event::Deadline), [Send(Stopped)]);
        assert_eq!(backup.handle(at(3), Event::Heard(Running)), []);
        for now in [4, 6] {
            assert_eq!(backup.handle(at(now), Event::Deadline), [Send(Stopped)]);
        }
        assert_eq!(backup.deadline(), Some(at(8)));
        assert_eq!(backup.handle(at(8), Event::Deadline), [Send(Running), Enter(State::Master)]);
        assert_eq!(backup.handle(at(10), Event::Deadline), [Send(Running)]);
    }

    #[test]
    fn if_both_wait_the_primary_begins() {
        assert_eq!(machine(false).handle(at(1), Event::Heard(Stopped)), []);
        let begun = [Send(Running), Enter(State::Master)];
        assert_eq!(machine(true).handle(at(1), Event::Heard(Stopped)), begun);
    }

    #[test]
    fn whoever_gives_up_is_followed_at_once() {
        let mut primary = machine(true);
        primary.handle(at(1), Event::Heard(Stopped));
        assert_eq!(primary.handle(at(2), Event::Stop), [Enter(State::Init), Send(Stopped)]);
        assert_eq!(primary.deadline(), None);
        let mut backup = machine(false);
        backup.handle(at(1), Event::Heard(Running));
        assert_eq!(backup.handle(at(2), Event::Heard(Stopped)), [Send(Running), Enter(State::Master)]);
    }

    #[test]
    fn a_returning_primary_stays_standby() {
        let mut primary = machine(true);
        for now in 1..20 {
            assert_eq!(primary.handle(at(now), Event::Heard(Running)), []);
        }
        assert_eq!(primary.state(), State::Backup);
    }

    #[test]
    fn of_two_active_machines_the_primary_remains() {
        let (mut primary, mut backup) = (machine(true), machine(false));
        for machine in [&mut primary, &mut backup] {
            machine.handle(at(5), Event::Deadline);
            assert_eq!(machine.state(), State::Master);
        }
        assert_eq!(primary.handle(at(6), Event::Heard(Running)), [Announce]);
        let heard = backup.handle(at(6), Event::Heard(Running));
        assert_eq!(heard, [Send(Running), Enter(State::Backup), Send(Stopped)]);
        assert_eq!(primary.handle(at(6), Event::Heard(Stopped)), []);
        // It is not active before it has heard nothing for long.
        assert_eq!(backup.handle(at(7), Event::Heard(Running)), []);
        assert_eq!(backup.deadline(), Some(at(8)), "to send");
    }

    #[test]
    fn a_fault_makes_it_silent() {
        let mut backup = machine(false);
        backup.handle(at(5), Event::Deadline);
        assert_eq!(backup.handle(at(6), Event::Fault(true)), [Enter(State::Fault), Send(Stopped)]);
        assert_eq!((backup.deadline(), backup.handle(at(7), Event::Heard(Stopped))), (None, vec![]));
        assert_eq!(backup.handle(at(8), Event::Fault(true)), []);
        assert_eq!(backup.handle(at(9), Event::Fault(false)), [Enter(State::Backup), Send(Stopped)]);
        assert_eq!(backup.deadline(), Some(at(11)));
    }

    #[test]
    fn without_a_partner_it_is_active_and_says_nothing() {
        let rules = Rules { is_primary: true, is_alone: true, keepalive: at(2), deadtime: at(5) };
        let mut machine = Machine::new(rules);
        assert_eq!(machine.handle(at(0), Event::Start), [Enter(State::Master)]);
        assert_eq!(machine.deadline(), None);
        assert_eq!(machine.handle(at(1), Event::Stop), [Enter(State::Init)]);
    }

    #[test]
    fn words_are_those_of_piranha() {
        assert_eq!(Running.octets(), 0xbdad_dbda_u32.to_ne_bytes());
        assert_eq!(Word::of(&0xadbd_dabd_u32.to_ne_bytes()), Some(Stopped));
        for other in [&[][..], &[0; 4], &0xdeaf_babe_u32.to_ne_bytes(), &[0; 5]] {
            assert_eq!(Word::of(other), None);
        }
    }
}
