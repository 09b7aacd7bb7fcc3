//! Whole runs against a director in this process: output, complaints, exit status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rlvs_ipvs::{
    Connection, Destination, DestinationEntry, Endpoint, Errno, Protocol, Reply, Request, Server,
    ServerConfig, Service, Stats, Timeouts, VERSION,
};

use super::*;

/// A director's table, without packets.
#[derive(Default)]
struct Table(BTreeMap<ServiceId, (Service, Vec<Destination>)>);

impl Table {
    fn handle(&mut self, request: Request) -> Result<Reply, Errno> {
        let entry = |service: &Service| ServiceEntry { service: service.clone(), stats: Stats::default() };
        match request {
            Request::NewService(s) if self.0.contains_key(&s.id) => {
                drop(s);
                Err(Errno::EXIST)
            }
            Request::NewService(s) => {
                self.0.insert(s.id, (s, vec![]));
                Ok(Reply::Done)
            }
            Request::GetService(id) => {
                self.0.get(&id).map(|(s, _)| Reply::Service(entry(s))).ok_or(Errno::SRCH)
            }
            Request::ListServices => Ok(Reply::Services(self.0.values().map(|(s, _)| entry(s)).collect())),
            Request::NewDestination(id, d) => {
                self.0.get_mut(&id).ok_or(Errno::SRCH)?.1.insert(0, d?);
                Ok(Reply::Done)
            }
            Request::ListDestinations(id) => {
                let (_, all) = self.0.get(&id).ok_or(Errno::SRCH)?;
                let entry = |d: &Destination| DestinationEntry {
                    destination: d.clone(),
                    active: 0,
                    inactive: 0,
                    persistent: 0,
                    stats: Stats::default(),
                };
                Ok(Reply::Destinations(all.iter().map(entry).collect()))
            }
            Request::GetTimeouts => Ok(Reply::Timeouts(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 })),
            Request::ListDaemons => Ok(Reply::Daemons(vec![])),
            Request::GetInfo => Ok(Reply::Info(Info { version: VERSION, table_size: 4096 })),
            Request::ListConnections => Ok(Reply::Connections(Box::new(std::iter::once(connection())))),
            _ => Err(Errno::PERM),
        }
    }
}

fn connection() -> Connection {
    let end = |address: [u8; 4], port| Endpoint { address: address.into(), port };
    Connection {
        protocol: Protocol::TCP,
        state: 1,
        flags: 0,
        expires: 899,
        client: end([192, 168, 1, 5], 35902),
        virtual_server: end([192, 168, 1, 100], 80),
        destination: end([10, 0, 0, 1], 80),
        call_id: None,
    }
}

/// Runs command lines one after the other on one table; gives standard output, standard error, the last status.
async fn run(test: &str, lines: &[&str], input: &str) -> (String, String, u8) {
    let name = format!("rlvs-test/{}/{test}", std::process::id());
    let server = Server::bind(ServerConfig { name: name.clone(), ..ServerConfig::default() }).unwrap();
    let mut table = Table::default();
    tokio::spawn(server.serve(move |request| table.handle(request)));
    let mut client = Client::connect_rlvs(&name).await.unwrap();
    let info = client.info().await.unwrap();
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), 0);
    let mut session = Session::new("ipvsadm", &mut out, &mut err);
    session.director = Some((client, info));
    for line in lines {
        let words: Vec<String> = line.split(' ').map(Into::into).collect();
        status = match session.command(&words, &mut input.as_bytes()).await {
            Ok(status) => status,
            Err(failure) => {
                writeln!(session.err, "{failure}").unwrap();
                failure.status()
            }
        };
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), status)
}

#[tokio::test]
async fn a_table_is_built_and_shown() {
    let lines = [
        "-A -t 10.0.0.1:80 -s rr",
        "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m",
        "-a -t 10.0.0.1:80 -r 10.1.0.1",
        "-A -u 10.0.0.1:53",
        "-Ln",
        "-Ln -u 10.0.0.1:53",
        "-Sn",
    ];
    let (out, err, status) = run("built", &lines, "").await;
    assert_eq!((err.as_str(), status), ("", 0));
    assert_eq!(
        out,
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  10.0.0.1:80 rr\n\
         \x20 -> 10.1.0.1:80                  Route   1      0          0         \n\
         \x20 -> 10.1.0.2:8080                Masq    1      0          0         \n\
         UDP  10.0.0.1:53 wlc\n\
         Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         UDP  10.0.0.1:53 wlc\n\
         -A -t 10.0.0.1:80 -s rr\n\
         -a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1\n\
         -a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 1\n\
         -A -u 10.0.0.1:53 -s wlc\n"
    );
}

#[tokio::test]
async fn other_listings() {
    let (out, err, status) = run("others", &["-L --timeout", "-L --daemon", "-Lnc"], "").await;
    assert_eq!((err.as_str(), status), ("", 0));
    assert_eq!(
        out,
        "Timeout (tcp tcpfin udp): 900 120 300\n\
         IPVS connection entries\n\
         pro expire state       source             virtual            destination\n\
         TCP 14:59  ESTABLISHED 192.168.1.5:35902  192.168.1.100:80   10.0.0.1:80\n"
    );
}

