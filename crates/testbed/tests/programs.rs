//! Programs of the field whose protocols do more than ask and answer once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Buf;
use rlvs_testbed::load::Shares;
use rlvs_testbed::real_server::{AUTHORITY, TLS_NAME};
use rlvs_testbed::{Cluster, Family, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Four connections with eight requests each: by curl over HTTP/2, and over HTTP/3, that is QUIC, that is one UDP connection.
#[test]
#[ignore = "needs root"]
fn http_2_and_3() -> Result<()> {
    for (method, family) in [(Method::Nat, Family::V4), (Method::Dr, Family::V6), (Method::Tun, Family::V4)] {
        let mut cluster = Cluster::start(method, family, 2)?;
        cluster.serve_https()?;
        let (client, vip) = (&cluster.net.client, family.vip());
        let halves = Shares::from([("rs1".into(), 16), ("rs2".into(), 16)]);

        let connect_to =
            format!("::{}:443", if vip.is_ipv6() { format!("[{vip}]") } else { vip.to_string() });
        let url = format!("https://{TLS_NAME}/[1-8]");
        let mut by_http2 = Shares::new();
        for _ in 0..4 {
            let format = " %{http_version}\\n";
            let words = [
                "curl",
                "-sS",
                "-f",
                "-k",
                "-m",
                "20",
                "--http2",
                "--connect-to",
                &connect_to,
                "-w",
                format,
                &url,
            ];
            let answers = client.output(&words)?;
            for answer in answers.lines() {
                let name = answer.strip_suffix(" 2").with_context(|| format!("not HTTP/2: {answer}"))?;
                *by_http2.entry(name.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(by_http2, halves, "HTTP/2, {method:?}: {}", cluster.listing()?);

        let authorities = cluster.net.servers.iter().map(|host| host.output(&["cat", AUTHORITY]));
        let authorities: Vec<String> = authorities.collect::<Result<_>>()?;
        let mut by_http3 = Shares::new();
        for _ in 0..4 {
            let authorities = authorities.clone();
            for answer in client.run(move || ask_by_http3(vip, &authorities))? {
                *by_http3.entry(answer).or_default() += 1;
            }
        }
        assert_eq!(by_http3, halves, "HTTP/3, {method:?}: {}", cluster.listing()?);
    }
    Ok(())
}

/// The answers to eight requests over one connection.
fn ask_by_http3(vip: IpAddr, authorities: &[String]) -> Result<Vec<String>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(tls)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = async {
        let any =
            if vip.is_ipv6() { "[::]:0".parse()? } else { SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
        let endpoint = quinn::Endpoint::client(any)?;
        let config = quinn::ClientConfig::new(Arc::new(config));
        let connection = endpoint.connect_with(config, SocketAddr::new(vip, 443), TLS_NAME)?.await?;
        let (mut driver, mut requests) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
        let driver = tokio::spawn(async move { driver.wait_idle().await });
        let mut answers = Vec::new();
        for number in 1..=8 {
            let request = http::Request::get(format!("https://{TLS_NAME}/{number}")).body(())?;
            let mut stream = requests.send_request(request).await?;
            stream.finish().await?;
            let status = stream.recv_response().await?.status();
            ensure!(status.is_success(), "{status}");
            let mut body = Vec::new();
            while let Some(mut data) = stream.recv_data().await? {
                body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
            answers.push(String::from_utf8(body)?);
        }
        drop(requests);
        driver.await?;
        anyhow::Ok(answers)
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), asked).await })?
}

/// SIP calls: each is three requests of one client, over UDP, and all of them are answered.
#[test]
#[ignore = "needs root"]
fn sip() -> Result<()> {
    for method in [Method::Nat, Method::Dr] {
        let mut cluster = Cluster::start(method, Family::V4, 2)?;
        cluster.serve_sip("")?;
        let (client, service) = (&cluster.net.client, cluster.service(5060));
        for port in ["7001", "7002"] {
            let address = Family::V4.client().to_string();
            let words = ["sipp", "-sn", "uac", &service, "-i", &address, "-p", port, "-m", "20", "-r", "20"];
            let bounds = ["-d", "50", "-timeout", "20", "-timeout_error", "-nostdin"];
            client.output(&[words.as_slice(), &bounds].concat())?;
        }
        // Two clients, one for each server.
        let listing = cluster.listing()?;
        for number in 1..=2 {
            assert_eq!(cluster.connections(number, 5060)?, (0, 1), "{method:?}: {listing}");
        }
    }
    Ok(())
}

/// SIP calls of one client from one port, told apart by their Call-IDs: each server gets every second one, and answers by way of
/// the director though no connections are kept.
#[test]
#[ignore = "needs root"]
fn sip_calls() -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let mut cluster = Cluster::start(Method::Nat, family, 2)?;
        cluster.serve_sip("-p 300 --pe sip -o")?;
        let (client, service) = (&cluster.net.client, cluster.service(5060));
        let address = family.client().to_string();
        let words = ["sipp", "-sn", "uac", &service, "-i", &address, "-p", "7001", "-m", "20", "-r", "20"];
        let bounds = ["-d", "50", "-timeout", "20", "-timeout_error", "-nostdin"];
        client.output(&[words.as_slice(), &bounds].concat())?;
        let listing = cluster.ipvsadm("-L -n -c --persistent-conn")?;
        assert_eq!(calls(&listing, &cluster), [10, 10], "{listing}");
        assert!(!listing.contains(":7001"), "{listing}");

        // With connections, those of a call lead to one server whatever their ports.
        cluster.ipvsadm(&format!("-E -u {service} -s rr -p 300 --pe sip"))?;
        let to = SocketAddr::new(family.vip(), 5060);
        client.run(move || {
            for (port, call) in [(8001, "a"), (8002, "b"), (8003, "a"), (8004, "b")] {
                let socket = UdpSocket::bind((family.client(), port))?;
                socket.send_to(format!("OPTIONS sip:x SIP/2.0\r\ni: {call}\r\n\r\n").as_bytes(), to)?;
            }
            anyhow::Ok(())
        })?;
        let listing = cluster.ipvsadm("-L -n -c --persistent-conn")?;
        assert_eq!(calls(&listing, &cluster), [11, 11], "{listing}");
        for ports in [[8001, 8003], [8002, 8004]] {
            let [one, other] = ports.map(|port| {
                listing
                    .lines()
                    .find(|line| line.contains(&format!(":{port} ")))
                    .and_then(|line| line.split_whitespace().nth(5))
            });
            assert!(one.is_some() && one == other, "{listing}");
        }
    }
    Ok(())
}

/// How many templates of calls lead to each server.
fn calls(listing: &str, cluster: &Cluster) -> [usize; 2] {
    [1, 2].map(|number| {
        let server = cluster.server(number, 5060);
        listing.lines().filter(|line| line.contains(&server) && line.contains(" sip ")).count()
    })
}
