//! Piranha's heartbeat: of two machines one has the virtual addresses.
//!
//! [`machine`] is the protocol as a pure function of events, [`path`] the sockets. A [`Heartbeat`] is the task around them.

mod machine;
mod path;

use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::kernel::{Addresses, Interface, Listener, News};
use super::machine::State;
use super::status::{InstanceStatus, Peers};
use super::task::PulseError;
use super::vips::Vips;
use crate::config;
use crate::notify::{Notice, Notifier};
use machine::{Action, Event, Machine, Rules, Word};
use path::Path;

/// What the log, programs and the status call it.
const NAME: &str = "heartbeat";
/// How often interfaces are looked at even if the kernel says nothing.
const LOOK: Duration = Duration::from_secs(5);
/// Of several changes in a row, only what came of them matters.
const SETTLE: Duration = Duration::from_millis(20);
/// Announcements for each address, and the time between them.
const ANNOUNCEMENTS: u32 = 5;
const BETWEEN: Duration = Duration::from_secs(1);

/// The running task. Dropping it leaves addresses where they are; [`Heartbeat::stop`] does not.
#[derive(Debug)]
pub struct Heartbeat {
    orders: mpsc::Sender<config::Heartbeat>,
    status: Arc<Mutex<InstanceStatus>>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Begins. Must be called within a tokio runtime, by a thread in the network namespace that it is for.
    ///
    /// # Errors
    /// [`PulseError`] if there is no asking the kernel.
    pub fn start(config: config::Heartbeat, notifier: Notifier) -> Result<Self, PulseError> {
        let (listener, addresses) = (Listener::open()?, Addresses::open()?);
        let (orders, received) = mpsc::channel(1);
        let (to_us, heard) = mpsc::channel(16);
        let is_primary = is_primary(&config);
        let mut task = Task {
            start: Instant::now(),
            machine: Machine::new(rules(&config, is_primary)),
            config,
            is_primary,
            paths: Vec::new(),
            fault: None,
            announcements: 0,
            announce_at: None,
            peers: Peers::default(),
            since: Instant::now(),
            reason: "it has not begun".into(),
            complaint: None,
            vips: Vips::new(addresses, NAME),
            notifier,
            to_us,
        };
        let status = Arc::new(Mutex::new(task.status()));
        let shown = Arc::clone(&status);
        let task = tokio::spawn(async move { task.run(listener, heard, received, &shown).await });
        Ok(Self { orders, status, task })
    }

    /// Goes on by another configuration.
    pub async fn change(&self, config: config::Heartbeat) {
        // The task ends only with this.
        let _always_there = self.orders.send(config).await;
    }

    /// How it is.
    pub fn status(&self) -> InstanceStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives up being active, takes all addresses off, ends.
    pub async fn stop(self) {
        drop(self.orders);
        if let Err(error) = self.task.await {
            tracing::error!("the heartbeat ended badly: {error}");
        }
    }
}

struct Task {
    /// Where the machine's clock begins.
    start: Instant,
    config: config::Heartbeat,
    is_primary: bool,
    machine: Machine,
    paths: Vec<Path>,
    /// Why it cannot be active.
    fault: Option<String>,
    /// So many are still to come, the next one then.
    announcements: u32,
    announce_at: Option<Duration>,
    peers: Peers,
    since: Instant,
    reason: String,
    /// The last complaint, so that each is made once.
    complaint: Option<String>,
    vips: Vips,
    notifier: Notifier,
    to_us: mpsc::Sender<Word>,
}

