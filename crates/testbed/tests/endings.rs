//! What becomes of the connections of a server whose checks fail: their clients hear of it at once, and flows go to another server.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{
    Cluster, EchoServer, Family, Method, Namespace, Process, binary, real_server, wait, with_port,
};
use rustix::process::Signal;

const FILE: &str = "/run/cluster.toml";
/// A server is out within seven seconds; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);
/// Of the UDP service, and the servers' programs for it.
const UDP_PORT: u16 = 7000;

#[test]
#[ignore = "needs root"]
fn clients_of_a_hung_server_by_nat_are_told() -> Result<()> {
    told(Method::Nat, Family::V4)
}

#[test]
#[ignore = "needs root"]
fn clients_of_a_hung_server_by_direct_routing_are_told() -> Result<()> {
    told(Method::Dr, Family::V6)
}

fn told(method: Method, family: Family) -> Result<()> {
    let scene = Scene::new(method, family)?;
    let mut nginx = scene.nginx()?;
    let _echoes = scene.echoes()?;
    let mut cluster = scene.start_cluster()?;
    let at = SocketAddr::new(family.vip(), 80);
    let client = &scene.cluster.net.client;
    let flow = Flow::open(client, SocketAddr::new(family.vip(), UDP_PORT))?;
    let number = if flow.ask()? == "rs1" { 1 } else { 2 };
    let (dead, alive) = (number - 1, 2 - number);
    // Two connections to each server: of these clients one waits for a download to go on, the other for nothing.
    let mut idle = [connect(client, at)?, connect(client, at)?];
    let downloads = [connect(client, at)?, connect(client, at)?];
    let mut downloads: Vec<_> =
        downloads.into_iter().map(|(stream, name)| (download(stream), name)).collect();
    idle.sort_by(|a, b| a.1.cmp(&b.1));
    downloads.sort_by(|a, b| a.1.cmp(&b.1));
    let names = |all: &[&String]| all.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    ensure!(
        names(&[&idle[0].1, &idle[1].1, &downloads[0].1, &downloads[1].1]) == ["rs1", "rs2", "rs1", "rs2"]
    );

    nginx[dead].signal(Signal::STOP)?;
    let ended = idle[dead].0.read(&mut [0; 64]).map_err(|error| error.kind());
    ensure!(ended == Err(ErrorKind::ConnectionReset), "{ended:?}: {}", cluster.stderr());
    for (number, (thread, name)) in downloads.into_iter().enumerate() {
        let (received, end) = thread.join().map_err(|_| anyhow::anyhow!("a download panicked"))?;
        let expected = if number == dead { Err(ErrorKind::ConnectionReset) } else { Ok(()) };
        ensure!(end == expected, "{name}: {received} octets, then {end:?}: {}", cluster.stderr());
        ensure!((received > real_server::LARGE) == end.is_ok(), "{name}: {received} octets");
    }
    let (stream, name) = &mut idle[alive];
    ensure!(ask(stream)? == *name);
    let other = format!("rs{}", alive + 1);
    wait::until(LIMIT, || Ok((flow.ask().ok().as_ref() == Some(&other)).then_some(())))?;
    ensure!(connect(client, at)?.1 == other && connect(client, at)?.1 == other);

    // It comes back, as one that has no connections.
    nginx[dead].signal(Signal::CONT)?;
    let back = format!("rs{number}");
    wait::until(LIMIT, || Ok((connect(client, at)?.1 == back).then_some(())))?;
    ensure!(flow.ask()? == other, "a flow that went to another server stays there");
    cluster.signal(Signal::TERM)?;
    ensure!(cluster.wait(LIMIT)?.success(), "{}", cluster.stderr());
    Ok(())
}

struct Scene {
    cluster: Cluster,
    family: Family,
}

impl Scene {
    fn new(method: Method, family: Family) -> Result<Self> {
        Ok(Self { cluster: Cluster::start(method, family, 2)?, family })
    }

