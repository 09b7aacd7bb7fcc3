//! Asks a director: rlvs's own or the kernel's IPVS.

mod error;
mod exchange;
mod marks;

use std::time::Duration;

use rustix::io::Errno;

use crate::message::{FamilyName, Item, Request};
use crate::model::*;
use crate::socket::Channel;

pub use error::ClientError;
use exchange::Exchange;

/// Which director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// rlvs, over its Unix socket.
    Rlvs,
    /// The kernel's IPVS, over AF_NETLINK.
    Kernel,
}

/// A connection to a director. Requests are made one at a time.
#[derive(Debug)]
pub struct Client {
    backend: Backend,
    exchange: Exchange,
    /// Numbers of the families; the kernel has no second one.
    ipvs: u16,
    rlvs: Option<u16>,
}

impl Client {
    /// Connects to the director of this network namespace: the one that the environment variable RLVS_BACKEND names
    /// (`rlvs` or `kernel`), else rlvs if it runs, else the kernel's IPVS, whose module is loaded if need be.
    ///
    /// # Errors
    /// [`ClientError::NoDirector`] if there is none; [`ClientError::UnknownBackend`] for another word in RLVS_BACKEND.
    pub async fn connect() -> Result<Self, ClientError> {
        match std::env::var("RLVS_BACKEND").as_deref() {
            Ok("rlvs") => Self::connect_rlvs(crate::SOCKET_NAME).await,
            Ok("kernel") => Self::connect_kernel_with_module().await,
            Ok("") | Err(_) => match Self::connect_rlvs(crate::SOCKET_NAME).await {
                Err(ClientError::NotRunning { .. } | ClientError::Untrusted { .. }) => {
                    Self::connect_kernel_with_module().await
                }
                result => result,
            },
            Ok(word) => Err(ClientError::UnknownBackend(word.into())),
        }
    }

