//! The task that follows the kernel and tells what changed.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::neighbour::{Hop, Upkeep};
use super::netlink::{Netlink, News};
use super::path::{self, Path};
use super::route::Route;
use super::world::World;
use super::{EgressError, Event, InterfaceEvent};

/// Changes come in bursts (an interface that goes down takes its addresses, routes and neighbours along), so one
/// burst is worked off as one.
const SETTLE: Duration = Duration::from_millis(10);

/// How often everything is asked for again: path MTU discovery tells nobody, and kernels before 5.16 keep no
/// neighbour resolved by themselves.
const REFRESH: Duration = Duration::from_secs(10);

/// Between attempts to open the sockets again, should they ever fail.
const REOPEN: Duration = Duration::from_secs(1);

/// Handle of the task. Dropping it ends the task; what the kernel was asked to keep resolved stays so.
#[derive(Debug, Clone)]
pub struct EgressTracker {
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Watch(IpAddr),
    Unwatch(IpAddr),
    Find(IpAddr, oneshot::Sender<Path>),
}

impl EgressTracker {
    /// Starts to follow the network namespace of the calling thread.
    ///
    /// On return an [`InterfaceEvent::Appeared`] for each Ethernet interface is waiting in the channel already.
    /// The channel is unbounded, for the task must not wait: it holds changes only, a burst of them counted once.
    ///
    /// # Errors
    ///
    /// If no netlink socket can be opened, or the kernel does not list interfaces and neighbours on it.
    pub async fn spawn() -> Result<(Self, mpsc::UnboundedReceiver<Event>), EgressError> {
        let (commands, orders) = mpsc::unbounded_channel();
        let (events, receiver) = mpsc::unbounded_channel();
        let netlink = Netlink::open()?;
        let mut task = Task::new(netlink, events);
        task.resync().await?;
        task.settle().await?;
        tokio::spawn(task.run(orders));
        Ok((EgressTracker { commands }, receiver))
    }

    /// Tells the path to `destination` now and whenever it changes, and has its neighbour kept resolved. To be
    /// undone by as many calls of [`unwatch`](Self::unwatch); each call makes the path be told once more.
    pub fn watch(&self, destination: IpAddr) {
        self.order(Command::Watch(destination));
    }

    /// Undoes one call of [`watch`](Self::watch).
    pub fn unwatch(&self, destination: IpAddr) {
        self.order(Command::Unwatch(destination));
    }

    /// The path to an address as it is now, which is neither followed nor has its neighbour resolved.
    pub async fn find(&self, destination: IpAddr) -> Path {
        let (answer, path) = oneshot::channel();
        self.order(Command::Find(destination, answer));
        // Without an answer the task is opening its sockets anew.
        path.await.unwrap_or(Path::Unresolved)
    }

    fn order(&self, command: Command) {
        // The task ends when the receiver of events is gone; then nobody is left to tell.
        let _ = self.commands.send(command);
    }
}

/// A watched address.
#[derive(Debug, Default)]
struct Watched {
    users: usize,
    /// `None`: to be asked for.
    route: Option<Route>,
    /// What was told last; `None`: nothing, or it is to be told again.
    told: Option<Path>,
}

struct Task {
    netlink: Netlink,
    events: mpsc::UnboundedSender<Event>,
    world: World,
    watched: BTreeMap<IpAddr, Watched>,
    /// The neighbours that the kernel was asked to keep.
    kept: HashSet<Hop>,
    /// When what changed is to be worked off; `None` while nothing did.
    due: Option<Instant>,
    generation: bool,
}

/// Nobody listens any more.
struct Done;

