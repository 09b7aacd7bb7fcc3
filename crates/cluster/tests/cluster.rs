//! A running cluster with a director that only remembers, and real servers on loopback.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rlvs_cluster::director::Place;
use rlvs_cluster::{ClusterError, Order};
use rlvs_ipvs::{
    Destination, DestinationEntry, Errno, Reply, Request, Server, ServerConfig, Service, ServiceEntry,
    ServiceId, Stats,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(20);

/// Services with destinations, and how many requests have changed something.
#[derive(Default)]
struct Table {
    services: BTreeMap<ServiceId, (Service, Vec<Destination>)>,
    changes: u32,
}

impl Table {
    fn answer(&mut self, request: Request) -> Result<Reply, Errno> {
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
                    active: 0,
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
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}

/// A cluster at work.
struct Scene {
    name: String,
    file: PathBuf,
    table: Arc<Mutex<Table>>,
    orders: mpsc::Sender<Order>,
    cluster: Option<JoinHandle<Result<(), ClusterError>>>,
    director: JoinHandle<()>,
}

impl Scene {
    /// Starts a director, and a cluster by a file of this content.
    fn start(test: &str, content: &str) -> Self {
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

    async fn reload(&self, content: &str) {
        std::fs::write(&self.file, content).unwrap();
        self.orders.send(Order::Reload).await.unwrap();
    }

    /// Servers and weights of all services: "TCP 192.0.2.1:80 wlc: 127.0.0.1:4711=1".
    fn shown(&self) -> Vec<String> {
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

    async fn wait_for(&self, expected: &[String]) {
        let start = Instant::now();
        while self.shown() != expected {
            assert!(start.elapsed() < LIMIT, "{:#?} is not {expected:#?}", self.shown());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn changes(&self) -> u32 {
        self.table.lock().unwrap().changes
    }

    async fn stop(mut self) {
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

fn direct(name: &str, table: &Arc<Mutex<Table>>) -> JoinHandle<()> {
    let server = Server::bind(ServerConfig { name: name.into(), ..ServerConfig::default() }).unwrap();
    let table = Arc::clone(table);
    tokio::spawn(server.serve(move |request| table.lock().unwrap().answer(request)))
}

/// An address for a server: a test's own, and with a port that the kernel gives to nobody, so that it is free again
/// when a server has gone.
fn address(test: u8, server: u8) -> SocketAddr {
    let process = (std::process::id() % 128) as u8;
    SocketAddr::from(([127, 100 + process, test, server], 20_000))
}

/// A server that listens.
async fn listen(test: u8, server: u8) -> (TcpListener, SocketAddr) {
    let address = address(test, server);
    (TcpListener::bind(address).await.unwrap(), address)
}

const SERVICE: &str = "[[service]]\ntcp = \"192.0.2.1:80\"\n\
                       check = { type = \"tcp\", interval = \"50ms\", rise = 1, fall = 2 }\n";

fn with_servers(keys: &str, servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("{{ address = \"{server}\" }}")).collect();
    format!("{SERVICE}{keys}\nserver = [{}]\n", servers.join(", "))
}

fn line(servers: &[(SocketAddr, i32)]) -> String {
    let servers: Vec<_> = servers.iter().map(|(server, weight)| format!("{server}={weight}")).collect();
    format!("TCP 192.0.2.1:80 wlc: {}", servers.join(" "))
}

#[tokio::test]
async fn servers_come_and_go_as_their_checks_find_them() {
    let ((one, at_one), (_two, at_two)) = (listen(1, 1).await, listen(1, 2).await);
    let scene = Scene::start("come-and-go", &with_servers("", &[at_one, at_two]));
    // Whichever was checked first stands first.
    let start = Instant::now();
    while scene.shown() != [line(&[(at_one, 1), (at_two, 1)])]
        && scene.shown() != [line(&[(at_two, 1), (at_one, 1)])]
    {
        assert!(start.elapsed() < LIMIT, "{:?}", scene.shown());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(one);
    scene.wait_for(&[line(&[(at_two, 1)])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_two, 1), (at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn the_sorry_server_stands_in() {
    let (one, at_one) = listen(2, 1).await;
    let sorry: SocketAddr = "127.0.0.9:80".parse().unwrap();
    let scene = Scene::start("sorry", &with_servers("sorry_server = { address = \"127.0.0.9\" }", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    drop(one);
    scene.wait_for(&[line(&[(sorry, 1)])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_reload_changes_what_is_different_and_nothing_else() {
    let (_one, at_one) = listen(3, 1).await;
    let scene = Scene::start("reload", &with_servers("when_down = \"quiesce\"", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let before = scene.changes();
    let heavier = with_servers("when_down = \"quiesce\"", &[at_one]).replace(" }]", ", weight = 5 }]");
    scene.reload(&heavier).await;
    scene.wait_for(&[line(&[(at_one, 5)])]).await;
    assert_eq!(scene.changes(), before + 1, "one destination is edited");

    // The same once more, and after it a change that is seen, so that it is known to be done.
    scene.reload(&heavier).await;
    scene.reload(&format!("{heavier}\n[[service]]\nmark = 7\n")).await;
    scene
        .wait_for(&["TCP 192.0.2.1:80 wlc: ".to_owned() + &format!("{at_one}=5"), "FWM 7 wlc: ".into()])
        .await;
    assert_eq!(scene.changes(), before + 2, "one service is added");

    // A service that is not in the file any more goes; one that never was stays.
    let other =
        ServiceId::Address { protocol: rlvs_ipvs::Protocol::UDP, address: [192, 0, 2, 1].into(), port: 53 };
    scene.table.lock().unwrap().services.insert(other, (Service::new(other), Vec::new()));
    scene.reload("").await;
    scene.wait_for(&["UDP 192.0.2.1:53 wlc: ".into()]).await;
    scene.reload("other_services = \"delete\"").await;
    scene.wait_for(&[]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_changes_nothing() {
    let (_one, at_one) = listen(4, 1).await;
    let good = with_servers("", &[at_one]);
    let scene = Scene::start("refused", &good);
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    let before = scene.changes();
    scene.reload("[[service]]\nzork = 1").await;
    // By the director: after the first service was changed, which is undone.
    scene
        .reload(&format!(
            "{}\n[[service]]\nmark = 7\nscheduler = \"zork\"",
            good.replace("tcp = \"192.0.2.1:80\"", "tcp = \"192.0.2.1:80\"\nscheduler = \"rr\"")
        ))
        .await;
    let start = Instant::now();
    while scene.changes() < before + 3 {
        assert!(start.elapsed() < LIMIT, "{} changes", scene.changes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    // The checks go on.
    drop(_one);
    scene.wait_for(&[line(&[])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_at_the_start_is_an_error() {
    for (test, content, reason) in [
        ("bad-file", "zork = 1", "unknown key `zork`"),
        ("refused-file", "[[service]]\nmark = 7\nscheduler = \"zork\"", "refuses `+ FWM 7 zork`"),
    ] {
        let mut scene = Scene::start(test, content);
        let ended = tokio::time::timeout(LIMIT, scene.cluster.take().unwrap()).await.unwrap().unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(scene.shown(), [""; 0]);
    }
}

#[tokio::test]
async fn a_director_that_has_forgotten_everything_is_told_again() {
    let (_one, at_one) = listen(6, 1).await;
    let mut scene = Scene::start("forgotten", &with_servers("", &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.director.abort();
    let _ended = (&mut scene.director).await;
    scene.table.lock().unwrap().services.clear();
    // A verdict while there is no director.
    drop(_one);
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.director = direct(&scene.name, &scene.table);
    scene.wait_for(&[line(&[])]).await;
    let _one = TcpListener::bind(at_one).await.unwrap();
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    scene.stop().await;
}

#[tokio::test]
async fn the_operators_program_is_told() {
    let (one, at_one) = listen(7, 1).await;
    let told = std::env::temp_dir().join(format!("rlvs-cluster-{}-told", std::process::id()));
    let program =
        format!("notify = [\"/bin/sh\", \"-c\", \"echo $0 $* >> {}\"]\nname = \"web\"", told.display());
    let scene = Scene::start("notify", &with_servers(&program, &[at_one]));
    scene.wait_for(&[line(&[(at_one, 1)])]).await;
    drop(one);
    let server = format!("SERVER web {at_one}");
    let expected = format!("{server} UP\nSERVICE web UP\n{server} DOWN\nSERVICE web DOWN\n");
    let start = Instant::now();
    while std::fs::read_to_string(&told).unwrap_or_default() != expected {
        assert!(start.elapsed() < LIMIT, "{:?}", std::fs::read_to_string(&told));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::remove_file(&told).unwrap();
    scene.stop().await;
}
