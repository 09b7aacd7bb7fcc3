//! Three network namespaces, gone when dropped, and an echo service.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PORT: u16 = 8080;

/// Client, director and server.
pub struct Lab {
    pub client: String,
    pub director: String,
    pub server: String,
}

impl Lab {
    pub fn new(name: &str) -> Self {
        let id = std::process::id();
        let name = |end| format!("rlvs-{id}-{name}-{end}");
        let lab = Lab { client: name("c"), director: name("d"), server: name("s") };
        for namespace in [&lab.client, &lab.director, &lab.server] {
            run("ip", &format!("netns add {namespace}"));
            run("ip", &format!("-n {namespace} link set lo up"));
            let exec = format!("netns exec {namespace}");
            run(
                "ip",
                &format!("{exec} sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"),
            );
        }
        lab.cable(1, (&lab.client, "c0", 1), (&lab.director, "d0", 254));
        lab.cable(2, (&lab.client, "c1", 1), (&lab.server, "s1", 2));
        lab.cable(3, (&lab.director, "d1", 1), (&lab.server, "s0", 2));
        for (namespace, name) in
            [(&lab.client, "c0"), (&lab.client, "c1"), (&lab.server, "s0"), (&lab.server, "s1")]
        {
            await_ipv6(namespace, name);
        }
        // Room for the outer header.
        lab.client("link set c0 mtu 1400");
        lab.client("link set c1 mtu 1400");
        lab.server("route add default via 10.2.0.1");
        lab.server("route add default via fd00:2::1");
        lab
    }

    fn cable(&self, number: u32, one: (&str, &str, u32), other: (&str, &str, u32)) {
        let (namespace, name) = (other.0, other.1);
        run("ip", &format!("-n {} link add {} type veth peer name {name} netns {namespace}", one.0, one.1));
        for (namespace, name, host) in [one, other] {
            run("ip", &format!("-n {namespace} address add 10.{number}.0.{host}/24 dev {name}"));
            run("ip", &format!("-n {namespace} address add fd00:{number}::{host}/64 dev {name} nodad"));
            // What is tunnelled by hand must carry whole checksums.
            run("ip", &format!("netns exec {namespace} ethtool -K {name} tx off"));
            run("ip", &format!("-n {namespace} link set {name} up"));
        }
    }

    /// `ip` with these words in the client's namespace.
    pub fn client(&self, words: &str) -> String {
        run("ip", &format!("-n {} {words}", self.client))
    }

    /// `ip` with these words in the server's namespace.
    pub fn server(&self, words: &str) -> String {
        run("ip", &format!("-n {} {words}", self.server))
    }

    pub fn server_sysctl(&self, interface: &str, key: &str, value: &str) {
        let setting = format!("net.ipv4.conf.{interface}.{key}={value}");
        run("ip", &format!("netns exec {} sysctl -qw {setting}", self.server));
    }

    pub fn server_mac(&self, interface: &str) -> String {
        let line = self.server(&format!("-o link show {interface}"));
        let mut words = line.split_whitespace().skip_while(|word| *word != "link/ether");
        words.nth(1).unwrap().to_owned()
    }

    pub fn route_vip_through_director(&self, vip: &str) {
        let gateway = if ip(vip).is_ipv4() { "10.1.0.254" } else { "fd00:1::254" };
        self.client(&format!("route add {vip} via {gateway}"));
        // The kernel there must not answer; what takes the packets sees them before.
        run("ip", &format!("-n {} route add blackhole {vip}", self.director));
    }

    /// All that `rlvs realserver` may change, as text.
    pub fn server_state(&self) -> String {
        let mut state = self.server("-o address show scope global");
        for interface in ["s0", "s1"] {
            let link = self.server(&format!("link show {interface}"));
            state += link.lines().find(|line| line.contains("prog/xdp")).unwrap_or("no program");
        }
        for interface in ["all", "s0", "s1"] {
            for key in ["arp_ignore", "arp_announce", "rp_filter"] {
                let read = format!("netns exec {} sysctl -n net.ipv4.conf.{interface}.{key}", self.server);
                state += &format!("\n{interface} {key} {}", run("ip", &read).trim());
            }
        }
        state
    }

    /// `rlvs realserver` with these arguments on the server.
    pub fn rlvs(&self, arguments: &[&str]) -> Output {
        Command::new("ip")
            .args(["netns", "exec", &self.server, env!("CARGO_BIN_EXE_rlvs"), "realserver"])
            .args(arguments)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap()
    }

    pub fn rlvs_must(&self, arguments: &[&str]) -> Output {
        let output = self.rlvs(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Takes its state file along.
        let _ = self.rlvs(&["remove"]);
        for namespace in [&self.client, &self.director, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// Without a link-local address there is no neighbour discovery, and it takes a while: the kernel notices a carrier
/// within a second, then looks for duplicates.
fn await_ipv6(namespace: &str, name: &str) {
    for _ in 0..100 {
        let found = run("ip", &format!("-n {namespace} -6 -o address show dev {name} scope link -tentative"));
        if !found.is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("IPv6 does not start on {name} of {namespace}");
}

/// Sends some hundred kilobytes from the client to the address, where the server must echo them.
pub fn echo(lab: &Lab, vip: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(vip, PORT);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (ready, listening) = std::sync::mpsc::channel();
        let done = &done;
        scope.spawn(move || serve(&lab.server, address, ready, done));
        listening.recv().unwrap();
        let result = scope.spawn(|| ask(&lab.client, address)).join().unwrap();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn serve(namespace: &str, address: SocketAddr, ready: std::sync::mpsc::Sender<()>, done: &AtomicBool) {
    enter(namespace);
    // Any address, for the VIP may be missing on purpose.
    let any = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let listener = TcpListener::bind(SocketAddr::new(any, address.port())).unwrap();
    listener.set_nonblocking(true).unwrap();
    ready.send(()).unwrap();
    while !done.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                let mut data = Vec::new();
                if stream.read_to_end(&mut data).is_ok() {
                    let _ = stream.write_all(&data);
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn ask(namespace: &str, address: SocketAddr) -> io::Result<()> {
    enter(namespace);
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(1500))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let question: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    stream.write_all(&question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer == question { Ok(()) } else { Err(io::Error::other("the echo differs")) }
}

/// Puts the calling thread into a namespace.
pub fn enter(namespace: &str) {
    use std::os::fd::AsFd;
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(file.as_fd(), kind).unwrap();
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}
