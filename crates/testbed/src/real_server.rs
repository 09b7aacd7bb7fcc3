//! Real servers: programs of the field, each set up to say which host it runs on.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::with_port;

const START_LIMIT: Duration = Duration::from_secs(10);

/// Octets that nginx answers `/large` with: many packets of any size.
pub const LARGE: usize = 200_000;

/// Characters that dnsmasq answers `TXT large.test` with: more than fit in one packet of Ethernet.
pub const LARGE_TEXT: usize = 3000;

/// Octets that nginx sends of `/slow` in each second, so that it takes about five.
pub const SLOW: usize = LARGE / 5;

/// Starts nginx, which answers every request with `name`, in the body and as the header `X-Server`, `/large` with
/// [`LARGE`] octets, and `/slow` with as many, [`SLOW`] in each second. It keeps connections for as long as the client likes.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn nginx(host: &Namespace, address: IpAddr, port: u16, name: &str) -> Result<Process> {
    // One process, so that killing it ends the server; folders below /run, because those are the host's own.
    let configuration = format!(
        "daemon off; master_process off; pid /run/nginx/pid; error_log stderr notice;
         events {{ worker_connections 8192; }}
         http {{
             access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
             client_body_temp_path /run/nginx/body; proxy_temp_path /run/nginx/proxy;
             fastcgi_temp_path /run/nginx/fastcgi; uwsgi_temp_path /run/nginx/uwsgi; scgi_temp_path /run/nginx/scgi;
             server {{
                 listen {at} backlog=8192;
                 location = /large {{ alias /run/nginx/large; }}
                 location = /slow {{ alias /run/nginx/large; limit_rate {SLOW}; }}
                 location / {{ default_type text/plain; add_header X-Server {name}; return 200 \"{name}\\n\"; }}
             }}
         }}",
        at = with_port(address, port),
    );
    host.write("/run/nginx/nginx.conf", &configuration)?;
    host.write("/run/nginx/large", &"x".repeat(LARGE))?;
    let mut nginx =
        host.spawn(&["nginx", "-p", "/run/nginx", "-c", "/run/nginx/nginx.conf", "-e", "stderr"])?;
    wait_for_listener(host, &mut nginx, "-t", address, port)?;
    Ok(nginx)
}

/// Starts dnsmasq on port 53, which answers `TXT whoami.test` with `name` and `TXT large.test` with [`LARGE_TEXT`]
/// characters, over UDP and TCP.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn dnsmasq(host: &Namespace, address: IpAddr, name: &str) -> Result<Process> {
    let mut dnsmasq = host.spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
        "--user=root",
        "--log-facility=-",
        "--bind-interfaces",
        &format!("--listen-address={address}"),
        &format!("--txt-record=whoami.test,{name}"),
        &format!("--txt-record=large.test{}", format!(",{}", "x".repeat(250)).repeat(LARGE_TEXT / 250)),
        "--edns-packet-max=4096",
    ])?;
    wait_for_listener(host, &mut dnsmasq, "-u", address, 53)?;
    Ok(dnsmasq)
}

/// The name that caddy's certificate is for.
pub const TLS_NAME: &str = "rlvs.test";

/// Where caddy has the certificate of its own authority, on its host.
pub const AUTHORITY: &str = "/run/caddy/caddy/pki/authorities/local/root.crt";

/// Starts caddy on port 443, which answers every request with `name`, over HTTP/1.1, HTTP/2 and HTTP/3.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn caddy(host: &Namespace, address: IpAddr, name: &str) -> Result<Process> {
    let configuration = format!(
        "{{
             admin off
             auto_https disable_redirects
             skip_install_trust
         }}
         https://{TLS_NAME} {{
             bind {address}
             tls internal
             respond \"{name}\"
         }}"
    );
    host.write("/run/caddy/Caddyfile", &configuration)?;
    let mut caddy = host.spawn(&[
        "env",
        "XDG_DATA_HOME=/run/caddy",
        "XDG_CONFIG_HOME=/run/caddy",
        "HOME=/run/caddy",
        "caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        "/run/caddy/Caddyfile",
    ])?;
    for kind in ["-t", "-u"] {
        wait_for_listener(host, &mut caddy, kind, address, 443)?;
    }
    Ok(caddy)
}

