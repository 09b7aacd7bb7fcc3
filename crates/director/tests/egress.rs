//! The egress tracker against a real kernel, in network namespaces made here.
//!
//! "director" and "server" are joined by two cables (veth pairs): east with 10.1.0.0/24 and fd00:1::/64, west with
//! 10.2.0.0/24. The server's end of a cable has a MAC address that names it.
#![cfg(feature = "privileged-tests")]
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use rlvs_director::egress::{Egress, EgressTracker, Event, Interface, InterfaceEvent, Path, Unreachable};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

/// More than ARP and duplicate address detection need, less than a hang.
const PATIENCE: Duration = Duration::from_secs(8);

const EAST: &str = "02:00:00:00:00:e1";
const EAST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe1];
const WEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xe2];

#[test]
fn a_neighbour_appears_moves_and_disappears() {
    run("moves", async |lab, mut told, tracker| {
        let server = ip("10.1.0.2");
        tracker.watch(server);
        let egress = told.via(server).await;
        assert_eq!(egress.destination_mac, EAST_MAC);
        assert_eq!(egress.interface, lab.index("east"));
        assert_eq!(egress.source_mac, lab.mac("east"));
        assert_eq!((egress.vlan, egress.mtu, egress.source), (None, 1500, ip("10.1.0.1")));
        let entry = lab.director("neigh show 10.1.0.2");
        assert!(entry.contains("managed"), "the kernel keeps it resolved: {entry}");

        lab.server("link set east address 02:00:00:00:00:aa");
        lab.director("neigh replace 10.1.0.2 lladdr 02:00:00:00:00:aa dev east nud reachable");
        told.until(server, |path| mac(path) == Some([2, 0, 0, 0, 0, 0xaa])).await;
        told.generation().await;

        lab.director("neigh flush dev east");
        told.until(server, |path| *path == Path::Unresolved).await;
        told.until(server, |path| mac(path) == Some([2, 0, 0, 0, 0, 0xaa])).await;
        assert!(lab.director("neigh show 10.1.0.2").contains("managed"));

        tracker.unwatch(server);
        lab.director_until("neigh show 10.1.0.2", |entry| !entry.contains("managed")).await;
    });
}

#[test]
fn a_static_neighbour_stays_static() {
    run("static", async |lab, mut told, tracker| {
        lab.director("neigh replace 10.1.0.77 lladdr 02:00:00:00:00:77 dev east nud permanent");
        tracker.watch(ip("10.1.0.77"));
        assert_eq!(told.via(ip("10.1.0.77")).await.destination_mac[5], 0x77);
        tracker.unwatch(ip("10.1.0.77"));
        tracker.watch(ip("10.1.0.2"));
        told.via(ip("10.1.0.2")).await;
        assert!(lab.director("neigh show 10.1.0.77").contains("PERMANENT"));
    });
}

#[test]
fn nobody_answers() {
    run("silent", async |_lab, mut told, tracker| {
        tracker.watch(ip("10.1.0.99"));
        told.until(ip("10.1.0.99"), |path| *path == Path::Unresolved).await;
    });
}

#[test]
fn a_path_is_found_without_being_followed() {
    run("found", async |lab, mut told, tracker| {
        let (server, other) = (ip("10.1.0.2"), ip("10.1.0.88"));
        assert_eq!(tracker.find(other).await, Path::Unresolved);
        assert_eq!(lab.director("neigh show 10.1.0.88"), "", "nobody was asked for");
        assert_eq!(tracker.find(ip("10.1.0.1")).await, Path::Local);
        assert!(matches!(tracker.find(ip("198.51.100.7")).await, Path::Unreachable(_)));
        tracker.watch(server);
        let egress = told.via(server).await;
        assert_eq!(tracker.find(server).await, Path::Via(egress));
    });
}

#[test]
fn a_route_moves_to_another_interface() {
    run("route", async |lab, mut told, tracker| {
        let far = ip("198.51.100.7");
        tracker.watch(far);
        told.until(far, |path| matches!(path, Path::Unreachable(Unreachable::NoRoute(_)))).await;

        lab.director("route add 198.51.100.0/24 via 10.1.0.2 mtu 1400");
        let egress = told.via(far).await;
        assert_eq!((egress.destination_mac, egress.mtu), (EAST_MAC, 1400));

        lab.director("route replace 198.51.100.0/24 via 10.2.0.2");
        told.until(far, |path| mac(path) == Some(WEST_MAC)).await;
        told.generation().await;

        // Policy routing decides too.
        lab.director("route add default via 10.1.0.2 table 7");
        lab.director("rule add to 198.51.100.7 lookup 7");
        told.until(far, |path| mac(path) == Some(EAST_MAC)).await;
        told.generation().await;

        lab.director("rule del to 198.51.100.7 lookup 7");
        lab.director("route replace blackhole 198.51.100.0/24");
        told.until(far, |path| matches!(path, Path::Unreachable(_))).await;
    });
}

