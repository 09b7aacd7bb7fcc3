//! The director's loop: commands, routes and neighbours, interfaces, time.

use crate::config::Config;
use crate::connections::Sweeper;
use crate::dataplane::{self, Attached, Attachments, DataPlane, Mode};
use crate::defence;
use crate::egress::{self, EgressTracker, Event, Interface, InterfaceEvent, Medium};
use crate::error::DirectorError;
use crate::estimator;
use crate::events;
use crate::explain::{self, Arrival, Interfaces};
use crate::local_out::{self, LocalOut};
use crate::proc;
use crate::registry::{Registry, Watch, localities};
use crate::settings;
use crate::sync::Synchronisation;
use crate::tables::Tables;
use crate::totals::Totals;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::SchedClassifier;
use rlvs_ipvs::{Errno, Fact, Probe, Reply, Request, SOCKET_NAME, Server, ServerConfig, Setting};
use rlvs_switch::order;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

/// Time in which both connection tables are swept once: an expired connection is gone that much later at most.
const SWEEP: Duration = Duration::from_secs(2);

/// How long a command that adds a destination waits for the way to it: an ARP or ND exchange on a local network.
const SETTLE: Duration = Duration::from_millis(30);

/// Runs the director of this network namespace until it is told to end; the data plane goes on without it.
pub async fn run(config: &Config) -> Result<(), DirectorError> {
    // First, for only one director may touch the data plane.
    let mut server = Server::bind(ServerConfig { name: SOCKET_NAME.into(), readers: config.readers() })?;
    let mut director = Director::start(config).await?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut sweep = interval(SWEEP / Sweeper::PARTS as u32);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut estimate = interval(Duration::from_secs(estimator::INTERVAL));
    let mut defend = interval(Duration::from_secs(1));
    let (_mounted, mut asks) = mount_proc(&config.proc.mount, &director.tables);
    let mut forget = interval(localities::INTERVAL);
    director.announce();
    loop {
        tokio::select! {
            Some(ask) = asks.recv() => {
                let answer = director.handle(ask.request);
                let _reader_has_left = ask.answer.send(answer);
            }
            call = server.next() => match call {
                Some(call) => {
                    let answer = match &call.request {
                        Request::Explain(probe) => director.explain(probe).await,
                        request => director.handle(request.clone()),
                    };
                    director.settle().await;
                    call.answer(answer);
                }
                None => return Err(DirectorError::System {
                    action: "serve the control socket",
                    reason: std::io::ErrorKind::ConnectionAborted.into(),
                }),
            },
            event = director.events.recv() => match event {
                Some(event) => director.follow(event),
                None => return Err(DirectorError::System {
                    action: "follow routes and neighbours",
                    reason: std::io::ErrorKind::ConnectionAborted.into(),
                }),
            },
            event = director.sync.next() => {
                director.sync.handle(event, &director.registry, &director.tracker);
            }
            _ = sweep.tick() => {
                director.sweeper.sweep(&director.tables);
            }
            _ = defend.tick() => defence::every_second(&director.tables),
            _ = estimate.tick() => {
                director.estimate();
                if let Some(local_out) = &director.local_out {
                    local_out.keep_settings();
                }
                director.registry.empty_trash();
                // Those whose interface was not there.
                let _told = director.sync.follow(&director.registry.daemons());
            }
            _ = forget.tick() => director.registry.forget_unwanted(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("the director's process ends; the switch stays attached (`rlvs detach` takes it off)");
    Ok(())
}

/// Mounts IPVS's files of `/proc`; a director that cannot says so and goes on.
fn mount_proc(path: &Path, tables: &Arc<Tables>) -> (Option<proc::Mounted>, UnboundedReceiver<proc::Ask>) {
    let nobody_asks = || (None, tokio::sync::mpsc::unbounded_channel().1);
    if path.as_os_str().is_empty() {
        return nobody_asks();
    }
    match proc::mount(path, Arc::clone(tables)) {
        Ok((mounted, asks)) => {
            tracing::info!("IPVS's files of /proc are at {}", path.display());
            (Some(mounted), asks)
        }
        Err(error) => {
            tracing::warn!("{error}");
            nobody_asks()
        }
    }
}

/// A veth whose other end does not take frames from XDP works by generic XDP only, which has the kernel send them as
/// its own, with the checksums that their sender left to be finished.
fn mode_for(interface: &Interface) -> Mode {
    if interface.kind.as_deref() != Some("veth") || dataplane::can_send(interface.index) {
        return Mode::Native;
    }
    tracing::info!(
        "{}: the other end of this veth takes no frames from native XDP (for that, there: `ethtool -K IF gro on tx off`)",
        interface.name
    );
    Mode::Generic
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DirectorError> {
    signal(kind).map_err(|source| DirectorError::System { action: "wait for signals", reason: source })
}

/// Takes the data plane of this network namespace away: the switch off all interfaces, and all that it knows. False if
/// there was none.
pub async fn detach() -> Result<bool, DirectorError> {
    let pair = local_out::remove().await?;
    Ok(dataplane::detach()? || pair)
}

struct Director {
    tables: Arc<Tables>,
    registry: Registry,
    totals: Totals,
    events_counted: PerCpuArray<MapData, u64>,
    samples: RingBuf<MapData>,
    attachments: Attachments,
    /// The way of the director's own packets into the switch, if they have one.
    local_out: Option<LocalOut>,
    sweeper: Sweeper,
    tracker: EgressTracker,
    events: UnboundedReceiver<Event>,
    sync: Synchronisation,
    /// Interfaces to attach to; none: all that qualify.
    wanted: Vec<String>,
    interfaces: BTreeMap<u32, Interface>,
    adopted: bool,
    /// Addresses of destinations whose way is not known yet.
    unsettled: BTreeSet<IpAddr>,
}

impl Director {
    async fn start(config: &Config) -> Result<Director, DirectorError> {
        let (tracker, mut events) = EgressTracker::spawn().await?;
        let interfaces = first_interfaces(&mut events, &config.interfaces)?;
        let plane = DataPlane::open(config)?;
        let adopted = plane.adopted;
        match Self::take_up(config, plane, tracker, events, interfaces).await {
            Err(error) if !adopted => {
                // What was not there before is not left behind.
                if let Err(error) = detach().await {
                    tracing::warn!("{error}");
                }
                Err(error)
            }
            result => result,
        }
    }

    async fn take_up(
        config: &Config,
        mut plane: DataPlane,
        tracker: EgressTracker,
        events: UnboundedReceiver<Event>,
        interfaces: Vec<Interface>,
    ) -> Result<Director, DirectorError> {
        let tables = Arc::new(plane.tables);
        warn_of_other_sizes(&tables, config);
        if !plane.adopted {
            for (name, value) in &config.sysctl {
                // Checked when the file was read.
                let _accepted = settings::write(tables.settings(), name, &value.to_string());
            }
        }
        tokio::spawn(async {
            if let Err(error) = plane.early_fragments.run().await {
                tracing::warn!("fragments that come before the first of their packet are lost: {error}");
            }
        });
        tokio::spawn(async {
            if let Err(error) = plane.large_packets.run().await {
                tracing::warn!("packets that would have to leave in fragments are lost: {error}");
            }
        });
        let mut registry = Registry::new(Arc::clone(&tables), plane.service_index);
        registry.set_interfaces(interfaces.iter().map(|i| (i.name.clone(), i.index)).collect());
        registry.configure_marks(&config.marks);
        let local_out = if config.local {
            open_local_out(plane.local_out, &mut plane.attachments, &tables).await
        } else {
            local_out::remove().await?;
            None
        };
        let totals = Totals::new(&tables);
        let mut sync = Synchronisation::new(Arc::clone(&tables), plane.importer, plane.changes);
        // A daemon that does not start, which is told, is tried again.
        let _told = sync.follow(&registry.daemons());
        let mut director = Director {
            tables,
            registry,
            totals,
            events_counted: plane.events,
            samples: plane.samples,
            attachments: plane.attachments,
            local_out,
            sweeper: Sweeper::default(),
            tracker,
            events,
            sync,
            wanted: config.interfaces.clone(),
            interfaces: BTreeMap::new(),
            adopted: plane.adopted,
            unsettled: BTreeSet::new(),
        };
        if plane.adopted {
            let programs = if plane.same_programs { "the same programs" } else { "new programs" };
            let (services, destinations) = director.registry.size();
            tracing::info!(
                "adopted the data plane with {programs}, {services} services, {destinations} destinations"
            );
        }
        director.attach_at_start(interfaces)?;
        director.follow_local_out();
        director.tell_tracker();
        Ok(director)
    }

    /// Attaches to the interfaces that there are, and takes the switch off others that it was attached to.
    fn attach_at_start(&mut self, first: Vec<Interface>) -> Result<(), DirectorError> {
        let unwanted: Vec<u32> = self
            .attachments
            .all()
            .map(|(index, _)| index)
            .filter(|index| !self.local_out.as_ref().is_some_and(|local| local.receives_by(*index)))
            .filter(|index| !first.iter().any(|i| i.index == *index && self.is_wanted(i)))
            .collect();
        for index in unwanted {
            self.attachments.detach(index);
        }
        for interface in first {
            let asked_for = self.wanted.contains(&interface.name);
            if let Err(error) = self.appeared(interface)
                && asked_for
            {
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_wanted(&self, interface: &Interface) -> bool {
        if !self.wanted.is_empty() {
            return self.wanted.contains(&interface.name);
        }
        // Frames of these are seen on the device below them, or on their ports.
        let above =
            matches!(interface.kind.as_deref(), Some("vlan" | "macvlan" | "macvtap" | "bridge" | "bond"));
        interface.medium == Medium::Ethernet && !above && !local_out::is_ours(interface)
    }

    fn appeared(&mut self, interface: Interface) -> Result<(), DirectorError> {
        let result = if self.is_wanted(&interface) {
            self.attachments.attach(interface.index, mode_for(&interface)).map(|attached| {
                let name = &interface.name;
                match attached {
                    Attached::Now(mode) => tracing::info!("attached to {name} ({mode} XDP)"),
                    Attached::Already(mode) => tracing::info!("still attached to {name} ({mode} XDP)"),
                }
            })
        } else {
            Ok(())
        };
        if let Err(error) = &result {
            tracing::warn!("interface {}: {error}", interface.name);
        }
        self.interfaces.insert(interface.index, interface);
        self.tell_interfaces();
        result
    }

    /// Rules name interfaces, packets know their indices.
    fn tell_interfaces(&mut self) {
        let by_name = self.interfaces.values().map(|interface| (interface.name.clone(), interface.index));
        self.registry.set_interfaces(by_name.collect());
    }

    /// Has the director's own packets looked at where the switch is attached, while there are services.
    fn follow_local_out(&mut self) {
        let Some(local_out) = &mut self.local_out else { return };
        let attached = self.attachments.all().filter_map(|(index, _)| self.interfaces.get(&index));
        local_out.follow(attached, self.registry.size().0 > 0);
    }

    fn follow(&mut self, event: Event) {
        if let (Event::Interface(event), Some(local_out)) = (&event, &mut self.local_out) {
            local_out.notice(event);
        }
        match event {
            Event::Path { destination, path } => {
                tracing::debug!("{destination}: {path:?}");
                self.registry.set_path(destination, &path);
                if path != egress::Path::Unresolved {
                    self.unsettled.remove(&destination);
                }
            }
            Event::Generation => {
                let generation = &self.tables.settings().generation;
                generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
            Event::Interface(InterfaceEvent::Appeared(interface)) => {
                let _told = self.appeared(interface);
                self.follow_local_out();
            }
            Event::Interface(InterfaceEvent::Changed(interface)) => {
                self.interfaces.insert(interface.index, interface);
                self.tell_interfaces();
            }
            Event::Interface(InterfaceEvent::Gone(interface)) => {
                tracing::info!("interface {} is gone", interface.name);
                self.attachments.detach(interface.index);
                self.interfaces.remove(&interface.index);
                self.tell_interfaces();
            }
        }
    }

    fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
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
                let reply = self.registry.handle(request);
                let _of_the_other_one = self.sync.follow(&self.registry.daemons());
                reply
            }
            request => {
                if request == Request::Zero(None) {
                    self.totals.zero(&self.tables);
                }
                let reply = self.registry.handle(request);
                self.follow_local_out();
                self.tell_tracker();
                reply
            }
        }
    }

    async fn explain(&self, probe: &Probe) -> Result<Reply, Errno> {
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

    /// An interface's name; its index if it is not followed.
    fn name_of(&self, index: u32) -> String {
        self.interfaces.get(&index).map_or_else(|| index.to_string(), |interface| interface.name.clone())
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

    /// Renews the rates, unless `run_estimation` says that they are to stay.
    fn estimate(&mut self) {
        if self.tables.settings().director.run_estimation.load(order::PLAIN) != 0 {
            self.registry.estimate();
            self.totals.estimate(&self.tables);
        }
    }

    /// An interface's MTU; the usual one for those that are not followed, loopback for example.
    fn mtu_of(&self, name: &str) -> Option<u32> {
        let followed = self.interfaces.values().find(|interface| interface.name == name);
        followed.map(|interface| interface.mtu).or_else(|| interface_exists(name).then_some(1500))
    }

    fn tell_tracker(&mut self) {
        for change in self.registry.take_changes() {
            match change {
                Watch::Begin(address) => {
                    self.unsettled.insert(address);
                    self.tracker.watch(address);
                }
                Watch::End(address) => {
                    self.unsettled.remove(&address);
                    self.tracker.unwatch(address);
                }
            }
        }
    }

    /// Waits a moment for the way to destinations just added, so that whoever added one can send to it. A server that
    /// does not answer delays the command by that moment, no more.
    async fn settle(&mut self) {
        let patience = tokio::time::sleep(SETTLE);
        tokio::pin!(patience);
        while !self.unsettled.is_empty() {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.follow(event),
                    None => break,
                },
                () = &mut patience => break,
            }
        }
        self.unsettled.clear();
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

    fn announce(&self) {
        let names: Vec<String> = self
            .attachments
            .all()
            .filter_map(|(index, mode)| Some(format!("{} ({mode})", self.interfaces.get(&index)?.name)))
            .collect();
        tracing::info!("ready: control socket @{SOCKET_NAME}, attached to {}", names.join(", "));
    }
}

/// Opens the way of the director's own packets into the switch; a director that cannot says so and goes on.
async fn open_local_out(
    program: SchedClassifier,
    attachments: &mut Attachments,
    tables: &Arc<Tables>,
) -> Option<LocalOut> {
    let opened = LocalOut::open(program, attachments, Arc::clone(tables)).await;
    opened.inspect_err(|error| tracing::warn!("what the director itself sends is not switched: {error}")).ok()
}

fn interface_exists(name: &str) -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    socket.is_ok_and(|socket| rustix::net::netdevice::name_to_index(socket, name).is_ok())
}

/// The interfaces that there are; those asked for must be among them.
fn first_interfaces(
    events: &mut UnboundedReceiver<Event>,
    wanted: &[String],
) -> Result<Vec<Interface>, DirectorError> {
    let mut first = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Interface(InterfaceEvent::Appeared(interface)) = event {
            first.push(interface);
        }
    }
    match wanted.iter().find(|name| !first.iter().any(|interface| interface.name == **name)) {
        Some(name) => Err(DirectorError::NoInterface { name: name.clone() }),
        None => Ok(first),
    }
}

/// Tables keep the sizes that they were made with.
fn warn_of_other_sizes(tables: &Tables, config: &Config) {
    let ways = rlvs_switch::table::WAYS as u32;
    for (name, is, asked) in [
        ("connections", (tables.settings().mask4.load(order::PLAIN) + 1) * ways, config.tables.connections),
        ("connections6", (tables.settings().mask6.load(order::PLAIN) + 1) * ways, config.tables.connections6),
        ("services", tables.services.all().len() as u32, config.tables.services),
        ("destinations", tables.destinations.all().len() as u32, config.tables.destinations),
    ] {
        if is != asked {
            tracing::warn!("tables.{name} stays {is}, not {asked}, until `rlvs detach` and a new start");
        }
    }
}
