//! Client and server over the abstract socket, with a director that only remembers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rlvs_ipvs::*;

/// A table of services with IPVS's errors, and no packets.
#[derive(Default)]
struct Table {
    services: BTreeMap<ServiceId, (Service, Vec<Destination>)>,
    timeouts: Timeouts,
    daemons: Vec<Daemon>,
}

impl Handler for Table {
    fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
        match request {
            Request::NewService(s) => match self.services.insert(s.id, (s.clone(), vec![])) {
                Some(_) => Err(Errno::EXIST),
                None => Ok(Reply::Done),
            },
            Request::SetService(s) => {
                let old = self.services.get_mut(&s.id).ok_or(Errno::SRCH)?;
                old.0 = s;
                Ok(Reply::Done)
            }
            Request::DeleteService(id) => self.services.remove(&id).map(|_| Reply::Done).ok_or(Errno::SRCH),
            Request::GetService(id) => {
                self.services.get(&id).map(|s| Reply::Service(entry(&s.0))).ok_or(Errno::SRCH)
            }
            Request::ListServices => {
                Ok(Reply::Services(self.services.values().map(|s| entry(&s.0)).collect()))
            }
            Request::NewDestination(id, d) => {
                let (_, destinations) = self.services.get_mut(&id).ok_or(Errno::SRCH)?;
                let d = d?;
                if destinations.iter().any(|old| old.id == d.id) {
                    return Err(Errno::EXIST);
                }
                destinations.insert(0, d);
                Ok(Reply::Done)
            }
            Request::DeleteDestination(id, d) => {
                let (_, destinations) = self.services.get_mut(&id).ok_or(Errno::SRCH)?;
                let d = d?;
                let at = destinations.iter().position(|old| old.id == d).ok_or(Errno::NOENT)?;
                destinations.remove(at);
                Ok(Reply::Done)
            }
            Request::ListDestinations(id) => {
                let (_, destinations) = self.services.get(&id).ok_or(Errno::SRCH)?;
                Ok(Reply::Destinations(destinations.iter().map(gauges).collect()))
            }
            Request::SetTimeouts(t) => {
                self.timeouts = t;
                Ok(Reply::Done)
            }
            Request::GetTimeouts => Ok(Reply::Timeouts(self.timeouts)),
            Request::NewDaemon(d) => {
                self.daemons.push(d);
                Ok(Reply::Done)
            }
            Request::ListDaemons => Ok(Reply::Daemons(self.daemons.clone())),
            Request::GetInfo => Ok(Reply::Info(Info { version: VERSION, table_size: 4096 })),
            Request::Flush => {
                self.services.clear();
                Ok(Reply::Done)
            }
            Request::ListConnections => Ok(Reply::Connections(Box::new((0..MANY).map(connection)))),
            Request::GetFacts => Ok(Reply::Facts(vec![Fact { name: "version".into(), value: "1".into() }])),
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}

const MANY: u32 = 1_000_000;

fn connection(i: u32) -> Connection {
    let endpoint =
        |last: u32, port| Endpoint { address: IpAddr::from((10 << 24 | last).to_be_bytes()), port };
    Connection {
        protocol: Protocol::TCP,
        state: 1,
        flags: 3,
        expires: i,
        client: endpoint(i, 1024),
        virtual_server: endpoint(1, 80),
        destination: Endpoint { address: "fd00::1".parse().expect("an address"), port: 8080 },
        call_id: i.is_multiple_of(1000).then(|| format!("{i:0>255}")),
    }
}

fn entry(service: &Service) -> ServiceEntry {
    ServiceEntry { service: service.clone(), stats: Stats { in_bytes: u64::MAX, ..Stats::default() } }
}

fn gauges(d: &Destination) -> DestinationEntry {
    DestinationEntry {
        destination: d.clone(),
        active: 1,
        inactive: 2,
        persistent: 3,
        stats: Stats::default(),
    }
}

/// A server on a name of its own, with the table behind it.
fn serve(test: &str) -> String {
    let name = format!("rlvs-test/{}/{test}", std::process::id());
    let config = ServerConfig { name: name.clone(), ..ServerConfig::default() };
    let server = Server::bind(config).expect("the name is free");
    tokio::spawn(server.serve(Table::default()));
    name
}

fn web() -> ServiceId {
    ServiceId::Address { protocol: Protocol::TCP, address: "10.0.0.1".parse().expect("an address"), port: 80 }
}

fn real_server(port: u16) -> Destination {
    Destination::new(DestinationId { address: "fd00::2".parse().expect("an address"), port })
}

fn refusal(result: Result<(), ClientError>) -> Errno {
    match result {
        Err(ClientError::Refused(errno)) => errno,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn commands_reach_the_director_and_its_errors_come_back() {
    let mut client = Client::connect_rlvs(&serve("commands")).await.unwrap();
    let mut service = Service::new(web());
    client.new_service(service.clone()).await.unwrap();
    assert_eq!(refusal(client.new_service(service.clone()).await), Errno::EXIST);
    service.scheduler = "rr".into();
    client.set_service(service.clone()).await.unwrap();
    assert_eq!(client.service(web()).await.unwrap().service, service);

    client.new_destination(web(), real_server(1)).await.unwrap();
    client.new_destination(web(), real_server(2)).await.unwrap();
    let listed = client.destinations(web()).await.unwrap();
    assert_eq!(listed, [gauges(&real_server(2)), gauges(&real_server(1))]);
    assert_eq!(refusal(client.delete_destination(web(), real_server(3).id).await), Errno::NOENT);

    client.delete_service(web()).await.unwrap();
    assert_eq!(client.services().await.unwrap(), []);
    assert_eq!(client.destinations(web()).await.unwrap(), [], "an unknown service lists as empty");
    assert_eq!(refusal(client.delete_service(web()).await), Errno::SRCH);
    assert_eq!(refusal(client.zero(None).await), Errno::OPNOTSUPP);
}

#[tokio::test]
async fn requests_made_together_are_answered_each() {
    let mut client = Client::connect_rlvs(&serve("together")).await.unwrap();
    let add = |port| Request::NewDestination(web(), Ok(real_server(port)));
    // The first comes before its service; each third port comes twice; what asks for a listing is answered, too.
    let mut requests = vec![add(1), Request::NewService(Service::new(web()))];
    let mut expected = vec![Err(Errno::SRCH), Ok(())];
    for port in 1..=300 {
        requests.push(add(port));
        expected.push(Ok(()));
        if port % 3 == 0 {
            requests.extend([add(port), Request::ListDestinations(web()), Request::Zero(None)]);
            expected.extend([Err(Errno::EXIST), Ok(()), Err(Errno::OPNOTSUPP)]);
        }
    }
    assert_eq!(client.make(&requests).await.unwrap(), expected);
    assert_eq!(client.destinations(web()).await.unwrap().len(), 300);
    assert_eq!(client.make(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn the_director_as_a_whole() {
    let mut client = Client::connect_rlvs(&serve("whole")).await.unwrap();
    assert_eq!(client.info().await.unwrap(), Info { version: VERSION, table_size: 4096 });
    let timeouts = Timeouts { tcp: 1, tcp_fin: 2, udp: 3 };
    client.set_timeouts(timeouts).await.unwrap();
    assert_eq!(client.timeouts().await.unwrap(), timeouts);
    let too_long = Timeouts { tcp: u32::MAX, ..timeouts };
    assert_eq!(refusal(client.set_timeouts(too_long).await), Errno::INVAL);
    let daemon = Daemon {
        role: DaemonRole::Backup,
        interface: "eth0".into(),
        sync_id: 7,
        max_length: 0,
        group: "ff02::81".parse().ok(),
        port: 8848,
        ttl: 0,
    };
    client.start_daemon(daemon.clone()).await.unwrap();
    assert_eq!(client.daemons().await.unwrap(), [daemon]);
    assert_eq!(client.facts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn long_listings_span_datagrams() {
    let mut client = Client::connect_rlvs(&serve("long")).await.unwrap();
    for port in 1..=1000 {
        let ServiceId::Address { protocol, address, .. } = web() else { unreachable!() };
        let id = ServiceId::Address { protocol, address, port };
        client.new_service(Service::new(id)).await.unwrap();
    }
    assert_eq!(client.services().await.unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_connections_arrive_whole() {
    let mut client = Client::connect_rlvs(&serve("million")).await.unwrap();
    let (mut count, start) = (0, Instant::now());
    client
        .connections(|c| {
            assert_eq!(c, connection(count));
            count += 1;
        })
        .await
        .unwrap();
    println!("{count} connections in {:?}", start.elapsed());
    assert_eq!(count, MANY);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let name = serve("lazy");
    let mut lazy = Client::connect_rlvs(&name).await.unwrap();
    // Gives up half-way: the rest of a million entries stays unread.
    let half = tokio::time::timeout(Duration::from_millis(20), lazy.connections(|_| ())).await;
    let mut busy = Client::connect_rlvs(&name).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(5), busy.new_service(Service::new(web()))).await;
    answered.expect("in time").unwrap();
    if half.is_err() {
        // And the lazy one finds its place again.
        assert_eq!(lazy.info().await.unwrap().version, VERSION);
    }
}

#[tokio::test]
async fn one_director_to_a_name() {
    let name = serve("taken");
    let second = Server::bind(ServerConfig { name, ..ServerConfig::default() });
    assert!(matches!(second, Err(BindError::AlreadyRunning { .. })));
}

#[tokio::test]
async fn nobody_listening_is_said_so() {
    assert!(matches!(Client::connect_rlvs("rlvs-test/nobody").await, Err(ClientError::NotRunning { .. })));
}