#[test]
fn an_interface_goes_down_and_comes_back() {
    run("down", async |lab, mut told, tracker| {
        let server = ip("10.1.0.2");
        tracker.watch(server);
        told.via(server).await;
        lab.director("link set east down");
        told.until(server, |path| matches!(path, Path::Unreachable(_))).await;
        told.generation().await;
        lab.director("link set east up");
        assert_eq!(told.via(server).await.destination_mac, EAST_MAC);
    });
}

#[test]
fn the_directors_own_addresses_are_local() {
    run("local", async |lab, mut told, tracker| {
        for own in [ip("10.1.0.1"), ip("127.0.0.1"), ip("fd00:1::1")] {
            tracker.watch(own);
            told.until(own, |path| *path == Path::Local).await;
        }
        lab.director("address add 10.9.9.9/32 dev lo");
        tracker.watch(ip("10.9.9.9"));
        told.until(ip("10.9.9.9"), |path| *path == Path::Local).await;
    });
}

#[test]
fn ipv6_is_found_by_neighbour_discovery() {
    run("ipv6", async |lab, mut told, tracker| {
        let server = ip("fd00:1::2");
        tracker.watch(server);
        let egress = told.via(server).await;
        assert_eq!((egress.destination_mac, egress.source), (EAST_MAC, ip("fd00:1::1")));
        assert_eq!(egress.interface, lab.index("east"));
        lab.director("route add 10.66.0.0/16 via inet6 fd00:1::2");
        tracker.watch(ip("10.66.0.1"));
        assert_eq!(told.via(ip("10.66.0.1")).await.destination_mac, EAST_MAC, "RFC 5549 next hop");
    });
}

#[test]
fn a_vlan_device_means_a_tag() {
    run("vlan", async |lab, mut told, tracker| {
        if !lab.has_vlans() {
            eprintln!("not tested: this kernel has no VLAN devices (module 8021q)");
            return;
        }
        lab.server("link add link east name vlan9 address 02:00:00:00:00:99 type vlan id 9");
        lab.server("address add 10.9.0.2/24 dev vlan9");
        lab.server("link set vlan9 up");
        lab.director("link add link east name vlan9 type vlan id 9");
        let appeared =
            told.interface(|event| matches!(event, InterfaceEvent::Appeared(it) if it.name == "vlan9"));
        let InterfaceEvent::Appeared(device) = appeared.await else { unreachable!("just matched") };
        assert_eq!(device.vlan.map(|vlan| (vlan.id, vlan.lower)), Some((9, Some(lab.index("east")))));
        assert_eq!(device.kind.as_deref(), Some("vlan"));

        lab.director("address add 10.9.0.1/24 dev vlan9");
        lab.director("link set vlan9 mtu 1400 up");
        tracker.watch(ip("10.9.0.2"));
        let egress = told.via(ip("10.9.0.2")).await;
        assert_eq!((egress.interface, egress.vlan, egress.mtu), (lab.index("east"), Some(9), 1400));
        assert_eq!(egress.destination_mac, [2, 0, 0, 0, 0, 0x99]);
    });
}

#[test]
fn interfaces_are_told_from_the_start() {
    run("links", async |lab, mut told, _tracker| {
        let mut found = Vec::new();
        for _ in 0..2 {
            let InterfaceEvent::Appeared(Interface { name, up, .. }) = told.interface(|_| true).await else {
                panic!("the first news is what is there")
            };
            found.push((name, up));
        }
        found.sort();
        assert_eq!(found, [("east".to_owned(), true), ("west".to_owned(), true)], "and no loopback");

        lab.director("link add north type veth peer name south");
        told.interface(|event| matches!(event, InterfaceEvent::Appeared(it) if it.name == "north" && !it.up))
            .await;
        lab.director("link set north mtu 9000");
        told.interface(|event| matches!(event, InterfaceEvent::Changed(it) if it.mtu == 9000)).await;
        lab.director("link add br0 type bridge");
        lab.director("link set north master br0");
        told.interface(|event| matches!(event, InterfaceEvent::Changed(it) if it.controller.is_some())).await;
        lab.director("link set north nomaster");
        told.interface(|event| {
            assert!(!matches!(event, InterfaceEvent::Gone(_)), "leaving a bridge is not the end: {event:?}");
            matches!(event, InterfaceEvent::Changed(it) if it.name == "north" && it.controller.is_none())
        })
        .await;
        lab.director("link del north");
        told.interface(|event| matches!(event, InterfaceEvent::Gone(it) if it.name == "north")).await;
    });
}

#[test]
fn lost_messages_are_made_good() {
    run("overrun", async |lab, mut told, tracker| {
        let server = ip("10.1.0.2");
        tracker.watch(server);
        told.via(server).await;
        // The task cannot run while this thread blocks in commands: far more messages than the socket holds,
        // then the one that matters.
        let burst: String = (0..30_000).map(|n| flood(n) + "\n").collect();
        let file = std::env::temp_dir().join(format!("{}.batch", lab.director));
        std::fs::write(&file, burst).unwrap();
        lab.director(&format!("-batch {}", file.display()));
        std::fs::remove_file(&file).unwrap();
        lab.director("neigh replace 10.1.0.2 lladdr 02:00:00:00:00:bb dev east nud permanent");
        lab.director("link add late type veth peer name later");
        told.interface(|event| matches!(event, InterfaceEvent::Appeared(it) if it.name == "late")).await;
        told.until(server, |path| mac(path) == Some([2, 0, 0, 0, 0, 0xbb])).await;
    });
}

