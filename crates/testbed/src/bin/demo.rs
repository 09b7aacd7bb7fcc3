//! The textbook virtual server, in network namespaces of this machine: a client, a director, two real servers. Once
//! for each forwarding method it types the commands that an operator would, and shows who answers the client.
//!
//! Nothing is left behind: the namespaces end with this program, also on Ctrl-C.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rlvs_testbed::{Director, EchoServer, Family, Method, Namespace, Topology, ask_http, rlvs, with_port};

const PORT: u16 = 80;
const REQUESTS: u32 = 6;

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("All three forwarding methods share the requests between both real servers.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces and XDP need root: build with `cargo xtask build`, then run `cargo xtask demo` as root"
    );
    Method::ALL.into_iter().try_for_each(show)
}

/// Shows one forwarding method from an empty network to the listings.
fn show(method: Method) -> Result<()> {
    println!("==== {} ====\n", title(method));
    let net = Topology::new(method, 2)?;
    let vip = Family::V4.vip();

    if method != Method::Nat {
        let tunnel = method.unwrapping().unwrap_or_default();
        for server in &net.servers {
            typed(server, format!("rlvs realserver add --vip {vip} {tunnel}").trim_end())?;
        }
    }
    let serve = |(host, number)| {
        EchoServer::start(
            host,
            net.listen_address(Family::V4, number),
            PORT,
            &format!("real server {number}"),
        )
    };
    let _servers = net.servers.iter().zip(1..).map(serve).collect::<Result<Vec<_>>>()?;

    prompt(&net.director, "rlvs run --interface wan --interface lan &");
    let director = Director::start(&net.director)?;
    let service = with_port(vip, PORT);
    typed(&net.director, &format!("ipvsadm -A -t {service} -s rr"))?;
    for number in 1..=2 {
        let server = with_port(Family::V4.server(number), PORT);
        typed(&net.director, &format!("ipvsadm -a -t {service} -r {server} {}", method.option()))?;
    }
    println!();
    ask(&net.client, SocketAddr::new(vip, PORT))?;
    for listing in ["ipvsadm -L -n", "ipvsadm -L -n --stats", "ipvsadm -L -n -c"] {
        typed(&net.director, listing)?;
        println!();
    }
    director.stop()?;
    typed(&net.director, "rlvs detach")?;
    println!();
    Ok(())
}

/// Asks as often as the demonstration does, and checks that each server answered half.
fn ask(client: &Namespace, service: SocketAddr) -> Result<()> {
    let mut answers = BTreeMap::<String, u32>::new();
    for _ in 0..REQUESTS {
        prompt(client, &format!("curl http://{}/", service.ip()));
        let answer = ask_http(client, service)?;
        println!("{answer}");
        *answers.entry(answer).or_default() += 1;
    }
    println!();
    ensure!(
        answers.len() == 2 && answers.values().all(|&times| times == REQUESTS / 2),
        "round robin gives each of two servers {} of {REQUESTS} requests, but: {answers:?}",
        REQUESTS / 2
    );
    Ok(())
}

/// Shows a command as if typed on `host`, runs it, and shows what it prints.
fn typed(host: &Namespace, command: &str) -> Result<()> {
    prompt(host, command);
    // ipvsadm is a name of rlvs.
    let arguments = command.strip_prefix("rlvs ").unwrap_or(command);
    print!("{}", rlvs(host, arguments)?);
    Ok(())
}

fn prompt(host: &Namespace, command: &str) {
    println!("[{}] {command}", host.name());
}

fn title(method: Method) -> &'static str {
    match method {
        Method::Nat => "NAT: the director rewrites addresses, both ways",
        Method::Dr => {
            "Direct routing: the director rewrites MAC addresses, servers answer clients themselves"
        }
        Method::Tun | Method::Gue | Method::Gre => {
            "Tunnelling: the director encapsulates, servers answer clients themselves"
        }
    }
}
