//! A virtual router at work: its machine, and what the machine's actions are.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::carrier::Carriers;
use super::inspect::{Finding, inspect};
use super::kernel::{Addresses, Interface};
use super::machine::{Action, Event, Machine, Rules, State};
use super::packet::Advertisement;
use super::series::Series;
use super::status::{InstanceStatus, Peers};
use super::vips::Vips;
use super::wire::{Heard, Wire};
use crate::config::{Check, Instance, Vip, Watched};
use crate::notify::{Notice, Notifier};

/// A virtual router.
pub(super) struct Router {
    pub(super) instance: Instance,
    machine: Machine,
    wire: Option<Wire>,
    /// Why it cannot be master.
    fault: Option<String>,
    carriers: Carriers,
    /// It leaves other masters alone for now, whatever their priority.
    hold: bool,
    /// The checks that it depends on and that fail, and why.
    failed: Vec<(Check, String)>,
    announcements: Series,
    /// The last complaint about a packet, so that each is made once.
    complaint: Option<String>,
    /// Since when it has its state, and why.
    since: Instant,
    reason: String,
    peers: Peers,
    vips: Vips,
    notifier: Notifier,
}

impl Router {
    pub(super) fn new(instance: Instance, addresses: Addresses, notifier: Notifier) -> Self {
        let vips = Vips::new(addresses, &instance.name);
        let machine = Machine::new(Rules::of(&instance));
        Self {
            instance,
            machine,
            wire: None,
            fault: None,
            carriers: Carriers::default(),
            hold: false,
            failed: Vec::new(),
            announcements: Series::default(),
            complaint: None,
            since: Instant::now(),
            reason: "it has not begun".into(),
            peers: Peers::default(),
            vips,
            notifier,
        }
    }

