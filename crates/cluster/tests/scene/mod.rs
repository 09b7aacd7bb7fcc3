//! A running cluster with a director that only remembers, and real servers on loopback.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]
#![allow(dead_code, unreachable_pub, reason = "each of the tests that share this uses a part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rlvs_cluster::director::Place;
use rlvs_cluster::{ClusterError, Order};
use rlvs_ipvs::{
    Destination, DestinationEntry, Ending, Errno, Reply, Request, Server, ServerConfig, Service,
    ServiceEntry, ServiceId, Stats,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const LIMIT: Duration = Duration::from_secs(20);

/// Services with destinations, and how many requests have changed something.
#[derive(Default)]
pub struct Table {
    pub services: BTreeMap<ServiceId, (Service, Vec<Destination>)>,
    pub changes: u32,
    /// The active connections of each destination.
    pub connections: u32,
    /// Destinations that were deleted with their connections; `None`: this director cannot.
    pub ended: Option<Vec<(Destination, Ending)>>,
}

impl Table {
    pub fn answer(&mut self, request: Request) -> Result<Reply, Errno> {
        let reads = matches!(request, Request::ListServices | Request::ListDestinations(_));
        self.changes += u32::from(!reads);
        match request {
            Request::ListServices => {
                let entry = |(service, _): &(Service, _)| ServiceEntry {
                    service: service.clone(),
                    stats: Stats::default(),
                };
                Ok(Reply::Services(self.services.values().map(entry).collect()))
            }
            Request::ListDestinations(id) => {
                let (_, destinations) = self.services.get(&id).ok_or(Errno::SRCH)?;
                let entry = |destination: &Destination| DestinationEntry {
                    destination: destination.clone(),
                    active: self.connections,
                    inactive: 0,
                    persistent: 0,
                    stats: Stats::default(),
                };
                Ok(Reply::Destinations(destinations.iter().map(entry).collect()))
            }
            // As for a scheduler that there is none of.
            Request::NewService(service) if service.scheduler == "zork" => Err(Errno::NOENT),
            Request::NewService(service) => {
                self.services.insert(service.id, (service, Vec::new()));
                Ok(Reply::Done)
            }
            Request::SetService(service) => {
                let (old, _) = self.services.get_mut(&service.id).ok_or(Errno::SRCH)?;
                *old = service;
                Ok(Reply::Done)
            }
            Request::DeleteService(id) => self.services.remove(&id).map(|_| Reply::Done).ok_or(Errno::SRCH),
            Request::NewDestination(id, new) => {
                self.services.get_mut(&id).ok_or(Errno::SRCH)?.1.push(new?);
                Ok(Reply::Done)
            }
            Request::SetDestination(id, new) => {
                let (new, (_, all)) = (new?, self.services.get_mut(&id).ok_or(Errno::SRCH)?);
                let old = all.iter_mut().find(|old| old.id == new.id).ok_or(Errno::NOENT)?;
                *old = new;
                Ok(Reply::Done)
            }
            Request::DeleteDestination(id, old) => {
                let (old, (_, all)) = (old?, self.services.get_mut(&id).ok_or(Errno::SRCH)?);
                let at = all.iter().position(|have| have.id == old).ok_or(Errno::NOENT)?;
                all.remove(at);
                Ok(Reply::Done)
            }
            Request::EndDestination(id, old, ending) => {
                let (_, all) = self.services.get_mut(&id).ok_or(Errno::SRCH)?;
                let ended = self.ended.as_mut().ok_or(Errno::OPNOTSUPP)?;
                let at = all.iter().position(|have| have.id == old).ok_or(Errno::NOENT)?;
                ended.push((all.remove(at), ending));
                Ok(Reply::Done)
            }
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}

/// A cluster at work.
pub struct Scene {
    pub name: String,
    pub file: PathBuf,
    pub table: Arc<Mutex<Table>>,
    pub orders: mpsc::Sender<Order>,
    pub cluster: Option<JoinHandle<Result<(), ClusterError>>>,
    pub director: JoinHandle<()>,
}

impl Scene {
    /// Starts a director, and a cluster by a file of this content.
    pub fn start(test: &str, content: &str) -> Self {
        let name = format!("rlvs-cluster-test/{}/{test}", std::process::id());
        let file = std::env::temp_dir().join(format!("rlvs-cluster-{}-{test}.toml", std::process::id()));
        std::fs::write(&file, content).unwrap();
        let table = Arc::default();
        let director = direct(&name, &table);
        let (orders, received) = mpsc::channel(1);
        let (path, place) = (file.clone(), Place::Socket(name.clone()));
        let cluster = tokio::spawn(async move { rlvs_cluster::run(&path, place, received).await });
        Self { name, file, table, orders, cluster: Some(cluster), director }
    }

    pub async fn reload(&self, content: &str) {
        std::fs::write(&self.file, content).unwrap();
        self.orders.send(Order::Reload).await.unwrap();
    }

    /// Servers and weights of all services: "TCP 192.0.2.1:80 wlc: 127.0.0.1:4711=1".
    pub fn shown(&self) -> Vec<String> {
        let table = self.table.lock().unwrap();
        let line = |(service, all): &(Service, Vec<Destination>)| {
            let servers: Vec<_> = all
                .iter()
                .map(|d| format!("{}={}", SocketAddr::new(d.id.address, d.id.port), d.weight))
                .collect();
            let id = rlvs_cluster::plan::service_name(&service.id);
            format!("{id} {}: {}", service.scheduler, servers.join(" "))
        };
        table.services.values().map(line).collect()
    }

    pub async fn wait_for(&self, expected: &[String]) {
        let start = Instant::now();
        while self.shown() != expected {
            assert!(start.elapsed() < LIMIT, "{:#?} is not {expected:#?}", self.shown());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn changes(&self) -> u32 {
        self.table.lock().unwrap().changes
    }

    pub async fn stop(mut self) {
        self.orders.send(Order::Stop).await.unwrap();
        let cluster = self.cluster.take().unwrap();
        tokio::time::timeout(LIMIT, cluster).await.unwrap().unwrap().unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.director.abort();
        let _ = std::fs::remove_file(&self.file);
    }
}

pub fn direct(name: &str, table: &Arc<Mutex<Table>>) -> JoinHandle<()> {
    let server = Server::bind(ServerConfig { name: name.into(), ..ServerConfig::default() }).unwrap();
    let table = Arc::clone(table);
    tokio::spawn(server.serve(move |request| table.lock().unwrap().answer(request)))
}

/// An address for a server: a test's own, and with a port that the kernel gives to nobody, so that it is free again
/// when a server has gone.
pub fn address(test: u8, server: u8) -> SocketAddr {
    let process = (std::process::id() % 128) as u8;
    SocketAddr::from(([127, 100 + process, test, server], 20_000))
}

/// A server that listens.
pub async fn listen(test: u8, server: u8) -> (TcpListener, SocketAddr) {
    let address = address(test, server);
    (TcpListener::bind(address).await.unwrap(), address)
}

pub const SERVICE: &str = "[[service]]\ntcp = \"192.0.2.1:80\"\n\
                       check = { type = \"tcp\", interval = \"50ms\", rise = 1, fall = 2 }\n";

pub fn with_servers(keys: &str, servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("{{ address = \"{server}\" }}")).collect();
    format!("{SERVICE}{keys}\nserver = [{}]\n", servers.join(", "))
}

pub fn line(servers: &[(SocketAddr, i32)]) -> String {
    let servers: Vec<_> = servers.iter().map(|(server, weight)| format!("{server}={weight}")).collect();
    format!("TCP 192.0.2.1:80 wlc: {}", servers.join(" "))
}
