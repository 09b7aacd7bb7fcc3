//! Probes against servers on this machine's loopback, good ones and bad ones.
#![allow(clippy::unwrap_used, reason = "what does not hold here is a failed test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rlvs_cluster::Config;
use rlvs_cluster::config::Probe;
use rlvs_cluster::nanny::Monitor;
use rlvs_cluster::nanny::probe::Target;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

const LIMIT: Duration = Duration::from_secs(20);
/// A self-signed certificate of www.example.org, and its key.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/www.example.org.pem");

/// The probe that the keys of a check ask for.
fn probe(keys: &str) -> Probe {
    let text = format!(
        "[[service]]\nmark = 1\n[[service.server]]\naddress = \"127.0.0.1\"\n[service.check]\nport = 1\n{keys}"
    );
    let config = Config::parse(&text, Path::new("test")).unwrap();
    config.services[0].servers[0].checks[0].probe.clone()
}

/// What a check of `server` finds: its weight, or the words of its failure.
async fn ask(server: SocketAddr, keys: &str) -> Result<Option<i32>, String> {
    let target = Target { address: server.ip(), port: server.port() };
    let result = tokio::time::timeout(LIMIT, target.probe(&probe(keys))).await;
    result.unwrap_or_else(|_| panic!("{keys}: still not done")).map_err(|failure| failure.to_string())
}

/// A server that says `greeting`, and after each part that it receives, the next of `answers`; then it closes.
async fn stream(greeting: &'static str, answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(socket, greeting, answers));
        }
    });
    address
}

async fn talk(mut socket: impl AsyncRead + AsyncWrite + Unpin, greeting: &str, answers: &[&str]) {
    let mut part = [0; 4096];
    let _client_may_be_gone = socket.write_all(greeting.as_bytes()).await;
    for answer in answers {
        if !matches!(socket.read(&mut part).await, Ok(1..))
            || socket.write_all(answer.as_bytes()).await.is_err()
        {
            return;
        }
    }
    let _client_may_be_gone = socket.shutdown().await;
}

#[tokio::test]
async fn a_port_that_listens_is_enough_for_tcp() {
    let server = stream("", &[]).await;
    assert_eq!(ask(server, "type = \"tcp\"").await, Ok(None));
    // Taken, so that nobody else gets it, but nobody listens.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = taken.local_addr().unwrap();
    let error = ask(closed, "type = \"tcp\"").await.unwrap_err();
    assert!(error.starts_with("cannot connect: Connection refused"), "{error}");
}

#[tokio::test]
async fn http_wants_a_status_and_a_body() {
    let good = stream(
        "",
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n0\r\n\r\n"],
    )
    .await;
    for keys in
        ["", "body = \"all well\"", "body_regex = \"^all\\\\s\"", "status = \"200\"", "method = \"HEAD\""]
    {
        assert_eq!(ask(good, &format!("type = \"http\"\n{keys}")).await, Ok(None), "{keys}");
    }
    let error = ask(good, "type = \"http\"\nbody = \"bad\"").await.unwrap_err();
    assert_eq!(error, "unexpected answer: \"all well\"");
    assert_eq!(ask(good, "type = \"http\"\nstatus = \"300-399\"").await, Err("status 200".into()));
    let moved = stream("", &["HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"]).await;
    assert_eq!(ask(moved, "type = \"http\"").await, Err("status 302".into()));
    let empty = stream("", &["HTTP/1.0 204 No Content\r\n\r\n"]).await;
    assert_eq!(ask(empty, "type = \"http\"").await, Ok(None));
    let silent = stream("", &[""]).await;
    assert!(ask(silent, "type = \"http\"").await.unwrap_err().starts_with("no HTTP"));
    let other = stream("SSH-2.0-zork\r\n", &[]).await;
    assert!(ask(other, "type = \"http\"").await.unwrap_err().starts_with("no HTTP"));
}