impl Task {
    async fn run(
        &mut self,
        mut listener: Listener,
        mut heard: mpsc::Receiver<Word>,
        mut orders: mpsc::Receiver<config::Heartbeat>,
        status: &Mutex<InstanceStatus>,
    ) {
        let mut look_at = tokio::time::Instant::now();
        let mut listening = true;
        loop {
            *status.lock().unwrap_or_else(PoisonError::into_inner) = self.status();
            let due = [self.machine.deadline(), self.announce_at].into_iter().flatten().min();
            let due = due.map(|at| tokio::time::Instant::from_std(self.start + at));
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // Who is heard is not dead: what has come is read before a timer is believed.
                biased;
                order = orders.recv() => match order {
                    Some(config) => {
                        self.change(config).await;
                        look_at = tokio::time::Instant::now();
                    }
                    None => {
                        self.handle(Event::Stop, "it ends").await;
                        return;
                    }
                },
                Some(word) = heard.recv() => self.hear(word).await,
                () = due => self.wake().await,
                news = listener.next(), if listening => match news {
                    News::Changed => look_at = look_at.min(tokio::time::Instant::now() + SETTLE),
                    News::End => {
                        tracing::error!("the kernel tells no changes of interfaces any more: looking every {LOOK:?}");
                        listening = false;
                    }
                },
                () = tokio::time::sleep_until(look_at) => {
                    look_at = tokio::time::Instant::now() + LOOK;
                    self.look().await;
                }
            }
        }
    }

    fn status(&self) -> InstanceStatus {
        let own = self.paths.first().map(|path| path.own);
        InstanceStatus {
            name: NAME.into(),
            state: self.machine.state().to_string(),
            since: self.since.into(),
            reason: self.reason.clone(),
            interface: own.and_then(|own| Interface::that_has(own).ok().flatten()).unwrap_or_default(),
            id: 0,
            priority: priority(self.is_primary),
            base_priority: priority(self.is_primary),
            addresses: self.config.addresses.iter().map(|vip| vip.address).collect(),
            peers: self.peers.status(),
        }
    }

    async fn hear(&mut self, word: Word) {
        if let Some((_, partner)) = self.config.public.sides(self.is_primary) {
            self.peers.hear(partner, priority(!self.is_primary), self.config.keepalive);
        }
        let reason = match word {
            Word::Running => "the other machine is active",
            Word::Stopped => "the other machine is not active",
        };
        self.handle(Event::Heard(word), reason).await;
    }

    async fn wake(&mut self) {
        let now = self.start.elapsed();
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announcements -= 1;
            self.announce_at = (self.announcements > 0).then(|| now + BETWEEN);
            if let Err(complaint) = self.vips.announce(&self.config.addresses, 1) {
                self.complain(complaint);
            }
        }
        self.handle(Event::Deadline, "the other machine is not heard").await;
    }

    /// Looks at the interfaces: opens or closes sockets, puts back addresses that somebody has taken away.
    async fn look(&mut self) {
        let fault = self.find_fault().await;
        match (&fault, self.machine.state()) {
            (None, State::Init) => self.handle(Event::Start, "it begins").await,
            (None, _) => self.handle(Event::Fault(false), "it can be active again").await,
            (Some(reason), _) => self.handle(Event::Fault(true), reason).await,
        }
        self.fault = fault;
        if self.machine.state() == State::Master && self.vips.restore(&self.config.addresses).await {
            self.announce();
        }
    }

    /// What keeps it from being active. Without the public path there is no knowing who else is.
    async fn find_fault(&mut self) -> Option<String> {
        let is_primary = is_primary(&self.config);
        if is_primary != self.is_primary {
            self.is_primary = is_primary;
            self.machine.set_rules(rules(&self.config, is_primary));
        }
        if self.config.public.backup.is_none() && !is_primary {
            return Some("there is no backup, and this is not the primary".into());
        }
        let ends = [Some(self.config.public), self.config.private].into_iter().flatten();
        let sides: Vec<_> = ends.filter_map(|ends| ends.sides(is_primary)).collect();
        let port = self.config.port;
        let has = |address| Interface::that_has(address).ok().flatten();
        self.paths.retain(|path| sides.iter().any(|sides| path.is(*sides, port)) && has(path.own).is_some());
        let mut fault = None;
        for (at, sides) in sides.into_iter().enumerate() {
            if self.paths.iter().any(|path| path.is(sides, port)) {
                continue;
            }
            match Path::open(sides, port, self.to_us.clone()).await {
                Ok(path) => self.paths.push(path),
                Err(error) => {
                    let complaint = format!("cannot hear from {}, port {port}: {error}", sides.0);
                    if at == 0 {
                        fault = Some(complaint);
                    } else {
                        self.complain(complaint);
                    }
                }
            }
        }
        fault.or_else(|| self.lost_link().filter(|_| self.config.monitor_links))
    }

    /// An interface in use that is down.
    fn lost_link(&self) -> Option<String> {
        let own = self.paths.iter().filter_map(|path| Interface::that_has(path.own).ok().flatten());
        let virtual_ = self.config.addresses.iter().map(|vip| vip.interface.clone());
        let is_down = |name: &String| !Interface::look(name).is_ok_and(|interface| interface.running);
        own.chain(virtual_).find(is_down).map(|name| format!("{name} is down"))
    }

    async fn handle(&mut self, event: Event, reason: &str) {
        for action in self.machine.handle(self.start.elapsed(), event) {
            match action {
                Action::Send(word) => self.send(word).await,
                Action::Announce => self.announce(),
                Action::Enter(state) => self.enter(state, reason).await,
            }
        }
    }

    async fn send(&mut self, word: Word) {
        let mut complaint = None;
        for path in &self.paths {
            if let Err(error) = path.send(word).await {
                complaint = Some(format!("no heartbeat leaves from {}: {error}", path.own));
            }
        }
        match complaint {
            Some(complaint) => self.complain(complaint),
            None => self.complaint = None,
        }
    }

    async fn enter(&mut self, state: State, reason: &str) {
        if state == State::Master {
            for vip in &self.config.addresses {
                self.vips.put(vip).await;
            }
            self.announce();
        } else {
            (self.announcements, self.announce_at) = (0, None);
            // Also at the start: a process that was killed may have left them.
            for vip in &self.config.addresses {
                self.vips.take(vip).await;
            }
        }
        (self.since, self.reason) = (Instant::now(), reason.to_owned());
        let notice = Notice::Instance {
            instance: NAME.into(),
            state: state.to_string(),
            priority: priority(self.is_primary),
            reason: reason.to_owned(),
        };
        self.notifier.tell(self.config.notify.as_ref(), notice);
    }

    /// Neighbours are told from now on.
    fn announce(&mut self) {
        (self.announcements, self.announce_at) = (ANNOUNCEMENTS, Some(self.start.elapsed()));
    }

    async fn change(&mut self, config: config::Heartbeat) {
        let old = std::mem::replace(&mut self.config, config);
        self.machine.set_rules(rules(&self.config, self.is_primary));
        if self.machine.state() == State::Master {
            for vip in old.addresses.iter().filter(|vip| !self.config.addresses.contains(vip)) {
                self.vips.take(vip).await;
            }
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("({NAME}) {complaint}");
            self.complaint = Some(complaint);
        }
    }
}

/// Whether this machine has the primary's address; whoever has not is the backup.
fn is_primary(config: &config::Heartbeat) -> bool {
    let primary: IpAddr = config.public.primary.into();
    Interface::that_has(primary).is_ok_and(|interface| interface.is_some())
}

/// What programs and the status are told of who prevails.
fn priority(is_primary: bool) -> u8 {
    if is_primary { 2 } else { 1 }
}

fn rules(config: &config::Heartbeat, is_primary: bool) -> Rules {
    Rules {
        is_primary,
        is_alone: config.public.backup.is_none(),
        keepalive: config.keepalive,
        deadtime: config.deadtime,
    }
}
