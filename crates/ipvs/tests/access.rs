//! Who may do what: clients of other users and other user namespaces. Needs root.

#![allow(clippy::unwrap_used, reason = "in a test, what must hold may be unwrapped")]

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use rlvs_ipvs::message::{FamilyName, encode};
use rlvs_ipvs::*;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use rustix::process::{Gid, Uid};

const NOBODY: u32 = 65534;
const READERS: u32 = 4242;
/// Names the server to a copy of this program that runs as a client.
const SERVER: &str = "RLVS_TEST_SERVER";

/// What a client got: of reading, of changing.
type Got = (Result<(), Errno>, Result<(), Errno>);

fn serve(test: &str, readers: Readers) -> String {
    let name = format!("rlvs-test/{}/{test}", std::process::id());
    let server = Server::bind(ServerConfig { name: name.clone(), readers }).unwrap();
    tokio::spawn(server.serve(|request| match request {
        Request::GetInfo => Ok(Reply::Info(Info { version: VERSION, table_size: 4096 })),
        _ => Ok(Reply::Done),
    }));
    name
}

/// Reads and changes as a thread with these ids; SO_PEERCRED shows those of the thread that connects.
fn as_user(name: String, uid: u32, gid: u32) -> Got {
    let client = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        ask(&name)
    });
    client.join().unwrap()
}

fn ask(name: &str) -> Got {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = |result: Result<(), ClientError>| match result {
        Ok(()) => Ok(()),
        Err(ClientError::Refused(errno)) => Err(errno),
        Err(other) => panic!("{other}"),
    };
    runtime.block_on(async {
        let mut client = Client::connect_rlvs(name).await.unwrap();
        (refused(client.info().await.map(drop)), refused(client.flush().await))
    })
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root, to become somebody else");
    }
    root
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_users_read_if_they_are_readers_and_never_change() {
    if !is_root() {
        return;
    }
    let cases = [
        (Readers::Privileged, 0, 0, (Ok(()), Ok(()))),
        (Readers::Privileged, NOBODY, NOBODY, (Err(Errno::PERM), Err(Errno::PERM))),
        (Readers::Everybody, NOBODY, NOBODY, (Ok(()), Err(Errno::PERM))),
        (Readers::Group(READERS), NOBODY, READERS, (Ok(()), Err(Errno::PERM))),
        (Readers::Group(READERS), NOBODY, NOBODY, (Err(Errno::PERM), Err(Errno::PERM))),
    ];
    for (i, (readers, uid, gid, expected)) in cases.into_iter().enumerate() {
        let name = serve(&format!("user{i}"), readers);
        let got = tokio::task::spawn_blocking(move || as_user(name, uid, gid)).await.unwrap();
        assert_eq!(got, expected, "{readers:?} {uid} {gid}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_others_does_not_keep_root_out() {
    /// More than the server has room for.
    const CROWD: usize = 300;
    if !is_root() {
        return;
    }
    let name = serve("crowd", Readers::Everybody);
    let crowded = name.clone();
    let crowd = std::thread::spawn(move || {
        let nobody = Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let connection = |_| {
            let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
            connect(&socket, &SocketAddrUnix::new_abstract_name(crowded.as_bytes()).unwrap()).unwrap();
            socket
        };
        (0..CROWD).map(connection).collect::<Vec<_>>()
    });
    let crowd = tokio::task::spawn_blocking(move || crowd.join().unwrap()).await.unwrap();
    let mut client = Client::connect_rlvs(&name).await.unwrap();
    client.flush().await.unwrap();
    drop(crowd);
}

/// The client of the next test, in a process of its own; without that test's doing it does nothing. It speaks for
/// itself, since [`Client`] does not trust a server whose user it cannot see from its namespace.
#[test]
fn client_in_another_process() {
    let Ok(name) = std::env::var(SERVER) else { return };
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
    for request in [Request::GetInfo, Request::Flush] {
        send(&socket, &encode(&request, FamilyName::Ipvs.id(), 1), SendFlags::empty()).unwrap();
        let mut reply = [0; 256];
        recv(&socket, &mut reply, RecvFlags::empty()).unwrap();
        // An ERROR message, with its errno after the header.
        assert_eq!((reply[4], i32::from_ne_bytes(reply[16..20].try_into().unwrap())), (2, -1), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_of_another_user_namespace_is_nobody_here() {
    if !is_root() {
        return;
    }
    let name = serve("namespace", Readers::Privileged);
    // A place where nobody can read the program.
    let copy = PathBuf::from(format!("/tmp/rlvs-access-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let client = copy.clone();
    let (possible, done) = tokio::task::spawn_blocking(move || {
        let possible = in_user_namespace(&["true"], "");
        let test = [&client.to_string_lossy(), "--exact", "client_in_another_process"];
        (possible, in_user_namespace(&test, &name))
    })
    .await
    .unwrap();
    std::fs::remove_file(copy).unwrap();
    if possible.success() {
        assert!(done.success(), "it could read or change");
    } else {
        eprintln!("skipped: users may not make user namespaces here");
    }
}

/// Runs a command as an ordinary user who is root in a user namespace of his own.
fn in_user_namespace(command: &[&str], server: &str) -> ExitStatus {
    let become_nobody =
        ["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--user", "--map-root-user"];
    let mut process = Command::new("setpriv");
    process.args(become_nobody).args(command).env(SERVER, server).current_dir("/").status().unwrap()
}