#[tokio::test]
async fn http_asks_for_path_and_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut part = [0; 4096];
        let length = socket.read(&mut part).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(part[..length].to_vec()).unwrap().to_lowercase()
    });
    assert_eq!(
        ask(address, "type = \"http\"\npath = \"/a?b=c\"\nhost = \"www.example.org\"").await,
        Ok(None)
    );
    let asked = asked.await.unwrap();
    assert!(
        asked.starts_with("get /a?b=c http/1.1\r\n") && asked.contains("host: www.example.org\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn tls_takes_any_certificate_or_only_trusted_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(CERTIFICATE).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(socket) = acceptor.accept(socket).await {
                talk(socket, "", &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]).await;
            }
        }
    });
    let trusted = format!("ca = \"{CERTIFICATE}\"");
    assert_eq!(ask(address, "type = \"tls\"").await, Ok(None));
    assert_eq!(ask(address, "type = \"https\"\nbody = \"ok\"").await, Ok(None));
    assert_eq!(ask(address, "type = \"tls\"\nsend = \"x\"\nexpect = \"200 OK\"").await, Ok(None));
    let named = format!("type = \"https\"\ntls_name = \"www.example.org\"\n{trusted}");
    assert_eq!(ask(address, &named).await, Ok(None));
    let unnamed = ask(address, &format!("type = \"https\"\n{trusted}")).await.unwrap_err();
    assert!(unnamed.contains("certificate"), "{unnamed}");
    let missing = ask(address, "type = \"tls\"\nca = \"/no/such/file\"").await.unwrap_err();
    assert!(missing.contains("cannot read /no/such/file"), "{missing}");
    let plain = stream("220 not TLS\r\n", &[""]).await;
    assert!(ask(plain, "type = \"tls\"").await.unwrap_err().starts_with("cannot shake hands"));
}

/// A server that wants a certificate of the client's, and trusts the authority of [`CERTIFICATE`].
#[tokio::test]
async fn tls_shows_the_clients_certificate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(CERTIFICATE).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(clients.build().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(socket) = acceptor.accept(socket).await {
                talk(socket, "", &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]).await;
            }
        }
    });
    assert!(ask(address, "type = \"https\"").await.is_err());
    let own = format!("type = \"https\"\ncertificate = \"{CERTIFICATE}\"\nkey = \"{CERTIFICATE}\"");
    assert_eq!(ask(address, &own).await, Ok(None));
    let error = ask(address, &own.replace("key = \"/", "key = \"/no")).await.unwrap_err();
    assert!(error.starts_with("TLS: cannot read /no"), "{error}");
}

#[tokio::test]
async fn a_body_may_be_known_by_its_digest() {
    let server = stream("", &["HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well"]).await;
    let http = |digest: &str| format!("type = \"http\"\ndigest = \"{digest}\"");
    // md5sum(1) and sha256sum(1).
    let (md5, sha256) = (
        "md5:481e8004a90439c8f16f4ffd47b3a24a",
        "sha256:fb31b7f3abdbd8cb9062cabe322d5dd13888f4230ef471c9411469184554e3e3",
    );
    assert_eq!(ask(server, &http(md5)).await, Ok(None));
    assert_eq!(ask(server, &http(sha256)).await, Ok(None));
    let error = ask(server, &http("md5:00000000000000000000000000000000")).await.unwrap_err();
    assert_eq!(error, format!("the body's digest is {md5}"));
}

