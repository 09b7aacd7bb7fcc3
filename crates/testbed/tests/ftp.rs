//! FTP: a real server behind the director, and clients that fetch in active and passive mode.

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{Cluster, Family, Method, Namespace, Process, real_server, with_port};

/// More than a window: data connections carry more than their first packets.
const OCTETS: usize = 200_000;

/// Behind NAT the director reads the control connection, whatever the scheduler does with the next one.
#[test]
#[ignore = "needs root"]
fn files_come_through_nat_in_every_mode() -> Result<()> {
    for family in [Family::V4, Family::V6] {
        let cluster = Cluster::start(Method::Nat, family, 2)?;
        let _servers = serve(&cluster)?;
        add_service(&cluster, "-s rr")?;
        for mode in [
            &["--ftp-pasv"][..],
            &["--ftp-pasv", "--disable-epsv"],
            &["-P", "-"],
            &["-P", "-", "--disable-eprt"],
        ] {
            // Over IPv6 there are no others than EPSV and EPRT.
            if family == Family::V6 && mode.last().is_some_and(|word| word.starts_with("--disable")) {
                continue;
            }
            let mut names = Vec::new();
            for _ in 0..2 {
                names.push(
                    fetch(&cluster, &cluster.net.client, mode)
                        .with_context(|| format!("{family:?} {mode:?}"))?,
                );
            }
            names.sort();
            ensure!(names == ["rs1", "rs2"], "{family:?} {mode:?}: {names:?}");
        }
        // Each control connection was scheduled, and no data connection was.
        let stats = cluster.ipvsadm("-L -n --stats")?;
        let connections = if family == Family::V4 { 8 } else { 4 };
        let line = stats.lines().find(|line| line.starts_with("TCP")).context("no service")?;
        ensure!(line.split_whitespace().nth(2) == Some(&connections.to_string()), "{stats}");
        lftp(&cluster)?;
    }
    Ok(())
}

/// A client on the director itself: its data connections leave, or come, by the same way.
#[test]
#[ignore = "needs root"]
fn files_come_to_the_director() -> Result<()> {
    for family in Family::ALL {
        let cluster = Cluster::start(Method::Nat, family, 2)?;
        let _servers = serve(&cluster)?;
        add_service(&cluster, "-s rr")?;
        for mode in [&["--ftp-pasv"][..], &["-P", "-"]] {
            let mut names = Vec::new();
            for _ in 0..2 {
                let fetched = fetch(&cluster, &cluster.net.director, mode);
                names.push(fetched.with_context(|| format!("{family:?} {mode:?}"))?);
            }
            names.sort();
            ensure!(names == ["rs1", "rs2"], "{family:?} {mode:?}: {names:?}");
        }
    }
    Ok(())
}

/// Without NAT nothing is read: persistence leads the data connections to the server of the control connection.
#[test]
#[ignore = "needs root"]
fn persistence_keeps_data_connections_with_their_server() -> Result<()> {
    for (method, family) in [(Method::Dr, Family::V4), (Method::Dr, Family::V6), (Method::Tun, Family::V4)] {
        let cluster = Cluster::start(method, family, 2)?;
        let _servers = serve(&cluster)?;
        add_service(&cluster, "-s rr -p 60")?;
        for mode in [&["--ftp-pasv"][..], &["-P", "-"]] {
            let first = fetch(&cluster, &cluster.net.client, mode)
                .with_context(|| format!("{method:?} {family:?} {mode:?}"))?;
            let second = fetch(&cluster, &cluster.net.client, mode)
                .with_context(|| format!("{method:?} {family:?} {mode:?}"))?;
            ensure!(first == second, "{method:?} {family:?} {mode:?}: {first}, then {second}");
        }
    }
    Ok(())
}

/// vsftpd on all real servers, each with a file of its own.
fn serve(cluster: &Cluster) -> Result<Vec<Process>> {
    let mut programs = Vec::new();
    for (host, number) in cluster.net.servers.iter().zip(1..) {
        let address = cluster.net.listen_address(cluster.family, number);
        let content = format!("rs{number}\n").repeat(OCTETS / 4);
        programs.push(real_server::vsftpd(host, address, &content)?);
    }
    Ok(programs)
}

fn add_service(cluster: &Cluster, words: &str) -> Result<()> {
    let service = with_port(cluster.family.vip(), 21);
    cluster.ipvsadm(&format!("-A -t {service} {words}"))?;
    for number in 1..=2 {
        let server = with_port(cluster.family.server(number), 21);
        let method = cluster.net.method().option();
        cluster.ipvsadm(&format!("-a -t {service} -r {server} {method}"))?;
    }
    Ok(())
}

/// Fetches the file with curl; the server whose it was.
fn fetch(cluster: &Cluster, client: &Namespace, mode: &[&str]) -> Result<String> {
    let url = format!("ftp://{}/file", with_port(cluster.family.vip(), 21));
    let mut words = vec!["curl", "-sS", "-m", "20"];
    words.extend(mode);
    words.push(&url);
    name_in(&client.output(&words)?)
}

/// Fetches it with lftp, which asks for its length and date before that, passively and actively.
fn lftp(cluster: &Cluster) -> Result<()> {
    for mode in ["on", "off"] {
        let address = with_port(cluster.family.vip(), 21);
        let script = format!(
            "set net:max-retries 1; set net:timeout 10; set ftp:passive-mode {mode}; set ftp:ssl-allow no; \
             open ftp://{address}; cat file"
        );
        let got = cluster.net.client.output(&["lftp", "-c", &script])?;
        name_in(&got).with_context(|| format!("lftp, passive {mode}"))?;
    }
    Ok(())
}

fn name_in(content: &str) -> Result<String> {
    let name = content.lines().next().context("nothing came")?;
    ensure!(content.len() == OCTETS && content.lines().all(|line| line == name), "{} octets", content.len());
    Ok(name.to_owned())
}