    /// How it is.
    pub(super) fn status(&self) -> InstanceStatus {
        InstanceStatus {
            name: self.instance.name.clone(),
            state: self.state().to_string(),
            since: self.since.into(),
            reason: self.reason.clone(),
            interface: self.instance.interface.clone(),
            id: self.instance.id,
            priority: self.machine.priority(),
            base_priority: self.instance.priority,
            addresses: self.instance.addresses.iter().map(|vip| vip.address).collect(),
            peers: self.peers.status(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.machine.state()
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// Whether it has no network.
    pub(super) fn is_cut_off(&self) -> bool {
        self.wire.is_none()
    }

    /// When it has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        [self.machine.deadline(), self.announcements.deadline()].into_iter().flatten().min()
    }

    /// Looks at the interfaces that it depends on: opens or closes its sockets, corrects its priority, puts back addresses
    /// that somebody has taken away.
    pub(super) async fn look(
        &mut self,
        now: Duration,
        hold: bool,
        virtual_addresses: &HashSet<IpAddr>,
        heard: &mpsc::Sender<Heard>,
    ) {
        self.hold = hold;
        self.note_tracked(now);
        let fault = self.find_fault(now, virtual_addresses, heard);
        if fault != self.fault {
            match &fault {
                Some(reason) => tracing::warn!("({}) cannot be master: {reason}", self.instance.name),
                None => tracing::info!("({}) can be master again", self.instance.name),
            }
            self.fault = fault;
        }
        self.machine.set_own_address(self.wire.as_ref().map(|wire| wire.source));
        self.machine.set_rules(self.rules());
        if self.state() == State::Master {
            self.restore(now).await;
        }
    }

    /// Takes an event; what became of the state.
    pub(super) async fn handle(&mut self, now: Duration, event: Event) -> Option<State> {
        let mut entered = None;
        for action in self.machine.handle(now, event) {
            match action {
                Action::Send(priority) => self.send(priority),
                Action::Announce => self.announce(now),
                Action::Enter(state) => {
                    entered = Some(state);
                    self.enter(now, state, self.why(event)).await;
                }
            }
        }
        entered
    }

    /// Something is due.
    pub(super) async fn wake(&mut self, now: Duration) -> Option<State> {
        let due = self.announcements.due(now, &self.instance.announce);
        self.send_announcements(due);
        if self.machine.deadline().is_some_and(|at| at <= now) {
            return self.handle(now, Event::Deadline).await;
        }
        None
    }

    /// A packet came by its socket: the event that it is.
    pub(super) fn hear(&mut self, heard: &Heard) -> Option<Event> {
        let own = self.wire.as_ref().map(|wire| wire.source);
        let from = heard.from;
        match inspect(&self.instance, own, heard) {
            Finding::NotOurs => None,
            Finding::Wrong(reason) => {
                self.complain(format!("a packet from {from} is ignored: {reason}"));
                None
            }
            Finding::Good { event, doubt } => {
                match doubt {
                    Some(doubt) => self.complain(format!("{from} {doubt}")),
                    None => self.complaint = None,
                }
                if let Event::Advertisement { from, priority, interval } = event {
                    self.peers.hear(from, priority, interval);
                }
                Some(event)
            }
        }
    }

    /// A check that it depends on has a new verdict.
    pub(super) fn note(&mut self, check: Check, verdict: Result<Option<i32>, String>) {
        self.failed.retain(|(failed, _)| *failed != check);
        self.failed.extend(verdict.err().map(|reason| (check, reason)));
    }

    /// The checks that it depends on.
    pub(super) fn checks(&self) -> impl Iterator<Item = &Check> {
        self.instance.tracked.iter().filter_map(|tracked| match &tracked.what {
            Watched::Check(check) => Some(&**check),
            Watched::Interface(_) => None,
        })
    }

    /// Looks at the other interfaces that it depends on.
    fn note_tracked(&mut self, now: Duration) {
        for tracked in &self.instance.tracked {
            if let Watched::Interface(name) = &tracked.what {
                let running = Interface::look(name).is_ok_and(|interface| interface.running);
                self.carriers.note(name, running, self.instance.debounce, now);
            }
        }
    }

    /// When it is to be looked at again: a carrier is lost, and it will be seen then whether that was for a moment.
    pub(super) fn look_again(&self) -> Option<Duration> {
        self.carriers.deadline()
    }

    /// Why something is down.
    fn trouble(&self, what: &Watched) -> Option<String> {
        match what {
            Watched::Interface(name) => self.carriers.is_down(name).then(|| format!("{name} is down")),
            Watched::Check(check) => {
                let failed = self.failed.iter().find(|(failed, _)| *failed == **check);
                failed.map(|(_, reason)| format!("a check fails: {reason}"))
            }
        }
    }

    /// Goes on by another configuration of the same virtual router.
    pub(super) async fn change(&mut self, now: Duration, instance: Instance) {
        let old = std::mem::replace(&mut self.instance, instance);
        let failed = std::mem::take(&mut self.failed);
        self.failed = failed.into_iter().filter(|(check, _)| self.checks().any(|own| own == check)).collect();
        self.note_tracked(now);
        self.machine.set_rules(self.rules());
        if self.state() != State::Master {
            return;
        }
        for vip in old.addresses.iter().filter(|vip| !self.has(vip)) {
            self.vips.take(vip).await;
        }
        self.restore(now).await;
    }

    /// Whether an instance is another configuration of the same virtual router, with the same sockets.
    pub(super) fn is(&self, instance: &Instance) -> bool {
        let key = |i: &Instance| {
            (i.interface.clone(), i.id, i.family, i.version, i.peers.clone(), i.source, i.pseudo_header)
        };
        self.instance.name == instance.name && key(&self.instance) == key(instance)
    }

    fn has(&self, vip: &Vip) -> bool {
        let same = |own: &Vip| {
            (own.address, own.prefix, &own.interface) == (vip.address, vip.prefix, &vip.interface)
        };
        self.instance.addresses.iter().any(same)
    }

    fn find_fault(
        &mut self,
        now: Duration,
        virtual_addresses: &HashSet<IpAddr>,
        heard: &mpsc::Sender<Heard>,
    ) -> Option<String> {
        let name = self.instance.interface.clone();
        let interface = match Interface::look(&name) {
            Ok(interface) => interface,
            Err(error) => return Some(format!("cannot look at {name}: {error}")),
        };
        self.carriers.note(&name, interface.running, self.instance.debounce, now);
        if interface.index == 0 || self.carriers.is_down(&name) {
            self.wire = None;
            return Some(match interface.index {
                0 => format!("there is no interface {name}"),
                _ => format!("{name} is down"),
            });
        }
        // While the carrier is lost for a moment, addresses may be, too: then the sockets are those that will be needed.
        self.wire = self.wire.take().filter(|wire| !interface.running || wire.fits(&interface));
        if self.wire.is_none() {
            match Wire::open(&self.instance, &interface, virtual_addresses, heard.clone()) {
                Ok(wire) => self.wire = Some(wire),
                Err(error) => return Some(format!("cannot speak VRRP on {name}: {error}")),
            }
        }
        let vital = self.instance.tracked.iter().filter(|tracked| tracked.weight == 0);
        vital.filter_map(|tracked| self.trouble(&tracked.what)).next()
    }

    fn rules(&self) -> Rules {
        let rules = Rules::of(&self.instance);
        Rules { priority: self.priority(), preempt: rules.preempt && !self.hold, ..rules }
    }

    /// With what is added and taken off for what is down; only an owner has 255.
    fn priority(&self) -> u8 {
        if self.instance.priority == u8::MAX {
            return u8::MAX;
        }
        let weighty = self.instance.tracked.iter().filter(|tracked| tracked.weight != 0);
        let down = weighty.filter(|tracked| self.trouble(&tracked.what).is_some());
        let change: i32 = down.map(|tracked| i32::from(tracked.weight)).sum();
        u8::try_from((i32::from(self.instance.priority) + change).clamp(1, 254)).unwrap_or(1)
    }

    fn send(&mut self, priority: u8) {
        let Some(wire) = &self.wire else { return };
        let advertisement = Advertisement {
            version: self.instance.version,
            id: self.instance.id,
            priority,
            interval: self.instance.interval,
            addresses: self.instance.advertised().collect(),
            password: self.instance.password,
        };
        if let Err(error) = wire.send(&advertisement) {
            self.complain(format!("cannot send: {error}"));
        }
    }

    /// Why an event gives it another state.
    fn why(&self, event: Event) -> String {
        match event {
            Event::Start => "it begins".into(),
            Event::Advertisement { from, priority, .. } => {
                format!("{from} has priority {priority}, this machine {}", self.machine.priority())
            }
            Event::Deadline => "no master of at least its priority is heard".into(),
            Event::Fault(true) => {
                self.fault.clone().unwrap_or_else(|| "another of its group is at fault".into())
            }
            Event::Fault(false) => "what it depends on is up".into(),
            Event::FollowMaster | Event::FollowBackup => "another of its group is".into(),
            Event::Stop => "it ends".into(),
        }
    }

    async fn enter(&mut self, now: Duration, state: State, reason: String) {
        if state == State::Master {
            for vip in &self.instance.addresses {
                self.vips.put(vip).await;
            }
            self.announce(now);
        } else {
            self.announcements.end();
            // Also at the start: a process that was killed may have left them.
            for vip in &self.instance.addresses {
                self.vips.take(vip).await;
            }
        }
        (self.since, self.reason) = (Instant::now(), reason.clone());
        let notice = Notice::Instance {
            instance: self.instance.name.clone(),
            state: state.to_string(),
            priority: self.machine.priority(),
            reason,
        };
        self.notifier.tell(self.instance.notify.as_ref(), notice);
    }

    /// Puts back what of its addresses is not there, and says so to neighbours.
    async fn restore(&mut self, now: Duration) {
        if self.vips.restore(&self.instance.addresses).await {
            self.announce(now);
        }
    }

    /// Tells neighbours who has the addresses, now and a few times more.
    fn announce(&mut self, now: Duration) {
        let at_once = self.announcements.begin(now, &self.instance.announce);
        self.send_announcements(at_once);
    }

    fn send_announcements(&mut self, times: u32) {
        if times == 0 {
            return;
        }
        if let Err(complaint) = self.vips.announce(&self.instance.addresses, times) {
            self.complain(complaint);
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("({}) {complaint}", self.instance.name);
            self.complaint = Some(complaint);
        }
    }
}