impl Task {
    fn new(netlink: Netlink, events: mpsc::UnboundedSender<Event>) -> Self {
        Task {
            netlink,
            events,
            world: World::default(),
            watched: BTreeMap::new(),
            kept: HashSet::new(),
            due: None,
            generation: false,
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>) {
        while let Err(error) = self.follow(&mut orders).await {
            tracing::warn!(%error, "lost sight of routes and neighbours; trying again");
            self.reopen().await;
        }
    }

    /// Follows the kernel until nobody listens (`Ok`) or it cannot be asked any more.
    async fn follow(&mut self, orders: &mut mpsc::UnboundedReceiver<Command>) -> Result<(), EgressError> {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due;
            tokio::select! {
                // News first: what is decided should rest on all that has been told.
                biased;
                news = self.netlink.news() => match news {
                    News::Message(message) => {
                        if let Err(Done) = self.learn(&message) {
                            return Ok(());
                        }
                        // In a flood of news the timer below would not get its turn.
                        if self.due.is_some_and(|due| due <= Instant::now()) {
                            self.settle().await?;
                        }
                    }
                    News::Overrun => {
                        tracing::info!("the kernel told more at once than was read; reading all anew");
                        self.resync().await?;
                    }
                    News::End => return Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()),
                },
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await?,
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.settle().await?,
                _ = refresh.tick() => {
                    self.ask_routes_again();
                    self.settle().await?;
                }
            }
            if self.events.is_closed() {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), EgressError> {
        match command {
            Command::Watch(destination) => {
                let watched = self.watched.entry(destination).or_default();
                watched.users += 1;
                watched.route = None;
                watched.told = None;
                self.settle_one(destination).await?;
            }
            Command::Unwatch(destination) => {
                if let Some(watched) = self.watched.get_mut(&destination) {
                    watched.users -= 1;
                    if watched.users == 0 {
                        self.watched.remove(&destination);
                        // Its neighbour need not be kept any more; that has time.
                        self.due.get_or_insert_with(|| Instant::now() + SETTLE);
                    }
                }
            }
            Command::Find(destination, answer) => {
                let route = self.netlink.route(destination).await?;
                let _asker_has_gone = answer.send(path::decide(&route, &self.world));
            }
        }
        Ok(())
    }

    fn learn(&mut self, message: &RouteNetlinkMessage) -> Result<(), Done> {
        let effect = self.world.apply(message);
        if effect.routes {
            self.ask_routes_again();
        }
        self.generation |= effect.generation;
        if effect.routes || effect.paths || effect.generation {
            self.due.get_or_insert_with(|| Instant::now() + SETTLE);
        }
        match effect.interface {
            Some(event) => self.tell_interface(event),
            None => Ok(()),
        }
    }

    fn ask_routes_again(&mut self) {
        for watched in self.watched.values_mut() {
            watched.route = None;
        }
    }

    /// Reads everything from the kernel, as if all had changed.
    async fn resync(&mut self) -> Result<(), EgressError> {
        let now = self.netlink.world().await?;
        for event in self.world.replace(now) {
            // That nobody listens is noticed by the caller's loop.
            let _ = self.tell_interface(event);
        }
        self.ask_routes_again();
        self.generation = true;
        self.due = Some(Instant::now());
        Ok(())
    }

    async fn reopen(&mut self) {
        loop {
            sleep(REOPEN).await;
            if self.events.is_closed() {
                return;
            }
            let opened = Netlink::open().map_err(EgressError::from);
            let failure = match opened {
                Ok(netlink) => {
                    self.netlink = netlink;
                    self.resync().await
                }
                Err(error) => Err(error),
            };
            match failure {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "still cannot follow routes and neighbours"),
            }
        }
    }

    /// Works off what changed: asks for routes, has neighbours resolved, tells paths.
    async fn settle(&mut self) -> Result<(), EgressError> {
        self.due = None;
        for (destination, watched) in &mut self.watched {
            if watched.route.is_none() {
                watched.route = Some(self.netlink.route(*destination).await?);
            }
        }
        self.keep_neighbours().await;
        for (destination, watched) in &mut self.watched {
            let Some(route) = &watched.route else { continue };
            let path = path::decide(route, &self.world);
            if watched.told.as_ref() != Some(&path) {
                self.generation |= matches!(watched.told, Some(Path::Via(_)));
                watched.told = Some(path.clone());
                let _ = self.events.send(Event::Path { destination: *destination, path });
            }
        }
        if std::mem::take(&mut self.generation) {
            let _ = self.events.send(Event::Generation);
        }
        Ok(())
    }

    /// Does the same for one address that is new, whose way changes nothing for the others.
    async fn settle_one(&mut self, destination: IpAddr) -> Result<(), EgressError> {
        let route = self.netlink.route(destination).await?;
        if let Some(hop) = path::hop_of(&route, &self.world)
            && self.kept.insert(hop)
        {
            self.keep(&hop).await;
        }
        let path = path::decide(&route, &self.world);
        if let Some(watched) = self.watched.get_mut(&destination) {
            watched.route = Some(route);
            watched.told = Some(path.clone());
        }
        let _ = self.events.send(Event::Path { destination, path });
        Ok(())
    }

    async fn keep_neighbours(&mut self) {
        let routes = self.watched.values().filter_map(|watched| watched.route.as_ref());
        let wanted: HashSet<Hop> = routes.filter_map(|route| path::hop_of(route, &self.world)).collect();
        for hop in self.kept.difference(&wanted) {
            // One that the operator has made static meanwhile, or that went with its interface, is not ours.
            if self.world.upkeep(hop) == Some(Upkeep::Kernel) {
                self.netlink.release(*hop).await;
            }
        }
        for hop in &wanted {
            self.keep(hop).await;
        }
        self.kept = wanted;
    }

    async fn keep(&mut self, hop: &Hop) {
        match self.world.upkeep(hop) {
            None => self.netlink.keep(*hop, false).await,
            Some(Upkeep::Traffic) => self.netlink.keep(*hop, true).await,
            Some(Upkeep::Kernel | Upkeep::Fixed) => {}
        }
    }

    fn tell_interface(&mut self, event: InterfaceEvent) -> Result<(), Done> {
        self.events.send(Event::Interface(event)).map_err(|_| Done)
    }
}