    /// Connects to the rlvs director on an abstract socket, normally [`crate::SOCKET_NAME`].
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] if nobody listens, [`ClientError::Untrusted`] if whoever does is neither
    /// privileged nor the same user: anybody may take an abstract name that is free.
    pub async fn connect_rlvs(name: &str) -> Result<Self, ClientError> {
        let channel = connect_patiently(name).await?;
        let server = channel.peer().map_err(ClientError::Io)?;
        let own_uid = rustix::process::geteuid().as_raw();
        if server.uid() != own_uid && !crate::server::is_administrator(&server) {
            return Err(ClientError::Untrusted { name: name.into(), uid: server.uid() });
        }
        let mut exchange = Exchange::new(channel);
        let ipvs = exchange.resolve(FamilyName::Ipvs).await?;
        let rlvs = exchange.resolve(FamilyName::Rlvs).await?;
        Ok(Self { backend: Backend::Rlvs, exchange, ipvs, rlvs: Some(rlvs) })
    }

    /// Connects to the kernel's IPVS as it is.
    ///
    /// # Errors
    /// [`ClientError::NoDirector`] if the kernel has none, or its module is not loaded.
    pub async fn connect_kernel() -> Result<Self, ClientError> {
        let mut exchange = Exchange::new(Channel::open_netlink().map_err(ClientError::Io)?);
        match exchange.resolve(FamilyName::Ipvs).await {
            Ok(ipvs) => Ok(Self { backend: Backend::Kernel, exchange, ipvs, rlvs: None }),
            Err(ClientError::Refused(Errno::NOENT)) => Err(ClientError::NoDirector),
            Err(error) => Err(error),
        }
    }

    async fn connect_kernel_with_module() -> Result<Self, ClientError> {
        match Self::connect_kernel().await {
            Err(ClientError::NoDirector) => {
                load_module().await;
                Self::connect_kernel().await
            }
            result => result,
        }
    }

    /// Which director this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Adds a service.
    pub async fn new_service(&mut self, service: Service) -> Result<(), ClientError> {
        self.change(Request::NewService(service)).await
    }

    /// Edits a service: all of it is replaced.
    pub async fn set_service(&mut self, service: Service) -> Result<(), ClientError> {
        self.change(Request::SetService(service)).await
    }

    /// Deletes a service and its destinations.
    pub async fn delete_service(&mut self, id: ServiceId) -> Result<(), ClientError> {
        self.change(Request::DeleteService(id)).await
    }

    /// One service.
    pub async fn service(&mut self, id: ServiceId) -> Result<ServiceEntry, ClientError> {
        self.one(Request::GetService(id), |item| match item {
            Item::Service(entry) => Some(entry),
            _ => None,
        })
        .await
    }

    /// All services, in the director's order.
    pub async fn services(&mut self) -> Result<Vec<ServiceEntry>, ClientError> {
        self.all(Request::ListServices, |item| match item {
            Item::Service(entry) => Some(entry),
            _ => None,
        })
        .await
    }

    /// Adds a destination.
    pub async fn new_destination(&mut self, service: ServiceId, new: Destination) -> Result<(), ClientError> {
        self.change(Request::NewDestination(service, Ok(new))).await
    }

    /// Edits a destination: all of it is replaced.
    pub async fn set_destination(&mut self, service: ServiceId, new: Destination) -> Result<(), ClientError> {
        self.change(Request::SetDestination(service, Ok(new))).await
    }

    /// Deletes a destination.
    pub async fn delete_destination(
        &mut self,
        service: ServiceId,
        id: DestinationId,
    ) -> Result<(), ClientError> {
        self.change(Request::DeleteDestination(service, Ok(id))).await
    }

    /// Deletes a destination, and ends its connections.
    ///
    /// # Errors
    /// [`ClientError::NotOnKernel`]: the kernel's IPVS leaves connections alone. [`Errno::OPNOTSUPP`] from a director of an
    /// earlier version.
    pub async fn end_destination(
        &mut self,
        service: ServiceId,
        id: DestinationId,
        ending: Ending,
    ) -> Result<(), ClientError> {
        self.change(Request::EndDestination(service, id, ending)).await
    }

    /// The destinations of a service, in the director's order; none if there is no such service.
    pub async fn destinations(&mut self, service: ServiceId) -> Result<Vec<DestinationEntry>, ClientError> {
        self.all(Request::ListDestinations(service), |item| match item {
            Item::Destination(entry) => Some(entry),
            _ => None,
        })
        .await
    }

    /// Starts a sync daemon.
    pub async fn start_daemon(&mut self, daemon: Daemon) -> Result<(), ClientError> {
        self.change(Request::NewDaemon(daemon)).await
    }

    /// Stops a sync daemon.
    pub async fn stop_daemon(&mut self, role: DaemonRole) -> Result<(), ClientError> {
        self.change(Request::DeleteDaemon(role)).await
    }

    /// The sync daemons that run.
    pub async fn daemons(&mut self) -> Result<Vec<Daemon>, ClientError> {
        self.all(Request::ListDaemons, |item| match item {
            Item::Daemon(daemon) => Some(daemon),
            _ => None,
        })
        .await
    }

    /// Changes timeouts; 0 leaves one as it is.
    pub async fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), ClientError> {
        self.change(Request::SetTimeouts(timeouts)).await
    }

    /// The timeouts.
    pub async fn timeouts(&mut self) -> Result<Timeouts, ClientError> {
        self.one(Request::GetTimeouts, |item| match item {
            Item::Timeouts(timeouts) => Some(timeouts),
            _ => None,
        })
        .await
    }

    /// Version and table size.
    pub async fn info(&mut self) -> Result<Info, ClientError> {
        self.one(Request::GetInfo, |item| match item {
            Item::Info(info) => Some(info),
            _ => None,
        })
        .await
    }

    /// Zeroes the counters of a service, or all.
    pub async fn zero(&mut self, service: Option<ServiceId>) -> Result<(), ClientError> {
        self.change(Request::Zero(service)).await
    }

    /// Deletes all services.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.change(Request::Flush).await
    }

    /// Shows all entries of the connection table to `each`, batch by batch as they come.
    ///
    /// # Errors
    /// [`ClientError::NotOnKernel`] with the kernel's IPVS, which lists them in /proc/net/ip_vs_conn.
    pub async fn connections(&mut self, mut each: impl FnMut(Connection)) -> Result<(), ClientError> {
        self.ask(Request::ListConnections, |item| {
            if let Item::Connections(batch) = item {
                batch.into_iter().for_each(&mut each);
            }
        })
        .await
    }

    /// Facts about the rlvs director.
    ///
    /// # Errors
    /// [`ClientError::NotOnKernel`] with the kernel's IPVS.
    pub async fn facts(&mut self) -> Result<Vec<Fact>, ClientError> {
        self.all(Request::GetFacts, |item| match item {
            Item::Fact(fact) => Some(fact),
            _ => None,
        })
        .await
    }

    /// All of IPVS's sysctls that the rlvs director has.
    ///
    /// # Errors
    /// [`ClientError::NotOnKernel`] with the kernel's IPVS, which has them below /proc/sys/net/ipv4/vs.
    pub async fn settings(&mut self) -> Result<Vec<Setting>, ClientError> {
        self.all(Request::ListSettings, setting).await
    }

    /// One of them: ENOENT if there is none such.
    pub async fn setting(&mut self, name: &str) -> Result<Setting, ClientError> {
        self.one(Request::GetSetting(name.into()), setting).await
    }

    /// Changes one of them: ENOENT, or EINVAL if it does not take the value.
    pub async fn set_setting(&mut self, setting: Setting) -> Result<(), ClientError> {
        self.change(Request::SetSetting(setting)).await
    }

    /// What happened to packets other than being switched.
    pub async fn events(&mut self) -> Result<Vec<EventCount>, ClientError> {
        self.all(Request::ListEvents, |item| match item {
            Item::Event(event) => Some(event),
            _ => None,
        })
        .await
    }

    /// Packets that were dropped since the last call, on whatever client; some of them if there were many. Nothing is
    /// copied for nobody: those before the first call were not.
    pub async fn take_samples(&mut self) -> Result<Vec<Sample>, ClientError> {
        self.all(Request::TakeSamples, |item| match item {
            Item::Sample(sample) => Some(sample),
            _ => None,
        })
        .await
    }

    /// What the rlvs director would do with a packet, and why: ENODEV if it knows no such interface.
    pub async fn explain(&mut self, probe: Probe) -> Result<Vec<Finding>, ClientError> {
        self.all(Request::Explain(probe), |item| match item {
            Item::Finding(finding) => Some(finding),
            _ => None,
        })
        .await
    }

    /// Statistics of all services together.
    pub async fn totals(&mut self) -> Result<Totals, ClientError> {
        self.one(Request::GetTotals, |item| match item {
            Item::Totals(totals) => Some(totals),
            _ => None,
        })
        .await
    }

    /// Makes these requests in this order, each whatever became of those before, and gives the director's answers, without what they
    /// list. Many requests travel together, so this is faster than to make one after the other.
    ///
    /// # Errors
    /// When the director is gone or answers nonsense: it may have carried out some of them.
    pub async fn make(&mut self, requests: &[Request]) -> Result<Vec<Result<(), Errno>>, ClientError> {
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            all.push((self.family_of(request)?, request));
        }
        self.exchange.ask_all(&all).await
    }

    async fn change(&mut self, request: Request) -> Result<(), ClientError> {
        self.ask(request, |_| ()).await
    }

    async fn one<T>(&mut self, request: Request, pick: impl Fn(Item) -> Option<T>) -> Result<T, ClientError> {
        self.all(request, pick).await?.pop().ok_or(ClientError::Malformed)
    }

    async fn all<T>(
        &mut self,
        request: Request,
        pick: impl Fn(Item) -> Option<T>,
    ) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        self.ask(request, |item| all.extend(pick(item))).await?;
        Ok(all)
    }

    async fn ask(&mut self, request: Request, each: impl FnMut(Item)) -> Result<(), ClientError> {
        let family = self.family_of(&request)?;
        self.exchange.ask(family, &request, each).await
    }

    /// The number of the family that a request belongs to.
    fn family_of(&self, request: &Request) -> Result<u16, ClientError> {
        match request.family() {
            FamilyName::Ipvs => Ok(self.ipvs),
            FamilyName::Rlvs => self.rlvs.ok_or(ClientError::NotOnKernel),
        }
    }
}

fn setting(item: Item) -> Option<Setting> {
    match item {
        Item::Setting(setting) => Some(setting),
        _ => None,
    }
}

/// Connects, with some patience while the director's backlog is full.
async fn connect_patiently(name: &str) -> Result<Channel, ClientError> {
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut attempt = 0;
    loop {
        attempt += 1;
        return match Channel::connect_abstract(name) {
            Ok(channel) => Ok(channel),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(ClientError::NotRunning { name: name.into() })
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(e) => Err(ClientError::Io(e)),
        };
    }
}

/// Asks for the kernel's module. Its own complaint, if any, goes to standard error; whether it helped shows
/// when the family is asked for again.
async fn load_module() {
    let program = "/sbin/modprobe";
    let _shows_later = tokio::task::spawn_blocking(move || {
        std::process::Command::new(program).args(["--", "ip_vs"]).stdin(std::process::Stdio::null()).status()
    })
    .await;
}