/// Starts etcd, which serves gRPC with the standard health service; `options` are its own. Its clients' port is given by
/// `--listen-client-urls`.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn etcd(host: &Namespace, address: IpAddr, port: u16, options: &[&str]) -> Result<Process> {
    let scheme = if options.contains(&"--cert-file") { "https" } else { "http" };
    let clients = format!("{scheme}://{}", with_port(address, port));
    // Nobody else is in the cluster: any free port will do for such.
    let words =
        ["etcd", "--data-dir", &format!("/run/etcd-{port}"), "--listen-peer-urls", "http://127.0.0.1:0"];
    let own = ["--listen-client-urls", &clients, "--advertise-client-urls", &clients];
    let mut etcd = host.spawn(&[&words[..], &own, options].concat())?;
    wait_for_listener(host, &mut etcd, "-t", address, port)?;
    Ok(etcd)
}

/// Starts sipp on port 5060, which takes calls over UDP.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn sipp(host: &Namespace, address: IpAddr) -> Result<Process> {
    let mut sipp =
        host.spawn(&["sipp", "-sn", "uas", "-i", &address.to_string(), "-p", "5060", "-nostdin"])?;
    wait_for_listener(host, &mut sipp, "-u", address, 5060)?;
    Ok(sipp)
}

/// Starts vsftpd on port 21, which gives away a file called `file` to anybody.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn vsftpd(host: &Namespace, address: IpAddr, content: &str) -> Result<Process> {
    let (listen, other) =
        if address.is_ipv4() { ("listen", "listen_ipv6") } else { ("listen_ipv6", "listen") };
    let listen_address = if address.is_ipv4() { "listen_address" } else { "listen_address6" };
    let configuration = format!(
        "{listen}=YES\n{other}=NO\n{listen_address}={address}\nbackground=NO\n\
         anonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nanon_root=/run/ftp/files\n\
         secure_chroot_dir=/run/ftp/empty\nconnect_from_port_20=YES\nisolate=NO\nisolate_network=NO\n\
         seccomp_sandbox=NO\nxferlog_enable=NO\n"
    );
    host.write("/run/ftp/files/file", content)?;
    host.write("/run/ftp/empty/none", "")?;
    host.write("/run/ftp/vsftpd.conf", &configuration)?;
    let mut vsftpd = host.spawn(&["vsftpd", "/run/ftp/vsftpd.conf"])?;
    wait_for_listener(host, &mut vsftpd, "-t", address, 21)?;
    Ok(vsftpd)
}

/// Starts an iperf3 server for any number of tests.
///
/// # Errors
///
/// When it does not start, with what it printed.
pub fn iperf3(host: &Namespace, address: IpAddr, port: u16) -> Result<Process> {
    let (address_word, port_word) = (address.to_string(), port.to_string());
    let mut iperf3 = host.spawn(&["iperf3", "--server", "--bind", &address_word, "--port", &port_word])?;
    wait_for_listener(host, &mut iperf3, "-t", address, port)?;
    Ok(iperf3)
}

/// Waits until a program has the socket; `kind` is ss's option for TCP or UDP.
fn wait_for_listener(
    host: &Namespace,
    program: &mut Process,
    kind: &str,
    address: IpAddr,
    port: u16,
) -> Result<()> {
    let at = with_port(address, port);
    crate::wait::until(START_LIMIT, || {
        ensure!(program.is_running(), "the server for {at} has ended: {}", program.stderr());
        let sockets = host.output(&["ss", "-H", "-l", "-n", kind, "src", &at])?;
        Ok((!sockets.trim().is_empty()).then_some(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{self, Connections, Shares, Wrk};

    /// Each program serves and is asked on one host, without a director.
    #[test]
    #[ignore = "needs root"]
    fn the_programs_of_the_field_say_their_host() {
        let host = Namespace::new("both ends").unwrap();
        for address in ["127.0.0.1", "::1"] {
            let address = address.parse().unwrap();
            let nginx = nginx(&host, address, 80, "rs1").unwrap();
            let _dnsmasq = dnsmasq(&host, address, "rs1").unwrap();
            let _iperf3 = iperf3(&host, address, 5201).unwrap();
            let all = Shares::from([("rs1".into(), 3)]);
            assert_eq!(load::curl(&host, address, 80, 3).unwrap(), all);
            assert_eq!(load::dig(&host, address, 3).unwrap(), all);
            assert!(load::iperf3(&host, address, 5201, 1, true).unwrap() > 1e6);
            for connections in [Connections::Kept, Connections::New] {
                let report = Wrk::start(&host, address, 80, connections, 1).unwrap().finish().unwrap();
                assert!(report.requests > 100 && report.failed == 0, "{report:?}");
            }
            drop(nginx);
            assert!(load::curl(&host, address, 80, 1).is_err());
        }
    }
}