#[tokio::test]
async fn a_file_may_decide_and_say_the_weight() {
    let folder = std::env::temp_dir().join(format!("rlvs-probes-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let server = "127.0.0.1:81".parse().unwrap();
    let path = folder.join("127.0.0.1:81");
    let keys = |keys: &str| format!("type = \"file\"\npath = \"{}/%h:%p\"\n{keys}", folder.display());
    let missing = ask(server, &keys("")).await.unwrap_err();
    assert_eq!(missing, format!("there is no file {}", path.display()));
    assert_eq!(ask(server, &keys("exists = false")).await, Ok(None));
    std::fs::write(&path, "12\n").unwrap();
    assert_eq!(ask(server, &keys("")).await, Ok(None));
    assert_eq!(ask(server, &keys("weigh = true")).await, Ok(Some(12)));
    let there = ask(server, &keys("exists = false")).await.unwrap_err();
    assert_eq!(there, format!("there is a file {}", path.display()));
    std::fs::write(&path, "-1").unwrap();
    let unusable = ask(server, &keys("weigh = true")).await.unwrap_err();
    assert_eq!(unusable, format!("{} has \"-1\", no weight", path.display()));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_ldap_server_takes_the_bind_or_not() {
    // As slapd answers.
    let good = stream("", &["0\x0c\x02\x01\x01a\x07\n\x01\0\x04\0\x04\0", ""]).await;
    assert_eq!(ask(good, "type = \"ldap\"").await, Ok(None));
    let wrong = stream("", &["0\x0c\x02\x01\x01a\x07\n\x011\x04\0\x04\0"]).await;
    let bind = "type = \"ldap\"\nname = \"cn=admin,dc=example\"\npassword = \"wrong\"";
    assert_eq!(ask(wrong, bind).await, Err("LDAP says 49 (invalid credentials)".into()));
}

#[tokio::test]
async fn known_protocols_have_their_words() {
    let cases: [(&str, &str, &[&str]); 10] = [
        ("smtp", "220-mail\r\n220 ready\r\n", &["250 mail\r\n", "221 bye\r\n"]),
        ("ftp", "220 ready\r\n", &["221 bye\r\n"]),
        ("pop3", "+OK ready\r\n", &["+OK bye\r\n"]),
        ("imap", "* OK ready\r\n", &["* BYE\r\na OK done\r\n"]),
        ("nntp", "201 read only\r\n", &["205 bye\r\n"]),
        ("ssh", "hello\r\nSSH-2.0-x\r\n", &[]),
        ("redis", "", &["+PONG\r\n"]),
        ("memcached", "", &["VERSION 1.6\r\n"]),
        ("mysql", "J\0\0\0\n8.0.36\0", &[]),
        ("postgres", "", &["N"]),
    ];
    for (kind, greeting, answers) in cases {
        let server = stream(greeting, answers).await;
        assert_eq!(ask(server, &format!("type = \"{kind}\"")).await, Ok(None), "{kind}");
        let other = stream("ERR no\r\n", &[]).await;
        let error = ask(other, &format!("type = \"{kind}\"")).await.unwrap_err();
        assert!(
            error.contains("the connection ends after") || error.contains("Connection reset"),
            "{kind}: {error}"
        );
    }
}

#[tokio::test]
async fn an_answer_may_come_in_parts_and_has_an_end() {
    let parts = stream("one ", &["two ", "three"]).await;
    assert_eq!(ask(parts, "type = \"tcp\"\nexpect = \"one\"").await, Ok(None));
    let flood = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = flood.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = flood.accept().await.unwrap();
        while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let error = ask(address, "type = \"tcp\"\nexpect = \"y\"").await.unwrap_err();
    assert!(error.starts_with("unexpected answer: \"xxx"), "{error}");
}

#[tokio::test]
async fn datagrams_are_answered_or_at_least_not_refused() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = server.recv_from(&mut datagram).await {
            // A DNS answer is its question with the bit QR, and here NXDOMAIN for questions that begin with an x.
            if datagram.get(12..14) == Some(&[1, b'x']) {
                datagram[3] |= 3;
            }
            datagram[2] |= 0x80;
            let _client_may_be_gone = server.send_to(&datagram[..length], from).await;
        }
    });
    assert_eq!(
        ask(address, "type = \"udp\"\nsend = \"ping\"\nexpect_regex = \"^pi.g\"").await,
        Err("unexpected answer: \"pi\u{fffd}g\"".into())
    );
    assert_eq!(ask(address, "type = \"udp\"\nsend = \"ping\"\nexpect = \"pi\"").await, Ok(None));
    // Octet 2 comes back with its highest bit set.
    let octets = "type = \"udp\"\nsend_hex = \"00 ff 01\"\nexpect_regex = \"(?s-u)^\\\\x00\\\\xff\\\\x81$\"";
    assert_eq!(ask(address, octets).await, Ok(None));
    assert_eq!(ask(address, "type = \"udp\"").await, Ok(None));
    assert_eq!(ask(address, "type = \"dns\"").await, Ok(None));
    assert_eq!(
        ask(address, "type = \"dns\"\nname = \"x.\"\nrecord = \"A\"").await,
        Err("DNS says NXDOMAIN".into())
    );
    // Taken, so that nobody else gets it, by a socket that hears somebody else only.
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    taken.connect("127.0.0.1:9").await.unwrap();
    let closed = taken.local_addr().unwrap();
    for keys in ["type = \"udp\"", "type = \"udp\"\nsend = \"a\"\nexpect = \"b\"", "type = \"dns\""] {
        let error = ask(closed, keys).await.unwrap_err();
        assert!(error.contains("Connection refused"), "{keys}: {error}");
    }
}

#[tokio::test]
async fn programs_get_address_and_port_and_decide_by_their_status_or_their_words() {
    let server = "127.0.0.1:81".parse().unwrap();
    let shell = |script: &str, keys: &str| {
        format!("type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\", \"%h\", \"%p\"]\n{keys}")
    };
    let own_words = shell("[ $0:$1 = 127.0.0.1:81 ]", "").replace("port = 1\n", "");
    let mut check = probe(&own_words);
    let target = Target { address: "127.0.0.1".parse().unwrap(), port: 81 };
    assert_eq!(target.probe(&check).await.unwrap(), None);
    check = probe(&shell("exit 1", ""));
    assert!(target.probe(&check).await.unwrap_err().to_string().contains("exit status: 1"));
    assert!(ask(server, &shell("exit 12", "")).await.is_err());
    assert_eq!(ask(server, &shell("exit 12", "weigh = true")).await, Ok(Some(10)));
    assert!(ask(server, &shell("exit 1", "weigh = true")).await.is_err());
    assert_eq!(ask(server, &shell("exit 0", "weigh = true")).await, Ok(None));
    assert_eq!(ask(server, &shell("echo good; exit 3", "output = \"good\"")).await, Ok(None));
    assert_eq!(
        ask(server, &shell("echo good, isn't it", "output = \"good\"").replace('\'', "")).await,
        Err("unexpected answer: \"good, isnt it\"".into())
    );
    let error = ask(server, "type = \"command\"\ncommand = \"/no/such/program\"").await.unwrap_err();
    assert!(error.starts_with("cannot run the program"), "{error}");
}