#[tokio::test]
async fn refusals_have_their_words_and_statuses() {
    let cases = [
        ("-A -t 10.0.0.1:80", "Service already exists\n", 255),
        ("-L -t 10.0.0.2:80", "No such service\n", 1),
        ("-a -t 10.0.0.2:80 -r 10.1.0.1", "Service not defined\n", 255),
        ("-C", "Permission denied (you must be root)\n", 255),
    ];
    for (i, (line, text, expected)) in cases.into_iter().enumerate() {
        let (out, err, status) = run(&format!("refusals{i}"), &["-A -t 10.0.0.1:80", line], "").await;
        assert_eq!((out.as_str(), err.as_str(), status), ("", text, expected), "{line}");
    }
}

#[tokio::test]
async fn a_restore_goes_on_after_refusals_and_ends_at_mistakes() {
    let try_help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n";
    // Input, what is then saved, complaints, status of the restore.
    let cases = [
        ("ipvsadm -A -t 1.1.1.1:1\n\n -A\t-t  1.1.1.1:2", "12", "", 0),
        ("-A -t 1.1.1.1:1\n-A -t 1.1.1.1:1\n-A -t 1.1.1.1:2\n\n", "12", "Service already exists\n", 0),
        ("-A -t 1.1.1.1:1\n-A -t 1.1.1.1:1\n\n", "1", "Service already exists\n", 255),
        ("-A -t 1.1.1.1:1 -x\n-A -t 1.1.1.1:2\n", "2", "-x: missing argument\n", 0),
        (
            "-A -t 1.1.1.1:1\n-A -t 1.1.1.1:2 -n\n-A -t 1.1.1.1:3\n",
            "1",
            "Illegal 'numeric' option with the 'add-service' command\n",
            2,
        ),
        ("# comment\n-A -t 1.1.1.1:1\n", "", try_help, 255),
        ("-R\n-A -t 1.1.1.1:1\n", "", try_help, 255),
        ("-L -t 2.2.2.2:2\n-A -t 1.1.1.1:1\n", "", "No such service\n", 1),
        ("-v\n-A -t 1.1.1.1:1\n", "", "", 0),
    ];
    for (i, (input, ports, complaints, expected)) in cases.into_iter().enumerate() {
        let (_, err, status) = run(&format!("restore{i}"), &["-R"], input).await;
        assert_eq!((err.as_str(), status), (complaints, expected), "{input}");
        let (out, ..) = run(&format!("restored{i}"), &["-R", "-Sn"], input).await;
        let saved: String = ports.chars().map(|port| format!("-A -t 1.1.1.1:{port} -s wlc\n")).collect();
        assert!(out.ends_with(&saved) && out.matches("-A").count() == ports.len(), "{input}: {out}");
    }
}

#[tokio::test]
async fn a_long_restore_complains_of_each_line_in_order() {
    // Two of each port; the last line before the mistake is refused.
    let mut input: String = (1..=700).map(|port| format!("-A -t 1.1.1.1:{}\n", port / 2 + 1)).collect();
    input += "-a -t 2.2.2.2:2 -r 1.1.1.1\n-A -t 1.1.1.1:999 -n\n-A -t 1.1.1.1:999\n";
    let (_, err, status) = run("long", &["-R"], &input).await;
    let refused = "Service already exists\n".repeat(349);
    let last = "Service not defined\nIllegal 'numeric' option with the 'add-service' command\n";
    assert_eq!((err, status), (refused + last, 2));
    let (out, ..) = run("long-saved", &["-R", "-Sn"], &input).await;
    assert_eq!((out.matches("-A").count(), out.contains("999")), (351, false));
}

/// Gives its pieces one after the other, and notes how many requests the director had been asked by then.
struct Pieces<'a> {
    pieces: Vec<&'a [u8]>,
    asked: Arc<AtomicUsize>,
    before_each: Vec<usize>,
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.before_each.push(self.asked.load(Ordering::SeqCst));
        Ok(self.pieces.first().copied().unwrap_or_default())
    }

    fn consume(&mut self, _: usize) {
        if !self.pieces.is_empty() {
            self.pieces.remove(0);
        }
    }
}

#[tokio::test]
async fn a_restore_carries_out_whole_lines_before_it_waits_for_more() {
    let name = format!("rlvs-test/{}/pieces", std::process::id());
    let server = Server::bind(ServerConfig { name: name.clone(), ..ServerConfig::default() }).unwrap();
    let (mut table, asked) = (Table::default(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(server.serve(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        table.handle(request)
    }));
    let mut client = Client::connect_rlvs(&name).await.unwrap();
    let info = client.info().await.unwrap();
    asked.store(0, Ordering::SeqCst);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut session = Session::new("ipvsadm", &mut out, &mut err);
    session.director = Some((client, info));
    let pieces: [&[u8]; 3] =
        [b"-A -t 1.1.1.1:1\n-A -t 1.1.1.1:2\n-A -t 1.1", b".1.1:3", b"\n-A -t 1.1.1.1:3"];
    let mut input = Pieces { pieces: pieces.into(), asked, before_each: vec![] };
    assert_eq!(session.restore(&mut input).await.unwrap(), 255);
    assert_eq!(input.before_each, [0, 2, 2, 3]);
    assert_eq!(String::from_utf8(err).unwrap(), "Service already exists\n");
}
