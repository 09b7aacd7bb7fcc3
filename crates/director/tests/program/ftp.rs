//! FTP's control connections over NAT, and their data connections.

use crate::lab::*;
use anyhow::ensure;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::MASQUERADE;
use rlvs_switch::simulation::Packet;
use std::net::SocketAddr;

#[test]
fn commands_and_answers_make_data_connections() {
    run(1 << 10, |twins| {
        for (index, net) in (0..).zip(nets()) {
            let port = |address: SocketAddr, port| SocketAddr::new(address.ip(), port);
            let (client, vip, control) = (net.client, port(net.vip, 21), port(net.server, 21));
            twins.add_service(TCP, vip, &[server(MASQUERADE, control)])?;
            let send = |twins: &Twins, from, to, flags, text: &str| {
                twins.receive(&Packet { payload: text.into(), ..Packet::tcp(from, to, flags) }.frame()).0
            };
            send(twins, client, vip, SYN, "");
            send(twins, control, client, SYN | ACK, "");
            for text in [
                "",
                "USER anonymous\r\n",
                "x",
                "PASV\r\n",
                "NOOP\r\nPASV\r\n",
                "EPSV\r\n",
                "EPSV 1\r\n",
                "EPSV 2\r\n",
                "PORT 10,9,0,7,100,1\r\n",
                "PORT 10,9,0,256,100,1\r\n",
                "EPRT |1|10.9.0.7|25602|\r\n",
                "EPRT |2|fd09::7|25602|\r\n",
                "EPRT |2|1:2:3:4:5:6:7:8|25602|\r\n",
                "EPRT |2|::|1|\r\n",
                "EPRT |2|1::2::3|1|\r\n",
                "PASV\r\n",
            ] {
                ensure!(matches!(send(twins, client, vip, ACK, text), Verdict::Redirect(_)), "{text}");
                ensure!(send(twins, control, client, ACK, "200 ok\r\n") == Verdict::Transmit, "{text}");
            }
            let address = net.server.ip().to_string().replace('.', ",");
            let long = format!("227 Entering Passive Mode ({address},195,81). {}\r\n", "x".repeat(300));
            for text in [
                &format!("227 Entering Passive Mode ({address},195,81)\r\n"),
                &format!("227 {address},195,81"),
                &long,
                "229 Entering Extended Passive Mode (|||50001|)\r\n",
                "229 Entering (|||50001",
            ] {
                for command in ["PASV\r\n", "EPSV\r\n"] {
                    send(twins, client, vip, ACK, command);
                    send(twins, control, client, ACK, text);
                }
            }
            let data = [port(client, 40_001), port(vip, 50_001)];
            let reached = send(twins, data[0], data[1], SYN, "");
            ensure!(matches!(reached, Verdict::Redirect(_)), "passive: {reached:?}");
            ensure!(send(twins, port(net.server, 50_001), data[0], SYN | ACK, "") == Verdict::Transmit);

            let to = if net.vip.is_ipv4() { "10.9.0.7:25602" } else { "[fd09::7]:25602" }.parse()?;
            let reached = send(twins, port(net.server, 20), to, SYN, "");
            ensure!(reached == Verdict::Transmit, "active: {reached:?}");
            ensure!(matches!(send(twins, to, port(vip, 20), SYN | ACK, ""), Verdict::Redirect(_)));
            twins.compare_service(index, TCP, vip)?;
        }
        twins.compare()
    });
}