fn flood(n: u32) -> String {
    format!("route add 100.{}.{}.{}/32 dev west", 64 + (n >> 16), (n >> 8) & 255, n & 255)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mac(path: &Path) -> Option<[u8; 6]> {
    match path {
        Path::Via(egress) => Some(egress.destination_mac),
        _ => None,
    }
}

/// Makes a lab, enters its director's namespace, and runs a story there with a tracker.
fn run(name: &str, story: impl AsyncFnOnce(&Lab, Told, EgressTracker)) {
    let lab = Lab::new(name);
    lab.enter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (tracker, events) = EgressTracker::spawn().await.unwrap();
        let told = Told { events, generation: false };
        story(&lab, told, tracker).await;
    });
}

/// What the tracker tells.
struct Told {
    events: UnboundedReceiver<Event>,
    /// A generation was told of since the last wait for a path began. It may come before that path does: the old
    /// way ends, then the new one is found.
    generation: bool,
}

impl Told {
    async fn until(&mut self, address: IpAddr, wanted: impl Fn(&Path) -> bool) -> Path {
        let deadline = Instant::now() + PATIENCE;
        self.generation = false;
        let mut last = None;
        loop {
            match self.next(deadline, &format!("the path to {address}, last told: {last:?}")).await {
                Event::Path { destination, path } if destination == address && wanted(&path) => return path,
                Event::Path { destination, path } if destination == address => last = Some(path),
                _ => {}
            }
        }
    }

    async fn via(&mut self, address: IpAddr) -> Egress {
        match self.until(address, |path| matches!(path, Path::Via(_))).await {
            Path::Via(egress) => egress,
            other => panic!("{other:?} is not Via"),
        }
    }

    async fn generation(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.generation {
            self.next(deadline, "a new generation").await;
        }
    }

    async fn interface(&mut self, wanted: impl Fn(&InterfaceEvent) -> bool) -> InterfaceEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Event::Interface(event) = self.next(deadline, "an interface event").await
                && wanted(&event)
            {
                return event;
            }
        }
    }

    async fn next(&mut self, deadline: Instant, what: &str) -> Event {
        match timeout_at(deadline, self.events.recv()).await {
            Ok(event) => {
                let event = event.expect("the tracker has ended");
                self.generation |= event == Event::Generation;
                event
            }
            Err(_) => panic!("waited in vain for {what}"),
        }
    }
}

/// Two namespaces, gone when dropped.
struct Lab {
    director: String,
    server: String,
}

impl Lab {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let lab = Lab { director: format!("egress-{id}-{name}-d"), server: format!("egress-{id}-{name}-s") };
        for namespace in [&lab.director, &lab.server] {
            command("ip", &format!("netns add {namespace}"));
            command("ip", &format!("-n {namespace} link set lo up"));
        }
        for (number, cable, address) in [(1, "east", EAST), (2, "west", "02:00:00:00:00:e2")] {
            let server = &lab.server;
            lab.director(&format!(
                "link add {cable} type veth peer name {cable} netns {server} address {address}"
            ));
            for (end, namespace) in [(1, &lab.director), (2, &lab.server)] {
                command("ip", &format!("-n {namespace} address add 10.{number}.0.{end}/24 dev {cable}"));
                let v6 = format!("fd00:{number}::{end}/64");
                command("ip", &format!("-n {namespace} address add {v6} dev {cable} nodad"));
                command("ip", &format!("-n {namespace} link set {cable} up"));
            }
        }
        lab
    }

    /// Puts the calling thread into the director's namespace.
    fn enter(&self) {
        use std::os::fd::AsFd;
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.director)).unwrap();
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).unwrap();
    }

    fn director(&self, words: &str) -> String {
        command("ip", &format!("-n {} {words}", self.director))
    }

    fn server(&self, words: &str) -> String {
        command("ip", &format!("-n {} {words}", self.server))
    }

    async fn director_until(&self, words: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.director(words)) {
            assert!(Instant::now() < deadline, "waited in vain; {words}: {}", self.director(words));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn has_vlans(&self) -> bool {
        let probe = format!("-n {} link add link east name probe type vlan id 4000", self.server);
        let made = Command::new("ip").args(probe.split_whitespace()).output().unwrap().status.success();
        if made {
            self.server("link del probe");
        }
        made
    }

    fn index(&self, interface: &str) -> u32 {
        self.link(interface)[0].trim_end_matches(':').parse().unwrap()
    }

    fn mac(&self, interface: &str) -> [u8; 6] {
        let words = self.link(interface);
        let label = words.iter().position(|word| word == "link/ether").expect("an Ethernet interface");
        let octets = words[label + 1].split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap());
        octets.collect::<Vec<_>>().try_into().unwrap()
    }

    fn link(&self, interface: &str) -> Vec<String> {
        let line = self.director(&format!("-o link show {interface}"));
        line.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.director, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

fn command(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}
