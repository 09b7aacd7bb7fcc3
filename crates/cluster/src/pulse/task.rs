//! The task that all virtual routers of this machine share, so that those of a group are one in their states.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::kernel::{Addresses, Listener, News};
use super::machine::{Event, State};
use super::router::Router;
use super::status::InstanceStatus;
use super::wire::Heard;
use crate::config::{Instance, SyncGroup};
use crate::nanny::{Monitor, News as Verdict};
use crate::notify::{Notice, Notifier};

/// How often interfaces are looked at even if the kernel says nothing.
const LOOK: Duration = Duration::from_secs(5);
/// Packets that are looked at in one go.
const BATCH: usize = 256;
/// Of several changes in a row, only what came of them matters.
const SETTLE: Duration = Duration::from_millis(20);

/// Why VRRP cannot be spoken at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot follow the interfaces: {0}")]
pub struct PulseError(#[from] io::Error);

/// The running task, in a thread of its own: see [`hurry`]. Dropping it leaves addresses where they are; [`Pulse::stop`] does not.
#[derive(Debug)]
pub struct Pulse {
    orders: mpsc::Sender<(Vec<Instance>, Vec<SyncGroup>)>,
    questions: mpsc::Sender<oneshot::Sender<Vec<InstanceStatus>>>,
    ended: oneshot::Receiver<()>,
}

impl Pulse {
    /// Begins, without any virtual router. Must be called within a tokio runtime, by a thread in the network namespace
    /// that it is for. `cut_off` is told when no virtual router has a network any more, and when one has again; while `hold` is true,
    /// masters of lower priority are left alone.
    ///
    /// # Errors
    /// [`PulseError`] if there is no asking the kernel.
    pub async fn start(
        notifier: Notifier,
        cut_off: watch::Sender<bool>,
        hold: watch::Receiver<bool>,
    ) -> Result<Self, PulseError> {
        let (orders, received) = mpsc::channel(1);
        let (questions, asked) = mpsc::channel(1);
        let (begun, has_begun) = oneshot::channel();
        let (at_end, ended) = oneshot::channel();
        let checks = Handle::current();
        let live = async move {
            let (listener, addresses) = match open() {
                Ok(open) => open,
                Err(error) => return drop(begun.send(Err(error))),
            };
            let (to_us, heard) = mpsc::channel(256);
            let (verdicts, verdicts_received) = mpsc::channel(64);
            let task = Task {
                start: Instant::now(),
                routers: Vec::new(),
                groups: Vec::new(),
                group_states: HashMap::new(),
                addresses,
                notifier,
                to_us,
                monitors: Vec::new(),
                verdicts,
                checks,
                cut_off,
                hold,
            };
            if begun.send(Ok(())).is_ok() {
                task.run(listener, heard, verdicts_received, received, asked).await;
            }
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("pulse".into()).spawn(move || {
            hurry();
            runtime.block_on(live);
            // Nobody waits if this was not to be stopped.
            let _ = at_end.send(());
        })?;
        match has_begun.await {
            Ok(Ok(())) => Ok(Self { orders, questions, ended }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(io::Error::other("the thread for it ended").into()),
        }
    }

    /// How the virtual routers are.
    pub async fn status(&self) -> Vec<InstanceStatus> {
        let (asker, answer) = oneshot::channel();
        // The task ends only with this.
        let _always_there = self.questions.send(asker).await;
        answer.await.unwrap_or_default()
    }

    /// Has these virtual routers from now on. Those that are the same go on as they are.
    pub async fn change(&self, instances: Vec<Instance>, groups: Vec<SyncGroup>) {
        // The task ends only with this.
        let _always_there = self.orders.send((instances, groups)).await;
    }

    /// Gives up being master, takes all addresses off, ends.
    pub async fn stop(self) {
        drop(self.orders);
        if self.ended.await.is_err() {
            tracing::error!("VRRP ended badly");
        }
    }
}

fn open() -> io::Result<(Listener, Addresses)> {
    Ok((Listener::open()?, Addresses::open()?))
}

/// Lets this thread run before all ordinary ones. A master that waits for its turn while the machine is busy is taken for dead, with
/// short intervals after a few hundredths of a second; and the work of this thread is short.
fn hurry() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    if let Err(reason) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::warn!("VRRP has no priority over other work of this machine (CAP_SYS_NICE): {reason:?}");
    }
}

struct Task {
    /// Where the machines' clock begins.
    start: Instant,
    routers: Vec<Router>,
    groups: Vec<SyncGroup>,
    /// What was last told of each group.
    group_states: HashMap<String, State>,
    addresses: Addresses,
    notifier: Notifier,
    to_us: mpsc::Sender<Heard>,
    /// The checks that routers depend on, by the routers' names.
    monitors: Vec<Monitor<String>>,
    verdicts: mpsc::Sender<Verdict<String>>,
    /// Where the checks live: they may take their time.
    checks: Handle,
    cut_off: watch::Sender<bool>,
    hold: watch::Receiver<bool>,
}

impl Task {
    async fn run(
        mut self,
        mut listener: Listener,
        mut heard: mpsc::Receiver<Heard>,
        mut verdicts: mpsc::Receiver<Verdict<String>>,
        mut orders: mpsc::Receiver<(Vec<Instance>, Vec<SyncGroup>)>,
        mut questions: mpsc::Receiver<oneshot::Sender<Vec<InstanceStatus>>>,
    ) {
        let mut look_at = Instant::now() + LOOK;
        let mut listening = true;
        loop {
            let due = self.routers.iter().filter_map(Router::deadline).min().map(|at| self.start + at);
            let again = self.routers.iter().filter_map(Router::look_again).min().map(|at| self.start + at);
            look_at = again.map_or(look_at, |again| look_at.min(again));
            let due = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // Who is heard is not dead: what has come is read before a timer is believed...
                biased;
                order = orders.recv() => match order {
                    Some((instances, groups)) => self.change(instances, groups).await,
                    None => return self.stop().await,
                },
                Some(first) = heard.recv() => {
                    self.hear(&first).await;
                    for _ in 1..BATCH {
                        let Ok(next) = heard.try_recv() else { break };
                        self.hear(&next).await;
                    }
                    // ...but no flood of packets keeps this machine from saying that it is there.
                    self.wake().await;
                }
                () = due => self.wake().await,
                Ok(()) = self.hold.changed() => self.look().await,
                Some(asker) = questions.recv() => {
                    let _asker_has_left = asker.send(self.routers.iter().map(Router::status).collect());
                }
                Some(verdict) = verdicts.recv() => {
                    let own = self.routers.iter_mut().find(|router| router.instance.name == verdict.subject);
                    if let Some(router) = own {
                        router.note(verdict.check, verdict.verdict);
                        self.look().await;
                    }
                }
                news = listener.next(), if listening => match news {
                    News::Changed => look_at = look_at.min(Instant::now() + SETTLE),
                    News::End => {
                        tracing::error!("the kernel tells no changes of interfaces any more: looking every {LOOK:?}");
                        listening = false;
                    }
                },
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK;
                    self.look().await;
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    async fn hear(&mut self, heard: &Heard) {
        let Some(at) = self.routers.iter().position(|router| router.instance.name == heard.instance) else {
            return;
        };
        if let Some(event) = self.routers[at].hear(heard) {
            self.handle(at, event).await;
        }
    }

    async fn wake(&mut self) {
        for at in 0..self.routers.len() {
            let now = self.now();
            if let Some(state) = self.routers[at].wake(now).await {
                self.follow(at, state).await;
            }
        }
    }

    async fn handle(&mut self, at: usize, event: Event) {
        let now = self.now();
        if let Some(state) = self.routers[at].handle(now, event).await {
            self.follow(at, state).await;
        }
    }

    /// One of a group has another state: the others follow, and those of their groups.
    async fn follow(&mut self, at: usize, state: State) {
        let mut entered = VecDeque::from([(at, state)]);
        while let Some((at, state)) = entered.pop_front() {
            let event = match state {
                State::Master => Event::FollowMaster,
                State::Backup => Event::FollowBackup,
                // A fault is the whole group's: see `judge`.
                State::Fault | State::Init => continue,
            };
            for other in self.others(at) {
                let now = self.now();
                if let Some(state) = self.routers[other].handle(now, event).await {
                    entered.push_back((other, state));
                }
            }
        }
        self.tell_groups();
    }

    /// The other routers of a router's group.
    fn others(&self, at: usize) -> Vec<usize> {
        let name = &self.routers[at].instance.name;
        let Some(group) = self.groups.iter().find(|group| group.members.contains(name)) else {
            return Vec::new();
        };
        let member =
            |router: &Router| router.instance.name != *name && group.members.contains(&router.instance.name);
        self.routers.iter().enumerate().filter(|(_, router)| member(router)).map(|(at, _)| at).collect()
    }

    /// Looks at all interfaces.
    async fn look(&mut self) {
        let all = self.routers.iter().flat_map(|router| &router.instance.addresses);
        let virtual_addresses: HashSet<IpAddr> = all.map(|vip| vip.address).collect();
        let now = self.now();
        let hold = *self.hold.borrow_and_update();
        for router in &mut self.routers {
            router.look(now, hold, &virtual_addresses, &self.to_us).await;
        }
        let cut_off = !self.routers.is_empty() && self.routers.iter().all(Router::is_cut_off);
        self.cut_off.send_if_modified(|before| std::mem::replace(before, cut_off) != cut_off);
        self.judge().await;
    }

    /// Who is faulty, or has a faulty one in its group, cannot be master; all others begin, or begin again.
    async fn judge(&mut self) {
        let faulty: Vec<_> = (0..self.routers.len())
            .map(|at| {
                self.routers[at].is_faulty()
                    || self.others(at).iter().any(|other| self.routers[*other].is_faulty())
            })
            .collect();
        // Those that give up first: then those that begin do not follow them.
        for (at, faulty) in faulty.iter().enumerate().filter(|(_, faulty)| **faulty) {
            self.handle(at, Event::Fault(*faulty)).await;
        }
        for (at, _) in faulty.iter().enumerate().filter(|(_, faulty)| !**faulty) {
            let event = match self.routers[at].state() {
                State::Init => Event::Start,
                _ => Event::Fault(false),
            };
            self.handle(at, event).await;
        }
        self.tell_groups();
    }

    async fn change(&mut self, instances: Vec<Instance>, groups: Vec<SyncGroup>) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.routers)
            .into_iter()
            .partition(|router| instances.iter().any(|instance| router.is(instance)));
        for mut router in gone {
            let now = self.now();
            router.handle(now, Event::Stop).await;
        }
        let mut kept: Vec<_> = kept.into_iter().map(Some).collect();
        let now = self.now();
        for instance in instances {
            let old = kept.iter_mut().find(|old| old.as_ref().is_some_and(|router| router.is(&instance)));
            match old.and_then(Option::take) {
                Some(mut router) => {
                    router.change(now, instance).await;
                    self.routers.push(router);
                }
                None => {
                    let router = Router::new(instance, self.addresses.clone(), self.notifier.clone());
                    self.routers.push(router);
                }
            }
        }
        self.groups = groups;
        let names: HashSet<_> = self.groups.iter().map(|group| group.name.clone()).collect();
        self.watch();
        self.group_states.retain(|name, _| names.contains(name));
        self.look().await;
    }

    /// Begins the checks that are new, goes on with those that are not, ends the others.
    fn watch(&mut self) {
        let mut old = std::mem::take(&mut self.monitors);
        let _elsewhere = self.checks.enter();
        for router in &self.routers {
            let name = &router.instance.name;
            for check in router.checks() {
                let running = old.iter().position(|monitor| monitor.is(name, check));
                self.monitors.push(match running {
                    Some(at) => old.swap_remove(at),
                    None => Monitor::start(
                        name.clone(),
                        Ipv4Addr::LOCALHOST.into(),
                        check.clone(),
                        self.verdicts.clone(),
                    ),
                });
            }
        }
    }

    async fn stop(mut self) {
        for at in 0..self.routers.len() {
            let now = self.now();
            self.routers[at].handle(now, Event::Stop).await;
        }
        self.tell_groups();
    }

    /// A group's state is that of all its members; while these differ, there is none.
    fn tell_groups(&mut self) {
        for group in &self.groups {
            let members = self.routers.iter().filter(|router| group.members.contains(&router.instance.name));
            let states: HashSet<_> = members.map(Router::state).collect();
            let mut states = states.into_iter();
            let (Some(state), None) = (states.next(), states.next()) else { continue };
            let told = self.group_states.insert(group.name.clone(), state);
            if told == Some(state) || (told.is_none() && state == State::Init) {
                continue;
            }
            let notice = Notice::Group { group: group.name.clone(), state: state.to_string() };
            self.notifier.tell(group.notify.as_ref(), notice);
        }
    }
}