/// Programs have none of the sets of capabilities that count, and cannot get them by the programs that they call.
const POWERLESS: &str =
    "[ $(grep -cE '^Cap(Inh|Prm|Eff|Amb):\\\\s0+$|^NoNewPrivs:\\\\s1$' /proc/self/status) = 5 ]";

fn script(script: &str, programs: &str) -> String {
    format!("type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n{programs}")
}

#[tokio::test]
async fn programs_have_no_capabilities() {
    let server = "127.0.0.1:81".parse().unwrap();
    assert_eq!(ask(server, &script(POWERLESS, "")).await, Ok(None));
}

#[tokio::test]
#[ignore = "needs root"]
async fn programs_may_be_somebody_elses_or_keep_capabilities() {
    let server = "127.0.0.1:81".parse().unwrap();
    let nobody = format!("{POWERLESS} && [ $(id -u):$(id -G) = 65534:65534 ]");
    assert_eq!(ask(server, &script(&nobody, "[programs]\nuser = \"nobody\"")).await, Ok(None));
    let able = "[ $(grep -cE '^Cap(Prm|Eff):\\\\s0+$' /proc/self/status) = 0 ]";
    assert_eq!(ask(server, &script(able, "[programs]\ncapabilities = \"keep\"")).await, Ok(None));
    // This thread is still who it was.
    assert!(rustix::process::geteuid().is_root());
}

/// A program that does not end in time is killed with its children.
#[tokio::test]
async fn a_program_that_hangs_leaves_nothing_behind() {
    let folder = std::env::temp_dir().join(format!("rlvs-probes-{}", std::process::id()));
    let pid_file = folder.join("pid");
    std::fs::create_dir_all(&folder).unwrap();
    let check = probe(&format!(
        "type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait\"]",
        pid_file.display()
    ));
    let target = Target { address: "127.0.0.1".parse().unwrap(), port: 0 };
    let child = {
        let running = target.probe(&check);
        let mut running = std::pin::pin!(running);
        loop {
            if let Ok(text) = std::fs::read_to_string(&pid_file) {
                break text.trim().to_owned();
            }
            let more = tokio::time::timeout(Duration::from_millis(10), &mut running).await;
            assert!(more.is_err(), "{more:?}");
        }
    };
    std::fs::remove_dir_all(&folder).unwrap();
    // A killed process may stay as a zombie until its new parent has waited for it.
    let gone =
        || std::fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let start = std::time::Instant::now();
    while !gone() {
        assert!(start.elapsed() < LIMIT, "process {child} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What clients do until a server is closed: T for those that talk, c for those that only connect.
async fn visits(listener: &TcpListener, many: usize) -> String {
    let mut visits = String::new();
    while visits.len() < many {
        let (mut socket, _) = tokio::time::timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
        let mut part = [0; 100];
        let talks = matches!(socket.read(&mut part).await, Ok(1..));
        let _client_may_be_gone = socket.write_all(b"good").await;
        visits.push(if talks { 'T' } else { 'c' });
    }
    visits
}

/// A whole check comes first, after its success so many that only connect, and after a failure a whole one again.
#[tokio::test]
async fn between_whole_checks_some_only_connect() {
    let text = "[[service]]\ntcp = \"192.0.2.1:80\"\nserver = { address = \"127.0.0.1\" }\ncheck = { type = \"tcp\", send = \"?\", \
                expect = \"good\", connects = 3, interval = \"50ms\", retry = \"50ms\", rise = 1, fall = 1 }";
    let mut check = Config::parse(text, Path::new("test")).unwrap().services[0].servers[0].checks[0].clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    check.port = address.port();
    let (to, mut news) = tokio::sync::mpsc::channel(9);
    let _monitor = Monitor::start((), address.ip(), check, to);
    assert_eq!(visits(&listener, 6).await, "TcccTc");
    assert!(news.recv().await.unwrap().verdict.is_ok());
    drop(listener);
    assert!(news.recv().await.unwrap().verdict.is_err());
    let again = tokio::net::TcpSocket::new_v4().unwrap();
    again.set_reuseaddr(true).unwrap();
    again.bind(address).unwrap();
    assert_eq!(visits(&again.listen(9).unwrap(), 2).await, "Tc");
}

#[tokio::test]
async fn a_server_that_is_out_of_service_is_not_asked() {
    let server = stream("", &[]).await;
    assert_eq!(ask(server, "type = \"never\"").await, Err("it is out of service".to_owned()));
}