    /// Web servers on all addresses: the checks ask for one, clients perhaps for another.
    fn nginx(&self) -> Result<Vec<Process>> {
        let any: IpAddr = if self.family == Family::V4 { [0; 4].into() } else { [0u16; 8].into() };
        let hosts = self.cluster.net.servers.iter().zip(1..);
        hosts.map(|(host, number)| real_server::nginx(host, any, 80, &format!("rs{number}"))).collect()
    }

    fn echoes(&self) -> Result<Vec<EchoServer>> {
        let hosts = self.cluster.net.servers.iter().zip(1..);
        let start = |(host, number): (&Namespace, u8)| {
            let address = self.cluster.net.listen_address(self.family, number);
            EchoServer::start(host, address, UDP_PORT, &format!("rs{number}"))
        };
        hosts.map(start).collect()
    }

    fn start_cluster(&self) -> Result<Process> {
        let service = |protocol: &str, port: u16, when_down: &str| {
            let at = with_port(self.family.vip(), port);
            let forward = if self.cluster.net.method() == Method::Nat { "nat" } else { "direct" };
            let servers = (1..=2).map(|number| with_port(self.family.server(number), port));
            let servers: String = servers.map(|address| format!("{{ address = \"{address}\" }}, ")).collect();
            format!(
                "[[service]]\n{protocol} = \"{at}\"\nscheduler = \"rr\"\nforward = \"{forward}\"\nwhen_down = \"{when_down}\"\n\
                 start = \"up\"\nserver = [{servers}]\n\
                 check = {{ type = \"http\", port = 80, path = \"/\", interval = \"200ms\", timeout = \"3s\" }}\n"
            )
        };
        let director = &self.cluster.net.director;
        director.write(FILE, &(service("tcp", 80, "reset") + &service("udp", UDP_PORT, "move")))?;
        let mut cluster = director.spawn(&[&binary()?, "cluster", FILE])?;
        cluster.wait_for("ready", LIMIT)?;
        Ok(cluster)
    }
}

/// A connection, and the server that it leads to.
fn connect(client: &Namespace, at: SocketAddr) -> Result<(TcpStream, String)> {
    client.run(move || {
        let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let name = ask(&mut stream)?;
        Ok((stream, name))
    })
}

/// The name of the server at the connection's other end.
fn ask(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: rlvs\r\n\r\n")?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 1024];
        let length = stream.read(&mut part)?;
        ensure!(length > 0, "the server closed the connection");
        answer.extend(&part[..length]);
        let text = String::from_utf8_lossy(&answer);
        if let Some(name) = text.split_once("\r\n\r\n").and_then(|(_, body)| body.strip_suffix('\n')) {
            return Ok(name.to_owned());
        }
    }
}

/// Downloads for some seconds; what was received, header included, and how it ended.
fn download(mut stream: TcpStream) -> JoinHandle<(usize, Result<(), ErrorKind>)> {
    spawn(move || {
        let request = b"GET /slow HTTP/1.1\r\nHost: rlvs\r\nConnection: close\r\n\r\n";
        let mut received = Vec::new();
        let end = stream.write_all(request).and_then(|()| stream.read_to_end(&mut received).map(drop));
        (received.len(), end.map_err(|error| error.kind()))
    })
}

/// Datagrams from one port.
struct Flow(UdpSocket);

impl Flow {
    fn open(client: &Namespace, at: SocketAddr) -> Result<Self> {
        client.run(move || {
            let any: IpAddr = if at.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(at)?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            Ok(Self(socket))
        })
    }

    /// Who answers.
    fn ask(&self) -> Result<String> {
        self.0.send(b"who")?;
        let mut name = [0; 16];
        let length = self.0.recv(&mut name).context("nobody answers")?;
        Ok(String::from_utf8_lossy(&name[..length]).into_owned())
    }
}
